"""The resistances around the devices of an array."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wires:
    """Wires of an array [ohm].

    Attributes:
        row, column: of a row's and of a column's wire, per cell; one cell lies before the first device.
        driver: of the driver of a row.
        sense: at the end of a column, before its amplifier.
        both_ends: rows are driven from both of their ends.
    """

    row: float = 0.0
    column: float = 0.0
    driver: float = 0.0
    sense: float = 0.0
    both_ends: bool = False
