"""The kinds of change that a hardware has: each relaxes one field, by any factor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from powerplan.hardware import Hardware
from powerplan.hardware.by_layer import differs, one_by_one
from powerplan.hardware.describe import described_fields
from powerplan.planning import policy
from powerplan.planning.explain.otherwise import COMPENSATIONS, has_known_errors
from powerplan.planning.explain.relaxing import Change, relaxable, relaxed
from powerplan.units import quantity

#: what no change of the devices or the circuit can mend
_NOT_ADVISED = ("temperature", "read_time", "bandwidth", "programming_noise_reference")
#: models that hold for the conductances they were measured at
_MEASURED = ("measurements", "programming_noise_curve", "programming_noise_polynomial", "low_frequency_noise")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of change, of a size: a factor >= 1 (a converter's bits: its logarithm to base 2)."""

    name: str
    size: Callable[[float], float]
    apply: Callable[[Hardware, float], Hardware]
    words: Callable[[float], str]
    most: float = policy.LARGEST_CHANGE


def families(hardwares: Sequence[Hardware]) -> list[Family]:
    """The kinds of change that this hardware has; measured ranges are not left."""
    nominal = hardwares[0]
    kinds = []
    for change in relaxable(hardwares, 0.5):
        name = change.parameter
        if name in _NOT_ADVISED:
            continue
        if name == "conductance_max" and any(getattr(h, field) for h in hardwares for field in _MEASURED):
            continue
        if change.bits:
            kinds.append(_more_bits(nominal, name))
            continue
        directions = (True, False) if name in ("adc_range", "adc_headroom") else (change.factor > 1,)
        kinds += [_scaled(nominal, name, up=up) for up in directions]
    for name, value in (("drift_compensation", True), ("weight_mapping", "differential")):
        if getattr(nominal, name) != value and (nominal.drift or nominal.measurements or value is not True):
            kinds.append(switched(name, value))
    if any(has_known_errors(h) for h in hardwares):
        kinds += [switched(f, value) for f, value, _ in COMPENSATIONS if getattr(nominal, f) in ("none", False)]
    return kinds


def _more_bits(nominal: Hardware, name: str) -> Family:
    value = getattr(nominal, name)
    several, bits = differs(value), max((b for _, b in one_by_one(value) if b), default=policy.MOST_BITS)

    def size(factor: float) -> float:
        return 2.0 ** math.ceil(math.log2(factor) - policy.SAME_STEP)

    return Family(
        name=name,
        size=size,
        apply=lambda h, s: relaxed(h, Change(parameter=name, bits=round(math.log2(s)))),
        words=lambda s: f"raise hardware.{name} {_bits_words(bits, round(math.log2(s)), several=several)}",
        most=2.0 ** max(policy.MOST_BITS - bits, 1),
    )


def _bits_words(bits: int, more: int, *, several: bool) -> str:
    if not several:
        return f"to {bits + more}"
    return f"of every layer by {more} bit{'s' * (more != 1)}"


def switched(name: str, value: Any) -> Family:
    """A field set to a value, whatever the size."""
    return Family(
        name=name,
        size=lambda factor: 1.5,
        apply=lambda h, s: h.replace(**{name: value}) if s > 1 else h,
        words=lambda s: f"set hardware.{name} to {value!r}",
        most=1.5,
    )


def _scaled(nominal: Hardware, name: str, *, up: bool) -> Family:
    value = getattr(nominal, name)
    number = isinstance(value, int | float) and not isinstance(value, bool) and bool(value)
    unit = described_fields(Hardware)[name][0]
    most = policy.LARGEST_CHANGE
    if name == "time" and nominal.measurements and nominal.measurements[0].time:
        most = max(1.0, nominal.time / nominal.measurements[0].time)

    def size(factor: float) -> float:
        """The factor of a value with three digits."""
        wanted = (value if number else 1.0) * (factor if up else 1 / factor)
        digits = 10.0 ** (math.floor(math.log10(wanted)) - 2)
        rounded = float(f"{(math.ceil if up else math.floor)(wanted / digits - (1e-6 if up else -1e-6)) * digits:.3g}")
        share = rounded / (value if number else 1.0)
        return share if up else 1 / share

    def words(s: float) -> str:
        factor = s if up else 1 / s
        reached = f"to {quantity(value * factor, unit)}" if number else f"to {factor:.3g} of what it is"
        if number and up:
            reached = f"about {factor:.4g} times ({reached})"
        return f"{'raise' if up else 'lower'} hardware.{name} {reached}"

    return Family(
        name=name,
        size=size,
        apply=lambda h, s: relaxed(h, Change(parameter=name, factor=s if up else 1 / s)),
        words=words,
        most=most,
    )


def joint_family(members: Sequence[Family]) -> Family:
    """All of the changes at once."""

    def sizes(size: float) -> list[tuple[Family, float]]:
        return [(family, family.size(min(size, family.most))) for family in members]

    def apply(hardware: Hardware, size: float) -> Hardware:
        for family, own in sizes(size):
            hardware = family.apply(hardware, own)
        return hardware

    return Family(
        name="together",
        size=lambda size: size,
        apply=apply,
        words=lambda size: " and ".join(family.words(own) for family, own in sizes(size)),
    )
