"""Names of the contract and the plain names that values have: fields without their unit, enums in lower case."""

from __future__ import annotations

import re
from typing import Any

_UNITS = (
    "siemens", "amperes", "volts", "ohms", "farads", "seconds", "joules", "kelvin", "hertz", "watts", "square_meters",
    "meters",
)  # fmt: skip


def plain_name(field: Any) -> str:
    """Name of a message's field without its unit."""
    name: str = field.name
    for unit in _UNITS:
        name = name.removesuffix(f"_{unit}")
    return name


def enum_numbers(enum: Any) -> dict[str, Any]:
    """Numbers of an enum by plain name; the number 0, which stands for nothing chosen, is left out."""
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"
    return {value.name.removeprefix(prefix).lower(): value.number for value in enum.values if value.number}


def enum_name(enum: Any, number: int) -> str:
    """Plain name of a number; "unspecified" for 0, the number as text if it is newer than this contract."""
    names = {known: name for name, known in enum_numbers(enum).items()}
    return names.get(number, str(number) if number else "unspecified")
