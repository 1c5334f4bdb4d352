"""What errors have in common on one chip: the same in all its reads and for all its inputs.

They are linear in standard normal numbers z that are drawn once a chip, one for every device or physical column: at
read p and input x column i is moved by Σ_j a_pij(x) √V_ij z_ij. Three faces of this map J agree with each other:
``push`` is J z, ``pull`` its transpose, summed over the inputs, and ``across`` is J Jᵀ between directions of all
inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from powerplan.moments.array.device_errors import DeviceErrors
from powerplan.moments.sources.shared import shared_variance

#: entries of what is formed at a time
_BLOCK_ENTRIES = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class CommonErrors(ABC):
    """Errors that are the same for all inputs of a chip.

    Columns are (B, K, G, P, o), of B inputs; where ``unrolled``, every position has devices of its own.
    """

    unrolled: bool

    @abstractmethod
    def pull(self, adjoint: Tensor) -> Tensor:
        """Jᵀ A for adjoints (B, K, G, P, o) of the columns, (K, *numbers)."""

    @property
    @abstractmethod
    def numbers(self) -> tuple[int, ...]:
        """The shape of z."""

    @abstractmethod
    def push(self, normals: Tensor) -> Tensor:
        """J z for z (K, *numbers), by column, (B, K, G, P, o)."""

    def crossed(self, normals: Tensor, arriving: Tensor) -> Tensor:
        """What z (K, *numbers) makes of errors (B, K, G, P, n) that arrive at the rows, by column, (B, K, G, P, o), in
        the precision of z; of factors of columns it is left out."""
        return arriving.new_zeros(())

    def through(self, adjoint: Tensor) -> Tensor:
        """J Jᵀ A by column for adjoints A (B, K, G, P, o), to single precision."""
        return self.push(self.pull(adjoint))

    @classmethod
    @abstractmethod
    def across(cls, reads: Sequence[tuple[Self, Tensor]]) -> Tensor:
        """Covariance (B, K, B, K) of directions whose adjoints (B, K, G, P, o) of the columns are given for every node
        that reads the array."""

    @classmethod
    @abstractmethod
    def caused(cls, reads: Sequence[tuple[Self, Tensor]]) -> Tensor:
        """The diagonal of ``across``, (B, K)."""

    def _apart(self, value: Tensor) -> Tensor:
        """(..., G, P, m) with a group of its own for what has devices of its own, (..., G P, 1, m)."""
        return value.flatten(-3, -2).unsqueeze(-2) if self.unrolled else value


@dataclass(frozen=True, kw_only=True, eq=False)
class CommonDevices(CommonErrors):
    """Errors of devices of variance V.

    Attributes:
        rows: values at the rows, (B, G, P, n).
        errors: of the devices.
        variance: V, (G, o, n) or (G, o, 1).
    """

    rows: Tensor
    errors: DeviceErrors
    variance: Tensor

    def pull(self, adjoint: Tensor) -> Tensor:
        errors, std, rows = self._by_array()
        adjoint, rows = errors.extended(self._apart(adjoint), rows)
        return torch.einsum("bkgpo,bgpn->kgon", adjoint, rows) * std

    @property
    def numbers(self) -> tuple[int, ...]:
        _, std, rows = self._by_array()
        return (*std.shape[:2], rows.shape[-1])

    def push(self, normals: Tensor) -> Tensor:
        return self.crossed(normals, self.rows.unsqueeze(1))

    def crossed(self, normals: Tensor, arriving: Tensor) -> Tensor:
        errors, std, _ = self._by_array()
        normals = normals.to(std) if errors.nodes else normals
        columns = errors.moved(self._apart(arriving).to(normals), (normals * std.to(normals)).unsqueeze(0))
        return columns.reshape(len(arriving), len(normals), *self.rows.shape[1:3], -1).to(arriving)

    def through(self, adjoint: Tensor) -> Tensor:
        if self.errors.nodes or (self.unrolled and self.rows.shape[2] > 1):
            return super().through(adjoint)
        single, rows = adjoint.float(), self.rows.float()
        moved = torch.einsum("bkgpo,bgpn->kgon", single, rows) * self.variance.clamp(min=0).float()
        return torch.einsum("bgpn,kgon->bkgpo", rows, moved).to(adjoint)

    @classmethod
    def across(cls, reads: Sequence[tuple[Self, Tensor]]) -> Tensor:
        adjoint, rows, std = cls._together(reads)
        batch, directions, groups, positions, columns = adjoint.shape
        total = adjoint.new_zeros(batch * directions, batch * directions)
        if positions > directions:
            for group, part in _blocks(groups, columns, batch * directions * rows.shape[-1]):
                gradient = torch.einsum("bkpo,bpn->bkon", adjoint[:, :, group, :, part], rows[:, group])
                gradient = (gradient * std[group, part]).flatten(2).flatten(0, 1)
                total += gradient @ gradient.mT
            return total.view(batch, directions, batch, directions)
        all_reads = batch * positions
        own = adjoint.permute(2, 0, 1, 3, 4)  # (G, B, K, P, o)
        for group, part in _blocks(groups, columns, all_reads * max(all_reads, rows.shape[-1])):
            values = rows[:, group].reshape(all_reads, -1)
            if std.shape[-1] == 1:
                products = std[group, part].unsqueeze(1) ** 2 * (values @ values.mT)  # (o, B P, B P)
            else:
                products = (values * std[group, part].unsqueeze(1) ** 2) @ values.mT
            products = products.view(-1, batch, positions, batch, positions)
            every = own[group, ..., part].reshape(batch, directions, -1)  # (B, K, P o)
            for b, read in enumerate(own[group, ..., part]):
                moved = torch.einsum("kpo,opbq->bkqo", read, products[:, b]).flatten(2)
                total.view(batch, directions, batch, directions)[b] += (moved @ every.mT).transpose(0, 1)
        return total.view(batch, directions, batch, directions)

    @classmethod
    def caused(cls, reads: Sequence[tuple[Self, Tensor]]) -> Tensor:
        adjoint, rows, std = cls._together(reads)
        if rows.shape[2] > 1:
            return shared_variance(adjoint, rows, std.square())
        moved = rows.square() @ std.square().expand(-1, -1, rows.shape[-1]).mT  # one read: (B, G, 1, o)
        return (adjoint.square() * moved.unsqueeze(1)).flatten(2).sum(-1)

    @classmethod
    def _together(cls, reads: Sequence[tuple[Self, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """Adjoints (B, K, G, P, o) and rows (B, G, P, n) at all positions of all reads, and √V."""
        adjoints, values = [], []
        for common, adjoint in reads:
            errors, std, rows = common._by_array()
            adjoint, rows = errors.extended(common._apart(adjoint), rows)
            adjoints.append(adjoint)
            values.append(rows)
        return torch.cat(adjoints, 3), torch.cat(values, 2), std

    def _by_array(self) -> tuple[DeviceErrors, Tensor, Tensor]:
        """Errors, √V and rows with a group for every array."""
        std, positions = self.variance.clamp(min=0).sqrt(), self.rows.shape[2]
        if not self.unrolled:
            return self.errors, std, self.rows
        nodes = tuple(
            replace(
                node,
                weight=node.weight.repeat_interleave(positions, 0),
                relative=node.relative.repeat_interleave(positions, 0),
            )
            for node in self.errors.nodes
        )
        return replace(self.errors, nodes=nodes), std.repeat_interleave(positions, 0), self._apart(self.rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class CommonColumns(CommonErrors):
    """A factor of every physical column, that moves it by the loading.

    Attributes:
        loading: (B, G, P, o), the standard deviation of the factor in it.
    """

    loading: Tensor

    def pull(self, adjoint: Tensor) -> Tensor:
        return self._apart(adjoint * self.loading.unsqueeze(1)).sum((0, -2))

    @property
    def numbers(self) -> tuple[int, ...]:
        _, *groups, _, columns = self._apart(self.loading).shape
        return (*groups, columns)

    def push(self, normals: Tensor) -> Tensor:
        return (normals.unsqueeze(-2) * self._apart(self.loading).unsqueeze(1)).reshape(
            len(self.loading), len(normals), *self.loading.shape[1:]
        )

    @classmethod
    def across(cls, reads: Sequence[tuple[Self, Tensor]]) -> Tensor:
        moved = cls._together(reads)
        return torch.einsum("akn,bmn->akbm", moved, moved)

    @classmethod
    def caused(cls, reads: Sequence[tuple[Self, Tensor]]) -> Tensor:
        return cls._together(reads).square().sum(-1)

    @classmethod
    def _together(cls, reads: Sequence[tuple[Self, Tensor]]) -> Tensor:
        """By how much the factors move the directions in all reads, (B, K, numbers)."""
        moved = [common._apart(adjoint * common.loading.unsqueeze(1)).sum(-2) for common, adjoint in reads]
        return torch.stack(moved).sum(0).flatten(2)


def _blocks(groups: int, columns: int, size: int) -> Iterator[tuple[int, slice]]:
    """Columns of a group worked on at a time, each of ``size`` entries."""
    step = max(1, _BLOCK_ENTRIES // size)
    for group in range(groups):
        yield from ((group, slice(low, low + step)) for low in range(0, columns, step))
