"""Corners: several hardware values that one set of gains must serve.

Why: docs/decisions/targets.md [0120, 0251].
"""

from __future__ import annotations

from collections.abc import Sequence

from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.hardware.gains import conductance_span

MOST_CORNERS = 64


def check_corners(corners: object) -> tuple[Hardware, ...]:
    """Corners as a tuple.

    Raises:
        InvalidInput: not a sequence of at most :data:`MOST_CORNERS` Hardware values.
    """
    allowed = f"a list of at most {MOST_CORNERS} Hardware values"
    advice = "Give the hardware beside the nominal one, for example [hot, aged]."
    if isinstance(corners, Hardware) or not isinstance(corners, Sequence):
        raise InvalidInput.of("corners", corners, allowed, advice)
    if len(corners) > MOST_CORNERS:
        raise InvalidInput.of("corners", f"{len(corners)} corners", allowed, "Keep the worst ones.")
    for i, corner in enumerate(corners):
        if not isinstance(corner, Hardware):
            raise InvalidInput.of(f"corners[{i}]", corner, "a Hardware", advice)
    return tuple(corners)


def limiting(hardwares: Sequence[Hardware]) -> Hardware:
    """The nominal (first) hardware with limits on the gains that hold in every corner.

    Raises:
        InvalidInput: corners in which the same gains would store other conductances.
    """
    nominal = hardwares[0]
    for i, corner in enumerate(hardwares[1:]):
        for field in ("weight_mapping", "bias_mapping", "column_scale", "row_scale", "predistort"):
            value, same = getattr(corner, field), getattr(nominal, field)
            if value != same:
                raise InvalidInput.of(
                    f"corners[{i}].{field}",
                    value,
                    f"{same!r}, that of the nominal hardware: one set of gains is one set of conductances",
                    "Plan for each mapping by itself.",
                )
    span = min(conductance_span(h) for h in hardwares)
    changes = {}
    if span < conductance_span(nominal):
        changes["conductance_max"] = nominal.conductance_min + span
    if (volts := min(h.voltage_max for h in hardwares)) < nominal.voltage_max:
        changes["voltage_max"] = volts
    return nominal.replace(**changes) if changes else nominal
