"""What is left of a study's values without the places that break the schema, so that the rest can be checked at once.

A place is cut out as a whole: an item of a list, an axis, a field of a definition or of a point. What is then found
wrong is told only if it cannot come from what was cut: a group of axes whose lengths differ because a value is gone
is not an error of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from powerplan.errors import Violation

Path = tuple[str | int, ...]

#: tables of definitions by name, and lists of groups and points: their entries stay, be they empty, since others
#: refer to them by name or by number
_DEFINITIONS = ("networks", "inputs", "hardware")
_NUMBERED = ("zip", "points")
_GONE = object()


def field_name(path: Path) -> str:
    """``("points", 3, "target")`` as ``points[3].target``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "study"


def place_of(path: Path) -> Path:
    """The place to cut out for an error at a path: no part of a range, of a nested list or of a point's target."""
    if path[:1] and path[0] in _DEFINITIONS:
        return path[:3]
    begin = 1 if path[:1] == ("grid",) else 2 if path[:1] and path[0] in _NUMBERED else None
    if begin is None:
        return path[:1]
    single = path[0] == "points"
    kinds = path[begin + 1 : begin + 2]
    nested = path[begin : begin + 1] == ("override",) or (
        path[begin : begin + 1] == ("target",) and not single and bool(kinds) and isinstance(kinds[0], str)
    )
    end = begin + 1 + nested
    if not single and len(path) > end and isinstance(path[end], int):
        end += 1
    return path[:end]


def without(values: Mapping[str, Any], cuts: Collection[Path]) -> Mapping[str, Any]:
    """The values without these places, and without lists and tables that have become empty."""
    if not cuts:
        return values
    pruned: Any = _pruned(values, (), frozenset(cuts))
    return {} if pruned is _GONE else pruned


def _pruned(value: Any, path: Path, cuts: frozenset[Path]) -> Any:
    pruned: Any = value
    if path in cuts:
        pruned = _GONE
    elif isinstance(value, Mapping):
        children = {key: _pruned(child, (*path, key), cuts) for key, child in value.items()}
        pruned = {key: child for key, child in children.items() if child is not _GONE}
    elif isinstance(value, list | tuple):
        pruned = [child for i, item in enumerate(value) if (child := _pruned(item, (*path, i), cuts)) is not _GONE]
    if isinstance(pruned, list | dict) and not pruned and value:
        pruned = _GONE
    stays = len(path) == 2 and (path[0] in _DEFINITIONS or path[0] in _NUMBERED)
    return {} if pruned is _GONE and stays else pruned


def may_follow(wrong: Violation, cuts: Collection[Path]) -> bool:
    """Whether what was found at a point or an axis may come from a place that was cut out."""
    field = wrong.field
    names = [field_name(cut) for cut in cuts]
    if any(_within(field, name) or _within(name, field) for name in names):
        return True
    about = field.rpartition(".")[2]
    tables = {cut[0] for cut in cuts if len(cut) == 1}
    steps = {step for cut in cuts for step in cut}
    return (
        (about == "network" and "networks" in tables)
        or (about == "hardware" and "hardware" in tables)
        or (about == "inputs" and bool(steps & {"networks"} or tables & {"inputs"}))
        or (about == "target" and "target" in steps)
        or (about == "calibrate" and bool(steps & {"target", "verify_draws"}))
        or (field == "grid" and bool(steps & {"grid", *_NUMBERED}))
    )


def _within(field: str, outer: str) -> bool:
    return field == outer or field.startswith((f"{outer}.", f"{outer}["))
