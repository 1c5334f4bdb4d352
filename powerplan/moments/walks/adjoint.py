"""Adjoints of the linearised network: what each noise source adds to the output's covariance.

In the linearised network the output error is a sum over independent sources, J n with J = d(output)/d(source),
so its covariance is Σ_sources J diag(q) Jᵀ. One sweep from the output to the first crossbar gives every J, K
directions of the output at a time; no covariance of inner layers is formed.

The directions are the outputs themselves, or, where there are many, random combinations r of them with entries
±1/√n: E[rᵀ C r] = tr C / n is the mean output variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from powerplan.moments.rules.linearized import Linearized, over_batch
from powerplan.moments.sources.errors import caused_by
from powerplan.moments.walks.marginal import CrossbarTrace, Trace
from powerplan.network.graph import Network
from powerplan.network.node import Node


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One noise source: its node, its kind ("programming", "read", "row", "column_gain", "dac", "adc", "residual") and
    the variance (B, K) it causes in every direction of the output."""

    node: str
    kind: str
    variance: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjoints:
    """Result of a sweep: sources and, if asked for, the covariance (B, K, K) of the directions and for every crossbar
    the bias (B, K) that its shifted mean weights and its converters cause in them."""

    sources: tuple[Source, ...]
    covariance: Tensor | None
    bias: dict[str, Tensor]


def sweep(
    network: Network,
    trace: Trace,
    directions: Tensor,
    *,
    joint: bool,
    biases: bool,
    coherence: Mapping[str, Tensor] = MappingProxyType({}),
    slopes: Mapping[str, Tensor] = MappingProxyType({}),
) -> Adjoints:
    """Pull K directions of the output back through the linearised network.

    Args:
        directions: (B or 1, K, outputs).
        joint: also the covariance of the directions.
        biases: also the bias by crossbar.
        coherence: factors () by node of what is taken as independent, see :mod:`powerplan.moments.samples.coherence`.
        slopes: factors () by node of its linear part, likewise.
    """
    tally = _Tally(
        trace.output_mean, directions.shape[1], joint=joint, biases=biases, coherence=coherence, slopes=slopes
    )
    for node, adjoint in pulled_back(network, trace, directions, slopes):
        if node.op.is_crossbar:
            tally.crossbar(node.name, trace.crossbars[node.name], adjoint)
        else:
            tally.digital(node.name, trace.digital[node.name], adjoint)
    return Adjoints(sources=tuple(reversed(tally.sources)), covariance=tally.joint, bias=tally.bias)


def pulled_back(
    network: Network, trace: Trace, directions: Tensor, slopes: Mapping[str, Tensor]
) -> Iterator[tuple[Node, Tensor]]:
    """Every noisy node that moves the output, from the output backwards, with its adjoint (B or 1, K, *shape).

    ``slopes`` are factors () by node of its linear part, looked up when the adjoint of the node has been dealt with.
    """
    adjoints: dict[str, Tensor] = {network.output: directions.reshape(*directions.shape[:2], *network.output_shape)}
    for node in reversed(network.nodes):
        adjoint = adjoints.pop(node.name, None)
        if adjoint is None or node.name not in network.noisy:
            continue
        yield node, adjoint
        inner = [name in network.noisy for name in node.inputs]
        pulled: tuple[Tensor | None, ...]
        if node.op.is_crossbar:
            pulled = (_pull(trace.crossbars[node.name], adjoint, node.name, slopes),) if inner[0] else (None,)
        else:
            adjoint = adjoint * slopes[node.name] if node.name in slopes else adjoint
            pulled = trace.digital[node.name].pull(adjoint) if any(inner) else (None,) * len(inner)
        for name, noisy, part in zip(node.inputs, inner, pulled, strict=True):
            if noisy and part is not None:
                adjoints[name] = adjoints[name] + part if name in adjoints else part


def columns_of(name: str) -> str:
    """Name, in coherence and slopes, of the converters of a crossbar's columns."""
    return f"{name}\0columns"


def rows_of(name: str) -> str:
    """Name, in coherence and slopes, of the converters of a crossbar's rows."""
    return f"{name}\0rows"


