"""The steps that free gains can be set to: a list of log values for every entry of θ."""

from __future__ import annotations

import numpy as np

from powerplan.checks import Checker
from powerplan.hardware.steps import Steps, StepsGiven
from powerplan.planning.problem.blocks import Entry
from powerplan.planning.problem.variables import FreeGains

#: log steps of every free gain, None for a continuous one
Levels = tuple[np.ndarray | None, ...]
UNITS = {"conductance": "S per unit weight", "voltage": "V per unit activation"}


def levels_of(free: FreeGains, conductance: StepsGiven, voltage: StepsGiven) -> Levels | None:
    """Log steps of every free gain, in increasing order (None: continuous); None if no gain has steps.

    Raises:
        InvalidInput: steps of gains that are held, lists of a wrong length, or a gain without a step within its limits.
    """
    check = Checker()
    steps_by_kind = {
        "conductance": _per_layer(check, "conductance_steps", conductance, free),
        "voltage": _per_layer(check, "voltage_steps", voltage, free),
    }
    entries = tuple(free.entries(range(free.count)))
    free_kinds = {entry.quantity for entry in entries}
    for kind, lists in steps_by_kind.items():
        if lists is None:
            continue
        if kind not in free_kinds:
            check.fail(
                f"{kind}_steps", lists, f"only with {kind!r} in optimize", f"Hold the {kind} gains on a step instead."
            )
        elif any(entry.row is not None for entry in entries):
            check.fail(
                f"{kind}_steps",
                lists,
                "gains of the network, of layers or of columns",
                "A row's stored weights hold the inverse of its voltage, so steps of one gain leave the other off its "
                "own. Plan with another granularity than 'signal', or without steps.",
            )
    check.done()
    levels: list[np.ndarray | None] = []
    for entry, low, high in zip(entries, np.exp(free.lower), np.exp(free.upper), strict=True):
        lists = steps_by_kind[entry.quantity]
        own = {lists[i] for i in entry.layers} if lists is not None else {None}
        if len(own) > 1:
            check.fail(
                f"{entry.quantity}_steps",
                lists,
                "one list of steps for a gain that all layers share",
                "Give one Steps, or plan with granularity='layer'.",
            )
            continue
        (steps,) = own
        if steps is None:
            levels.append(None)
            continue
        allowed = steps.of(float(high))
        allowed = allowed[allowed >= low]
        if not allowed.size:
            above = not steps.relative and steps.values[0] > high
            check.fail(
                f"{entry.quantity}_steps",
                steps,
                f"a step from {low:.4g} to {high:.6g} {UNITS[entry.quantity]} for {name_of(free, entry)}, its limits",
                f"All its steps are {'above' if above else 'below'} them; add a step of at most {high:.6g}.",
            )
        levels.append(np.log(allowed) if allowed.size else None)
    check.done()
    return tuple(levels) if any(steps is not None for steps in levels) else None


def name_of(free: FreeGains, entry: Entry) -> str:
    """The gain of an entry, for a person."""
    name = free.label_of(entry)
    return name if entry.column is None else f"{name} column {entry.column}"


def _per_layer(check: Checker, field: str, value: StepsGiven, free: FreeGains) -> tuple[Steps | None, ...] | None:
    names = free.network.layer_names
    if value is None:
        return None
    if isinstance(value, Steps):
        return (value,) * len(names)
    lists = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(lists) != len(names) or not all(isinstance(steps, Steps | None) for steps in lists):
        check.fail(
            field,
            value,
            f"a Steps, or one Steps or None per crossbar layer ({len(names)}: {', '.join(free.network.layer_labels)})",
            "Build them with Steps.geometric(low, high, decibel=3) and the like.",
        )
        return None
    return lists if any(lists) else None
