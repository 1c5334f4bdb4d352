"""Values on the command line: ``2e-6``, ``2uS``, ``0.2 V``, ``5 mW``, ``1%``, and JSON."""

from __future__ import annotations

import re
from typing import Any

import click

from powerplan.errors import show

_PREFIXES = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6,
    "G": 1e9,
}  # fmt: skip
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity))\s*(.*?)\s*", re.I)


def parse_quantity(text: str, unit: str) -> float:
    """A number in SI units; ``unit`` is its unit, "" for a fraction (which may be given in %).

    A bare number is in SI units. With the unit written out an SI prefix (f p n u m k M G) is understood.

    Raises:
        ValueError: not a number, or another unit.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(text)
    number, suffix = float(match[1]), match[2]
    if not suffix:
        return number
    if not unit and suffix == "%":
        return number / 100
    if unit and suffix.endswith(unit) and suffix[: -len(unit)] in _PREFIXES:
        # dividing by a power of ten that is exact rounds once: 2uS is the same double as 2e-6
        scale = _PREFIXES[suffix[: -len(unit)]]
        return number / round(1 / scale) if scale < 1 else number * scale
    raise ValueError(text)


_NO_LIMIT = 1e9  # s, 31 years


class Quantity(click.ParamType):
    """A click type for :func:`parse_quantity`; with ``many`` a comma-separated list, as a tuple."""

    def __init__(self, unit: str = "", *, many: bool = False) -> None:
        self.unit = unit
        self.many = many
        self.name = unit or "fraction"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        name = self.unit.upper() if self.unit == "ohm" else self.unit or "NUMBER"
        return f"{name},..." if self.many else name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            values = tuple(parse_quantity(part, self.unit) for part in (value.split(",") if self.many else [value]))
        except ValueError:
            example = f"2e-6 or 2u{self.unit}" if self.unit else "0.01 or 1%"
            kind = "numbers separated by commas" if self.many else "a number"
            self.fail(f"got {value!r}; allowed: {kind}{f' [{self.unit}]' if self.unit else ''}, such as {example}.")
        return values if self.many else values[0]


class Seconds(Quantity):
    """A click type for a time to wait: more than any machine runs, or inf, is no limit."""

    def __init__(self) -> None:
        super().__init__("s")

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if not seconds > 0:
            self.fail(f"got {value!r}; allowed: a time > 0 [s], or inf for no limit.")
        return min(float(seconds), _NO_LIMIT)


class JSONValue(click.ParamType):
    """A click type for values with parts of their own, such as curves: JSON."""

    name = "JSON"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        import json

        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            self.fail(f'got {show(value)}; allowed: JSON, such as a number or {{"type": ...}}. {error}.')
