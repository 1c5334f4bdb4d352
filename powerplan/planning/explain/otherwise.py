"""Hardware to plan for again: what the resistance of wires costs a plan, and what other wires and arrays, or what
compensation of known mean errors, would buy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.hardware.hardware import ideal_wires


def other_wires(hardwares: Sequence[Hardware]) -> list[tuple[str, tuple[Hardware, ...]]]:
    """What could be otherwise, in words, with the hardware of every corner so; nothing where all wires are ideal."""
    if not any(hardware.has_wires for hardware in hardwares):
        return []
    nominal = hardwares[0]
    changes: list[tuple[str, Callable[[Hardware], Hardware]]] = [("ideal wires", ideal_wires)]
    if any(h.wire_resistance_row or h.wire_resistance_column for h in hardwares):
        changes.append(("wires of half the resistance", _wider))
    rows, columns = (_half(size) for size in (nominal.array_rows, nominal.array_columns))
    if (rows, columns) != (nominal.array_rows, nominal.array_columns):
        changes.append((f"arrays of {rows} rows and {columns} columns", _smaller))
    changes += [
        (words, _with(field, value))
        for words, field, value in (
            ("drivers at both ends of the rows", "row_drive", "both_ends"),
            ("the two sides of pairs in separate arrays", "pair_layout", "separate_arrays"),
        )
        if getattr(nominal, field) != value and (field == "row_drive" or nominal.weight_mapping == "differential")
    ]
    return [(words, tuple(map(change, hardwares))) for words, change in changes]


#: fields that compensate, the value that does, and words for it
COMPENSATIONS = (
    ("column_scale", "least_bias", "column scales (column_scale='least_bias')"),
    ("row_scale", "least_bias", "row scales (row_scale='least_bias')"),
    ("predistort", True, "predistorted targets (predistort=True)"),
)


def compensations(hardwares: Sequence[Hardware]) -> list[tuple[str, tuple[Hardware, ...]]]:
    """The ways of compensating that this hardware does not use and allows, in words, with the hardware of every corner
    so; nothing where there is no mean error to know of."""
    if not any(has_known_errors(hardware) for hardware in hardwares):
        return []
    ways = []
    for field, value, words in COMPENSATIONS:
        try:
            changed = tuple(hardware.replace(**{field: value}) for hardware in hardwares)
        except InvalidInput:
            continue
        if getattr(hardwares[0], field) in ("none", False):
            ways.append((words, changed))
    return ways


def has_known_errors(hardware: Hardware) -> bool:
    """True if arrays make something else on average than they should."""
    return hardware.shifts_mean or hardware.has_wires


def _wider(hardware: Hardware) -> Hardware:
    names = ("wire_resistance_row", "wire_resistance_column")
    return hardware.replace(**{name: 0.5 * getattr(hardware, name) for name in names})


def _smaller(hardware: Hardware) -> Hardware:
    return hardware.replace(
        **{name: _half(size) for name in ("array_rows", "array_columns") if (size := getattr(hardware, name))}
    )


def _half(size: int | None) -> int | None:
    return None if size is None else max(1, size // 2)


def _with(field: str, value: str) -> Callable[[Hardware], Hardware]:
    return lambda hardware: hardware.replace(**{field: value})
