"""One pass of moments through a network, recorded so that adjoints can be pulled back through it.

The record holds, at every crossbar, the moments of its input, the injected variances and the power; at every digital
operation its linearisation. ``mean_field`` carries marginal variances (activations taken as independent).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.channels import Conversion, convert_columns, convert_rows
from powerplan.moments.conversion.lattice import Lattice, lattice_of
from powerplan.moments.rules import Linearized
from powerplan.moments.rules.maxima import linearize_joint
from powerplan.moments.samples.corrections import NONE, Corrections, Saturation
from powerplan.moments.sources import Errors, errors_of
from powerplan.moments.walks.walk import Carried, walk
from powerplan.network.graph import Network
from powerplan.network.node import INPUT, Node


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossbarTrace:
    """What one crossbar did.

    Attributes:
        input_mean, input_variance: of what drives its rows, (B, *input_shape).
        mean, variance: of its output (B, *shape).
        errors: that its sources add to its output before the columns are converted.
        array_power, tia_power: [W].
        rows, columns: what their converters do, None without any.
        lattice: of the converted output, where it has one.
    """

    array: ProgrammedArray
    input_mean: Tensor
    input_variance: Tensor
    mean: Tensor
    variance: Tensor
    covariance: Tensor | None
    errors: tuple[Errors, ...]
    array_power: Tensor
    tia_power: Tensor
    rows: Conversion | None = None
    columns: Conversion | None = None
    lattice: Lattice | None = None

    @property
    def source_mean(self) -> Tensor:
        """Mean of the input before its conversion, (B, *input_shape)."""
        return self.input_mean if self.rows is None else self.input_mean - self.rows.shift

    @property
    def reading(self) -> Reading:
        """The array at the moments of its input."""
        return Reading(array=self.array, mean=self.input_mean, variance=self.input_variance)

    @property
    def own_variance(self) -> Tensor:
        """Variance of the output that arises here, conversions included, (B, *shape)."""
        own = sum((part.output_variance for part in self.errors), torch.zeros_like(self.variance))
        if self.rows is not None and self.rows.residual is not None:
            own = own + self.array.passed(self.rows.residual)
        return own if self.columns is None else self.columns.variance(own)

    def before_columns(self, adjoint: Tensor) -> Tensor:
        """Adjoint (B, K, *shape) of the output before its conversion, from that of the output."""
        return adjoint if self.columns is None else adjoint * self.columns.slope.unsqueeze(1)

    def converted(self, mean: Tensor, variance: Tensor, saturation: Saturation | None = None) -> CrossbarTrace:
        """The step of an analog output, whose moments (B, *shape) may have been corrected, with columns converted."""
        made = replace(self, mean=mean, variance=variance)
        if not self.array.hardware.converts_columns:
            return replace(made, lattice=lattice_of(self.array, (mean, variance), (mean, variance)))
        plain = torch.where(self.variance > 0, self.variance, torch.ones_like(self.variance))
        factor = torch.where(self.variance > 0, variance / plain, torch.ones_like(plain))
        rounds = saturation is None or not saturation.rounded
        columns = convert_columns(self.reading, factor, rounds=rounds)
        columns = columns if saturation is None else saturation.apply(columns, variance)
        behind = mean + columns.shift, columns.variance(variance)
        lattice = lattice_of(self.array, (mean, variance), behind)
        return replace(made, mean=behind[0], variance=behind[1], columns=columns, lattice=lattice)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A forward pass: crossbars and digital operations by node name, and the output's moments (B, K)."""

    crossbars: Mapping[str, CrossbarTrace]
    digital: Mapping[str, Linearized]
    output_mean: Tensor
    output_variance: Tensor
    output_covariance: Tensor | None


