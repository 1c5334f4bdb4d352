"""A table of measurements, read: every row counts, or is counted.

Comments (``#``) and empty lines are left out, rows with a gap are left out and counted; anything else that is not a
number is an error that names its line.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput, show
from powerplan.hardware.measured.columns import IGNORED, Column, columns_of, in_si
from powerplan.reading.tables import (
    Row,
    check_lengths,
    is_header,
    is_missing,
    numbered_lines,
    refuse_cells,
    rows_of,
    separator_of,
)
from powerplan.reading.text import decoded, read_bytes

#: bytes of a table, unpacked
_MOST_BYTES = 500_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The columns of a table in SI units, (rows,) each; resistances have become conductances.

    Attributes:
        values: by role; "level" may be text.
        rows: in the file; incomplete: of them, left out for a gap; of_no_use: names of columns that were not used.
    """

    values: dict[str, np.ndarray]
    rows: int
    incomplete: int
    of_no_use: tuple[str, ...]


def read_table(path: str | Path, columns: str | Sequence[str] | None = None) -> Table:
    """The table in a file: text (.csv, .tsv, .txt), or that packed with gzip.

    Args:
        columns: names of all columns in order, instead of those of a header; a list, or one text with commas.

    Raises:
        InvalidInput: no such file, or columns that do not say what is needed.
        CorruptFile: a cell that is no number, rows of different lengths, no rows.
    """
    text = _text(path)
    lines = numbered_lines(text)
    if not lines:
        raise CorruptFile.of("measurements", str(path), "rows of numbers", "It holds no rows.")
    separator = separator_of(lines[0][1])
    rows = rows_of(lines, separator)
    header = rows[0][1] if is_header(rows[0][1]) else None
    header, rows = (header, rows[1:]) if header is not None else (_commented_header(text, rows[0], separator), rows)
    if columns is not None:
        asked = columns.split(",") if isinstance(columns, str) else list(columns)
        width = len(header or rows[0][1])
        if len(asked) != width:
            raise InvalidInput.of("columns", ", ".join(asked), f"{width} names, one per column", "Name others '-'.")
        header, meant = asked, columns_of(asked, asked=True)
    elif header is not None:
        meant = columns_of(header, asked=False)
    else:
        raise InvalidInput.of(
            "columns",
            f"a first row of numbers ({show(', '.join(rows[0][1]), 60)})",
            "a header, or the names of all columns",
            "Say what they are, in order, with '-' for one to leave out: "
            "columns='target [uS], measured [uS], time [s]' (--columns on the command line).",
        )
    if not rows:
        raise CorruptFile.of("measurements", str(path), "rows of numbers", "It holds a header and no rows.")
    check_lengths("measurements", path, rows, len(header))
    return _read(path, rows, meant, _of_no_use(header, meant))


def _commented_header(text: str, first: Row, separator: str | None) -> list[str] | None:
    """The names in a comment just above the first row, if there is one for each of its cells."""
    line, cells = first
    above = text.splitlines()[line - 2].lstrip() if line > 1 else ""
    names = rows_of([(line - 1, above.lstrip("#"))], separator)[0][1] if above.startswith("#") else []
    return names if len(names) == len(cells) and is_header(names) else None


def _of_no_use(header: Sequence[str], meant: Sequence[Column | None]) -> tuple[str, ...]:
    names = (name.strip() for name, column in zip(header, meant, strict=True) if column is None)
    return tuple(name for name in names if name != IGNORED)


def _text(path: str | Path) -> str:
    content = read_bytes("measurements", path, most_bytes=_MOST_BYTES)
    if content.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as stream:
                content = stream.read(_MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise CorruptFile.of(
                "measurements", str(path), "a complete gzip file", f"{error}. Pack it again."
            ) from error
        if len(content) > _MOST_BYTES:
            raise CorruptFile.of("measurements", str(path), f"at most {_MOST_BYTES} bytes", "Give a smaller file.")
    return decoded("measurements", path, content)


def _read(path: str | Path, rows: Sequence[Row], meant: Sequence[Column | None], of_no_use: tuple[str, ...]) -> Table:
    used = [(k, column) for k, column in enumerate(meant) if column is not None]
    whole = [row for row in rows if not any(is_missing(row[1][k]) for k, _ in used)]
    if not whole:
        raise CorruptFile.of("measurements", str(path), "rows without gaps", "Every row has a gap: fill them in.")
    values: dict[str, np.ndarray] = {}
    for k, column in used:
        if column.role == "level" and column.scale is None:
            values["level"] = np.array([cells[k] for _, cells in whole])
            continue
        numbers = in_si(column, _numbers(path, whole, k))
        if column.role == "resistance":
            if not numbers.all():
                line = whole[int(np.argmin(numbers != 0))][0]
                raise CorruptFile.of("measurements", f"{path}, line {line}: 0 ohm", "a resistance", "Correct the row.")
            values["measured"] = 1 / numbers
        else:
            values["target" if column.role == "level" else column.role] = numbers  # steps of a known size
    for role in ("time", "std"):
        if role in values and (values[role] < 0).any():
            line = whole[int(np.argmin(values[role] >= 0))][0]
            raise CorruptFile.of("measurements", f"{path}, line {line}", f"a {role} of at least 0", "Correct the row.")
    return Table(values=values, rows=len(rows), incomplete=len(rows) - len(whole), of_no_use=of_no_use)


def _numbers(path: str | Path, rows: Sequence[Row], k: int) -> np.ndarray:
    try:
        numbers = np.array([float(cells[k]) for _, cells in rows])
    except ValueError:
        numbers = np.full(1, np.nan)
    if not np.isfinite(numbers).all():
        refuse_cells("measurements", path, rows, [k])
    return numbers
