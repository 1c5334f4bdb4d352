"""From a study's plain values to its points: the product of a grid and of zipped groups, then the single points.

Every point carries its whole settings, defaults filled in, and a readable name made of the settings that differ.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from powerplan.batch.consistency import check_options, check_references
from powerplan.batch.jobs import ACCEPT
from powerplan.batch.naming import (
    OPTIONS,
    OVERRIDE,
    SETTINGS,
    axes_that_differ,
    make_names,
    names_of_points,
    numbered,
)
from powerplan.batch.pruning import Path, may_follow
from powerplan.batch.schema import PARTS, PLAN_SETTINGS
from powerplan.batch.validate import violation
from powerplan.errors import Violation

#: most points of a study
MOST_POINTS = 100_000

Axis = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One plan of a study. ``settings`` maps every name of :data:`SETTINGS` to a plain value."""

    name: str
    settings: Mapping[str, Any]


def make_points(
    values: Mapping[str, Any], cuts: Collection[Path] = ()
) -> tuple[tuple[Point, ...], tuple[str, ...], list[Violation]]:
    """Points of a study that follows the schema, the names of the settings that differ, and what is wrong.

    Where something is wrong the points are those that can be made, for further checks. There are none if there would be
    more than :data:`MOST_POINTS`.

    Args:
        cuts: places that were left out of the values because they break the schema.
    """
    wrong: list[Violation] = []
    blocks = _blocks(values, wrong)
    single = values.get("points", [])
    count = len(single) + math.prod(len(block) for block in blocks) * bool(blocks)
    if count > MOST_POINTS:
        too_many = violation(
            ("grid",),
            f"{count:,} points",
            f"at most {MOST_POINTS:,} points",
            "Take fewer values per axis, zip axes that belong together, or split the study.",
        )
        return (), (), [too_many, *_own(wrong, cuts), *check_references(values, cuts)]
    if not count:
        wrong.append(
            violation(("grid",), "no points", "a grid, a zip or points", "Add [grid] with target.max_nmse = [0.01].")
        )
    default = _defaults(values)
    chosen: list[tuple[Path, dict[str, Any]]] = []
    if blocks:
        for combination in itertools.product(*blocks):
            settings = {**default, "override": {}}
            for part in combination:
                for name, value in part:
                    _set(settings, name, value)
            chosen += [(("grid",), resolved) for resolved in _with_inputs(values, settings)]
    first = len(chosen)
    for i, explicit in enumerate(single):
        settings = {**default, "override": {}}
        for name in explicit.keys() - {"name"}:
            _set(settings, name, explicit[name])
        chosen += _single(values, settings, i, wrong)
    wrong += check_options(chosen)
    wrong = [*_own(wrong, cuts), *check_references(values, cuts)]
    settings_of = [settings for _, settings in chosen]
    axes = axes_that_differ(settings_of)
    names = [
        *make_names(settings_of[:first], axes_that_differ(settings_of[:first])),
        *make_names(settings_of[first:], axes),
    ]
    numbers = [int(path[1]) for path, _ in chosen[first:]]
    names = numbered(names_of_points(names, {i: single[i] for i in numbers}, wrong))
    points = tuple(
        Point(name=name, settings={key: settings[key] for key in SETTINGS})
        for name, (_, settings) in zip(names, chosen, strict=True)
    )
    return points, axes, wrong


def _own(wrong: list[Violation], cuts: Collection[Path]) -> list[Violation]:
    """Those that do not come from what was left out."""
    return [each for each in wrong if not may_follow(each, cuts)] if cuts else wrong