def mean_field(
    network: Network,
    crossbars: Sequence[ProgrammedArray],
    inputs: Tensor,
    corrections: Corrections = NONE,
) -> Trace:
    """Mean and marginal variance of every node for inputs (B, *shape), activations taken as independent, corrected."""
    carried = _Marginal(network, crossbars, inputs, corrections)
    walk(network, carried)
    mean, variance = carried.values[network.output]
    return Trace(
        crossbars=carried.arrays,
        digital=carried.steps,
        output_mean=mean.flatten(1),
        output_variance=variance.flatten(1),
        output_covariance=None,
    )


class _Marginal(Carried):
    """Means and variances (B, *shape) of the values still to be read, and what every node did."""

    def __init__(
        self, network: Network, crossbars: Sequence[ProgrammedArray], inputs: Tensor, corrections: Corrections
    ) -> None:
        self.values: dict[str, tuple[Tensor, Tensor]] = {INPUT: (inputs, torch.zeros_like(inputs))}
        self.arrays: dict[str, CrossbarTrace] = {}
        self.steps: dict[str, Linearized] = {}
        self._programmed = {c.constants.name: c for c in crossbars}
        self._noisy, self._inputs, self._corrections = network.noisy, inputs, corrections

    def crossbar(self, node: Node, lattice: Lattice | None) -> Lattice | None:
        mean, variance = self.values[node.inputs[0]]
        saturation = self._corrections.rows.get(node.name)
        step = crossbar_step(
            self._programmed[node.name],
            mean,
            variance,
            exact_input=node.inputs[0] not in self._noisy,
            lattice=None if saturation is not None and saturation.rounded else lattice,  # fields know of it
            saturation=saturation,
        )
        corrected = self._corrections.apply(node.name, step.mean, step.variance)
        step = step.converted(*corrected, self._corrections.columns.get(node.name))
        self.arrays[node.name], self.values[node.name] = step, (step.mean, step.variance)
        return step.lattice

    def digital(self, node: Node) -> None:
        arriving = [self.values[name] for name in node.inputs]
        correlation = self._corrections.correlations.get(node.name)
        step = linearize_joint(node.op, [mean for mean, _ in arriving], [spread for _, spread in arriving], correlation)
        self.steps[node.name] = step
        # a constant comes in float64
        mean, variance = step.mean.to(self._inputs), step.variance.to(self._inputs)
        self.values[node.name] = self._corrections.apply(node.name, mean, variance)

    def drop(self, name: str) -> None:
        del self.values[name]


def crossbar_step(
    array: ProgrammedArray,
    mean: Tensor,
    variance: Tensor,
    *,
    exact_input: bool,
    lattice: Lattice | None = None,
    saturation: Saturation | None = None,
) -> CrossbarTrace:
    """A crossbar for independent inputs of these moments, each (B, *input_shape), before its columns are converted."""
    rounds = saturation is None or not saturation.rounded
    rows = convert_rows(array, mean, variance, exact=exact_input, lattice=lattice, rounds=rounds)
    if rows is not None:
        rows = rows if saturation is None else saturation.apply(rows, variance.expand_as(mean))
        exact_input = exact_input and rows.residual is None
        mean, variance = mean + rows.shift, variance if exact_input else rows.variance(variance)
    reading = Reading(array=array, mean=mean, variance=variance)
    errors, output_shape = errors_of(reading, array.whole), array.map.output_shape
    return CrossbarTrace(
        array=array,
        input_mean=mean,
        input_variance=variance,
        mean=array.mean(mean),
        variance=crossbar_variance(array, errors, variance, exact_input=exact_input).expand(len(mean), *output_shape),
        covariance=None,
        errors=errors,
        array_power=array_power(reading),
        tia_power=tia_power(reading),
        rows=rows,
    )


def crossbar_variance(
    array: ProgrammedArray, errors: Sequence[Errors], variance: Tensor, *, exact_input: bool
) -> Tensor:
    """Variance (B, *shape) of the output before its conversion, for independent inputs of this variance."""
    parts = [part.output_variance for part in errors] + ([] if exact_input else [array.passed(variance)])
    return sum(parts, variance.new_zeros(1, *array.map.output_shape))
