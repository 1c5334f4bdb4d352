"""What errors look like: independent from entry to entry, common to all reads of a column, or those of the rows.

Every kind has four faces, which agree with each other: the *variance* of the outputs, their *covariance*, what is
*caused* in directions of the network's output with a given adjoint, and *samples*.

Why: docs/decisions/moments.md.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.read_out import Channel
from powerplan.moments.rules.linearized import flat_entries, over_batch
from powerplan.moments.sources.common import CommonColumns, CommonErrors
from powerplan.moments.sources.places import between_positions, output_places, scattered
from powerplan.moments.sources.sampled import Sampled


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors(ABC):
    """Errors of the outputs of an array, of mean 0, that one source causes.

    Attributes:
        kind: name of the source.
        variance: (B or 1, *columns).
    """

    array: ProgrammedArray
    kind: str

    @property
    @abstractmethod
    def variance(self) -> Tensor:
        """Variance by column, (B or 1, *columns)."""

    @cached_property
    def output_variance(self) -> Tensor:
        """Variance of the outputs, (B or 1, *shape)."""
        return self.array.map.gather_columns(self._everywhere(self.variance))

    def _everywhere(self, value: Tensor) -> Tensor:
        """A value by column, one for each of its reads."""
        return value.expand(value.shape[0], *self.array.map.column_shape)

    def covariance(self, incoming: Tensor | None) -> Tensor:
        """Covariance (B or 1, n, n) of the outputs for inputs with a covariance (B, n', n'), None = 0."""
        return torch.diag_embed(self.output_variance.flatten(1))

    @classmethod
    def caused(cls, reads: Sequence[tuple[Self, Tensor]], *, joint: bool, coherence: Tensor | float = 1.0) -> Tensor:
        """Variance (B or 1, K) that one source causes in directions of the network's output, or with ``joint`` their
        covariance (B or 1, K, K).

        Args:
            reads: the errors in every read of an array, and the adjoint (B or 1, K, *shape) of its output there.
            coherence: a factor of what errors of the inputs cause through it, see
                :mod:`powerplan.moments.samples.coherence`.
        """
        return total([caused_by(adjoint, errors.output_variance, joint=joint) for errors, adjoint in reads])

    @abstractmethod
    def samples(self, sampled: Sampled) -> Tensor:
        """Samples by column, (B or 1, R, G, P, o)."""

    def common(self) -> tuple[CommonErrors, ...]:
        """What is the same for all inputs of a chip, at mean inputs; nothing where errors are fresh in every read."""
        return ()

    def columns(self, adjoint: Tensor) -> Tensor:
        """Adjoints of the columns, (B or 1, K, G, P, o)."""
        return over_batch(self.array.map.columns, adjoint)


@dataclass(frozen=True, kw_only=True, eq=False)
class Independent(Errors):
    """Independent from entry to entry of the output.

    Attributes:
        of_chip: what of them is the same for all inputs of a chip.
    """

    by_column: Tensor
    of_chip: tuple[CommonErrors, ...] = ()

    @property
    def variance(self) -> Tensor:
        return self.by_column

    def samples(self, sampled: Sampled) -> Tensor:
        spread = self.array.map.as_columns(self._everywhere(self.variance)).clamp(min=0).sqrt().unsqueeze(1)
        return spread * sampled.normals((*sampled.sets, *spread.shape[2:]))

    def common(self) -> tuple[CommonErrors, ...]:
        return self.of_chip


@dataclass(frozen=True, kw_only=True, eq=False)
class OfColumns(Errors):
    """A factor of every physical column, the same in all its reads: it moves the column by the *loading* times that.

    Attributes:
        loadings: (B or 1, *columns), of physical columns of which each output has one.
        factor_variance: of the factors, ().
    """

    loadings: tuple[Tensor, ...]
    factor_variance: Tensor | float

    @classmethod
    def of(
        cls,
        array: ProgrammedArray,
        kind: str,
        loadings: Sequence[Tensor],
        variance: Tensor | float,
        fluctuating: Tensor | None = None,
    ) -> tuple[Errors, ...]:
        """With what differs from read to read; of arrays that serve one position all errors are independent.

        Args:
            variance: of the factors.
            fluctuating: mean square of what the loadings vary by from read to read, (B or 1, *columns); None = 0.
        """
        common = cls(array=array, kind=kind, loadings=tuple(loadings), factor_variance=variance)
        if array.is_shared:
            if fluctuating is None:
                return (common,)
            return common, Independent(array=array, kind=kind, by_column=variance * fluctuating)
        apart = torch.zeros_like(loadings[0]) if fluctuating is None else fluctuating
        square = sum((loading**2 for loading in loadings), apart)
        return (Independent(array=array, kind=kind, by_column=variance * square, of_chip=common.common()),)

    @property
    def variance(self) -> Tensor:
        return self.factor_variance * torch.stack([loading**2 for loading in self.loadings]).sum(0)

    def covariance(self, incoming: Tensor | None) -> Tensor:
        products = []
        for loading in self.loadings:
            first = self.array.map.as_columns(self._everywhere(loading)).transpose(2, 3)  # (B, G, o, P)
            products.append(first.unsqueeze(-1) * first.unsqueeze(-2))
        return between_positions(self.array.map, self.factor_variance * total(products))

    @classmethod
    def caused(cls, reads: Sequence[tuple[Self, Tensor]], *, joint: bool, coherence: Tensor | float = 1.0) -> Tensor:
        moved = [errors._moved(adjoint) for errors, adjoint in reads]
        by_loading = [total(loading) for loading in zip(*moved, strict=True)]
        caused = [caused_by(factor, torch.ones_like(factor[:1, 0]), joint=joint) for factor in by_loading]
        return reads[0][0].factor_variance * total(caused)

    def _moved(self, adjoint: Tensor) -> list[Tensor]:
        """By how much the factors of every loading move the directions, all positions together, (B or 1, K, G·o)."""
        columns, map = self.columns(adjoint), self.array.map
        loadings = (map.as_columns(self._everywhere(loading)).unsqueeze(1) for loading in self.loadings)
        return [(columns * loading).sum(3).flatten(2) for loading in loadings]

    def samples(self, sampled: Sampled) -> Tensor:
        moved = []
        for loading in self.loadings:
            first = self.array.map.as_columns(self._everywhere(loading)).unsqueeze(1)  # (B, 1, G, P, o)
            moved.append(sampled.by_chip((*first.shape[2:3], 1, *first.shape[4:])) * first)
        return self.factor_variance**0.5 * total(moved)

    def common(self) -> tuple[CommonErrors, ...]:
        return tuple(
            CommonColumns(
                unrolled=not self.array.is_shared,
                loading=self.factor_variance**0.5 * self.array.map.as_columns(self._everywhere(loading)),
            )
            for loading in self.loadings
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class OfRows(Errors):
    """Errors of the rows, fresh in every read, that all columns pass on.

    Attributes:
        channel: whose columns they are.
    """

    channel: Channel

    @property
    def weight(self) -> Tensor:
        """Of the columns, (n_out, n_in)."""
        return self.array.read_out.weight(self.array, self.channel)

    @cached_property
    def variance(self) -> Tensor:
        return self.array.row_noise_through(self.weight**2).unsqueeze(0)

    def covariance(self, incoming: Tensor | None) -> Tensor:
        map, weight = self.array.map, self.array.map.matrices(self.weight)
        joint = (weight * self.array.row_noise.unsqueeze(1)) @ weight.mT  # (G, o, o)
        place = output_places(map, weight.device)  # (G, P, o)
        block = joint.unsqueeze(1).expand(-1, map.positions, -1, -1)
        return scattered(
            map, block[None], place.unsqueeze(-1).expand(block.shape), place.unsqueeze(-2).expand(block.shape)
        )

    @classmethod
    def caused(cls, reads: Sequence[tuple[Self, Tensor]], *, joint: bool, coherence: Tensor | float = 1.0) -> Tensor:
        return total([errors._at_rows(adjoint, joint=joint) for errors, adjoint in reads])

    def _at_rows(self, adjoint: Tensor, *, joint: bool) -> Tensor:
        rows = self.columns(adjoint) @ self.array.map.matrices(self.weight)
        return caused_by(rows, self.array.row_noise.unsqueeze(1).expand(rows.shape[2:])[None], joint=joint)

    def samples(self, sampled: Sampled) -> Tensor:
        weight = self.array.map.matrices(self.weight) * self.array.row_noise.sqrt().unsqueeze(1)  # (G, o, n)
        shape = (*sampled.sets, self.array.map.groups, self.array.map.positions)
        if weight.shape[1] < weight.shape[2] and 2 * weight.shape[1] <= math.prod(shape):
            weight = torch.linalg.qr(weight.mT, mode="r").R.mT  # with the same covariance from fewer numbers
        noise = sampled.normals((*shape, weight.shape[2]))
        return torch.einsum("brgpn,gon->brgpo", noise, weight)


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of one or more tensors."""
    return sum(parts[1:], parts[0])