def _blocks(values: Mapping[str, Any], wrong: list[Violation]) -> list[list[tuple[tuple[str, Any], ...]]]:
    """The factors of the product: one per axis of the grid and one per zipped group, in the order of settings.

    An axis whose values cannot be had, which is among ``wrong``, is left out.
    """
    if "grid" not in values and not values.get("zip"):
        return []
    factors: list[list[tuple[tuple[str, Any], ...]]] = []
    axes = dict(_expand(values.get("grid", {}), ("grid",), wrong))
    zipped: set[str] = set()
    for i, group in enumerate(values.get("zip", [])):
        here = _expand(group, ("zip", i), wrong)
        lengths = {name: len(items) for name, items in here if items}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items())
            wrong.append(violation(("zip", i), said, "lists of one length", "Give every axis as many values."))
        for name, _ in here:
            if name in axes or name in zipped:
                wrong.append(
                    violation(("zip", i, name), name, "an axis that is given once", "Remove it here or elsewhere.")
                )
        zipped |= {name for name, _ in here}
        if lengths:
            rows = zip(*(items for _, items in here if items), strict=False)
            factors.append([tuple(zip(lengths, row, strict=True)) for row in rows])
    if "target" not in axes and "target" not in zipped:
        wrong.append(violation(("grid", "target"), "nothing", "targets", "Add target.max_nmse = [0.01, 0.1]."))
    for name in ("network", "hardware"):
        if name not in axes and name not in zipped and values.get(f"{name}s" if name == "network" else name):
            axes[name] = tuple(values["networks" if name == "network" else name])
    factors += [[((name, item),) for item in items] for name, items in axes.items() if items]
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
    of_parts: list[dict[str, Any]] = [
        {part: item} for part in PARTS if part in value for item in _items(value[part], (*path, part), wrong)
    ] or [{}]
    kinds = [kind for kind in value if kind not in PARTS]
    if not kinds:
        alone = " and ".join(part for part in PARTS if part in value)
        wrong.append(violation(path, f"{alone} alone", "targets", "Add target.max_nmse = [0.01, 0.1]."))
    for kind in kinds:
        yield from ({kind: item, **part} for item in _items(value[kind], (*path, kind), wrong) for part in of_parts)


def _items(value: Any, path: tuple[str | int, ...], wrong: list[Violation]) -> tuple[Any, ...]:
    """The values of an axis: a list, a range (nothing if it is none), or a single one."""
    if isinstance(value, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in value)
    if isinstance(value, Mapping) and {"from", "to", "points"} <= value.keys():
        return _range(value, path, wrong)
    return (value,)


def _range(value: Mapping[str, Any], path: tuple[str | int, ...], wrong: list[Violation]) -> tuple[float, ...]:
    first, last, count, scale = value["from"], value["to"], value["points"], value.get("scale", "log")
    if scale == "log" and not (first > 0 and last > 0):
        wrong.append(violation(path, f"from {first:g} to {last:g}", "a log range above 0", "Write scale = 'linear'."))
        return ()
    if first == last:
        wrong.append(violation(path, f"from {first:g} to {last:g}", "two different ends", "Give the single value."))
        return ()
    space = np.geomspace if scale == "log" else np.linspace
    # twelve digits are enough, read well and do not depend on the machine
    return tuple(float(f"{x:.12g}") for x in space(first, last, count))


def plan_defaults() -> Mapping[str, Any]:
    """Settings that are arguments of :func:`powerplan.plan`, with its defaults as plain values."""
    defaults = {row.name: row.default for row in PLAN_SETTINGS} | {ACCEPT: False}
    return {name: defaults[name] for name in ("corners", *OPTIONS)} | {"optimize": "+".join(defaults["optimize"])}


def _defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a point that says nothing: those of :func:`powerplan.plan`, and no target."""
    networks, hardware = list(values.get("networks", {})), list(values.get("hardware", {}))
    return {
        **plan_defaults(),
        "network": networks[0] if len(networks) == 1 else None,
        "hardware": hardware[0] if len(hardware) == 1 else None,
        "inputs": None,
        "target": None,
    }


def _set(settings: dict[str, Any], name: str, value: Any) -> None:
    if name.startswith(OVERRIDE):
        settings["override"][name.removeprefix(OVERRIDE)] = value
    elif name == "corners" and isinstance(value, str):
        settings[name] = (value,)
    else:
        settings[name] = tuple(value) if isinstance(value, list) else value


def inputs_of(values: Mapping[str, Any], network: str | None) -> tuple[str | None, ...]:
    """Names of the inputs that a network can take; None stands for an example's own (or for those of no network)."""
    definition = _network(values, network)
    named = definition.get("inputs")
    if named is not None:
        return (named,) if isinstance(named, str) else tuple(named)
    return tuple(values.get("inputs", {})) if "file" in definition else (None,)


def _network(values: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """The definition of a network, empty if there is none."""
    definition: Mapping[str, Any] = values.get("networks", {}).get(name, {})
    return definition


def _with_inputs(values: Mapping[str, Any], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings with every kind of inputs that belongs to the network, of those asked for."""
    own = inputs_of(values, settings["network"])
    asked = settings["inputs"]
    if asked is None:
        return [{**settings, "inputs": name} for name in own]
    listed = _network(values, settings["network"]).get("inputs")
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
