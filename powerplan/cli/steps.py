"""Steps on the command line."""

from __future__ import annotations

from typing import Any

import click

from powerplan.errors import InvalidInput


class StepsType(click.ParamType):
    """A click type for steps in a unit; layers are separated by ``;`` (``none``: continuous)."""

    name = "STEPS"

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        from powerplan.hardware.steps_text import allowed_steps, parse_layers

        try:
            return parse_layers(value, self.unit)
        except InvalidInput as error:
            self.fail("; ".join(str(v) for v in error.violations))
        except ValueError:
            self.fail(f"got {value!r}; allowed: {allowed_steps(self.unit)}.")
