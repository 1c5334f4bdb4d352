"""Readable names of a study's points, made of the settings that differ between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from powerplan.batch.jobs import ACCEPT
from powerplan.batch.schema import PLAN_SETTINGS
from powerplan.batch.validate import violation
from powerplan.errors import Violation
from powerplan.hardware.describe import described_fields
from powerplan.hardware.hardware import Hardware
from powerplan.settings import StepValues
from powerplan.units import quantity

#: settings of plans in the order of names, of columns and of the product (the last changes fastest); new ones follow
_ORDER = (
    "corners",
    "granularity",
    "optimize",
    "conductance",
    "voltage",
    "conductance_steps",
    "voltage_steps",
    "output_weights",
    "method",
    "dtype",
    "output_combinations",
    "marginal_fields",
    "memory_limit",
    "verify_draws",
    "calibrate",
    "seed",
    "tolerance",
    "max_iterations",
    "deadline",
)
#: settings that say how to plan: arguments of :func:`powerplan.plan` under the same name, and :data:`ACCEPT`
OPTIONS = (*_ORDER[1:], *(row.name for row in PLAN_SETTINGS if row.name not in _ORDER), ACCEPT)
#: settings of a point, in order
SETTINGS = ("network", "inputs", "hardware", "override", "corners", *OPTIONS, "target")
#: settings that are steps as text, and the unit of their gains
STEPS = {row.name: row.kind.unit for row in PLAN_SETTINGS if isinstance(row.kind, StepValues)}
#: settings whose value says by itself what it is
BARE = ("network", "inputs", "hardware", "granularity", "optimize", "method")
#: prefix of the axis of a hardware field
OVERRIDE = "override."


def axes_that_differ(chosen: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of the settings that differ between points, overrides by field."""
    differ: list[str] = []
    for name in SETTINGS:
        if name == "override":
            fields = dict.fromkeys(field for settings in chosen for field in settings[name])
            differ += [
                OVERRIDE + field
                for field in fields
                if len({_key(settings[name].get(field)) for settings in chosen}) > 1
            ]
        elif len({_key(settings[name]) for settings in chosen}) > 1:
            differ.append(name)
    return tuple(differ)


def setting(settings: Mapping[str, Any], axis: str) -> Any:
    """The value of an axis, such as "network" or "override.read_noise_std"; None where a point has none."""
    if axis.startswith(OVERRIDE):
        return settings["override"].get(axis.removeprefix(OVERRIDE))
    return settings[axis]


def _key(value: Any) -> Any:
    return tuple(sorted(value.items())) if isinstance(value, Mapping) else repr(value)


def make_names(chosen: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[str]:
    """Readable names: the values of the axes that differ."""
    texts: list[dict[Any, str]] = []
    for axis in axes:
        different = {_key(setting(settings, axis)): setting(settings, axis) for settings in chosen}
        texts.append(_labels(axis, different))
    names: list[str] = []
    for settings in chosen:
        parts = [text[_key(setting(settings, axis))] for axis, text in zip(axes, texts, strict=True)]
        names.append("/".join(part for part in parts if part) or str(settings["network"]))
    return names


def numbered(names: Sequence[str]) -> list[str]:
    """The names, a number added to those that repeat."""
    seen: dict[str, int] = {}
    different = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        different.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return different


def _labels(axis: str, different: Mapping[Any, Any]) -> dict[Any, str]:
    """Text of every value of an axis: four digits and its unit where they tell the values apart, else all digits."""
    short = {key: _label(axis, value, "") for key, value in different.items()}
    if len(set(short.values())) == len(short):
        return short
    return {key: _label(axis, value, "r") for key, value in different.items()}


def _label(axis: str, value: Any, digits: str) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, Mapping):
        return ",".join(f"{kind}={_text(item, digits)}" for kind, item in value.items())
    text = _text(value, digits, _unit_of(axis))
    return text if axis in BARE else f"{axis.removeprefix(OVERRIDE)}={text}"


def _unit_of(axis: str) -> str:
    """The unit of an axis of numbers, "" where they have none."""
    return described_fields(Hardware)[field][0] if (field := axis.removeprefix(OVERRIDE)) != axis else ""


def _text(value: Any, digits: str, unit: str = "") -> str:
    if isinstance(value, float):
        return repr(value) if digits == "r" else quantity(value, unit, 4).replace(" ", "")
    if isinstance(value, tuple | list):
        return "[" + ",".join(_text(item, digits, unit) for item in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def names_of_points(names: Sequence[str], single: Mapping[int, Mapping[str, Any]], wrong: list[Violation]) -> list[str]:
    """The names of the study file where it gives them; the explicit points, by their numbers there, come last."""
    named = list(names)
    first = len(named) - len(single)
    taken = set(named[:first])
    for place, (i, point) in enumerate(single.items(), start=first):
        if "name" not in point:
            continue
        if point["name"] in taken:
            wrong.append(
                violation(("points", i, "name"), point["name"], "a name of its own", "Another point is named so.")
            )
        taken.add(point["name"])
        named[place] = point["name"]
    return named
