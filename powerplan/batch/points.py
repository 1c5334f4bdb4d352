"""From a study's plain values to its points: the product of a grid and of zipped groups, then the single points.

Every point carries its whole settings, defaults filled in, and a readable name made of the settings that differ.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from powerplan.batch.naming import OPTIONS, OVERRIDE, SETTINGS, axes_that_differ, given_names, make_names, numbered
from powerplan.batch.validate import violation
from powerplan.checks import nearest
from powerplan.cli.steps import allowed_steps, parse_layers
from powerplan.errors import InvalidInput, Violation
from powerplan.planning import plan
from powerplan.planning.targets import VERIFIED

#: settings that are steps as text, and the unit of their gains
STEPS = {"conductance_steps": "S", "voltage_steps": "V"}
#: most points of a study
MOST_POINTS = 100_000

Axis = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One plan of a study. ``settings`` maps every name of :data:`SETTINGS` to a plain value."""

    name: str
    settings: Mapping[str, Any]


def make_points(values: Mapping[str, Any]) -> tuple[tuple[Point, ...], tuple[str, ...], list[Violation]]:
    """Points of a study that follows the schema, the names of the settings that differ, and what is wrong.

    Raises:
        InvalidInput: more than :data:`MOST_POINTS`; nothing is built then.
    """
    wrong: list[Violation] = []
    blocks = _blocks(values, wrong)
    single = values.get("points", [])
    count = len(single) + math.prod(len(block) for block in blocks) * bool(blocks)
    if count > MOST_POINTS:
        raise InvalidInput(
            violation(
                ("grid",),
                f"{count:,} points",
                f"at most {MOST_POINTS:,} points",
                "Take fewer values per axis, zip axes that belong together, or split the study.",
            )
        )
    if not count:
        wrong.append(
            violation(("grid",), "no points", "a grid, a zip or points", "Add [grid] with target.max_nmse = [0.01].")
        )
    default = _defaults(values)
    chosen: list[tuple[tuple[str | int, ...], dict[str, Any]]] = []
    if blocks:
        for combination in itertools.product(*blocks):
            settings = {**default, "override": {}}
            for part in combination:
                for name, value in part:
                    _set(settings, name, value)
            chosen += [(("grid",), resolved) for resolved in _with_inputs(values, settings)]
    for i, given in enumerate(single):
        settings = {**default, "override": {}}
        for name in given.keys() - {"name"}:
            _set(settings, name, given[name])
        chosen += _single(values, settings, i, wrong)
    wrong += _check_references(values)
    wrong += _check_options(chosen)
    if wrong:
        return (), (), wrong
    settings_of = [settings for _, settings in chosen]
    axes = axes_that_differ(settings_of)
    first = len(chosen) - len(single)
    names = [
        *make_names(settings_of[:first], axes_that_differ(settings_of[:first])),
        *make_names(settings_of[first:], axes),
    ]
    names = numbered(given_names(names, single, wrong))
    points = tuple(
        Point(name=name, settings={key: settings[key] for key in SETTINGS})
        for name, (_, settings) in zip(names, chosen, strict=True)
    )
    return points, axes, wrong


def _blocks(values: Mapping[str, Any], wrong: list[Violation]) -> list[list[tuple[tuple[str, Any], ...]]]:
    """The factors of the product: one per axis of the grid and one per zipped group, in the order of settings."""
    if "grid" not in values and not values.get("zip"):
        return []
    factors: list[list[tuple[tuple[str, Any], ...]]] = []
    axes = dict(_expand(values.get("grid", {}), ("grid",), wrong))
    zipped: set[str] = set()
    for i, group in enumerate(values.get("zip", [])):
        here = _expand(group, ("zip", i), wrong)
        lengths = {name: len(items) for name, items in here}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            wrong.append(violation(("zip", i), said, "lists of one length", "Give every axis as many values."))
        for name in lengths:
            if name in axes or name in zipped:
                wrong.append(
                    violation(("zip", i, name), name, "an axis that is given once", "Remove it here or elsewhere.")
                )
        zipped |= lengths.keys()
        if here:
            rows = zip(*(items for _, items in here), strict=False)
            factors.append([tuple(zip(lengths, row, strict=True)) for row in rows])
    if "target" not in axes and "target" not in zipped:
        wrong.append(violation(("grid", "target"), "nothing", "targets", "Add target.max_nmse = [0.01, 0.1]."))
    for name in ("network", "hardware"):
        if name not in axes and name not in zipped and values.get(f"{name}s" if name == "network" else name):
            axes[name] = tuple(values["networks" if name == "network" else name])
    factors += [[((name, item),) for item in items] for name, items in axes.items()]
    return sorted(factors, key=lambda factor: min(_place(name) for name, _ in factor[0]) if factor else 0)


