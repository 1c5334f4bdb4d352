"""Errors of the devices, from programming to drift and being stuck: the same in all reads of one array.

Column o at positions p and p′, reading the same array (shared mapping), errs with the covariance

    Σ_k V_ok E[x_pk x_p′k],       E[x_pk x_p′k] = E x_pk E x_p′k + Cov(x_pk, x_p′k),

one array per position (unrolled mapping) with its diagonal only. Positions are those of all nodes that read the array
where what they cause at the network's output is added up; nodes of passive columns add
:mod:`powerplan.moments.sources.node_products`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.rounds import rowwise
from powerplan.moments.sources.common import CommonDevices, CommonErrors
from powerplan.moments.sources.device_samples import device_samples
from powerplan.moments.sources.errors import Errors, caused_by, total
from powerplan.moments.sources.node_products import node_products
from powerplan.moments.sources.places import between_positions
from powerplan.moments.sources.sampled import Sampled
from powerplan.moments.sources.shared import by_group, shared_covariance, shared_variance
from powerplan.moments.sources.stuck import parts_of
from powerplan.network.array_maps import ArrayMap

#: entries of one block of products of row values
_BLOCK_ENTRIES = 1 << 22


def programming(reading: Reading, channel: Channel) -> Iterator[Errors]:
    """The errors of the channel's devices."""
    if reading.array.hardware.has_programming_noise:
        yield OfDevices(array=reading.array, kind="programming", reading=reading, channel=channel)


@dataclass(frozen=True, kw_only=True, eq=False)
class OfDevices(Errors):
    """Errors of the devices of a channel, of variance V."""

    reading: Reading
    channel: Channel

    @cached_property
    def variance(self) -> Tensor:
        return self.array.read_out.device_variance(self.reading, self.channel)

    def covariance(self, incoming: Tensor | None) -> Tensor:
        array, map, mean = self.array, self.array.map, self.reading.mean
        if not array.is_shared and array.read_out.adds_devices:
            return super().covariance(incoming)  # no two outputs have a device in common
        variance = torch.stack([part.variance for part in array.read_out.device_errors(array)]).sum(0)
        spread = map.matrices(variance.expand(map.n_out, map.n_in))  # (G, o, n)
        place = _input_places(map, mean)
        block = mean.new_zeros(())
        for part, products in self._row_products(incoming, place):
            block = block + torch.einsum("gok,bgkpq->bgopq", spread[:, :, part], products)
        block = block + node_products(array, mean, incoming, place)
        if not array.is_shared:
            block = block * torch.eye(map.positions, dtype=block.dtype, device=block.device)
        return between_positions(map, block)

    def _row_products(self, incoming: Tensor | None, place: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """E[x_pk x_p′k] (B, G, k, P, P), a block of rows k at a time."""
        map, mean = self.array.map, self.reading.mean
        rows = self.array.affine.patches(mean).transpose(2, 3)  # (B, G, n, P)
        padded = None if incoming is None else torch.nn.functional.pad(incoming, (1, 0, 1, 0))
        size = max(1, _BLOCK_ENTRIES // (len(mean) * map.groups * map.positions**2))
        for low in range(0, map.n_in, size):
            part = slice(low, low + size)
            x = rows[:, :, part]
            products = x.unsqueeze(-1) * x.unsqueeze(-2)
            if padded is not None:
                here = place[:, part]
                products = products + padded[:, here.unsqueeze(-1), here.unsqueeze(-2)]
            yield part, products

    @classmethod
    def caused(cls, reads: Sequence[tuple[Self, Tensor]], *, joint: bool, coherence: Tensor | float = 1.0) -> Tensor:
        array = reads[0][0].array
        if not array.is_shared:
            return super().caused(reads, joint=joint)
        shared = shared_covariance if joint else shared_variance
        together = []
        for part in array.read_out.device_errors(array):
            extended = [part.extended(*errors._driven(adjoint)) for errors, adjoint in reads]
            columns, rows = (
                joined(values, axis) for values, axis in zip(zip(*extended, strict=True), (3, 2), strict=True)
            )
            together.append(shared(columns, rows, by_group(array.map, part.variance)))
        # what differs from position to position
        apart = [
            caused_by(adjoint, rowwise(coherence, errors.reading.through_devices), joint=joint)
            for errors, adjoint in reads
        ]
        return total(together) + total(apart)

    def _driven(self, adjoint: Tensor) -> tuple[Tensor, Tensor]:
        """Adjoints (B, K, G, P, o) of the columns and means (B, G, P, n) at the rows."""
        columns = self.columns(adjoint).expand(len(self.reading.mean), *(-1,) * 4)
        return columns, self.array.affine.patches(self.reading.mean)

    def common(self) -> tuple[CommonErrors, ...]:
        array = self.array
        rows = array.affine.patches(self.reading.mean)
        return tuple(
            CommonDevices(
                unrolled=not array.is_shared, rows=rows, errors=part, variance=by_group(array.map, part.variance)
            )
            for part in array.read_out.device_errors(array)
        )

    def samples(self, sampled: Sampled) -> Tensor:
        array = self.array
        parts = parts_of(array)
        if len(self.channel.tiles) < len(array.tiles) or len(self.channel.sides) < len(array.whole.sides):
            chosen = [parts[side] for side in self.channel.sides] if len(parts) > 1 else parts
            shape = (array.map.n_out, array.map.n_in)
            parts = tuple(part.within(array.tiles[tile], shape) for part in chosen for tile in self.channel.tiles)
        drawn = total([device_samples(array, part, sampled) for part in parts])
        return drawn if self.channel.sign > 0 else -drawn  # events have a sign, that of the output


def joined(values: Sequence[Tensor], axis: int) -> Tensor:
    """Positions of several reads behind each other."""
    return values[0] if len(values) == 1 else torch.cat(list(values), axis)


def _input_places(map: ArrayMap, mean: Tensor) -> Tensor:
    """Place in the flat input, counted from 1, of every row at every position, (G, n, P); 0 = padding."""
    count = mean[0].numel()
    numbered = torch.arange(1.0, count + 1, dtype=torch.float64, device=mean.device).reshape(1, *mean.shape[1:])
    return map.patches(numbered)[0].transpose(1, 2).round().long()
