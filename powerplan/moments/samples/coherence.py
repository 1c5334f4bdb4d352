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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.moments.rounds import by_round, ratio_of_sums, rowwise
from powerplan.moments.rules.linearized import Linearized, flat_entries, over_batch
from powerplan.moments.samples.corrections import NONE, Corrections
from powerplan.moments.sources.errors import squares, total
from powerplan.moments.sources.programming import joined
from powerplan.moments.sources.shared import by_group, positions_are_fewer, shared_variance
from powerplan.moments.walks.adjoint import array_place, beyond_linear_part, output_directions, pulled_back
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import Place
from powerplan.moments.walks.marginal import Trace
from powerplan.network.graph import Network
from powerplan.network.ops import CrossbarOp
from powerplan.remembered import remembered


class Saturated(NamedTuple):
    """Samples (B, R, *shape) of what converters that saturate pass on, linearly and in all, and the variance
    (B, *shape) of the residual between the two."""

    linear: Tensor
    whole: Tensor
    residual: Tensor

    def some(self, count: int) -> Saturated:
        """The first samples."""
        return self._replace(linear=self.linear[:, :count].clone(), whole=self.whole[:, :count].clone())


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptSamples:
    """Samples that coherence is found from.

    Attributes:
        errors: (N, R, *shape): of the input of arrays, of the residual of digital operations.
        linear: (N, R, *shape): of the linear part P δx where it is assumed.
        converters: what saturates.
    """

    errors: Mapping[Place, Tensor] = field(default_factory=dict)
    linear: Mapping[Place, Tensor] = field(default_factory=dict)
    converters: Mapping[Place, Saturated] = field(default_factory=dict)


#: an array in one read, the adjoint of its output and samples of its input, if it has any
_Read = tuple[ArrayStep, Tensor, Tensor | None]

#: random combinations of the outputs that coherence is pooled over: of every input, of all inputs in large networks;
#: multiplications of a pass beyond which they are large
_MANY_DIRECTIONS, _DIRECTIONS, _LARGE = 8, 2, 1 << 22
#: outputs up to which each is a direction where errors are rare: what moves all columns alike has few others
_MOST_OUTPUTS = 32
#: multiplications that coherence may take, roughly
_MOST_WORK = 1 << 26
#: products of row values between positions that are formed at a time
_MOST_PRODUCTS = 1 << 22
#: nodes that cause less than this part of what all nodes cause keep 1: their ratio is rounding
_LEAST_PART = 1e-6
#: part of the variance that what errors of an array's inputs add up to must be able to reach to be added up
_NEGLIGIBLE = 2e-4


