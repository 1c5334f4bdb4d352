"""Tables of numbers (.csv): every row counts, or there is an error that names line and column.

A header is a first row of names: every cell begins with a letter and is no word for a missing value, so that numbers
with a typo, a unit or in another notation (``1.O``, ``1%``, ``0x1``) are not lost as one. Cells are separated by
commas, semicolons, tabs or blanks, whichever the first row has. Empty lines and lines that begin with ``#`` are left
out, but not the errors of spreadsheets (``#DIV/0!``).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from powerplan.errors import CorruptFile, show
from powerplan.reading.text import read_text

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.I)
_NAME = re.compile(r"[^\W\d].*", re.S)
_MISSING = frozenset(("", "na", "n/a", "#n/a", "null", "none", "nil", "nat", "nan", "<na>", "-", "--", "?", "."))
_TRUTH = frozenset(("true", "false"))
#: what spreadsheets write where a formula fails; no comments
_FAILED = re.compile(r"#(n/a|div/0!|ref!|name\?|value!|num!|null!|spill!|calc!)", re.I)

#: a row: its line in the file, from 1, and its cells
Row = tuple[int, list[str]]


def read_table(field: str, path: str | Path) -> np.ndarray:
    """The numbers of a table, (rows, columns) float64.

    Raises:
        InvalidInput: no such file.
        CorruptFile: a cell that is not a finite number, rows of different lengths, no rows, or not text.
    """
    lines = numbered_lines(read_text(field, path))
    if not lines:
        raise CorruptFile.of(field, str(path), "rows of numbers", "It holds no rows.")
    separator = separator_of(lines[0][1])
    first = rows_of(lines[:1], separator)[0][1]
    if is_header(first):
        lines = lines[1:]
        if not lines:
            raise CorruptFile.of(field, str(path), "rows of numbers", "It holds a header and no rows.")
    elif len(lines) > 1 and len(first) > 1 and first == [str(i) for i in range(len(first))]:
        raise CorruptFile.of(
            field,
            f"{path}, line {lines[0][0]}: {show(','.join(first), 40)}",
            "a header of names, or none",
            "These look like column numbers (pandas writes them): remove the line (to_csv(header=False)). If it is "
            "data, put a line of names above it.",
        )
    try:
        table = np.loadtxt([line for _, line in lines], delimiter=separator, comments=None, quotechar='"', ndmin=2)
    except ValueError:
        table = np.full((1, 1), np.nan)
    if not np.isfinite(table).all():
        rows = rows_of(lines, separator)
        check_lengths(field, path, rows, len(rows[0][1]))
        refuse_cells(field, path, rows, range(len(rows[0][1])))
    return table


def separator_of(line: str) -> str | None:
    """What separates the cells of a line: semicolons, tabs or commas; None = blanks."""
    return next((s for s in (";", "\t", ",") if s in line), None)


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """The lines with content, without comments, and their numbers."""
    numbered = enumerate(re.split(r"\r\n|\n|\r", text), start=1)
    return [(i, line) for i, line in numbered if line.strip() and not _is_comment(line.lstrip())]


def _is_comment(line: str) -> bool:
    return line.startswith("#") and not _FAILED.match(line)


def rows_of(lines: Sequence[tuple[int, str]], separator: str | None) -> list[Row]:
    """The cells of lines."""
    if separator is None:
        return [(i, line.split()) for i, line in lines]
    cells = csv.reader((line for _, line in lines), delimiter=separator, skipinitialspace=True)
    return [(i, [cell.strip() for cell in row]) for (i, _), row in zip(lines, cells, strict=False)]


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first row is one of names."""
    return all(
        _NAME.fullmatch(cell) and not (_NOT_FINITE.fullmatch(cell) or is_missing(cell) or cell.lower() in _TRUTH)
        for cell in cells
    )


def is_missing(cell: str) -> bool:
    """Whether a cell is empty, or a word for that."""
    return cell.lower() in _MISSING


def check_lengths(field: str, path: str | Path, rows: Sequence[Row], width: int) -> None:
    """Refuse the first row that has not ``width`` cells.

    Raises:
        CorruptFile: as named.
    """
    for line, cells in rows:
        if len(cells) != width:
            where = f"{path}, line {line}: {len(cells)} cells"
            raise CorruptFile.of(field, where, f"{width} cells, as in the first row", "Give every row as many cells.")


def refuse_cells(field: str, path: str | Path, rows: Sequence[Row], columns: Sequence[int]) -> NoReturn:
    """Raise the error for the first cell, of some columns from 0, that is not a finite number.

    Raises:
        CorruptFile: always.
    """
    for line, cells in rows:
        for column in columns:
            cell = cells[column]
            if _NUMBER.fullmatch(cell) and np.isfinite(float(cell)):
                continue
            if is_missing(cell):
                advice = "A value is missing: fill it in, or remove the row."
            elif _DECIMAL_COMMA.fullmatch(cell):
                advice = "Write decimals with a point."
            elif _NOT_FINITE.fullmatch(cell) or _NUMBER.fullmatch(cell):
                advice = "It is not finite: remove the row, or correct it."
            else:
                advice = "Correct it; names in a header begin with a letter."
            where = f"{path}, line {line}, column {column + 1}: {show(cell, 40)}"
            raise CorruptFile.of(field, where, "a finite number", advice)
    raise CorruptFile.of(field, str(path), "rows of numbers", "It cannot be read.")
