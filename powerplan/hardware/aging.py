"""What happens to a device after it is programmed: measured snapshots, drift, low-frequency noise."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

from powerplan.checks import Checker
from powerplan.errors import MeasurementWarning
from powerplan.hardware.curves import Curve, Table, as_curve
from powerplan.hardware.fields import Part, check_fields, of, takes
from powerplan.hardware.plain import Typed, from_plain, part_of
from powerplan.settings import Flag, Number
from powerplan.units import si

_LONGEST = 1e12
_SECONDS, _DURATION = Number(at_least=0, at_most=_LONGEST, unit="s"), Number(above=0, at_most=_LONGEST, unit="s")
_SPREAD = Number(at_least=0, at_most=1e3, unit="S")
#: a mean at target 0, as a share of the next target, that is no device at 0; and a step of the mean, too short for that
#: of the target. Measured: 0.4 to 0.6 and 0.6 to 0.8 with the lowest level at target 0; a step of 1 to 1.3 without.
_FAR_FROM_0, _SHORT_STEP = 0.2, 0.85


@dataclass(frozen=True, kw_only=True)
class Snapshot(Typed):
    """Mean and spread of devices measured a time after programming, as functions of the target conductance.

    Attributes:
        time: after programming [s], >= 0.
        mean: mean conductance held [S]; None = the target itself.
        std: standard deviation [S]; None = 0; negative values count as 0.
        std_of: what ``std`` is a function of: "target", or "mean", the conductance held on average.

    Raises:
        InvalidInput: listing every violated field.
    """

    time: float = takes(_SECONDS, 0.0)
    mean: Curve | None = takes(Part(as_curve))
    std: Curve | None = takes(Part(as_curve))
    std_of: str = "target"

    def __post_init__(self) -> None:
        check = Checker()
        check_fields(self, check)
        _std_of(self, check, self.std_of, "mean")
        check.done()
        for words in self._doubtful_levels():
            warnings.warn(words, MeasurementWarning, stacklevel=3)

    def _doubtful_levels(self) -> Iterator[str]:
        """A level that holds less than the one below it, and a lowest one that seems to be entered at target 0.

        The first comes of rows that were mixed up, or of another unit. Of the second the mean is far from 0 beside the
        next target, and nearer to the next mean than the targets are: a device of the next target holds too little
        above an idle one. Where all means are shifted alike, nothing is wrong.
        """
        mean = self.mean
        if not isinstance(mean, Table) or mean.reference is None:
            return
        targets = [point * mean.reference for point in mean.points]
        for (low, less), (high, more) in pairwise(zip(targets, mean.values, strict=True)):
            if more < less:
                yield (
                    f"measurements: devices programmed to {si(high, 'S', 3)} hold {si(more, 'S', 3)} on average, less "
                    f"than those programmed to {si(low, 'S', 3)}, {si(less, 'S', 3)}: are these rows in order, in one "
                    "unit, and of enough readings?"
                )
                break
        target, (lowest, next_one) = targets[1], mean.values[:2]
        is_far = targets[0] == 0 and lowest > _FAR_FROM_0 * target
        if is_far and 0 <= next_one - lowest < _SHORT_STEP * target:
            yield (
                f"measurements: the mean at target 0 is {si(lowest, 'S', 3)}, that at the next target, "
                f"{si(target, 'S', 3)}, is only {si(next_one - lowest, 'S', 3)} more: is the lowest programmed level "
                "entered at target 0? Enter every level at the conductance it was programmed to, the lowest too, and "
                "set conductance_min to the lowest."
            )

    @classmethod
    def table(cls, target: Any, mean: Any = None, std: Any = None, *, time: float = 0.0) -> Snapshot:
        """From measurements: at each ``target`` [S] the ``mean`` [S] (None = the target) and ``std`` [S] found.

        Between the targets both are interpolated by straight lines; outside them nothing is known, and hardware
        whose conductance range reaches further is refused.
        """
        check = Checker()
        curves: dict[str, Curve] = {}
        for name, values in (("mean", mean), ("std", std)):
            if values is not None:
                with part_of(check, name):
                    curves[name] = Table(reference=1.0, points=target, values=values)
        if "std" in curves and any(value < 0 for value in curves["std"].values):  # type: ignore[attr-defined]
            check.fail("std", std, "numbers >= 0", "A standard deviation is not negative.")
        check.done()
        return cls(time=time, mean=curves.get("mean"), std=curves.get("std"))


def as_snapshot(value: Any) -> Snapshot:
    """A snapshot: itself, a mapping of its fields, or of measurements: {"target", "mean", "std", "time"}."""
    if isinstance(value, Mapping) and "target" in value:
        check = Checker()
        for name in set(value) - {"target", "mean", "std", "time"}:
            check.fail(str(name), name, "one of target, mean, std, time", "Remove it.")
        check.done()
        return Snapshot.table(**value)
    snapshot: Snapshot = from_plain(value, {"snapshot": Snapshot}, "a snapshot")
    return snapshot


@dataclass(frozen=True, kw_only=True)
class PowerLawDrift(Typed):
    """Every device decays as G (t'/t0)^−ν with t' = time + t0 and its own exponent ν = |N(μ, s²)|.

    Attributes:
        exponent_mean: μ as a function of the target.
        exponent_std: s; negative values count as 0.
        reference_time: t0 [s], > 0.

    Raises:
        InvalidInput: listing every violated field.
    """

    type: ClassVar[str] = "power_law"
    exponent_mean: Curve = field(metadata=of(Part(as_curve)))
    exponent_std: Curve | None = takes(Part(as_curve))
    reference_time: float = field(metadata=of(_DURATION))

    def __post_init__(self) -> None:
        check = Checker()
        check_fields(self, check)
        check.done()

    def age(self, time: float) -> float:
        """λ = ln(t'/t0): a device has decayed by e^(−λν)."""
        return math.log1p(time / self.reference_time)


@dataclass(frozen=True, kw_only=True)
class LogTimeDrift(Typed):
    """Every device moves by N(m, s²), m = shift_slope · λ, s = std_slope · λ + std_offset, λ = ln max(1, time/t0).

    At time 0 nothing has moved; just after it the spread is std_offset.

    Attributes:
        shift_slope: [S] per unit of ln t.
        std_slope: [S] per unit of ln t, >= 0.
        std_offset: [S], >= 0.
        reference_time: t0 [s], > 0.

    Raises:
        InvalidInput: listing every violated field.
    """

    type: ClassVar[str] = "log_time"
    shift_slope: float = field(metadata=of(Number(at_least=-1e3, at_most=1e3, unit="S")))
    std_slope: float = field(metadata=of(_SPREAD))
    std_offset: float = takes(_SPREAD, 0.0)
    reference_time: float = takes(_DURATION, 1.0)

    def __post_init__(self) -> None:
        check = Checker()
        check_fields(self, check)
        check.done()

    def shift(self, time: float) -> float:
        """Mean change m [S]."""
        return self.shift_slope * self._age(time) if time > 0 else 0.0

    def std(self, time: float) -> float:
        """Its standard deviation s [S]."""
        return self.std_slope * self._age(time) + self.std_offset if time > 0 else 0.0

    def _age(self, time: float) -> float:
        return math.log(max(1.0, time / self.reference_time))


Drift = PowerLawDrift | LogTimeDrift
DRIFTS: dict[str, type] = {kind.type: kind for kind in (PowerLawDrift, LogTimeDrift)}


def as_drift(value: Any) -> Drift:
    """A drift: itself, or a mapping of its fields with "type"."""
    drift: Drift = from_plain(value, DRIFTS, "a drift")
    return drift


@dataclass(frozen=True, kw_only=True)
class LowFrequencyNoise(Typed):
    """Slow (1/f) fluctuation of a device, one value for a whole inference, that grows with time.

        relative:  G (1 + k Q n)        absolute:  G + k Q n        n ~ N(0, 1)
        k = sqrt(ln((t' + tr) / (2 tr))), t' = time + time_offset;  k = 1 without tr

    Attributes:
        std: Q, a curve: a fraction of the conductance held if relative, else S; negative values count as 0.
        std_of: what Q is a function of: "target", or "programmed", the conductance |P| that was reached
            (relative noise only).
        relative: whether Q is a fraction.
        read_time: tr [s], > 0: duration of the reading; None = the noise does not grow.
        time_offset: time from programming to time 0 [s], >= 0.

    Raises:
        InvalidInput: listing every violated field.
    """

    std: Curve = field(metadata=of(Part(as_curve)))
    std_of: str = "target"
    relative: bool = takes(Flag(), True)
    read_time: float | None = takes(_DURATION)
    time_offset: float = takes(_SECONDS, 0.0)

    def __post_init__(self) -> None:
        check = Checker()
        check_fields(self, check)
        _std_of(self, check, self.std_of, "programmed")
        if not check.violations and self.std_of == "programmed" and not self.relative:
            check.fail("relative", False, 'True with std_of = "programmed"', "Give Q as a fraction.")
        check.done()

    def growth(self, time: float) -> float:
        """k at ``time``."""
        if self.read_time is None:
            return 1.0
        return math.sqrt(max(0.0, math.log((time + self.time_offset + self.read_time) / (2 * self.read_time))))


def as_low_frequency_noise(value: Any) -> LowFrequencyNoise:
    """Low-frequency noise: itself, or a mapping of its fields."""
    noise: LowFrequencyNoise = from_plain(value, {"low_frequency_noise": LowFrequencyNoise}, "a low-frequency noise")
    return noise


def _std_of(value: Snapshot | LowFrequencyNoise, check: Checker, std_of: object, other: str) -> None:
    if std_of not in ("target", other):
        check.fail("std_of", std_of, f"'target' or '{other}'", "Use one of them.")
    elif std_of == other and not check.violations and value.std is not None and value.std.domain() != (0.0, math.inf):
        check.fail("std", value.std, f"a curve without ends, because std_of = '{other}'", "Use another type of curve.")
