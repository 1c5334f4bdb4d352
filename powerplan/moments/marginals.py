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

They give three corrections, none of which repeats what is known in closed form:

- *factors* of variances. At a crossbar what its own devices add is known; only the mean square of W̄ δx is taken from
  the fields, pooled over inputs, fields and positions of a channel (or over all entries of a vector). Fields are
  scaled to the variance so found, which keeps chance out of what follows. Elsewhere it is the mean square of δy.
- *shifts* of means, in standard deviations of each entry: the mean over the fields of the residual
  r = f(x̄ + δx) − (E f of the rule) − P δx, whose linear part has no chance in it.
- *coherence*: how residuals and the errors of inputs add up at the output, see :mod:`powerplan.moments.coherence`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from powerplan.gaussian import positive_std
from powerplan.moments.coherence import coherence_of
from powerplan.moments.columns import gain_errors
from powerplan.moments.crossbar import CrossbarMoments
from powerplan.moments.read_out import Conversion
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.rules.maxima import linearize_joint, window_correlation
from powerplan.moments.trace import CrossbarTrace, crossbar_step, mean_field
from powerplan.network import ops
from powerplan.network.digital import digital
from powerplan.network.graph import INPUT, Network, Node

#: operations that gather nothing: the variance of an output is a function of that of one input
_APART = (
    *(ops.Activation, ops.Scale, ops.Flatten, ops.Reshape, ops.Permute, ops.Concat, ops.Slice, ops.Pad),
    *(ops.Constant, ops.Embedding),
)

_FEWEST_FIELDS = 16
_MOST_FIELDS = 256
#: inputs up to which the most fields are taken where layers have few devices
_FEW_INPUTS = 8

