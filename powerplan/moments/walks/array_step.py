"""The step of an array: its linear form, the errors that arise in it, and its power."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.rules.linearized import Linearized, over_batch
from powerplan.moments.sources import Errors, errors_of


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayStep(Linearized):
    """What one array did.

    Attributes:
        reading: the array at the moments of what drives its rows, taken as independent.
        errors: that its sources add to its output.
        independent: variance (B, *shape) of the output for independent inputs.
        of_inputs: part of it that errors of the inputs cause through the mean weights.
        exact: what drives its rows has no errors.
        array_power, tia_power: [W], of each round, (M,).
    """

    reading: Reading
    errors: tuple[Errors, ...]
    independent: Tensor
    of_inputs: Tensor
    exact: bool
    array_power: Tensor
    tia_power: Tensor

    @classmethod
    def of(cls, reading: Reading, *, exact: bool, rounds: int = 1) -> ArrayStep:
        """An array read at independent inputs, or with ``reading.covariance`` what of them concerns the power alone."""
        array = reading.array
        independent = reading if reading.covariance is None else replace(reading, covariance=None)
        errors = errors_of(independent, array.whole)
        mean = array.mean(reading.mean)
        of_inputs = torch.zeros_like(mean) if exact else array.passed(reading.variance)
        parts = [part.output_variance for part in errors] + ([] if exact else [of_inputs])
        variance = _sum(parts, mean)
        return cls(
            mean=mean,
            variance=variance,
            pull=lambda adjoint: (over_batch(lambda a: array.map.pull(a, array.mean_weight), adjoint),),
            push=lambda perturbation: over_batch(lambda x: array.map.apply(x, array.mean_weight), perturbation),
            reading=independent,
            errors=errors,
            independent=variance,
            of_inputs=of_inputs,
            exact=exact,
            array_power=_sum_of(array_power, reading, rounds),
            tia_power=_sum_of(tia_power, reading, rounds),
        )

    @property
    def array(self) -> ProgrammedArray:
        """The array."""
        return self.reading.array

    @property
    def own(self) -> Tensor:
        """Variance (B, *shape) of the output that arises here."""
        return _sum([part.output_variance for part in self.errors], self.mean)

    @property
    def factor(self) -> Tensor:
        """The variance over that for independent inputs."""
        noisy = self.independent > 0
        plain = torch.where(noisy, self.independent, torch.ones_like(self.independent))
        return torch.where(noisy, self.variance / plain, torch.ones_like(plain))


def _sum_of(power: Callable[[Reading, int], Tensor], reading: Reading, rounds: int) -> Tensor:
    """Power of all reads of one input."""
    each = [power(read, rounds) for _, read in reading.reads]
    return sum(each[1:], each[0])


def _sum(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """Sum of values (B or 1, *shape), of the shape of another."""
    return sum(parts[1:], parts[0]).expand_as(like) if parts else torch.zeros_like(like)
