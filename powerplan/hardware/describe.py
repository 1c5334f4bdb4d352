"""What every field of the hardware means, read from its docstring: one text for help, reports and files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from powerplan.checks import Checker
from powerplan.reading.quantities import described, parse_quantity


@cache
def described_fields(kind: type) -> dict[str, tuple[str, str]]:
    """Unit and description of every field of a class with a docstring like the hardware's: name -> (unit, text)."""
    text = (kind.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0]
    entries = re.split(r"\n\s+(?=[a-z_]+: )", text)
    by_name = {}
    for entry in filter(str.strip, entries):
        name, _, description = " ".join(entry.split()).partition(": ")
        unit = re.search(r"\[(\w+)\]", description)
        by_name[name] = (unit[1] if unit else "", description)
    return by_name


def is_quantity(annotation: str) -> bool:
    """Whether a field with this annotation holds numbers that have a unit, one or several."""
    return annotation.startswith(("float", "tuple[float"))


def in_si(check: Checker, values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The values of fields as numbers where they are quantities as text ("50uS"); a wrong one is noted."""
    units = described_fields(kind)

    def number(path: str, value: object, unit: str) -> object:
        if not isinstance(value, str):
            return value
        try:
            return parse_quantity(value, unit)
        except ValueError as error:
            check.fail(path, value, described(unit), str(error))
            return value

    numeric = {field.name for field in fields(kind) if is_quantity(str(field.type))}
    numbers = dict(values)
    for name in numeric & values.keys():
        value, unit = values[name], units.get(name, ("", ""))[0]
        if isinstance(value, list | tuple):
            numbers[name] = type(value)(number(f"{name}[{i}]", one, unit) for i, one in enumerate(value))
        else:
            numbers[name] = number(name, value, unit)
    return numbers
