"""Tables of numbers (.csv): every row counts, or there is an error that names line and column.

A header is a first row of which no cell is a number or missing. Cells are separated by commas, semicolons, tabs or
blanks, whichever the first row has; empty lines and lines that begin with ``#`` are left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from powerplan.errors import CorruptFile, show
from powerplan.reading.text import read_text

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.I)
_MISSING = frozenset(("", "na", "n/a", "#n/a", "null", "none", "-", "--", "?", "."))

#: a row: its line in the file, from 1, and its cells
_Row = tuple[int, list[str]]


def read_table(field: str, path: str | Path) -> np.ndarray:
    """The numbers of a table, (rows, columns) float64.

    Raises:
        InvalidInput: no such file.
        CorruptFile: a cell that is not a finite number, rows of different lengths, no rows, or not text.
    """
    rows = _rows(read_text(field, path))
    if not rows:
        raise CorruptFile.of(field, str(path), "rows of numbers", "It holds no rows.")
    if _is_header(rows[0][1]):
        rows = rows[1:]
        if not rows:
            raise CorruptFile.of(field, str(path), "rows of numbers", "It holds a header and no rows.")
    elif _is_index_header(rows):
        raise CorruptFile.of(
            field,
            f"{path}, line {rows[0][0]}: {show(','.join(rows[0][1]), 40)}",
            "a header of names, or none",
            "These look like column numbers (pandas writes them): remove the line (to_csv(header=False)). If it is "
            "data, put a line of names above it.",
        )
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise CorruptFile.of(
                field,
                f"{path}, line {line}: {len(cells)} cells",
                f"{width} cells, as in line {rows[0][0]}",
                "Give every row as many cells.",
            )
    try:
        table = np.array([cells for _, cells in rows], dtype=np.float64)
    except ValueError:
        table = np.full(1, np.nan)
    if not np.isfinite(table).all() or any("_" in cell for _, cells in rows for cell in cells):
        _refuse_a_cell(field, path, rows)
    return table


def _rows(text: str) -> list[_Row]:
    """The rows with content."""
    lines = [(i, line) for i, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1) if line.strip()]
    lines = [(i, line) for i, line in lines if not line.lstrip().startswith("#")]
    if not lines:
        return []
    first = lines[0][1]
    separator = next((s for s in (";", "\t", ",") if s in first), None)
    if separator is None:
        return [(i, line.split()) for i, line in lines]
    cells = csv.reader(io.StringIO("\n".join(line for _, line in lines)), delimiter=separator, skipinitialspace=True)
    return [(i, [cell.strip() for cell in row]) for (i, _), row in zip(lines, cells, strict=False)]


def _is_header(cells: Sequence[str]) -> bool:
    return not any(
        _NUMBER.fullmatch(cell) or _DECIMAL_COMMA.fullmatch(cell) or _NOT_FINITE.fullmatch(cell) or _is_missing(cell)
        for cell in cells
    )


def _is_missing(cell: str) -> bool:
    return cell.lower() in _MISSING


def _is_index_header(rows: Sequence[_Row]) -> bool:
    """True if rows follow one that counts its columns, 0, 1, 2, ..."""
    cells = rows[0][1]
    return len(rows) > 1 and len(cells) > 1 and cells == [str(i) for i in range(len(cells))]


def _refuse_a_cell(field: str, path: str | Path, rows: Sequence[_Row]) -> None:
    """Raise the error for the first cell that is not a finite number."""
    for line, cells in rows:
        for column, cell in enumerate(cells, start=1):
            if _NUMBER.fullmatch(cell) and np.isfinite(float(cell)):
                continue
            if _is_missing(cell):
                advice = "A value is missing: fill it in, or remove the row."
            elif _DECIMAL_COMMA.fullmatch(cell):
                advice = "Write decimals with a point."
            elif _NOT_FINITE.fullmatch(cell) or _NUMBER.fullmatch(cell):
                advice = "It is not finite: remove the row, or correct it."
            else:
                advice = "Correct it; a header is a first row in which no cell is a number."
            where = f"{path}, line {line}, column {column}: {show(cell, 40)}"
            raise CorruptFile.of(field, where, "a finite number", advice)