def caused_by(adjoint: Tensor, variance: Tensor, *, joint: bool) -> Tensor:
    """What independent errors of this variance (B or 1, *shape) with this adjoint (B or 1, K, *shape) cause, (B, K) or
    (B, K, K)."""
    if not joint:
        return squares(adjoint, variance)
    flat = flat_entries(adjoint, 2)
    return (flat * flat_entries(variance, 1).unsqueeze(1)) @ flat.mT


def squares(adjoint: Tensor, variance: Tensor) -> Tensor:
    """Σ A² q, (B, K); differentiable once."""
    if not torch.is_grad_enabled():
        return (flat_entries(adjoint, 2).square() @ flat_entries(variance, 1).unsqueeze(-1)).squeeze(-1)
    return _Squares.apply(flat_entries(adjoint, 2), flat_entries(variance, 1))  # type: ignore[no-untyped-call, no-any-return]


class _Squares(torch.autograd.Function):
    """Σ_i A_i² q_i, whose backward pass squares A again: kept, squares would take as much memory as all adjoints."""

    @staticmethod
    def forward(ctx: Any, adjoint: Tensor, variance: Tensor) -> Tensor:
        ctx.save_for_backward(adjoint, variance)
        return (adjoint.square() @ variance.unsqueeze(-1)).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
        adjoint, variance = ctx.saved_tensors
        need_adjoint, need_variance = ctx.needs_input_grad
        to_adjoint = to_variance = None
        if need_adjoint:
            squared = upstream.unsqueeze(-1) * variance.unsqueeze(1)
            to_adjoint = (squared * (2 * adjoint)).sum_to_size(adjoint.shape)
        if need_variance:
            moved = adjoint.square().mT @ upstream.unsqueeze(-1)
            to_variance = moved.squeeze(-1).sum_to_size(variance.shape)
        return to_adjoint, to_variance
