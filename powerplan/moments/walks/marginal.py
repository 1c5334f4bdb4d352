"""One pass of moments through a network, recorded so that adjoints can be pulled back through it.

The record holds the linear form of every step, at arrays with the moments of its input, its errors and the power.
``mean_field`` carries marginal variances (activations taken as independent).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.staircase import Converted
from powerplan.moments.rules import Linearized
from powerplan.moments.rules.maxima import linearize_joint
from powerplan.moments.samples.corrections import NONE, Corrections
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import START, Lowered, Place, Step
from powerplan.moments.walks.walk import Carried
from powerplan.network.graph import Network


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

    def array(self, step: Step) -> None:
        mean, variance = self.values[step.inputs[0]]
        slices = self.slices.pop(step.inputs[0], ())
        reading = Reading(array=self.programmed[step.node.name], mean=mean, variance=variance, slices=slices)
        passed = ArrayStep.of(reading, exact=step.inputs[0] not in self.lowered.noisy)
        if self._corrections.of_moments(step.place):
            mean, variance = self._corrections.apply(step.place, passed.mean, passed.variance)
            passed = replace(passed, mean=mean, variance=variance)
        self._keep(step, passed)

    def convert(self, step: Step, closed_form: Callable[..., Converted]) -> None:
        (mean, variance), saturation = self.values[step.inputs[0]], self._corrections.converters.get(step.place)
        variance = variance.expand_as(mean)
        converted = closed_form(rounds=saturation is None or not saturation.rounded)
        converted = converted if saturation is None else saturation.apply(converted, variance)
        self._keep(step, converted.linearized(variance, noisy=step.noisy))

    def _keep(self, step: Step, passed: Linearized) -> None:
        self.steps[step.place], self.values[step.place] = passed, (passed.mean, passed.variance)
