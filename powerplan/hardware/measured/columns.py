"""What the columns of a table of measurements are, by the words of its header: ``target [uS]``, ``R (kohm)``.

A unit may have a number before it (``level [1.25 uS]``: values count steps of 1.25 uS).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.errors import InvalidInput, show
from powerplan.reading.quantities import parse_quantity

#: what a column can be, and how headers call it (in small letters and digits alone)
ROLES: dict[str, tuple[str, ...]] = {
    "target": ("target", "targetconductance", "gtarget", "targetg", "aim", "setpoint", "set", "gset", "desired"),
    "level": ("level", "state", "code", "programmedlevel", "targetlevel"),
    "programmed": ("programmed", "justprogrammed", "gprogrammed", "programmedconductance", "gprog", "g0", "initial"),
    "measured": ("measured", "measuredconductance", "gmeasured", "gmeas", "conductance", "g", "read", "gread", "value"),
    "resistance": ("resistance", "measuredresistance", "r", "rmeas", "rread"),
    "mean": ("mean", "average", "avg", "gmean", "meanconductance", "meang", "mu"),
    "std": ("std", "stdev", "stddev", "sd", "sigma", "spread", "standarddeviation", "gstd", "stdconductance"),
    "time": ("time", "t", "delay", "age", "elapsed", "timeafterprogramming"),
}
#: a column that is not used
IGNORED = "-"
#: the unit of each role; a level is a name, or a number of steps if it has a unit
_UNITS = {"resistance": "ohm", "time": "s"}
_BRACKETED = re.compile(r"\s*(.*?)\s*(?:\[([^\]]*)\]|\(([^)]*)\))\s*")
_APPENDED = re.compile(r"(.*?)[_/ ]([afpnuµμmkMG]?(?:S|ohms?|Ohms?|Ω|\u2126)|s|ms|us|min|h|d|days?|hours?)")
_SPELLED = {
    "ohms": "ohm",
    "Ohm": "ohm",
    "Ohms": "ohm",
    "Ω": "ohm",
    "\u2126": "ohm",
    "hours": "h",
    "hour": "h",
    "sec": "s",
}
#: a conductance beyond it is no device's: the unit is missing
_MOST_SIEMENS = 0.1


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column in use.

    Attributes:
        role: what it is, see :data:`ROLES`.
        scale: by which its numbers are multiplied to be in SI units; None = nothing says so.
        name: as the table calls it.
    """

    role: str
    scale: float | None
    name: str


def column_of(name: str) -> Column | None:
    """The column that a header calls so; None if it is not one that is used.

    Raises:
        InvalidInput: a unit that is not one of its kind.
    """
    match = _BRACKETED.fullmatch(name) or _APPENDED.fullmatch(name.strip())
    words, unit = (
        (match[1], next((part for part in match.groups()[1:] if part is not None), "")) if match else (name, "")
    )
    letters = re.sub(r"[^a-z0-9]", "", words.lower())
    role = next((role for role, names in ROLES.items() if letters in names), None)
    if role is None:
        return None
    return Column(role=role, scale=_scale(role, unit.strip(), name), name=name.strip())


def _scale(role: str, unit: str, name: str) -> float | None:
    """What one unit is in SI units."""
    kind = _UNITS.get(role, "S")
    for spelled, short in _SPELLED.items():
        unit = re.sub(rf"{spelled}$", short, unit)
    if not unit:
        return 1.0 if role == "time" else None
    number = unit if unit[0].isdigit() or unit[0] in ".+" else f"1 {unit}"
    try:
        scale = parse_quantity(number, kind)
    except ValueError as error:
        example = {"S": "[uS]", "ohm": "[kohm]", "s": "[s] or [h]"}[kind]
        raise InvalidInput.of("columns", name, f"a unit of {kind}, such as {example}", str(error)) from error
    if not scale > 0:
        raise InvalidInput.of("columns", name, "a unit above 0", "Correct it.")
    return scale


def in_si(column: Column, numbers: np.ndarray) -> np.ndarray:
    """The numbers (rows,) of a column in SI units. Without a unit they are in them if that makes them a device's.

    Raises:
        InvalidInput: no unit is given, and the numbers are too large for siemens or too small for ohms.
    """
    if column.scale is not None:
        # dividing by a power of ten that is exact rounds once: 2 uS is the same double as 2e-6
        small = column.scale < 1 and math.isclose(1 / column.scale, round(1 / column.scale), rel_tol=1e-12)
        return numbers / round(1 / column.scale) if small else numbers * column.scale
    largest = float(np.abs(numbers).max())
    if largest >= 1 / _MOST_SIEMENS if column.role == "resistance" else largest <= _MOST_SIEMENS:
        return numbers
    unit = "ohm" if column.role == "resistance" else "S"
    example = "kohm" if unit == "ohm" else "uS"
    raise InvalidInput.of(
        f"column {show(column.name, 40)}",
        f"numbers up to {largest:g} without a unit",
        f"numbers in {unit}, or a unit",
        f"Write the unit in the header, as in '{column.name} [{example}]', or name all columns (columns=, --columns).",
    )


def columns_of(names: Sequence[str], *, asked: bool) -> list[Column | None]:
    """The column of each name.

    Args:
        asked: the names are a user's, not a file's: one that means nothing is an error.

    Raises:
        InvalidInput: two columns of one kind, missing ones, or a name that means nothing.
    """
    columns: list[Column | None] = []
    for name in names:
        column = None if name.strip() == IGNORED else column_of(name)
        if column is None and asked and name.strip() != IGNORED:
            raise InvalidInput.of(
                "columns", name, f"{', '.join(ROLES)}, or {IGNORED} for one to leave out", "Name every column in order."
            )
        columns.append(column)
    roles = [column.role for column in columns if column is not None]
    twice = next((role for role in roles if roles.count(role) > 1), None)
    if twice is not None:
        raise InvalidInput.of(
            "columns", ", ".join(names), f"one column with the {twice}", f"Leave the other out: name it {IGNORED}."
        )
    has = set(roles)
    if not has & {"target", "level", "programmed"}:
        raise InvalidInput.of(
            "columns",
            ", ".join(names),
            "one called target, level or programmed, for what the devices were programmed to",
            f"Rename it in the header, or name all columns in order (columns=, --columns), {IGNORED} for others.",
        )
    if not has & {"measured", "resistance", "mean"}:
        raise InvalidInput.of(
            "columns",
            ", ".join(names),
            "one called measured or resistance (of single devices), or mean and std",
            f"Rename it in the header, or name all columns in order (columns=, --columns), {IGNORED} for others.",
        )
    if "measured" in has and "resistance" in has:
        columns = [None if column is not None and column.role == "resistance" else column for column in columns]
    if "mean" in has and "std" not in has:
        raise InvalidInput.of("columns", ", ".join(names), "a std beside the mean", "Add the standard deviation.")
    return columns
