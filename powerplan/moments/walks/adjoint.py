"""Adjoints of the linearised network: what each noise source adds to the output's covariance.

In the linearised network the output error is a sum over independent sources, J n with J = d(output)/d(source),
so its covariance is Σ_sources J diag(q) Jᵀ. One sweep through the steps of the forward walk in reverse gives every J, K
directions of the output at a time; no covariance of inner layers is formed.

The directions are the outputs themselves, or, where there are many, random combinations r of them with entries
±1/√n: E[rᵀ C r] = tr C / n is the mean output variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from powerplan.moments.rounds import rowwise
from powerplan.moments.rules.linearized import Linearized
from powerplan.moments.sources.errors import caused_by
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import Place, Step
from powerplan.moments.walks.marginal import Trace
from powerplan.network.node import Node

#: kinds of sources that are the residual of a step
_RESIDUAL = {"digital": "residual", "rows": "dac", "columns": "adc"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One noise source: its array or digital node, its kind ("programming", "read", "row", "column_gain", "dac", "adc",
    "residual") and the variance (B, K) it causes in every direction of the output."""

    node: str
    kind: str
    variance: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjoints:
    """Result of a sweep: sources and, if asked for, the covariance (B, K, K) of the directions and for every array the
    bias (B, K) that its shifted mean weights and its converters cause in them, and what it is more than with ideal
    wires."""

    sources: tuple[Source, ...]
    covariance: Tensor | None
    bias: dict[str, Tensor]
    wire_bias: dict[str, Tensor]


def sweep(
    trace: Trace,
    directions: Tensor,
    *,
    joint: bool,
    biases: bool,
    ideal_weights: Mapping[str, Tensor] = MappingProxyType({}),
    coherence: Mapping[Place, Tensor] = MappingProxyType({}),
    slopes: Mapping[Place, Tensor] = MappingProxyType({}),
) -> Adjoints:
    """Pull K directions of the output back through the linearised network.

    Errors of an array that several nodes read are dealt with when the adjoints of all of them are known.

    Args:
        directions: (B or 1, K, outputs).
        joint: also the covariance of the directions.
        biases: also the bias by crossbar.
        ideal_weights: mean weights (n_out, n_in) with ideal wires, of the arrays whose bias by wires is asked for.
        coherence: factors () of what is taken as independent, see :mod:`powerplan.moments.samples.coherence`.
        slopes: factors () of linear parts, likewise.
    """
    batch, count = len(trace.output_mean), directions.shape[1]
    covariance = trace.output_mean.new_zeros(batch, count, count) if joint else None
    sources: list[Source] = []
    bias: dict[str, Tensor] = {}
    wire_bias: dict[str, Tensor] = {}
    again: dict[str, list[tuple[ArrayStep, Tensor]]] = {}

    def add(name: str, kind: str, variance: Tensor) -> None:
        nonlocal covariance
        if covariance is not None:
            covariance, variance = covariance + variance, variance.diagonal(dim1=-2, dim2=-1)
        sources.append(Source(node=name, kind=kind, variance=variance.expand(batch, -1)))

    for step, adjoint in pulled_back(trace, directions, slopes):
        node, place, passed = step.node, step.place, trace.steps[step.place]
        if biases and node.op.is_crossbar and place == trace.lowered.behind[node.name]:
            _add_moved(bias, node.array_name, adjoint, _shift(trace, step))
            _add_moved(wire_bias, node.array_name, adjoint, _wire_shift(trace, step, ideal_weights))
        if isinstance(passed, ArrayStep):
            reads = [*again.pop(node.array_name, ()), (passed, adjoint)]
            if passed.array.is_read_again and len(reads) < len(passed.array.constants.reads):
                again[node.array_name] = reads
                continue
            factor = coherence.get(array_place(node), 1.0)
            for errors in zip(*(read.errors for read, _ in reads), strict=True):
                pairs = [(part, pulled) for part, (_, pulled) in zip(errors, reads, strict=True)]
                add(node.array_name, errors[0].kind, errors[0].caused(pairs, joint=joint, coherence=factor))
        else:
            beyond = coherence[place] * beyond_linear_part(passed) if place in coherence else passed.residual
            if beyond is not None:
                add(node.array_name, _RESIDUAL[place.part], caused_by(adjoint, beyond, joint=joint))
    return Adjoints(sources=tuple(reversed(sources)), covariance=covariance, bias=bias, wire_bias=wire_bias)


def pulled_back(trace: Trace, directions: Tensor, slopes: Mapping[Place, Tensor]) -> Iterator[tuple[Step, Tensor]]:
    """Every noisy step that moves the output, from the output backwards, with its adjoint (B or 1, K, *shape).

    ``slopes`` are factors () of linear parts, looked up when the adjoint of the step has been dealt with.
    """
    lowered = trace.lowered
    adjoints = {lowered.output: directions.reshape(*directions.shape[:2], *lowered.output_shape)}
    for step in reversed(lowered.steps):
        adjoint = adjoints.pop(step.place, None)
        if adjoint is None or not step.noisy:
            continue
        yield step, adjoint
        if lowered.noisy.isdisjoint(step.inputs):
            continue
        adjoint = rowwise(slopes[step.place], adjoint) if step.place in slopes else adjoint
        for place, part in zip(step.inputs, trace.steps[step.place].pull(adjoint), strict=True):
            if place in lowered.noisy:
                adjoints[place] = adjoints[place] + part if place in adjoints else part


def output_directions(batch: int, outputs: int, combinations: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Every output (1, K, K), or random combinations (B, C, K) with entries ±1/√K."""
    if not combinations:
        return torch.eye(outputs, dtype=dtype)[None]
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (batch, combinations, outputs), generator=generator, dtype=torch.int8)
    return signs.to(dtype).mul_(2).sub_(1).mul_(1 / math.sqrt(outputs))


def array_place(node: Node) -> Place:
    """By which corrections of the errors of an array are found, one place for all the nodes that read it."""
    return Place(node.array_name, "array")


def beyond_linear_part(step: Linearized) -> Tensor:
    """What coherence is a factor of: the variance of the residual, or all of it if the rule knows of none."""
    return step.variance if step.residual is None else step.residual


def _add_moved(total: dict[str, Tensor], name: str, adjoint: Tensor, shift: Tensor | None) -> None:
    """Add what a shift (B, *shape) of an array's output moves the directions by."""
    if shift is not None:
        moved = (adjoint.flatten(2) @ shift.flatten(1).unsqueeze(-1)).squeeze(-1)
        total[name] = total[name] + moved if name in total else moved


def _shift(trace: Trace, step: Step) -> Tensor | None:
    """By how much devices and converters shift the mean of a crossbar, whose last step this is; None = not at all."""
    array = trace.array(step.node.name).array
    hardware = array.hardware
    if not hardware.converts_columns and hardware.dac_bits is None and array.holds_targets:
        return None
    return trace.means[step.place] - array.unshifted(_arriving(trace, step))


def _wire_shift(trace: Trace, step: Step, ideal_weights: Mapping[str, Tensor]) -> Tensor | None:
    """By how much the resistance of wires shifts it."""
    array, ideal = trace.array(step.node.name).array, ideal_weights.get(step.node.array_name)
    return None if ideal is None else array.affine.apply(_arriving(trace, step), array.mean_weight - ideal)


def _arriving(trace: Trace, step: Step) -> Tensor:
    """Mean input of a crossbar."""
    return trace.means[trace.lowered.behind[step.node.inputs[0]]]