def _place(name: str) -> int:
    return SETTINGS.index(name.partition(".")[0])


def _expand(table: Mapping[str, Any], path: tuple[str | int, ...], wrong: list[Violation]) -> list[Axis]:
    """The axes of a grid or of a zipped group, each with its values; overrides are one axis per field."""
    axes: list[Axis] = []
    for name, value in table.items():
        if name == "target":
            axes.append((name, tuple(_targets(value, (*path, name), wrong))))
        elif name == "override":
            for field, items in value.items():
                axes.append((OVERRIDE + field, _items(items, (*path, name, field), wrong)))
        else:
            axes.append((name, _items(value, (*path, name), wrong)))
    return axes


def _targets(value: Any, path: tuple[str | int, ...], wrong: list[Violation]) -> Iterator[dict[str, float]]:
    if isinstance(value, list):
        yield from (dict(one) for one in value)
        return
    for kind, items in value.items():
        yield from ({kind: item} for item in _items(items, (*path, kind), wrong))


def _items(value: Any, path: tuple[str | int, ...], wrong: list[Violation]) -> tuple[Any, ...]:
    """The values of an axis: a list, a range, or a single one."""
    if isinstance(value, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in value)
    if isinstance(value, Mapping) and {"from", "to", "points"} <= value.keys():
        return _range(value, path, wrong)
    return (value,)


def _range(value: Mapping[str, Any], path: tuple[str | int, ...], wrong: list[Violation]) -> tuple[float, ...]:
    first, last, count, scale = value["from"], value["to"], value["points"], value.get("scale", "log")
    if scale == "log" and not (first > 0 and last > 0):
        wrong.append(violation(path, f"from {first:g} to {last:g}", "a log range above 0", "Write scale = 'linear'."))
        return (first,)
    if first == last:
        wrong.append(violation(path, f"from {first:g} to {last:g}", "two different ends", "Give the single value."))
        return (first,)
    space = np.geomspace if scale == "log" else np.linspace
    # twelve digits are enough, read well and do not depend on the machine
    return tuple(float(f"{x:.12g}") for x in space(first, last, count))


@cache
def plan_defaults() -> Mapping[str, Any]:
    """Settings that are arguments of :func:`powerplan.plan`, with its defaults as plain values."""
    given = {name: parameter.default for name, parameter in inspect.signature(plan).parameters.items()}
    return {name: given[name] for name in ("corners", *OPTIONS)} | {"optimize": "+".join(given["optimize"])}


def _defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a point that says nothing: those of :func:`powerplan.plan`."""
    networks, hardware = list(values.get("networks", {})), list(values.get("hardware", {}))
    return {
        **plan_defaults(),
        "network": networks[0] if len(networks) == 1 else None,
        "hardware": hardware[0] if len(hardware) == 1 else None,
        "inputs": None,
    }


def _set(settings: dict[str, Any], name: str, value: Any) -> None:
    if name.startswith(OVERRIDE):
        settings["override"][name.removeprefix(OVERRIDE)] = value
    elif name == "corners" and isinstance(value, str):
        settings[name] = (value,)
    else:
        settings[name] = tuple(value) if isinstance(value, list) else value


def inputs_of(values: Mapping[str, Any], network: str) -> tuple[str | None, ...]:
    """Names of the inputs that a network can take; None stands for an example's own."""
    definition = values["networks"].get(network, {})
    named = definition.get("inputs")
    if named is not None:
        return (named,) if isinstance(named, str) else tuple(named)
    return (None,) if "example" in definition else tuple(values.get("inputs", {}))