def enough_samples(network: Network, batch: int) -> int:
    """Samples of the inputs of arrays that coherence is found from, of all rounds together: as many as its work allows,
    at least 4."""
    return max(4, _MOST_WORK // (batch * _per_input(network, batch) * multiplications(network)))


def directions(network: Network, batch: int, *, rare: bool, seed: int, like: Tensor) -> Tensor:
    """Directions (B, D, outputs) that errors are added up in: every output where these are few, unless a network is
    large and its errors are not rare, else random combinations."""
    outputs, large = math.prod(network.output_shape), batch * multiplications(network) > _LARGE
    if outputs <= _MOST_OUTPUTS and (rare or not large):
        return torch.eye(outputs).to(like).expand(batch, -1, -1)
    combinations = _MANY_DIRECTIONS if rare else _per_input(network, batch)
    return output_directions(batch, outputs, combinations, seed, like.dtype).to(like.device)


def _per_input(network: Network, batch: int) -> int:
    """Random combinations of the outputs of every input."""
    return -(-_DIRECTIONS // batch) if batch * multiplications(network) > _LARGE else _MANY_DIRECTIONS


@remembered
def multiplications(network: Network) -> int:
    """Multiplications of a pass of one input."""
    shapes = network.shapes
    return sum(
        node.op.matrix.size * node.op.reads(shapes[node.inputs[0]])
        for node in network.nodes
        if isinstance(node.op, CrossbarOp)
    )


class AddedUp(NamedTuple):
    """Coherence and slopes by place in each of M rounds, (M,), and the variance of directions with them, (N, D)."""

    coherence: Mapping[Place, Tensor]
    slopes: Mapping[Place, Tensor]
    variance: Tensor


def added_up(
    trace: Trace,
    directions: Tensor,
    kept: KeptSamples,
    *,
    rounds: int,
    known: Corrections = NONE,
) -> AddedUp:
    """How errors add up in directions (N, D, outputs) of the output, in one sweep.

    Args:
        trace: moments of the inputs (N, *shape) that the samples belong to, those of M rounds behind each other.
        kept: samples, of which coherence is found.
        known: coherence and slopes of places without.
    """
    sums: dict[Place, tuple[Tensor, Tensor]] = {}
    arrays: dict[Place, list[_Read]] = {}
    residuals: dict[Place, tuple[Tensor, Tensor]] = {}
    beyond: dict[Place, Tensor] = {}  # what residuals cause as independent ones
    slopes = dict(known.slopes)  # of a step before its adjoint is pulled through it
    variance = directions.new_zeros(len(trace.output_mean), directions.shape[1])
    for step, adjoint in pulled_back(trace, directions, slopes):
        place, passed, samples = step.place, trace.steps[step.place], kept.errors.get(step.place)
        if isinstance(passed, ArrayStep):
            reads = arrays.setdefault(array_place(step.node), [])
            reads.append((passed, adjoint, samples))
            if not passed.array.is_read_again or len(reads) == len(passed.array.constants.reads):
                variance = variance + _of_array(array_place(step.node), reads, sums, rounds, known, variance)
            continue
        if place in kept.converters:
            slopes[place], sums[place] = _of_converters(adjoint, passed, kept.converters[place])
        corrected = samples is not None or place in known.coherence
        residual = beyond_linear_part(passed) if corrected else passed.residual
        if residual is not None:
            beyond[place] = squares(adjoint, residual)
        if samples is not None:
            moved = _moved(adjoint, samples)
            if place in kept.linear:
                straight = _moved(adjoint, kept.linear[place])
                slopes[place] = slope_of(straight, straight + moved, rounds)
                moved = moved + rowwise(1 - slopes[place], straight)
            residuals[place] = moved, beyond[place].expand(len(samples), -1)
    sums |= _of_residuals(trace, residuals, rounds)
    floor = _LEAST_PART * sum(together for together, _ in sums.values())
    coherence = {
        place: torch.where(together + apart > floor, ratio_of_sums(together, apart), torch.ones_like(apart))
        for place, (together, apart) in sums.items()
    }
    factors = {**known.coherence, **coherence}
    variance = sum((rowwise(factors.get(place, 1.0), own) for place, own in beyond.items()), variance)
    own = {place: slope for place, slope in slopes.items() if place in kept.linear or place in kept.converters}
    return AddedUp(coherence, own, variance)


def _of_array(
    place: Place,
    reads: Sequence[_Read],
    sums: dict[Place, tuple[Tensor, Tensor]],
    rounds: int,
    known: Corrections,
    others: Tensor,
) -> Tensor:
    """Variance (N, D) that the errors of an array cause in directions, beside that of others (N, D); adds what its
    inputs cause to the sums."""
    coherence: Tensor | float = known.coherence.get(place, 1.0)
    sampled = [(step, adjoint, samples) for step, adjoint, samples in reads if samples is not None]
    if sampled:
        sums[place] = _of_inputs(sampled, rounds, by_round(others, rounds))
        coherence = ratio_of_sums(*sums[place])
    by_source = []
    for errors in zip(*(step.errors for step, _, _ in reads), strict=True):
        pairs = [(part, adjoint) for part, (_, adjoint, _) in zip(errors, reads, strict=True)]
        by_source.append(errors[0].caused(pairs, joint=False, coherence=coherence))
    return total(by_source) if by_source else reads[0][1].new_zeros(())


def _of_residuals(
    trace: Trace, residuals: Mapping[Place, tuple[Tensor, Tensor]], rounds: int
) -> dict[Place, tuple[Tensor, Tensor]]:
    """What residuals of operations cause, together and each by itself, from what they move (N, D, R) and the latter
    (N, D).

    Behind reads of one array they err alike (and cancel in the difference of two branches), so that those of all
    operations are taken together.
    """
    alike = any(step.array.is_read_again for step in trace.steps.values() if isinstance(step, ArrayStep))
    if not residuals:
        return {}
    if alike:
        moved, apart = (total(part) for part in zip(*residuals.values(), strict=True))
        residuals = dict.fromkeys(residuals, (moved, apart))
    return {
        place: (by_round(moved.square().mean(2), rounds), by_round(apart, rounds))
        for place, (moved, apart) in residuals.items()
    }


def _of_converters(adjoint: Tensor, step: Linearized, samples: Saturated) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Slope (1,) of converters with this adjoint (B, D, *shape), and what their residual causes, together and each by
    itself, (1,); rounding is independent. There is one round."""
    assert step.residual is not None
    straight, whole = _moved(adjoint, samples.linear), _moved(adjoint, samples.whole)
    slope = slope_of(straight, whole, 1)
    rounding = squares(adjoint, (step.residual - samples.residual).clamp(min=0))
    together = (whole - slope * straight).square().mean(2).sum() + rounding.sum()
    return slope, (together.reshape(1), squares(adjoint, step.residual).sum().reshape(1))


def _moved(adjoint: Tensor, errors: Tensor) -> Tensor:
    """By how much errors (B, R, *shape) move the directions, A·δ, (B, K, R)."""
    return flat_entries(adjoint, 2) @ flat_entries(errors, 2).mT


def slope_of(straight: Tensor, whole: Tensor, rounds: int) -> Tensor:
    """β (M,) of a linear part and of the whole, A·P δx and A·(P δx + r), between 0 and 2; 1 where nothing is moved."""
    square = by_round(straight.square(), rounds)
    moves = square > 0
    slope = by_round(straight * whole, rounds) / torch.where(moves, square, torch.ones_like(square))
    return torch.where(moves, slope.clamp(0, 2), torch.ones_like(slope))


def _of_inputs(reads: Sequence[tuple[ArrayStep, Tensor, Tensor]], rounds: int, others: Tensor) -> tuple[Tensor, Tensor]:
    """What the errors (N, R, *shape) of the inputs cause through the devices' errors in all reads of an array with
    these adjoints, together and each by itself, (M,).

    Together it is at most what they cause each by itself, times the positions: where that is little beside what others
    cause, (M,), it is taken as the same.
    """
    array, samples = reads[0][0].array, reads[0][2]
    apart = by_round(total([squares(adjoint, step.reading.through_devices) for step, adjoint, _ in reads]), rounds)
    positions = sum(step.array.map.positions for step, _, _ in reads)
    if bool((positions * apart <= _NEGLIGIBLE * others).all()):
        return apart, apart
    by_read = [
        (over_batch(step.array.map.columns, adjoint), over_batch(step.array.map.patches, errors))
        for step, adjoint, errors in reads
    ]
    variance = by_group(array.map, array.weight_variance)
    together = []
    for i in range(len(samples)):
        columns = joined([own[i % len(own)] for own, _ in by_read], 2)  # (D, G, P, o)
        rows = joined([own[i] for _, own in by_read], 2)  # (R, G, P, n)
        together.append(_through_devices(columns, rows, variance))
    return by_round(torch.stack(together), rounds) / samples.shape[1], apart


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
