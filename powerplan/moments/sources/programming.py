"""Errors of the devices, from programming to drift and being stuck: the same in all reads of one array.

Column o at positions p and p′, reading the same array (shared mapping), errs with the covariance

    Σ_k V_ok E[x_pk x_p′k],       E[x_pk x_p′k] = E x_pk E x_p′k + Cov(x_pk, x_p′k),

one array per position (unrolled mapping) with its diagonal only; nodes of passive columns add
:mod:`powerplan.moments.sources.node_products`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources.device_samples import device_samples
from powerplan.moments.sources.errors import Errors, Sampled, between_positions, caused_by
from powerplan.moments.sources.node_products import node_products
from powerplan.moments.sources.shared import shared_covariance, shared_variance
from powerplan.moments.sources.stuck import parts_of
from powerplan.network.array_maps import ArrayMap

#: entries of one block of products of row values
_BLOCK_ENTRIES = 1 << 22


def programming(reading: Reading, channel: Channel) -> Iterator[Errors]:
    """The errors of the channel's devices."""
    if reading.array.hardware.has_programming_noise:
        yield OfDevices(array=reading.array, kind="programming", reading=replace(reading), channel=channel)


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
        variance = torch.stack([part.variance for part in array.read_out.device_errors(array)]).sum(0)
        spread = map.matrices(variance.expand(map.n_out, map.n_in))  # (G, o, n)
        place = _input_places(map, mean)
        total = mean.new_zeros(())
        for part, products in self._row_products(incoming, place):
            total = total + torch.einsum("gok,bgkpq->bgopq", spread[:, :, part], products)
        total = total + node_products(array, mean, incoming, place)
        if not array.is_shared:
            total = total * torch.eye(map.positions, dtype=total.dtype, device=total.device)
        return between_positions(map, total)

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

    def caused(self, adjoint: Tensor, *, joint: bool, coherence: Tensor | float = 1.0) -> Tensor:
        array, reading = self.array, self.reading
        if not array.is_shared:
            return super().caused(adjoint, joint=joint)
        columns = self.columns(adjoint).expand(len(reading.mean), *(-1,) * 4)
        rows = array.affine.patches(reading.mean)
        shared = shared_covariance if joint else shared_variance
        together = [
            shared(*part.extended(columns, rows), by_group(array.map, part.variance))
            for part in array.read_out.device_errors(array)
        ]
        # what differs from position to position
        apart = coherence * array.weighted(reading.variance, array.weight_variance, array.map)
        return sum(together[1:], together[0]) + caused_by(adjoint, array.map.gather_columns(apart), joint=joint)

    def samples(self, sampled: Sampled) -> Tensor:
        array = self.array
        parts = parts_of(array)
        if len(self.channel.tiles) < len(array.tiles) or len(self.channel.sides) < len(array.whole.sides):
            chosen = [parts[side] for side in self.channel.sides] if len(parts) > 1 else parts
            shape = (array.map.n_out, array.map.n_in)
            parts = tuple(part.within(array.tiles[tile], shape) for part in chosen for tile in self.channel.tiles)
        drawn = [device_samples(array, part, sampled) for part in parts]
        return self.channel.sign * sum(drawn[1:], drawn[0])  # events have a sign, that of the output


def by_group(map: ArrayMap, variance: Tensor) -> Tensor:
    """Variances that broadcast to (n_out, n_in) by group, (G, o, n) or (G, o, 1)."""
    full = variance.expand(map.n_out, variance.shape[-1] if variance.dim() else 1)
    return full.reshape(map.groups, -1, full.shape[-1])


def _input_places(map: ArrayMap, mean: Tensor) -> Tensor:
    """Place in the flat input, counted from 1, of every row at every position, (G, n, P); 0 = padding."""
    count = mean[0].numel()
    numbered = torch.arange(1.0, count + 1, dtype=torch.float64, device=mean.device).reshape(1, *mean.shape[1:])
    return map.patches(numbered)[0].transpose(1, 2).round().long()
