"""Steps on the command line: ``10uS,20uS,40uS``, ``10uS:100uS:10uS``, ``10uS:100uS:3dB``, ``10uS:100uS:x2``, ``64``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from powerplan.cli.quantities import parse_quantity
from powerplan.errors import InvalidInput

if TYPE_CHECKING:
    from powerplan.planning import Steps


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
        try:
            return parse_layers(value, self.unit)
        except InvalidInput as error:
            self.fail("; ".join(str(v) for v in error.violations))
        except ValueError:
            self.fail(f"got {value!r}; allowed: {allowed_steps(self.unit)}.")


def allowed_steps(unit: str) -> str:
    """What :func:`parse_layers` understands, in words."""
    return (
        f"values (1{unit},2{unit}), low:high:step, low:high:3dB, low:high:x2, a number of steps over the range (64 or "
        "64log), or none; ';' between layers"
    )


def parse_layers(text: str, unit: str) -> Steps | list[Steps | None] | None:
    """Steps of all layers, or of each layer where ``;`` separates them.

    Raises:
        ValueError: text that is not steps.
        InvalidInput: steps out of range.
    """
    layers = [None if part.strip() == "none" else parse_steps(part.strip(), unit) for part in text.split(";")]
    return layers[0] if len(layers) == 1 else layers


def parse_steps(text: str, unit: str) -> Steps:
    """Steps from text; ``unit`` is that of the gain.

    Raises:
        ValueError: text that is not steps.
        InvalidInput: steps out of range.
    """
    import numpy as np

    from powerplan.planning import Steps

    if text.removesuffix("log").isdecimal():
        spacing = "geometric" if text.endswith("log") else "linear"
        return Steps.over_range(int(text.removesuffix("log")), spacing=spacing)
    if ":" not in text:
        return Steps(values=np.array([parse_quantity(part, unit) for part in text.split(",")]))
    first, last, step = (part.strip() for part in text.split(":"))
    low, high = parse_quantity(first, unit), parse_quantity(last, unit)
    if step.endswith("dB"):
        return Steps.geometric(low, high, decibel=float(step.removesuffix("dB")))
    if step.startswith("x"):
        return Steps.geometric(low, high, ratio=float(step[1:]))
    return Steps.linear(low, high, parse_quantity(step, unit))
