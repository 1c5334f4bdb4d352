"""Steps as text: ``10uS,20uS,40uS``, ``10uS:100uS:10uS``, ``10uS:100uS:3dB``, ``10uS:100uS:x2``, ``64``."""

from __future__ import annotations

import numpy as np

from powerplan.hardware.steps import Steps
from powerplan.reading.quantities import parse_quantity


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