#: entries of the values at the rows that are worked on at a time
_BLOCK_ENTRIES = 1 << 23


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrections:
    """What fields of the first P inputs correct, by node; nodes that are not named are right.

    Attributes:
        factors: of variances, (P or 1, *shape or 1).
        shifts: of means, in standard deviations, (P, *shape).
        correlations: of two entries of a window of max-pooling, (P or 1, C, *1).
        coherence: see :mod:`powerplan.moments.coherence`, ().
    """

    factors: Mapping[str, Tensor] = field(default_factory=dict)
    shifts: Mapping[str, Tensor] = field(default_factory=dict)
    correlations: Mapping[str, Tensor] = field(default_factory=dict)
    coherence: Mapping[str, Tensor] = field(default_factory=dict)

    def apply(self, name: str, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of a node's value, corrected."""
        factor, shift = self.factors.get(name), self.shifts.get(name)
        if factor is not None:
            variance = variance * factor
        if shift is not None:
            mean = mean + shift * _std(variance)
        return mean, variance

    def of(self, part: slice, batch: int) -> Corrections:
        """Those of a part of the inputs; inputs behind those that fields were made for get what the others have in
        common."""
        rows = range(batch)[part]

        def cut(values: Mapping[str, Tensor], common: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
            return {name: _rows_of(value, rows, common) for name, value in values.items()}

        def mean(value: Tensor) -> Tensor:
            return value.mean(0, keepdim=True)

        def channel_mean(value: Tensor) -> Tensor:
            return value.mean(_pooled_axes(value), keepdim=True)

        return replace(
            self,
            factors=cut(self.factors, mean),
            shifts=cut(self.shifts, channel_mean),
            correlations=cut(self.correlations, mean),
        )

    @classmethod
    def joined(cls, groups: Sequence[tuple[int, Corrections]]) -> Corrections:
        """Those of groups of inputs of these sizes, one behind the other; coherence is the first one's."""
        if len(groups) == 1:
            return groups[0][1]

        def together(values: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
            sizes = [size for size, _ in groups]
            return {
                name: torch.cat([v[name].expand(n, *v[name].shape[1:]) for n, v in zip(sizes, values, strict=True)])
                for name in values[0]
            }

        return cls(
            factors=together([found.factors for _, found in groups]),
            shifts=together([found.shifts for _, found in groups]),
            correlations=together([found.correlations for _, found in groups]),
            coherence=groups[0][1].coherence,
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


def needs_corrections(network: Network) -> bool:
    """True if errors of one origin meet: positions that share devices, or joins of noisy values."""
    for node in network.nodes:
        shape = network.shapes[node.inputs[0]] if node.inputs else ()
        if isinstance(node.op, ops.CrossbarOp) and node.op.reads(shape) > 1:
            return True
        if sum(name in network.noisy for name in node.inputs) > 1:
            return True
    return False


def enough_fields(network: Network, batch: int) -> int:
    """Fields that pool enough independent errors: the fewer devices a layer has, the more fields.

    Many inputs average over each other's errors, and take fewer.
    """
    fewest = min(node.op.matrix.size for node in network.crossbars if isinstance(node.op, ops.CrossbarOp))
    most = min(_MOST_FIELDS, max(_FEWEST_FIELDS, _MOST_FIELDS * _FEW_INPUTS // batch))
    return min(most, max(_FEWEST_FIELDS, (1 << 16) // fewest))


@torch.no_grad()
def estimate_corrections(
    network: Network,
    crossbars: Sequence[CrossbarMoments],
    inputs: Tensor,
    *,
    fields: int,
    seed: int,
    kept_fields: int,
) -> Corrections:
    """Corrections at given gains.

    Args:
        inputs: (B, *shape).
        fields: R, number of fields.
        seed: of the fields.
        kept_fields: fields from which coherence is found; 0 = it is not.
    """
    known = {c.crossbar.name: c for c in crossbars}
    generator = torch.Generator(inputs.device).manual_seed(seed)
    made = _Fields(inputs, fields, generator)
    for node in network.nodes:
        if node.name not in network.noisy:
            made.exact(node)
        elif node.op.is_crossbar:
            made.crossbar(node, known[node.name], exact=node.inputs[0] not in network.noisy, keep=kept_fields)
        else:
            made.digital(node, keep=kept_fields)
        for name in network.last_readers.get(node.name, ()):
            if name != network.output:
                del made.values[name]
    found = Corrections(factors=made.factors, shifts=made.shifts, correlations=made.correlations)
    if not kept_fields:
        return found
    trace = mean_field(network, crossbars, inputs, found.apply, found.correlations)
    return replace(found, coherence=coherence_of(network, trace, made.kept, seed=seed))


class _Fields:
    """Means, variances (B, *shape) and fields (B or 1, R or 1, *shape) of the values still to be read."""

    def __init__(self, inputs: Tensor, fields: int, generator: torch.Generator) -> None:
        still = torch.zeros_like(inputs)
        self.values: dict[str, tuple[Tensor, Tensor, Tensor]] = {INPUT: (inputs, still, still.unsqueeze(1))}
        self.factors: dict[str, Tensor] = {}
        self.shifts: dict[str, Tensor] = {}
        self.correlations: dict[str, Tensor] = {}
        self.kept: dict[str, Tensor] = {}
        self._inputs, self._fields, self._generator = inputs, fields, generator

    def exact(self, node: Node) -> None:
        """A digital operation that no noise reaches."""
        mean = digital(node.op, *(self.values[name][0] for name in node.inputs)).to(self._inputs)
        still = torch.zeros_like(mean)
        self.values[node.name] = mean, still, still.unsqueeze(1)

    def crossbar(self, node: Node, moments: CrossbarMoments, *, exact: bool, keep: int) -> None:
        """A crossbar, whose input may be exact."""
        mean, variance, error = self.values[node.inputs[0]]
        step = crossbar_step(moments, mean, variance, exact_input=exact)
        exact = exact and (step.rows is None or step.rows.residual is None)
        spread = step.variance
        passed = None
        if not exact:
            error = self._converted(error, step.rows)
            passed = over_batch(lambda x: moments.map.apply(x, moments.mean_weight), error)
            own = spread - moments.map.apply(step.input_variance, moments.mean_weight * moments.mean_weight)
            self.factors[node.name] = _ratio(passed.square().mean(1) + own, spread)
            spread = spread * self.factors[node.name]
            if moments.is_shared and keep:
                self.kept[node.name] = error[:, :keep].expand(len(self._inputs), -1, *error.shape[2:])
        made = _crossbar_fields(step, error, passed, self._fields, self._generator)
        made = made * _ratio(spread, made.square().mean(1)).sqrt().unsqueeze(1)
        step = step.converted(step.mean, spread)
        self.values[node.name] = step.mean, step.variance, self._converted(made, step.columns)

    def _converted(self, error: Tensor, conversion: Conversion | None) -> Tensor:
        """Fields behind converters."""
        if conversion is None:
            return error
        error = error * conversion.slope.unsqueeze(1)
        if conversion.residual is None:
            return error
        shape = (len(self._inputs), self._fields, *error.shape[2:])
        return error + conversion.residual.sqrt().unsqueeze(1) * _normals(shape, self._generator, error)

    def digital(self, node: Node, *, keep: int) -> None:
        """A digital operation with noise in one of its inputs."""
        arriving = [self.values[name] for name in node.inputs]
        if isinstance(node.op, ops.MaxPool | ops.AdaptiveMaxPool):
            self.correlations[node.name] = window_correlation(node.op, arriving[0][2].flatten(0, 1)).unsqueeze(0)
        means, variances, errors = zip(*arriving, strict=True)
        step = linearize_joint(node.op, means, variances, self.correlations.get(node.name))
        mean, variance, error = step.mean, step.variance, step.push(*errors)
        linear = step.residual is None and not step.first_order
        residual = torch.zeros_like(error)
        if not linear:
            residual = self._output(node, means, errors) - mean.unsqueeze(1) - error
            error = _centred(error + residual)
        if not isinstance(node.op, _APART):
            self.factors[node.name] = _ratio(error.square().mean(1), variance)
            variance = variance * self.factors[node.name]
        if not linear and self._fields > 1:
            apart = _centred(residual)
            self.shifts[node.name] = _shift(residual.mean(1), apart.square().mean(1) / self._fields, _std(variance))
            mean = mean + self.shifts[node.name] * _std(variance)
            if keep:
                self.kept[node.name] = apart[:, :keep]
        self.values[node.name] = mean, variance, error

    def _output(self, node: Node, means: Sequence[Tensor], errors: Sequence[Tensor]) -> Tensor:
        """Values (B, R, *shape) of an operation at its noisy inputs."""
        size = (len(self._inputs), self._fields)
        noisy = ((m.unsqueeze(1) + e).expand(*size, *m.shape[1:]) for m, e in zip(means, errors, strict=True))
        output = digital(node.op, *(x.flatten(0, 1) for x in noisy))
        return output.reshape(*size, *output.shape[1:])


def _crossbar_fields(
    step: CrossbarTrace, error: Tensor, passed: Tensor | None, fields: int, generator: torch.Generator
) -> Tensor:
    """Fields (B, R, *shape) at a crossbar's output for fields of its input, and what W̄ passes on of them."""
    moments, injected = step.moments, step.injected
    map = moments.map
    apart = torch.zeros_like(step.variance)
    parts = (injected.read,) if moments.is_shared else (injected.read, injected.programming, injected.column_gain)
    for part in parts:
        apart = apart if part is None else apart + part
    if moments.has_row_noise:
        apart = apart + moments.row_noise_through(moments.analog_weight**2)
    size = (len(step.variance), fields)
    made = apart.sqrt().unsqueeze(1) * _normals((*size, *step.variance.shape[1:]), generator, apart)
    if passed is not None:
        made = made + passed
    if not moments.is_shared:
        return made
    if injected.column_gain is not None:
        made = made + _gain_fields(step, fields, generator)
    rows = moments.affine.patches(step.input_mean).unsqueeze(1)  # (B, 1, G, P, n)
    block = max(1, _BLOCK_ENTRIES // (len(made) * map.groups * map.positions * map.n_in))
    for low in range(0, fields, block):
        some = slice(low, low + block)
        count = made[:, some].shape[1]
        arriving = rows
        if passed is not None:
            arriving = rows + over_batch(map.patches, error[:, some])
        for errors in moments.device_errors:
            spread = errors.variance.sqrt().expand(map.n_out, map.n_in)
            drawn = spread * _normals((count, *spread.shape), generator, spread)
            columns = errors.moved(arriving, drawn.reshape(count, map.groups, -1, map.n_in))
            made[:, some] += over_batch(map.gather, columns)
    return made


def _gain_fields(step: CrossbarTrace, fields: int, generator: torch.Generator) -> Tensor:
    """Fields of the gain errors of physical columns, the same at all positions that they serve."""
    moments = step.moments
    made = torch.zeros_like(step.mean).unsqueeze(1)
    for currents in gain_errors(moments, step.input_mean, step.input_variance):
        first = moments.map.as_columns(currents.mean).unsqueeze(1)  # (B, 1, G, P, o)
        second = moments.map.as_columns(currents.square).unsqueeze(1)
        gain = _normals((1, fields, *first.shape[2:3], 1, *first.shape[4:]), generator, first)
        fluctuating = (second - first * first).clamp(min=0).sqrt()
        fresh = _normals((len(first), fields, *first.shape[2:]), generator, first)
        made = made + over_batch(moments.map.gather, gain * first + fluctuating * fresh)
    return moments.compensation * moments.hardware.column_gain_std * made


def _shift(found: Tensor, chance: Tensor, std: Tensor) -> Tensor:
    """Shift (B, *shape) of means in standard deviations, from its estimate and the variance of that.

    The part that a channel has in common is well known; what entries deviate from it is made as large as their
    mean square is beyond chance.
    """
    rows = len(found)
    std = std.expand(rows, *std.shape[1:])
    axes = _pooled_axes(found)
    total = std.sum(axes, keepdim=True)
    common = torch.where(total > 0, found.sum(axes, keepdim=True) / total.clamp(min=_tiny(total)), 0 * total)
    deviation = found - common * std
    deviation = deviation * (1 - _ratio(chance, deviation * deviation)).clamp(min=0).sqrt()
    return torch.where(std > 0, common + deviation / std.clamp(min=_tiny(std)), 0 * std)


def _ratio(found: Tensor, expected: Tensor) -> Tensor:
    """Ratio of two variances (B or 1, *shape) by channel; 1 where none is expected."""
    rows = max(len(found), len(expected))
    axes = _pooled_axes(found)
    above, below = (v.expand(rows, *v.shape[1:]).sum(axes, keepdim=True) for v in (found, expected))
    return torch.where(below > 0, above / below.clamp(min=_tiny(below)), torch.ones_like(below))


def _pooled_axes(value: Tensor) -> tuple[int, ...]:
    """Axes of a value (B, *shape) but that of the channels; all of a vector's."""
    return (0, 1) if value.dim() == 2 else (0, *range(2, value.dim()))


def _tiny(like: Tensor) -> float:
    return float(torch.finfo(like.dtype).tiny)


def _centred(samples: Tensor) -> Tensor:
    """Samples (B, R, *shape) less their mean, scaled to keep their variance; a single one as it is."""
    count = samples.shape[1]
    if count == 1:
        return samples
    return (samples - samples.mean(1, keepdim=True)) * math.sqrt(count / (count - 1))


def _std(variance: Tensor) -> Tensor:
    """Standard deviations, with finite derivatives at 0."""
    positive, std = positive_std(variance)
    return torch.where(positive, std, torch.zeros_like(std))


def _normals(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)
