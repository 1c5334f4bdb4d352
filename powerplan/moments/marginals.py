"""Marginal variances that know of correlations.

Propagating marginal variances takes the inputs of every operation as independent. They are not: one kernel serves
all positions, so its errors agree from position to position, and a residual join adds errors with a common origin. The
variance of what gathers them (a convolution, a mean, a join) is then wrong, usually too small, and with it slopes
and power behind it.

A few random *fields* are carried through the linearised network: joint samples of all errors, drawn with their true
correlations at every source,

    δz = W̄ δx + δW (x̄ + δx) + independent noise      at a crossbar, one δW for all positions where they share it,
    δy = P δx + residual                              at a digital operation.

Their mean square over the variance that independence gives, pooled over inputs, fields and positions of a channel
(or over all entries of a vector), is the *correction* of an operation: its variance is multiplied by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from powerplan.moments.crossbar import CrossbarMoments
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.rules.maxima import linearize_joint, window_correlation
from powerplan.moments.trace import CrossbarTrace, crossbar_step
from powerplan.network import ops
from powerplan.network.graph import INPUT, Network

#: operations that gather nothing: the variance of an output is a function of that of one input
_APART = (
    *(ops.Activation, ops.Scale, ops.Flatten, ops.Reshape, ops.Permute, ops.Concat, ops.Slice, ops.Pad),
    *(ops.Constant, ops.Embedding),
)

#: entries of the values at the rows that are worked on at a time
_BLOCK_ENTRIES = 1 << 23


@dataclass(frozen=True, kw_only=True, eq=False)
class Corrections:
    """Factors of marginal variances by node, each broadcasting to (B, *shape); nodes without one have 1. And by
    max-pooling node the correlation of two entries of a window, (C, *1); nodes without one have 0."""

    factors: Mapping[str, Tensor] = field(default_factory=dict)
    correlations: Mapping[str, Tensor] = field(default_factory=dict)

    def apply(self, name: str, variance: Tensor) -> Tensor:
        """The variance of a node's value, corrected."""
        factor = self.factors.get(name)
        return variance if factor is None else variance * factor


NONE = Corrections()


def needs_corrections(network: Network) -> bool:
    """True if errors of one origin meet: positions that share devices, or joins of noisy values."""
    for node in network.nodes:
        shape = network.shapes[node.inputs[0]] if node.inputs else ()
        if isinstance(node.op, ops.CrossbarOp) and node.op.reads(shape) > 1:
            return True
        if sum(name in network.noisy for name in node.inputs) > 1:
            return True
    return False


def enough_fields(network: Network) -> int:
    """Fields that pool enough independent errors: the fewer devices a layer has, the more fields."""
    fewest = min(node.op.matrix.size for node in network.crossbars if isinstance(node.op, ops.CrossbarOp))
    return min(256, max(16, (1 << 16) // fewest))


@torch.no_grad()
def estimate_corrections(
    network: Network, crossbars: Sequence[CrossbarMoments], inputs: Tensor, *, fields: int, seed: int
) -> Corrections:
    """Corrections at given gains.

    Args:
        inputs: (B, *shape) to pool over.
        fields: R, number of fields.
        seed: of the fields.
    """
    known = {c.crossbar.name: c for c in crossbars}
    generator = torch.Generator(inputs.device).manual_seed(seed)
    still = torch.zeros_like(inputs)
    values: dict[str, tuple[Tensor, Tensor, Tensor]] = {INPUT: (inputs, still, still.unsqueeze(1))}
    factors: dict[str, Tensor] = {}
    correlations: dict[str, Tensor] = {}
    for node in network.nodes:
        arriving = [values[name] for name in node.inputs]
        noisy = node.name in network.noisy
        if node.op.is_crossbar:
            ((mean, variance, error),) = arriving
            exact = node.inputs[0] not in network.noisy
            step = crossbar_step(known[node.name], mean, variance, exact_input=exact)
            error = _crossbar_fields(step, None if exact else error, fields, generator)
            mean, variance = step.mean, step.variance
        else:
            if isinstance(node.op, ops.MaxPool | ops.AdaptiveMaxPool) and noisy:
                correlations[node.name] = window_correlation(node.op, arriving[0][2].flatten(0, 1))
            made = linearize_joint(
                node.op, [m for m, _, _ in arriving], [v for _, v, _ in arriving], correlations.get(node.name)
            )
            mean, variance = made.mean.to(inputs), made.variance.to(inputs)  # a constant comes in float64
            error = made.push(*(e for _, _, e in arriving)) if noisy else torch.zeros_like(mean).unsqueeze(1)
            if made.residual is not None and noisy:
                spread = made.residual.clamp(min=0).sqrt().unsqueeze(1)
                error = error + spread * _normals(error.shape, generator, error)
        if noisy and not isinstance(node.op, _APART):
            factors[node.name] = _factor(error, variance)
            variance = variance * factors[node.name]
        values[node.name] = (mean, variance, error)
        for name in network.last_readers.get(node.name, ()):
            if name != network.output:
                del values[name]
    return Corrections(factors=factors, correlations=correlations)


def _crossbar_fields(step: CrossbarTrace, error: Tensor | None, fields: int, generator: torch.Generator) -> Tensor:
    """Fields (B, R, *shape) at a crossbar's output for fields of its input, None if it is exact."""
    moments, injected = step.moments, step.injected
    map = moments.map
    apart = torch.zeros_like(step.variance)
    for part in (None if moments.is_shared else injected.programming, injected.read):
        apart = apart if part is None else apart + part
    if moments.has_row_noise:
        apart = apart + moments.row_noise_through(moments.analog_weight**2)
    size = (len(step.variance), fields)
    made = apart.sqrt().unsqueeze(1) * _normals((*size, *step.variance.shape[1:]), generator, apart)
    if error is not None:
        made = made + over_batch(lambda x: map.apply(x, moments.mean_weight), error)
    if injected.column_gain is not None:
        shape = (1, fields, *step.variance.shape[1:2], *(1,) * (step.variance.dim() - 2))
        made = made + injected.column_gain.sqrt().unsqueeze(1) * _normals(shape, generator, made)
    if not moments.is_shared:
        return made
    spread = moments.weight_variance.sqrt().expand(map.n_out, map.n_in)
    rows = moments.affine.patches(step.input_mean).unsqueeze(1)  # (B, 1, G, P, n)
    block = max(1, _BLOCK_ENTRIES // (len(made) * map.groups * map.positions * map.n_in))
    for low in range(0, fields, block):
        some = slice(low, low + block)
        count = made[:, some].shape[1]
        arriving = rows
        if error is not None:
            arriving = rows + over_batch(map.patches, error[:, some])
        drawn = spread * _normals((count, *spread.shape), generator, spread)
        columns = arriving @ drawn.reshape(count, map.groups, -1, map.n_in).mT
        made[:, some] += over_batch(map.gather, columns)
    return made


def _factor(error: Tensor, variance: Tensor) -> Tensor:
    """Mean square of fields (B, R, *shape) over a variance (B, *shape), by channel."""
    axes = (0, 1) if variance.dim() == 2 else (0, *range(2, variance.dim()))
    square = error.square().mean(1).sum(axes, keepdim=True)
    total = variance.expand(error.shape[0], *variance.shape[1:]).sum(axes, keepdim=True)
    return torch.where(total > 0, square / total.clamp(min=torch.finfo(total.dtype).tiny), torch.ones_like(total))


def _normals(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)
