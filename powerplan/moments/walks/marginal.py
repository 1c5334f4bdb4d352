"""One pass of moments through a network, recorded so that adjoints can be pulled back through it.

The record holds the linear form of every step, at arrays with the moments of its input, its errors and the power.
``mean_field`` carries marginal variances (activations taken as independent).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.channels import convert_columns, convert_rows
from powerplan.moments.rules import Linearized
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.rules.maxima import linearize_joint
from powerplan.moments.samples.corrections import NONE, Corrections
from powerplan.moments.sources import Errors, errors_of
from powerplan.moments.walks.lowered import START, Lowered, Place, Step
from powerplan.moments.walks.walk import Carried
from powerplan.network.graph import Network


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayStep(Linearized):
    """What one array did.

    Attributes:
        reading: the array at the moments of what drives its rows, taken as independent.
        errors: that its sources add to its output.
        exact: what drives its rows has no errors.
        array_power, tia_power: [W].
    """

    reading: Reading
    errors: tuple[Errors, ...]
    exact: bool
    array_power: Tensor
    tia_power: Tensor

    @classmethod
    def of(cls, reading: Reading, *, exact: bool) -> ArrayStep:
        """An array read at independent inputs, or with ``reading.covariance`` what of them concerns the power alone."""
        array = reading.array
        map, weight = array.map, array.mean_weight
        independent = reading if reading.covariance is None else replace(reading, covariance=None)
        step = cls(
            mean=array.mean(reading.mean),
            variance=reading.variance,
            pull=lambda adjoint: (over_batch(lambda a: map.pull(a, weight), adjoint),),
            push=lambda perturbation: over_batch(lambda x: map.apply(x, weight), perturbation),
            reading=independent,
            errors=errors_of(independent, array.whole),
            exact=exact,
            array_power=array_power(reading),
            tia_power=tia_power(reading),
        )
        return replace(step, variance=step.independent)

    @property
    def array(self) -> ProgrammedArray:
        """The array."""
        return self.reading.array

    @cached_property
    def independent(self) -> Tensor:
        """Variance (B, *shape) of the output for independent inputs."""
        variance, shape = self.reading.variance, self.array.map.output_shape
        parts = [part.output_variance for part in self.errors] + ([] if self.exact else [self.array.passed(variance)])
        return sum(parts, variance.new_zeros(1, *shape)).expand(len(self.mean), *shape)

    @property
    def factor(self) -> Tensor:
        """The variance over that for independent inputs."""
        noisy = self.independent > 0
        plain = torch.where(noisy, self.independent, torch.ones_like(self.independent))
        return torch.where(noisy, self.variance / plain, torch.ones_like(plain))


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A forward pass: the steps and means by place, the output's moments (B, K), and of a pass that has them the
    covariances (B, n, n) of the outputs of crossbars."""

    lowered: Lowered
    steps: Mapping[Place, Linearized]
    means: Mapping[Place, Tensor]
    output_mean: Tensor
    output_variance: Tensor
    output_covariance: Tensor | None = None
    covariances: Mapping[str, Tensor] = field(default_factory=dict)

    def behind(self, name: str) -> Linearized:
        """The step that makes the value of a node."""
        return self.steps[self.lowered.behind[name]]

    def array(self, name: str) -> ArrayStep:
        """The array of a crossbar."""
        step = self.steps[Place(name, "array")]
        assert isinstance(step, ArrayStep)
        return step


def mean_field(
    network: Network,
    crossbars: Sequence[ProgrammedArray],
    inputs: Tensor,
    corrections: Corrections = NONE,
) -> Trace:
    """Mean and marginal variance of every node for inputs (B, *shape), activations taken as independent, corrected."""
    carried = _Marginal(network, crossbars, inputs, corrections)
    carried.walk()
    mean, variance = carried.values[carried.lowered.output]
    return Trace(
        lowered=carried.lowered,
        steps=carried.steps,
        means=carried.means,
        output_mean=mean.flatten(1),
        output_variance=variance.flatten(1),
    )


class _Marginal(Carried):
    """Means and variances (B, *shape) of the values still to be read."""

    def __init__(
        self, network: Network, crossbars: Sequence[ProgrammedArray], inputs: Tensor, corrections: Corrections
    ) -> None:
        super().__init__(network, crossbars, inputs)
        self.values: dict[Place, tuple[Tensor, Tensor]] = {START: (inputs, torch.zeros_like(inputs))}
        self._corrections = corrections

    def moments(self, place: Place) -> tuple[Tensor, Tensor]:
        return self.values[place]

    def drop(self, place: Place) -> None:
        del self.values[place]

    def digital(self, step: Step) -> None:
        arriving = [self.values[place] for place in step.inputs]
        correlation = self._corrections.correlations.get(step.place)
        means, variances = [mean for mean, _ in arriving], [variance for _, variance in arriving]
        passed = linearize_joint(step.node.op, means, variances, correlation)
        self.steps[step.place] = passed
        # a constant comes in float64
        mean, variance = passed.mean.to(self.inputs), passed.variance.to(self.inputs)
        self.values[step.place] = self._corrections.apply(step.place, mean, variance)

    def rows(self, step: Step) -> None:
        (mean, variance), saturation = self.values[step.inputs[0]], self._corrections.converters.get(step.place)
        rounds = saturation is None or not saturation.rounded
        converted = convert_rows(
            self.programmed[step.node.name],
            mean,
            variance,
            exact=step.inputs[0] not in self.lowered.noisy,
            lattice=self.lattices.get(step.inputs[0]) if rounds else None,  # samples know of it
            rounds=rounds,
        )
        variance = variance.expand_as(mean)
        converted = converted if saturation is None else saturation.apply(converted, variance)
        self._keep(step, converted.linearized(variance, noisy=step.noisy))

    def array(self, step: Step) -> None:
        mean, variance = self.values[step.inputs[0]]
        reading = Reading(array=self.programmed[step.node.name], mean=mean, variance=variance)
        passed = ArrayStep.of(reading, exact=step.inputs[0] not in self.lowered.noisy)
        mean, variance = self._corrections.apply(step.place, passed.mean, passed.variance)
        self._keep(step, replace(passed, mean=mean, variance=variance))

    def columns(self, step: Step) -> None:
        analog, saturation = self.steps[step.inputs[0]], self._corrections.converters.get(step.place)
        assert isinstance(analog, ArrayStep)
        rounds = saturation is None or not saturation.rounded
        converted = convert_columns(analog.reading, analog.mean, analog.factor, rounds=rounds)
        converted = converted if saturation is None else saturation.apply(converted, analog.variance)
        self._keep(step, converted.linearized(analog.variance))

    def _keep(self, step: Step, passed: Linearized) -> None:
        self.steps[step.place], self.values[step.place] = passed, (passed.mean, passed.variance)
