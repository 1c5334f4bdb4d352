"""Moment rules of operations that move entries about: they move variances just so."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized, over_batch, value_and_transpose
from powerplan.network.digital import digital
from powerplan.network.ops import Concat, Constant, Embedding, Flatten, Op, Pad, Permute, Reshape, Slice, Take


def _moved(
    op: Op,
    mean: Tensor,
    variance: Tensor,
    move: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
) -> Linearized:
    """An operation that takes every output entry from one input entry (or from none).

    Args:
        move: its linear part on values (N, *input shape).
        back: the transpose on adjoints (N, *shape).
    """
    return Linearized(
        mean=digital(op, mean),
        variance=move(variance),
        pull=lambda adjoint: (over_batch(back, adjoint),),
        push=lambda perturbation: over_batch(move, perturbation),
    )


@linearize.register(Flatten)
@linearize.register(Reshape)
def _(op: Flatten | Reshape, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    shape = means[0].shape[1:]
    return _moved(op, means[0], variances[0], lambda x: digital(op, x), lambda a: a.reshape(a.shape[0], *shape))


@linearize.register
def _(op: Permute, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    order = sorted(range(len(op.axes)), key=lambda i: op.axes[i])
    return _moved(op, means[0], variances[0], lambda x: digital(op, x), lambda a: a.permute(0, *(i + 1 for i in order)))


@linearize.register
def _(op: Slice, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    shape = means[0].shape[1:]
    axis = op.axis % len(shape)
    places = torch.arange(op.start, op.stop, op.step, device=means[0].device)

    def back(adjoint: Tensor) -> Tensor:
        entries = adjoint if op.keep_axis else adjoint.unsqueeze(axis + 1)
        return adjoint.new_zeros(adjoint.shape[0], *shape).index_copy(axis + 1, places, entries)

    return _moved(op, means[0], variances[0], lambda x: digital(op, x), back)


@linearize.register
def _(op: Take, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    shape = means[0].shape[1:]
    places = torch.as_tensor(op.indices.astype(np.int64), device=means[0].device)

    def back(adjoint: Tensor) -> Tensor:
        rows = adjoint.reshape(adjoint.shape[0], -1)
        return rows.new_zeros(len(rows), shape.numel()).index_add(1, places, rows).reshape(-1, *shape)

    return _moved(op, means[0], variances[0], lambda x: digital(op, x), back)


@linearize.register
def _(op: Pad, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    shape = means[0].shape[1:]
    widths = [width for pair in reversed(op.padding) for width in pair]
    if op.mode == "zeros":
        return _moved(
            op, means[0], variances[0], lambda x: F.pad(x, widths), lambda a: F.pad(a, [-width for width in widths])
        )

    def move(x: Tensor) -> Tensor:
        return digital(op, x)

    def back(adjoint: Tensor) -> Tensor:
        _, transpose = value_and_transpose(move, adjoint.new_zeros(adjoint.shape[0], *shape))
        return transpose(adjoint)[0]

    return _moved(op, means[0], variances[0], move, back)


@linearize.register
def _(op: Concat, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    axis = op.axis % (means[0].dim() - 1)
    sizes = [m.shape[axis + 1] for m in means]

    def push(*perturbations: Tensor) -> Tensor:
        rows, count = (max(p.shape[i] for p in perturbations) for i in (0, 1))  # constants have one of each
        return torch.cat([p.expand(rows, count, *p.shape[2:]) for p in perturbations], axis + 2)

    return Linearized(
        mean=digital(op, *means),
        variance=digital(op, *variances),
        pull=lambda adjoint: tuple(torch.split(adjoint, sizes, axis + 2)),
        push=push,
    )


@linearize.register
def _(op: Constant, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    # float64 on the processor, as digital() gives it: nothing tells the precision that the network is evaluated in
    value = digital(op)
    still = torch.zeros_like(value)
    return Linearized(mean=value, variance=still, pull=lambda adjoint: (), push=lambda: still.unsqueeze(1))


@linearize.register
def _(op: Embedding, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    # indices are exact: nothing reaches the table's rows
    mean = digital(op, means[0])
    shape = means[0].shape[1:]
    return Linearized(
        mean=mean,
        variance=torch.zeros_like(mean),
        pull=lambda adjoint: (adjoint.new_zeros(*adjoint.shape[:2], *shape),),
        push=lambda perturbation: perturbation.new_zeros(*perturbation.shape[:2], *mean.shape[1:]),
    )
