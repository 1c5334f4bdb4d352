"""How errors that are taken as independent add up at the output.

The adjoint sweep takes two kinds of error as independent from entry to entry although they are not: of inputs δx of
devices that serve several positions, and residuals r of digital operations beyond their linear part. With the adjoint A

    Σ_ij V_ij Σ_p A_pi² Var x_pj    stands for    Σ_ij V_ij E[(Σ_p A_pi δx_pj)²]        p of all reads of the array,
    Σ_i A_i² Var r_i                stands for    E[(Σ_i A_i r_i)²].

With error samples at hand (joint samples of all errors, :mod:`powerplan.moments.samples.estimate`) the right-hand
sides are plain averages: the devices' own randomness V is already integrated, so that few samples do. The ratio of the
two, one number for every node, pooled over inputs and directions of the output, is its *coherence*.

An operation without a Gaussian formula is linear by its Jacobian at the mean, P δx, a maximum by one correlation for
all pairs of its window. What it does on average can be less (a softmax near a vertex saturates) or more: r then goes
against P δx or with it, and the two do not add up as independent. Its *slope* β makes them: the linear part becomes
β P δx, the residual r + (1 − β) P δx, with

    β = E[(A·P δx) (A·(P δx + r))] / E[(A·P δx)²].

Why: docs/decisions/error-samples.md [0211, 0253].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.moments.rules.linearized import Linearized, over_batch
from powerplan.moments.sources.errors import squares, total
from powerplan.moments.sources.programming import joined
from powerplan.moments.sources.shared import by_group, positions_are_fewer, shared_variance
from powerplan.moments.walks.adjoint import array_place, beyond_linear_part, pulled_back
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import Place
from powerplan.moments.walks.marginal import Trace
from powerplan.network.graph import Network
from powerplan.network.ops import CrossbarOp


class Saturated(NamedTuple):
    """Samples (B, R, *shape) of what converters that saturate pass on, linearly and in all, and the variance
    (B, *shape) of the residual between the two."""

    linear: Tensor
    whole: Tensor
    residual: Tensor

    def some(self, count: int) -> Saturated:
        """The first samples."""
        return self._replace(linear=self.linear[:, :count].clone(), whole=self.whole[:, :count].clone())


#: random combinations of the outputs of every input that coherence is pooled over
_DIRECTIONS = 4
#: outputs up to which each is a direction where converters are looked at: what moves all columns alike has few others
_MOST_OUTPUTS = 32
#: multiplications that coherence may take, roughly
_MOST_WORK = 1 << 26
#: products of row values between positions that are formed at a time
_MOST_PRODUCTS = 1 << 22
#: nodes that cause less than this part of what all nodes cause keep 1: their ratio is rounding
_LEAST_PART = 1e-6


def enough_samples(network: Network, batch: int) -> int:
    """Samples that coherence is found from, of all rounds together: as many as its work allows, at least 16."""
    shapes = network.shapes
    work = sum(
        node.op.matrix.size * node.op.reads(shapes[node.inputs[0]])
        for node in network.nodes
        if isinstance(node.op, CrossbarOp)
    )
    return max(16, _MOST_WORK // (batch * _DIRECTIONS * work))


def coherence_of(
    trace: Trace,
    errors: Mapping[Place, Tensor],
    linear: Mapping[Place, Tensor],
    converters: Mapping[Place, Saturated],
    *,
    seed: int,
) -> tuple[dict[Place, Tensor], dict[Place, Tensor]]:
    """Coherence () by place, and slopes () of those in ``linear`` and ``converters``.

    Args:
        trace: moments at the inputs (B, *shape) that the samples belong to.
        errors: (B, R, *shape): samples of the input of arrays, of the residual of digital operations.
        linear: (B, R, *shape): samples of the linear part P δx where it is assumed.
        converters: what saturates.
        seed: of the combinations of the outputs.
    """
    sums: dict[Place, tuple[Tensor, Tensor]] = {}
    arrays: dict[Place, list[tuple[ArrayStep, Tensor, Tensor]]] = {}
    residuals: dict[Place, tuple[Tensor, Tensor]] = {}
    slopes: dict[Place, Tensor] = {}  # of a step before its adjoint is pulled through it
    directions = _combinations(trace.output_mean, seed)
    if converters and trace.output_mean.shape[1] <= _MOST_OUTPUTS:
        directions = torch.eye(trace.output_mean.shape[1]).to(directions).expand(len(directions), -1, -1)
    for step, adjoint in pulled_back(trace, directions, slopes):
        place, passed = step.place, trace.steps[step.place]
        if place in converters:
            slopes[place], sums[place] = _of_converters(adjoint, passed, converters[place])
        samples = errors.get(place)
        if samples is None:
            continue
        if isinstance(passed, ArrayStep):
            arrays.setdefault(array_place(step.node), []).append((passed, adjoint, samples))
            continue
        moved = _moved(adjoint, samples)
        if place in linear:
            straight = _moved(adjoint, linear[place])
            slopes[place] = slope = slope_of(straight, straight + moved)
            moved = moved + (1 - slope) * straight
        apart = squares(adjoint, beyond_linear_part(passed))
        residuals[place] = moved, apart.expand(len(samples), -1).sum()
    sums |= {place: _of_inputs(reads) for place, reads in arrays.items()} | _of_residuals(trace, residuals)
    floor = _LEAST_PART * sum(together for together, _ in sums.values())
    coherence = {
        place: torch.where((apart > 0) & (together + apart > floor), together / apart, torch.ones_like(apart))
        for place, (together, apart) in sums.items()
    }
    return coherence, slopes


def _of_residuals(trace: Trace, residuals: Mapping[Place, tuple[Tensor, Tensor]]) -> dict[Place, tuple[Tensor, Tensor]]:
    """What residuals of operations cause, together and each by itself, from what they move (B, K, R) and the latter.

    Behind reads of one array they err alike (and cancel in the difference of two branches), so that those of all
    operations are taken together.
    """
    alike = any(step.array.is_read_again for step in trace.steps.values() if isinstance(step, ArrayStep))
    if not alike or not residuals:
        return {place: (moved.square().mean(2).sum(), apart) for place, (moved, apart) in residuals.items()}
    moved, apart = (total(part) for part in zip(*residuals.values(), strict=True))
    return dict.fromkeys(residuals, (moved.square().mean(2).sum(), apart))


def _of_converters(adjoint: Tensor, step: Linearized, samples: Saturated) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Slope of converters with this adjoint (B, K, *shape), and what their residual causes, together and each by
    itself; rounding is independent."""
    assert step.residual is not None
    straight, whole = _moved(adjoint, samples.linear), _moved(adjoint, samples.whole)
    slope = slope_of(straight, whole)
    rounding = squares(adjoint, (step.residual - samples.residual).clamp(min=0))
    together = (whole - slope * straight).square().mean(2).sum() + rounding.sum()
    return slope, (together, squares(adjoint, step.residual).sum())


