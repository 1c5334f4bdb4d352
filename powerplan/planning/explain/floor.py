"""Where the error comes from that is left however large the conductances are: by source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from powerplan.hardware import Hardware
from powerplan.hardware.hardware import ERROR_SOURCES
from powerplan.planning import policy
from powerplan.planning.explain.families import families, switched
from powerplan.planning.explain.trials import Trials
from powerplan.planning.outcome import FloorPart
from powerplan.units import in_unit, significant

#: sources that are on or off
_SWITCHES = ("clip_conductance", "thermal_noise", "shot_noise")


def floor_parts(trials: Trials, at_most: Callable[[Hardware], Hardware]) -> tuple[FloorPart, ...]:
    """By how much the target's quantity falls where each source is removed alone, most first.

    Removed: numbers divided by 1000, converters of 16 bits, switches off. The parts of errors that add up (MSE, NMSE of
    a linear network) sum to what is reached; rates of changed classes bend.

    Args:
        at_most: the hardware with the largest conductances that were tried.
    """
    whole = trials.known(at_most)
    if whole is None:
        return ()
    reached = whole[1]
    hardwares = [at_most(p.hardware) for p in trials.session.predictors]
    removals = [family for family in families(hardwares) if family.name in ERROR_SOURCES]
    removals += [switched(name, False) for name in _SWITCHES if any(getattr(h, name) for h in hardwares)]
    parts = []
    for removal in removals:
        without = trials.known(lambda h, r=removal: r.apply(at_most(h), r.size(r.most)))  # type: ignore[misc]
        if without is not None and reached - without[1] > policy.LEAST_FLOOR_PART * reached:
            parts.append(FloorPart(parameter=removal.name, amount=reached - without[1]))
    return tuple(sorted(parts, key=lambda part: -part.amount))


def parts_in_words(parts: Sequence[FloorPart], unit: str) -> str:
    """The parts, their amounts in a unit. Each is of its source removed alone: they need not sum to what is there."""
    words: list[str] = []
    for part in parts:
        amount = in_unit(part.amount, unit) if unit else f"{significant(100 * part.amount)} percentage points"
        words.append(f"without {ERROR_SOURCES[part.parameter]} alone {'by' if words else 'it falls by'} {amount}")
    return ", ".join(words)
