"""What error samples correct; how they do is in :mod:`powerplan.moments.samples.estimate`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from powerplan.moments.conversion.staircase import Converted
from powerplan.moments.rounds import in_rounds
from powerplan.moments.samples.statistics import channel_axes, stds
from powerplan.moments.walks.lowered import Place

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, kw_only=True, eq=False)
class Saturation:
    """Corrections of the converters of a layer's rows or columns, see :mod:`powerplan.moments.samples.converters`.

    Attributes:
        shift: of the mean in standard deviations, (P, *shape).
        slope: factor ().
        residual: factor of at most 1, (P or 1, *shape or 1).
        added: to the residual, as a part of the variance before conversion, >= 0, likewise.
        rounded: what rounding does is in them, the closed form is without.
    """

    shift: Tensor
    slope: Tensor
    residual: Tensor
    added: Tensor
    rounded: bool

    def apply(self, closed: Converted, variance: Tensor) -> Converted:
        """The converter corrected, for the variance before it."""
        residual = self.added * variance + self.residual * closed.residual
        return Converted(closed.mean + self.shift * stds(variance), closed.slope * self.slope, residual)


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplingError:
    """Standard errors that error samples leave, each as a part of what it is of; NaN if too few tell none.

    Attributes:
        mse, power: of the whole prediction.
        outputs: of the MSE of every output, (K,) or ().
        limited: it is larger than asked for, and a limit of work or time was met.
    """

    mse: float = 0.0
    power: float = 0.0
    outputs: Tensor = field(default_factory=lambda: torch.zeros(()))
    limited: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrections:
    """What error samples of the first P inputs correct, by place; places that are not named are right.

    Attributes:
        factors: of variances, (P or 1, *shape or 1).
        shifts: of means, in standard deviations, (P, *shape).
        correlations: of two entries of a window of max-pooling, (P or 1, C, *1).
        coherence, slopes: see :mod:`powerplan.moments.samples.coherence`, ().
        array_power, tia_power: factors () of what a crossbar dissipates, by its name.
        converters: of rows and columns.
        whole: factor of the variance of the outputs, where all else leaves them off what the samples say themselves.
        samples: their number.
        error: what chance is left in a prediction with them.
    """

    factors: Mapping[Place, Tensor] = field(default_factory=dict)
    shifts: Mapping[Place, Tensor] = field(default_factory=dict)
    correlations: Mapping[Place, Tensor] = field(default_factory=dict)
    coherence: Mapping[Place, Tensor] = field(default_factory=dict)
    slopes: Mapping[Place, Tensor] = field(default_factory=dict)
    array_power: Mapping[str, Tensor] = field(default_factory=dict)
    tia_power: Mapping[str, Tensor] = field(default_factory=dict)
    converters: Mapping[Place, Saturation] = field(default_factory=dict)
    whole: float = 1.0
    samples: int = 0
    error: SamplingError = field(default_factory=SamplingError)

    def of_moments(self, place: Place) -> bool:
        """True if mean or variance of a value is corrected."""
        return place in self.factors or place in self.shifts

    def apply(self, place: Place, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of a value, corrected."""
        factor, shift = self.factors.get(place), self.shifts.get(place)
        if factor is not None:
            variance = variance * factor
        if shift is not None:
            mean = mean + shift * stds(variance)
        return mean, variance

    def of(self, part: slice, batch: int) -> Corrections:
        """Those of a part of the inputs; inputs behind those that samples were made for get what the others have in
        common."""
        rows = range(batch)[part]

        def cut(values: Mapping[Place, Tensor], common: Callable[[Tensor], Tensor]) -> dict[Place, Tensor]:
            return {place: _rows_of(value, rows, common) for place, value in values.items()}

        def mean(value: Tensor) -> Tensor:
            return value if len(value) == 1 else value.mean(0, keepdim=True)

        def channel_mean(value: Tensor) -> Tensor:
            return value.mean(channel_axes(value), keepdim=True)

        def saturation(known: Saturation) -> Saturation:
            return replace(
                known,
                shift=_rows_of(known.shift, rows, channel_mean),
                residual=_rows_of(known.residual, rows, mean),
                added=_rows_of(known.added, rows, mean),
            )

        return replace(
            self,
            factors=cut(self.factors, mean),
            shifts=cut(self.shifts, channel_mean),
            correlations=cut(self.correlations, mean),
            converters={place: saturation(known) for place, known in self.converters.items()},
        )

    def over_rounds(self, rounds: int) -> Corrections:
        """The mean over rounds, from corrections whose rows are those of so many behind each other, and which have
        numbers (M,) of each."""

        def rows(values: Mapping[Place, Tensor]) -> dict[Place, Tensor]:
            return {place: in_rounds(value, rounds).mean(0) for place, value in values.items()}

        def numbers(values: Mapping[_K, Tensor]) -> dict[_K, Tensor]:
            return {name: value.mean(0) for name, value in values.items()}

        return replace(
            self,
            factors={place: value[:1] for place, value in rows(self.factors).items()},  # alike for all inputs
            shifts=rows(self.shifts),
            correlations={place: value[:1] for place, value in rows(self.correlations).items()},
            coherence=numbers(self.coherence),
            slopes=numbers(self.slopes),
            array_power=numbers(self.array_power),
            tia_power=numbers(self.tia_power),
        )

    def pooled_with(self, others: Corrections) -> Corrections:
        """The mean with those from other samples of the same inputs, weighted by the number of samples; what the others
        do not have stays."""
        samples = self.samples + others.samples

        def mean(own: Any, other: Any) -> Any:
            if isinstance(own, Tensor):
                return (self.samples * own + others.samples * other) / samples
            if isinstance(own, Mapping):
                return {name: mean(value, other[name]) if name in other else value for name, value in own.items()}
            if isinstance(own, Saturation):
                return Saturation(**{name: mean(value, getattr(other, name)) for name, value in vars(own).items()})
            return own  # what both have in common

        together = {name: mean(value, getattr(others, name)) for name, value in vars(self).items()}
        return Corrections(**{**together, "samples": samples})

    @classmethod
    def joined(cls, groups: Sequence[tuple[int, Corrections]]) -> Corrections:
        """Those of groups of inputs of these sizes, one behind the other.

        What is one number is the mean over the inputs of the groups that have it.
        """
        if len(groups) == 1:
            return groups[0][1]

        def together(values: Sequence[Mapping[_K, Tensor]]) -> dict[_K, Tensor]:
            sizes = [size for size, _ in groups]
            return {
                name: torch.cat([v[name].expand(n, *v[name].shape[1:]) for n, v in zip(sizes, values, strict=True)])
                for name in values[0]
            }

        def mean(values: Sequence[Mapping[_K, Tensor]]) -> dict[_K, Tensor]:
            having = [(size, v) for (size, _), v in zip(groups, values, strict=True) if v]
            total = sum(size for size, _ in having)
            names: Iterable[_K] = having[0][1] if having else ()
            return {name: torch.stack([size / total * v[name] for size, v in having]).sum(0) for name in names}

        def converters(values: Sequence[Mapping[Place, Saturation]]) -> dict[Place, Saturation]:
            shifts = together([{name: s.shift for name, s in v.items()} for v in values])
            residuals = together([{name: s.residual for name, s in v.items()} for v in values])
            added = together([{name: s.added for name, s in v.items()} for v in values])
            slopes = mean([{name: s.slope for name, s in v.items()} for v in values])
            return {
                n: replace(s, shift=shifts[n], slope=slopes[n], residual=residuals[n], added=added[n])
                for n, s in values[0].items()
            }

        each = [corrections for _, corrections in groups]
        return cls(
            factors=together([c.factors for c in each]),
            shifts=together([c.shifts for c in each]),
            correlations=together([c.correlations for c in each]),
            coherence=mean([c.coherence for c in each]),
            slopes=mean([c.slopes for c in each]),
            array_power=mean([c.array_power for c in each]),
            tia_power=mean([c.tia_power for c in each]),
            converters=converters([c.converters for c in each]),
            samples=each[0].samples,
        )


NONE = Corrections()


def _rows_of(value: Tensor, rows: range, common: Callable[[Tensor], Tensor]) -> Tensor:
    """Some rows of a value (P, *shape), ``common`` of it in place of those beyond its end."""
    known = value[rows.start : rows.stop]
    if len(known) == len(rows):
        return known
    shared = common(value)
    if not len(known):
        return shared
    return torch.cat([known, shared.expand(len(rows) - len(known), *value.shape[1:])])