def _moved(adjoint: Tensor, errors: Tensor) -> Tensor:
    """By how much errors (B, R, *shape) move the directions, A·δ, (B, K, R)."""
    return adjoint.flatten(2) @ errors.flatten(2).mT


def slope_of(straight: Tensor, whole: Tensor) -> Tensor:
    """β () of a linear part and of the whole, A·P δx and A·(P δx + r), between 0 and 2; 1 where nothing is moved."""
    square = straight.square().sum()
    moves = square > 0
    slope = (straight * whole).sum() / torch.where(moves, square, torch.ones_like(square))
    return torch.where(moves, slope.clamp(0, 2), torch.ones_like(slope))


def _of_inputs(reads: Sequence[tuple[ArrayStep, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """What the errors (B, R, *shape) of the inputs cause through the devices' errors in all reads of an array with
    these adjoints, together and each by itself."""
    by_read = [
        (over_batch(step.array.map.columns, adjoint), over_batch(step.array.map.patches, errors))
        for step, adjoint, errors in reads
    ]
    array, samples = reads[0][0].array, reads[0][2]
    variance = by_group(array.map, array.weight_variance)
    together, apart = samples.new_zeros(()), samples.new_zeros(())
    for i in range(len(samples)):
        columns = joined([own[i % len(own)] for own, _ in by_read], 2)  # (D, G, P, o)
        rows = joined([own[i] for _, own in by_read], 2)  # (R, G, P, n)
        together = together + _through_devices(columns, rows, variance)
    for step, adjoint, errors in reads:
        map = step.array.map
        own = map.gather_columns(step.array.weighted(errors.square().mean(1), array.weight_variance, map))
        apart = apart + squares(adjoint, own).sum()
    return together / samples.shape[1], apart


def _through_devices(columns: Tensor, rows: Tensor, variance: Tensor) -> Tensor:
    """Σ_ij V_ij (Σ_p A_dpi x_spj)² over all directions d (D, G, P, o) and samples s (S, G, P, n) of one input, ().

    With few positions sums over directions and samples come first: Σ_pq (Σ_d A_dpi A_dqi) V_ij (Σ_s x_spj x_sqj).
    """
    positions = rows.shape[2]
    if variance.shape[-1] == 1 and positions_are_fewer(columns.shape[-1], rows.shape[-1], positions):
        of_columns = ((columns * variance.mT) @ columns.mT).sum(0)
        return (of_columns * (rows @ rows.mT).sum(0)).sum()
    if positions > len(columns) * len(rows) or positions**2 * rows.shape[3] > _MOST_PRODUCTS:
        return shared_variance(columns.expand(len(rows), *columns.shape), rows, variance).sum()
    of_columns, of_rows = (_position_products(value) for value in (columns, rows))
    return ((variance.mT @ of_columns) * of_rows).sum()


def _position_products(values: Tensor) -> Tensor:
    """Σ_s x_sp x_sq of values (S, G, P, n), (G, n, P²)."""
    by_row = values.permute(1, 3, 2, 0)
    return (by_row @ by_row.mT).flatten(2)


def _combinations(output: Tensor, seed: int) -> Tensor:
    """Random ±1 combinations of the outputs (B, K), (B, D, K)."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (len(output), _DIRECTIONS, output.shape[1]), generator=generator, dtype=torch.int8)
    return signs.to(output).mul_(2).sub_(1)
