"""Marginal moments that know of correlations.

Propagating marginal variances takes the inputs of every operation as independent. They are not: one kernel serves
all positions, so its errors agree from position to position, and a residual join adds errors with a common origin. The
variance of what gathers them (a convolution, a mean, a join) is then wrong, usually too small, and with it slopes
and power behind it. And where values that err together meet in one operation (a window of max-pooling, queries and
keys, a norm), its rule for independent Gaussians misses a part of the mean.

Random *fields* are carried through the network: joint samples of all errors around the means, drawn with their true
correlations at every source,

    δz = W̄ δx + δW (x̄ + δx) + independent noise      at a crossbar, one δW for all positions where they share it,
    δy = f(x̄ + δx) − E f                             at a digital operation.

Nothing about them is Gaussian but what comes of many rows: the variance of what devices add goes with the square of
the input in every field, and few devices are drawn from their own distribution.

They give these corrections, none of which repeats what is known in closed form:

- *factors* of variances. At a crossbar what its own devices add is known; only the mean square of W̄ δx is taken from
  the fields, pooled over inputs, fields and positions of a channel (or over all entries of a vector). Fields are
  scaled to the variance so found, which keeps chance out of what follows. Elsewhere it is the mean square of δy;
  where a shift is not told from chance, it is in the variance, so that E[y²] is that of the fields.
- *shifts* of means, in standard deviations of each entry: the mean over the fields of the residual
  r = f(x̄ + δx) − (E f of the rule) − P δx, whose linear part has no chance in it.
- factors of *power*: a crossbar whose rows see some positions more often than others weighs their E[x²] by more than
  the channel that variances are pooled over, and the current of a column adds up what its rows err by together.
- *coherence*: how residuals and the errors of inputs add up at the output, and *slopes* where the linear part is only
  assumed (a Jacobian at the mean, a maximum over a window), see :mod:`powerplan.moments.samples.coherence`.

Why: docs/decisions/error-samples.md [0093, 0210].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.conversion.channels import Conversion
from powerplan.moments.conversion.lattice import Lattice
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.rules.maxima import linearize_joint, window_correlation
from powerplan.moments.samples.coherence import Saturated, coherence_of
from powerplan.moments.samples.converters import (
    Converted,
    saturated,
    saturates_alike,
    saturation_of,
    through_columns,
    through_rows,
)
from powerplan.moments.samples.corrections import Corrections, Saturation
from powerplan.moments.samples.crossbar import crossbar_samples, power_factors
from powerplan.moments.samples.statistics import centred, in_stds, ratio, shift_of, stds
from powerplan.moments.sources.errors import standard_normals
from powerplan.moments.sources.stuck import is_rare
from powerplan.moments.walks.adjoint import columns_of, rows_of
from powerplan.moments.walks.marginal import crossbar_step, mean_field
from powerplan.moments.walks.walk import Carried, walk
from powerplan.network import ops
from powerplan.network.digital import digital
from powerplan.network.graph import Network
from powerplan.network.node import INPUT, Node

#: linear operations that gather nothing: the variance of an output is a function of that of one input
_APART = (
    *(ops.Scale, ops.Flatten, ops.Reshape, ops.Permute, ops.Concat, ops.Slice, ops.Pad),
    *(ops.Constant, ops.Embedding),
)

#: operations whose linear part rests on one correlation for all pairs of a window
_WINDOWED = ops.MaxPool | ops.AdaptiveMaxPool


@torch.no_grad()
def estimate_corrections(
    network: Network,
    crossbars: Sequence[ProgrammedArray],
    inputs: Tensor,
    *,
    fields: int,
    seed: int,
    kept: tuple[int, int],
) -> Corrections:
    """Corrections at given gains.

    Args:
        inputs: (B, *shape).
        fields: R, number of fields.
        seed: of the fields.
        kept: fields from which coherence is found, and those where errors are rare; 0 = it is not.
    """
    made = _Fields(network, crossbars, inputs, fields, seed=seed, kept=kept)
    walk(network, made)
    found = Corrections(
        factors=made.factors,
        shifts=made.shifts,
        correlations=made.correlations,
        array_power=made.array_power,
        tia_power=made.tia_power,
        rows=made.rows,
        columns=made.columns,
        fields=fields,
    )
    if not kept[0]:
        return found
    trace = mean_field(network, crossbars, inputs, found)
    coherence, slopes = coherence_of(network, trace, made.kept, made.linear, made.converters, seed=seed)
    return replace(found, coherence=coherence, slopes=slopes)


class _Fields(Carried):
    """Means, variances (B, *shape) and fields (B or 1, R or 1, *shape) of the values still to be read."""

    def __init__(
        self,
        network: Network,
        crossbars: Sequence[ProgrammedArray],
        inputs: Tensor,
        fields: int,
        *,
        seed: int,
        kept: tuple[int, int],
    ) -> None:
        still = torch.zeros_like(inputs)
        self.values: dict[str, tuple[Tensor, Tensor, Tensor]] = {INPUT: (inputs, still, still.unsqueeze(1))}
        self.factors: dict[str, Tensor] = {}
        self.shifts: dict[str, Tensor] = {}
        self.correlations: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        self.linear: dict[str, Tensor] = {}
        self.array_power: dict[str, Tensor] = {}
        self.tia_power: dict[str, Tensor] = {}
        self.rows: dict[str, Saturation] = {}
        self.columns: dict[str, Saturation] = {}
        self.converters: dict[str, Saturated] = {}
        self._programmed = {c.constants.name: c for c in crossbars}
        self._noisy, self._inputs, self._fields = network.noisy, inputs, fields
        self._generator = torch.Generator(inputs.device).manual_seed(seed)
        self._rare = any(is_rare(c) or saturates_alike(c.hardware) for c in crossbars)
        self._keep, self._keep_rare = kept

    def drop(self, name: str) -> None:
        del self.values[name]

    def _exact(self, node: Node) -> None:
        """A digital operation that no noise reaches."""
        mean = digital(node.op, *(self.values[name][0] for name in node.inputs)).to(self._inputs)
        still = torch.zeros_like(mean)
        self.values[node.name] = mean, still, still.unsqueeze(1)

    def crossbar(self, node: Node, lattice: Lattice | None) -> Lattice | None:
        array, exact = self._programmed[node.name], node.inputs[0] not in self._noisy
        mean, variance, error = self.values[node.inputs[0]]
        saturates = self._rare and not exact and array.hardware.dac_bits is not None
        if saturates:
            fields, closed = through_rows(array, mean, variance, error)
            self.rows[node.name] = saturation_of(fields, closed, mean, variance.expand_as(mean))
            if self._keep:
                found = saturated(fields, closed, self.rows[node.name], variance)
                self.converters[rows_of(node.name)] = found.some(self._keep_rare)
        step = crossbar_step(array, mean, variance, exact_input=exact, saturation=self.rows.get(node.name))
        exact = exact and (step.rows is None or step.rows.residual is None)
        spread = step.variance
        passed = None
        if not exact:
            error = self._rounded(fields, step.rows) if saturates else self._converted(error, step.rows)
            passed = over_batch(lambda x: array.map.apply(x, array.mean_weight), error)
            own = spread - array.passed(step.input_variance)
            self.factors[node.name] = ratio(passed.square().mean(1) + own, spread)
            spread = spread * self.factors[node.name]
            self.array_power[node.name], self.tia_power[node.name] = power_factors(step, error)
            if array.is_shared and self._keep:
                self.kept[node.name] = error[:, : self._keep].expand(len(self._inputs), -1, *error.shape[2:])
        if self._rare and array.hardware.converts_columns:
            factor = ratio(spread, step.variance)
            fields, closed = through_columns(step, error, factor, self._fields, self._generator, exact=exact)
            self.columns[node.name] = saturation_of(fields, closed, step.mean, spread)
            if self._keep:
                found = saturated(fields, closed, self.columns[node.name], spread)
                self.converters[columns_of(node.name)] = found.some(self._keep_rare)
            step = step.converted(step.mean, spread, self.columns[node.name])
            made = self._rounded(fields, step.columns)
        else:
            made = crossbar_samples(step, error, passed, self._fields, self._generator)
            made = made * ratio(spread, made.square().mean(1)).sqrt().unsqueeze(1)
            step = step.converted(step.mean, spread)
            made = self._converted(made, step.columns)
        self.values[node.name] = step.mean, step.variance, made
        return None  # fields are on the lattice themselves

    def _rounded(self, fields: Converted, conversion: Conversion | None) -> Tensor:
        """Fields behind converters that saturate, with the rounding error that the closed form has beside that."""
        assert conversion is not None
        made = centred(fields.behind)
        if not fields.unrounded or conversion.residual is None:
            return made
        behind = made.square().mean(1)
        rounding = (conversion.variance(fields.before.square().mean(1)) - behind).clamp(min=0)
        return made + rounding.sqrt().unsqueeze(1) * standard_normals(made.shape, self._generator, made)

    def _converted(self, error: Tensor, conversion: Conversion | None) -> Tensor:
        """Fields behind converters."""
        if conversion is None:
            return error
        error = error * conversion.slope.unsqueeze(1)
        if conversion.residual is None:
            return error
        shape = (len(self._inputs), self._fields, *error.shape[2:])
        return error + conversion.residual.sqrt().unsqueeze(1) * standard_normals(shape, self._generator, error)

    def digital(self, node: Node) -> None:
        if node.name in self._noisy:
            self._with_noise(node)
        else:
            self._exact(node)

    def _with_noise(self, node: Node) -> None:
        """A digital operation with noise in one of its inputs."""
        keep = self._keep_rare if self._rare else self._keep
        arriving = [self.values[name] for name in node.inputs]
        if isinstance(node.op, _WINDOWED):
            self.correlations[node.name] = window_correlation(node.op, arriving[0][2].flatten(0, 1)).unsqueeze(0)
        means, variances, errors = zip(*arriving, strict=True)
        step = linearize_joint(node.op, means, variances, self.correlations.get(node.name))
        mean, variance, error = step.mean, step.variance, step.push(*errors)
        if step.residual is None and not step.first_order:
            if not isinstance(node.op, _APART):
                self.factors[node.name] = ratio(error.square().mean(1), variance)
                variance = variance * self.factors[node.name]
        else:
            residual = self._output(node, means, errors) - mean.unsqueeze(1) - error
            if keep and self._fields > 1 and (self._rare or step.first_order or isinstance(node.op, _WINDOWED)):
                self.linear[node.name] = centred(error)[:, :keep].expand(len(mean), -1, *mean.shape[1:])
            square = (error + residual).square().mean(1)
            error = centred(error + residual)
            factor = ratio(error.square().mean(1), variance)
            moved = torch.zeros_like(mean)
            if self._fields > 1:
                found, apart = residual.mean(1), centred(residual)
                moved = shift_of(found, apart.square().mean(1) / self._fields, stds(variance), mean)
                square = square - moved * moved + 2 * mean * (found - moved)  # E[y²] less the mean's square
                if keep:
                    self.kept[node.name] = apart[:, :keep]
                # means far beyond the variance leave rounding there
                factor = ratio(square, variance).clamp(factor / 2, 2 * factor)
            self.factors[node.name] = factor
            variance = variance * self.factors[node.name]
            if self._fields > 1:
                self.shifts[node.name] = in_stds(moved, variance)
            mean = mean + moved
        self.values[node.name] = mean, variance, error

    def _output(self, node: Node, means: Sequence[Tensor], errors: Sequence[Tensor]) -> Tensor:
        """Values (B, R, *shape) of an operation at its noisy inputs."""
        size = (len(self._inputs), self._fields)
        noisy = ((m.unsqueeze(1) + e).expand(*size, *m.shape[1:]) for m, e in zip(means, errors, strict=True))
        output = digital(node.op, *(x.flatten(0, 1) for x in noisy))
        return output.reshape(*size, *output.shape[1:])