def _with_inputs(values: Mapping[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings with every kind of inputs that belongs to the network, of those asked for."""
    own = inputs_of(values, settings["network"])
    asked = settings["inputs"]
    if asked is None:
        return [{**settings, "inputs": name} for name in own]
    listed = values["networks"].get(settings["network"], {}).get("inputs")
    return [settings] if listed is None or asked in own else []


def _single(
    values: Mapping[str, Any], settings: dict[str, Any], i: int, wrong: list[Violation]
) -> list[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """One explicit point, or nothing if it leaves open what it is about."""
    for name, kind in (("network", "networks"), ("hardware", "hardware")):
        if settings[name] is None and (kind == "networks" or values.get(kind)):
            allowed = ", ".join(values.get(kind, {})) or "none is defined"
            wrong.append(violation(("points", i, name), "nothing", f"one of {allowed}", f"Add {name}."))
            return []
    choices = _with_inputs(values, settings)
    if len(choices) != 1:
        own = [name for name in inputs_of(values, settings["network"]) if name]
        wrong.append(
            violation(
                ("points", i, "inputs"),
                settings["inputs"] or "nothing",
                "one of " + ", ".join(own) if own else "inputs of the network",
                "Name the inputs of this point.",
            )
        )
        return []
    return [(("points", i), choices[0])]


def _check_references(values: Mapping[str, Any]) -> Iterator[Violation]:
    """Names that refer to nothing, and networks without inputs."""
    known = {
        "network": list(values.get("networks", {})),
        "hardware": list(values.get("hardware", {})),
        "inputs": list(values.get("inputs", {})),
    }

    def refer(path: tuple[str | int, ...], kind: str, value: Any) -> Iterator[Violation]:
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, list):
                yield from refer(path, kind, name)
            elif name not in known[kind]:
                allowed = "one of " + ", ".join(known[kind]) if known[kind] else f"a name defined under {kind}"
                yield violation(path, name, allowed, nearest(name, known[kind]))

    for name, definition in values.get("networks", {}).items():
        if "inputs" in definition:
            yield from refer(("networks", name, "inputs"), "inputs", definition["inputs"])
        elif "file" in definition and not known["inputs"]:
            yield violation(
                ("networks", name, "inputs"), "nothing", "calibration inputs", "Add [inputs.NAME] with file = ..."
            )
    tables: list[tuple[tuple[str | int, ...], Mapping[str, Any]]] = [(("grid",), values.get("grid", {}))]
    tables += [(("zip", i), group) for i, group in enumerate(values.get("zip", []))]
    tables += [(("points", i), point) for i, point in enumerate(values.get("points", []))]
    for path, table in tables:
        for axis, kind in (*((kind, kind) for kind in known), ("corners", "hardware")):
            if axis in table:
                yield from refer((*path, axis), kind, table[axis])


def _verified(settings: Mapping[str, Any]) -> bool:
    """Whether a point's plan is simulated: as it says, else where the target is on classes."""
    draws = settings["verify_draws"]
    return not VERIFIED.isdisjoint(settings.get("target", ())) if draws is None else draws > 0


def _check_options(chosen: Sequence[tuple[tuple[str | int, ...], Mapping[str, Any]]]) -> Iterator[Violation]:
    """Options that contradict each other, once for each place."""
    for path in dict.fromkeys(path for path, s in chosen if s["verify_draws"] == 1):
        yield violation((*path, "verify_draws"), 1, "0, or at least 2", "A standard error needs two draws.")
    for path in dict.fromkeys(path for path, s in chosen if s["calibrate"] and not _verified(s)):
        yield violation((*path, "calibrate"), True, "only with verify_draws", "Give verify_draws, for example 2000.")
    for path in dict.fromkeys(path for path, s in chosen if s["output_combinations"] == 1):
        yield violation((*path, "output_combinations"), 1, "0, or at least 2", "A standard error needs two.")
    for path in dict.fromkeys(path for path, s in chosen if s["output_weights"] and not any(s["output_weights"])):
        yield violation((*path, "output_weights"), "zeros", "at least one weight > 0", "Say which outputs count.")
    for name, unit in STEPS.items():
        for path, text in dict.fromkeys((path, s[name]) for path, s in chosen if s[name] is not None):
            try:
                parse_layers(text, unit)
            except InvalidInput as error:
                for wrong in error.violations:
                    yield violation((*path, name), text, wrong.allowed, wrong.advice)
            except ValueError:
                yield violation((*path, name), text, allowed_steps(unit), "Write the steps in one of these ways.")