def _pull(crossbar: CrossbarTrace, adjoint: Tensor, name: str, slopes: Mapping[str, Tensor]) -> Tensor:
    pulled = pulled_to_rows(crossbar, adjoint, name, slopes)
    if crossbar.rows is None:
        return pulled
    return pulled * (crossbar.rows.slope * slopes.get(rows_of(name), 1)).unsqueeze(1)


def pulled_to_rows(crossbar: CrossbarTrace, adjoint: Tensor, name: str, slopes: Mapping[str, Tensor]) -> Tensor:
    """Adjoint of what drives the rows, from that of the output."""
    return _pull_to_rows(crossbar, slopes.get(columns_of(name), 1) * crossbar.before_columns(adjoint))


def _pull_to_rows(crossbar: CrossbarTrace, adjoint: Tensor) -> Tensor:
    """Adjoint of what drives the rows, from that of the output before its conversion."""
    map, weight = crossbar.array.map, crossbar.array.mean_weight
    return over_batch(lambda a: map.pull(a, weight), adjoint)


def beyond_linear_part(step: Linearized) -> Tensor:
    """What coherence is a factor of: the variance of the residual, or all of it if the rule knows of none."""
    return step.variance if step.residual is None else step.residual


class _Tally:
    """Gathers what the sources cause in K directions."""

    def __init__(
        self,
        output: Tensor,
        directions: int,
        *,
        joint: bool,
        biases: bool,
        coherence: Mapping[str, Tensor],
        slopes: Mapping[str, Tensor],
    ) -> None:
        self._batch, self._biases, self._coherence, self._slopes = len(output), biases, coherence, slopes
        self.sources: list[Source] = []
        self.bias: dict[str, Tensor] = {}
        self.joint = output.new_zeros(self._batch, directions, directions) if joint else None

    def crossbar(self, name: str, crossbar: CrossbarTrace, adjoint: Tensor) -> None:
        """The sources of a crossbar with this adjoint (B or 1, K, *shape) of its output."""
        array = crossbar.array
        converts = crossbar.rows is not None or crossbar.columns is not None
        if self._biases and (converts or array.mean_weight is not array.constants.weight):
            shift = crossbar.mean - array.unshifted(crossbar.source_mean)
            self.bias[name] = (adjoint.flatten(2) @ shift.flatten(1).unsqueeze(-1)).squeeze(-1)
        if crossbar.columns is not None and crossbar.columns.residual is not None:
            residual = self._coherence.get(columns_of(name), 1) * crossbar.columns.residual
            self.independent(name, "adc", adjoint, residual)
        adjoint = self._slopes.get(columns_of(name), 1) * crossbar.before_columns(adjoint)
        if crossbar.rows is not None and crossbar.rows.residual is not None:
            residual = self._coherence.get(rows_of(name), 1) * crossbar.rows.residual
            self.independent(name, "dac", _pull_to_rows(crossbar, adjoint), residual)
        coherence = self._coherence.get(name, 1.0)
        for errors in crossbar.errors:
            self._add(name, errors.kind, errors.caused(adjoint, joint=self.joint is not None, coherence=coherence))

    def digital(self, name: str, step: Linearized, adjoint: Tensor) -> None:
        """The residual of a digital operation."""
        if name in self._coherence:
            self.independent(name, "residual", adjoint, self._coherence[name] * beyond_linear_part(step))
        elif step.residual is not None:
            self.independent(name, "residual", adjoint, step.residual)

    def independent(self, name: str, kind: str, adjoint: Tensor, variance: Tensor) -> None:
        """Independent errors of this variance (B or 1, *shape) with this adjoint (B or 1, K, *shape)."""
        self._add(name, kind, caused_by(adjoint, variance, joint=self.joint is not None))

    def _add(self, name: str, kind: str, caused: Tensor) -> None:
        """Variances (B or 1, K), or covariances (B or 1, K, K) if these are asked for."""
        if self.joint is not None:
            self.joint = self.joint + caused
            caused = caused.diagonal(dim1=-2, dim2=-1)
        self.sources.append(Source(node=name, kind=kind, variance=caused.expand(self._batch, -1)))
