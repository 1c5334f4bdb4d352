"""Sweeps as text: ``adc_bits=4..10``, ``array_rows+array_columns=64,128,64x256``, ``time=1s..1d:6``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from powerplan.checks import choice
from powerplan.errors import InvalidInput
from powerplan.hardware.describe import described_fields
from powerplan.hardware.hardware import Hardware
from powerplan.reading.quantities import parse_quantity

_RANGE = re.compile(r"(.+?)\.\.(.+?)(?::(\d+))?")
_FORMS = "FIELD=4..10 (whole numbers), FIELD=1uS..8uS:5 (so many values, geometric), or FIELD=64,128,256"
_MOST = 1000


def parse_sweeps(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Values by the fields that each sweep sets, joined by "+".

    Raises:
        InvalidInput: another form, an unknown field (with the nearest one), a value of another kind, a field twice.
    """
    sweeps: dict[str, list[Any]] = {}
    seen: set[str] = set()
    for text in texts:
        joined, equals, values = text.partition("=")
        names = [name.strip().replace("-", "_") for name in joined.split("+")]
        if not equals or not values.strip():
            raise InvalidInput.of("sweep", text, _FORMS, "Name a field of the hardware and its values.")
        for name in names:
            choice("sweep field", name, [f.name for f in fields(Hardware)])
            if name in seen:
                raise InvalidInput.of("sweep", text, "each field once", f"{name} is swept already.")
            seen.add(name)
        sweeps["+".join(names)] = _values(text, names, values.strip())
    return sweeps


def _values(text: str, names: Sequence[str], values: str) -> list[Any]:
    name, match = names[0], _RANGE.fullmatch(values)
    kind = _kind(name)
    whole = kind.startswith("int")
    if match is None:
        return [_one_or_each(text, names, value.strip()) for value in values.split(",")]
    low, high = (_value(text, name, kind, edge) for edge in match.groups()[:2])
    if not isinstance(low, int | float) or isinstance(low, bool) or not low < high:
        raise InvalidInput.of("sweep", text, "a range of numbers, the smaller first", f"Write {_FORMS}.")
    count = None if match[3] is None else int(match[3])
    if whole and count is None:
        if high - low >= _MOST:
            raise InvalidInput.of("sweep", text, f"at most {_MOST} values", "Say how many: LOW..HIGH:COUNT.")
        return list(range(int(low), int(high) + 1))
    if count is None or not 2 <= count <= _MOST or low <= 0:
        raise InvalidInput.of("sweep", text, f"LOW..HIGH:COUNT above 0, of 2 to {_MOST} values", f"Write {_FORMS}.")
    points = np.geomspace(low, high, count)
    return sorted({round(float(point)) for point in points}) if whole else [float(point) for point in points]


def _kind(name: str) -> str:
    return next(str(f.type) for f in fields(Hardware) if f.name == name)


def _one_or_each(text: str, names: Sequence[str], value: str) -> Any:
    """One value for all fields, or one of each: ``64x128``."""
    parts = value.split("x")
    if len(parts) == len(names) > 1:
        return tuple(_value(text, name, _kind(name), part) for name, part in zip(names, parts, strict=True))
    return _value(text, names[0], _kind(names[0]), value)


def _value(text: str, name: str, kind: str, value: str) -> Any:
    """One value as the field takes it."""
    if kind == "bool":
        if value not in ("true", "false"):
            raise InvalidInput.of("sweep", text, "true or false", "Correct the value.")
        return value == "true"
    if value == "none" and "None" in kind:
        return None
    if kind.startswith("int"):
        if not value.isdigit():
            raise InvalidInput.of("sweep", text, "whole numbers", f"Write {_FORMS}.")
        return int(value)
    if not kind.startswith("float"):
        return value
    try:
        return parse_quantity(value, described_fields(Hardware).get(name, ("", ""))[0])
    except ValueError as error:
        raise InvalidInput.of("sweep", text, "numbers, with the unit of the field or without", str(error)) from error
