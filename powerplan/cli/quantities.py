"""Values on the command line: ``2e-6``, ``2uS``, ``0.2 V``, ``5 mW``, ``1%``, and JSON."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli.chat import Chat
from powerplan.errors import show
from powerplan.hardware.by_layer import NONE
from powerplan.reading.quantities import described, parse_quantity

#: units that say what a number means: without them 1 may be 1 % or 100 %, and 25 kelvin or Celsius
_CLEAR = ("%", "K")

_NO_LIMIT = 1e9  # s, 31 years


class Quantity(click.ParamType):
    """A click type for :func:`parse_quantity`; with ``many`` a comma-separated list, as a tuple.

    ``about`` is the field that the numbers are for, as doubts name it: one written in % or K leaves no doubt.
    """

    def __init__(self, unit: str = "", *, many: bool = False, about: str = "") -> None:
        self.unit = unit
        self.many = many
        self.about = about
        self.name = unit or "fraction"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        name = self.unit.upper() if self.unit == "ohm" else self.unit or "NUMBER"
        return f"{name},..." if self.many else name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            parts = value.split(",") if self.many else [value]
            values = tuple(parse_quantity(part, self.unit) for part in parts)
        except ValueError as error:
            kind = "numbers separated by commas: each " if self.many else ""
            reason = "" if described(self.unit) in str(error) else f" {error}"
            self.fail(f"got {value!r}; allowed: {kind}{described(self.unit)}.{reason}")
        chat = ctx.find_object(Chat) if ctx is not None else None
        if chat is not None and self.about:
            chat.stated.note(self.about, all(part.rstrip().endswith(_CLEAR) for part in parts))
        return values if self.many else values[0]


class WholeNumber(Quantity):
    """A click type for whole numbers, plain or with a unit; that they are whole is checked where they are used."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.unit or "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return int(value)
        except ValueError:
            return super().convert(value, param, ctx)


class ByLayer(Quantity):
    """A click type for one number, or one per layer ("8,6,none") in order or by name ("fc1=8,fc2=6")."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"{self.unit or 'N'}|LAYER=..,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",")]
        if any("=" in part for part in parts):
            named = [part.rpartition("=") for part in parts]
            if not all(name for name, _, _ in named):
                self.fail(f"got {value!r}; allowed: LAYER=NUMBER for every layer, separated by commas.")
            return {name.strip(): self._one(entry, param, ctx) for name, _, entry in named}
        numbers = [self._one(part, param, ctx) for part in parts]
        return numbers[0] if len(numbers) == 1 else numbers

    def _one(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if text.strip() == NONE:
            return None
        number = super().convert(text.strip(), param, ctx)
        return int(number) if float(number).is_integer() else number


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


class CostsValue(JSONValue):
    """A click type for costs: the name of published ones, a TOML file, or JSON."""

    name = "NAME|FILE.toml|JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or value.lstrip().startswith("{"):
            return super().convert(value, param, ctx)
        if not value.endswith(".toml"):
            if "/" in value or "." in value:
                self.fail(f"got {show(value)}; allowed: a file FILE.toml, the name of published costs, or JSON.")
            return value
        from powerplan.hardware.costs.values import Costs

        return Costs.from_toml(value).to_dict()
