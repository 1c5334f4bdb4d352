"""Columns with amplifiers whose wires have resistance: moments of what they read.

The column currents of a tile are I = V M, M of its mean conductances in closed form
(:mod:`powerplan.hardware.wires.closed_form`), so that U = α (M⁺ − M⁻)/γ are the mean weights, γ_ij = c_i r_j. An error
δG of a device moves its column by t δG v, t the share of its current that reaches the amplifier, v its own voltage,

    v_ij = u_ij V_j − ρ_j I_i = u_ij (V_j − (ρ_j/u_j) I_i),

u V_j what wires leave of the row's voltage, and ρ_j I_i the voltage of the column's wire, whose profile along the
column is that which the inputs cause on average, E[b_ij I_i]/E[I_i²], that of all columns of a tile together: the
shares of the rows in its currents (:mod:`powerplan.hardware.wires.inputs`) let into a wire with mean loads. In units of
the output that is the error e_ij (x_j − r_j y_i) of a passive column's devices, with r_j ρ_j/u_j in the place of r_j,

    K_ij = α² (t u)_ij² s_ij²/γ_ij²,     y_i = Σ_k h_ik x_k over the tile,     h_ij = c_i M_ij/γ_ij.

Power is Σ_i V_i I_in,i, with the drop of rows and, to first order, that of columns. Correlations between columns that
share rows are left out: below 0.003 for two of them.

Why: docs/decisions/wires.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from powerplan.hardware.wires.circuit import Wires
from powerplan.hardware.wires.closed_form import Through, through
from powerplan.hardware.wires.lines import Lines
from powerplan.hardware.wires.tiles import Tiles, sum_of
from powerplan.moments.array.amplifier import Amplifier
from powerplan.moments.array.device_errors import DeviceErrors, TileNodes
from powerplan.moments.array.read_out import Channel, Column
from powerplan.moments.array.shifted import Sides
from powerplan.moments.array.wired_columns import TileColumns, WiredSide, by_column, columns_by_tile, rows_by_tile

if TYPE_CHECKING:
    from powerplan.moments.array.programmed import ProgrammedArray
    from powerplan.moments.array.reading import Reading


@dataclass(frozen=True, kw_only=True, eq=False)
class WiredAmplifier(Amplifier):
    """The columns of one array whose wires have resistance.

    Attributes:
        devices: mean g/γ and variance s²/γ² of those of either side, (n_out, n_in).
        by_side: their columns.
        relative: r as in the module, (G, n_in).
        ideal: mean weights (n_out, n_in) of the same devices behind ideal wires, without digital scales.
        tiles: as physical arrays are cut.
        drops: of every array in its tiles (..., 3): what its devices hold in all, what wires let through of the column
            currents per volt at all rows [S], and the least share that reaches a column of what a device alone adds.
        drivers: conductance matrix of the drivers of every row tile, all columns and sides added up, (G, T, m, m) [S].
    """

    devices: Sides
    by_side: tuple[WiredSide, ...]
    relative: Tensor
    ideal: Tensor
    tiles: Tiles
    drops: tuple[Tensor, ...]
    drivers: Tensor

    adds_devices = False

    @classmethod
    def of(cls, array: ProgrammedArray, devices: Sides, shares: Tensor) -> WiredAmplifier:
        """The columns of an array as it would be with ideal wires.

        Args:
            devices: as in the class.
            shares: of the rows of every tile in the currents of columns, (G, T, m).
        """
        map, hardware, sides = array.map, array.hardware, len(devices)
        groups, n_in, size = map.groups, map.n_in, map.n_out // map.groups
        tiles = Tiles.of(hardware, size, n_in)
        gain = array.gain.expand(map.n_out, n_in)
        conductance = torch.stack([mean for mean, _ in devices]).mul(gain).reshape(sides, groups, size, n_in)
        cut = tiles.cut(conductance)
        let = [through(tile, hardware.wires) for tile in cut]

        def by_side(tiled: list[Tensor]) -> tuple[Tensor, ...]:
            return tiles.join(tiled, n_in, sides).flatten(1, 2).unbind(0)

        weights = [part / gain for part in by_side([part.transfer for part in let])]
        reaches = by_side([part.reach for part in let])
        profile = tiles.rows_of(_profile(cut, let, shares, tiles, hardware.wires), n_in)
        relative = (array.decode_v / array.v).expand(groups, n_in) * profile
        seen = tiles.columns([part.amplifiers for part in let], sides).movedim(-1, -2).flatten(1, 2)
        by_side_of = []
        for weight, reach, amplifiers, (_, variance) in zip(weights, reaches, seen, devices, strict=True):
            own, node = (array.compensation * reach) ** 2 * variance, array.c * weight
            loading, through_side = _loading(array, own, node, relative)
            by_side_of.append(
                WiredSide(
                    weight=weight,
                    variance=own,
                    node=node,
                    loading=loading,
                    through=through_side,
                    reach=reach,
                    amplifiers=amplifiers,
                )
            )
        return cls(
            devices=devices,
            by_side=tuple(by_side_of),
            relative=relative,
            ideal=array.mean_weight,
            tiles=tiles,
            drops=tuple(_drops(tile, part) for tile, part in zip(cut, let, strict=True)),
            drivers=tiles.added([part.drivers for part in let], 2),
        )

    @property
    def drop(self) -> tuple[Tensor, Tensor]:
        """Share that wires take off the column currents of all rows driven alike, mean over the columns; the largest
        that they take off what a device alone adds to its column."""
        held, passed, least = torch.cat([drops.flatten(0, -2) for drops in self.drops]).unbind(-1)
        return 1 - passed.sum() / held.sum(), 1 - least.min()

    def mean_weight(self, array: ProgrammedArray) -> Tensor:
        """W̄ (n_out, n_in)."""
        difference = self.by_side[0].weight
        if len(self.by_side) == 2:
            difference = difference - self.by_side[1].weight
        return array.compensation * difference - array.subtracted

    def driven(self, scale: Tensor) -> WiredAmplifier:
        by_device = scale.repeat_interleave(len(self.devices[0][0]) // len(scale), 0)
        square = by_device**2
        sides = (
            replace(
                s,
                weight=by_device * s.weight,
                variance=square * s.variance,
                node=by_device * s.node,
                through=square * s.through,
            )
            for s in self.by_side
        )
        return replace(
            self,
            devices=tuple((by_device * mean, square * variance) for mean, variance in self.devices),
            by_side=tuple(sides),
            relative=self.relative / scale,
        )

    def scaled(self, scale: Tensor) -> WiredAmplifier:
        square = scale**2
        sides = (
            replace(s, variance=square * s.variance, loading=square * s.loading, through=square * s.through)
            for s in self.by_side
        )
        return replace(self, by_side=tuple(sides))

    def sides(self, array: ProgrammedArray) -> tuple[tuple[Tensor, Tensor], ...]:
        return self.devices

    def device_errors(self, array: ProgrammedArray) -> tuple[DeviceErrors, ...]:
        def nodes(weight: Tensor) -> tuple[TileNodes, ...]:
            return tuple(
                TileNodes(rows=tile, weight=weight[..., tile], relative=self.relative[:, tile]) for tile in array.tiles
            )

        return tuple(
            DeviceErrors(variance=side.variance, nodes=nodes(array.map.matrices(side.node))) for side in self.by_side
        )

    def through(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        return array.within(channel, sum_of([self.by_side[side].through for side in channel.sides]))

    def device_variance(self, reading: Reading, channel: Channel) -> Tensor:
        by_side = self._columns_of(reading)
        each = [by_side[side].devices[:, list(channel.tiles)].sum(1) for side in channel.sides]
        return by_column(reading.array.map, sum_of(each))

    def _columns_of(self, reading: Reading) -> tuple[TileColumns, ...]:
        return reading.kept("by tile", lambda: columns_by_tile(reading, self.by_side, self.relative, self.tiles))

    def columns(self, reading: Reading, channel: Channel) -> Iterator[Column]:
        array = reading.array
        for tile in channel.tiles:
            for side in channel.sides:
                read, here = self._columns_of(reading)[side], Channel((tile,), (side,))
                mean, devices, inputs = (
                    by_column(array.map, value[:, tile]) for value in (read.mean, read.devices, read.inputs)
                )
                variance = devices / array.column_compensation**2 + inputs
                if array.hardware.input_noise_std:
                    weight = array.within(here, self.by_side[side].weight)
                    noisy = self.through(array, here) / array.compensation**2 + weight**2
                    variance = variance + array.row_noise_through(noisy)
                yield Column(mean, variance, 1.0)

    def conductance(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        feedback = array.feedback_resistance
        through = torch.stack([side.amplifiers for side in self.by_side]).sum(0)[:, list(channel.tiles)].sum(1)
        if feedback is None:
            return through
        return through + len(channel.tiles) * array.hardware.devices_per_weight / feedback

    def saved_power(self, reading: Reading) -> Tensor | float:
        """By how much the rows draw less than with ideal wires."""
        array = reading.array
        volts = array.v.expand(array.map.groups, array.map.n_in)
        rows = rows_by_tile(array.affine, reading.mean, self.tiles).flatten(2, 3) * self.tiles.by_row(volts).unsqueeze(
            2
        )
        fluctuating = array.map.row_sums(reading.variance.mean(0, keepdim=True))[0]
        fluctuating = volts**2 * (fluctuating + array.map.positions * array.row_noise)
        moment = rows.mT @ rows / len(reading.mean) + torch.diag_embed(self.tiles.by_row(fluctuating))
        drive = self.tiles.rows_of(moment.diagonal(dim1=-2, dim2=-1), array.map.n_in)
        return (array.row_conductance * drive).sum() - (self.drivers * moment).sum()

    def jump(self, array: ProgrammedArray, side: int, step: Tensor, usual: Tensor) -> Tensor:
        return array.compensation * self.by_side[side].reach * (step - usual)


@torch.no_grad()
def _drops(tile: Tensor, let: Through) -> Tensor:
    dims = (-2, -1)
    return torch.stack([tile.sum(dims), let.transfer.sum(dims), let.reach.amin(dims)], -1)


def _profile(cut: Sequence[Tensor], let: Sequence[Through], shares: Tensor, tiles: Tiles, wires: Wires) -> Tensor:
    """ρ/u [ohm] of the rows of every row tile, (G, T, m)."""
    arrays = sum(tile[..., 0, :].numel() for tile in cut) / shares[..., 0].numel()
    loads = tiles.added([tile.sum(-1) for tile in cut], 1) / arrays
    u = tiles.added([part.rows * tile.shape[-1] for part, tile in zip(let, cut, strict=True)], 1) / arrays
    return Lines.of(loads.flip(-1), wires.column, wires.sense).solve(shares.flip(-1)).flip(-1) / u


def _loading(array: ProgrammedArray, variance: Tensor, node: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
    """Σ_j K_j r_j² of every tile (n_out, T), and F (n_out, n_in)."""
    r = relative.unsqueeze(1)  # (G, 1, n)
    own, h = array.map.matrices(variance), array.map.matrices(node)
    crossed = own * r
    loading = torch.stack([(crossed[..., tile] @ relative[:, tile, None])[..., 0] for tile in array.tiles], -1)
    lengths = torch.tensor([tile.stop - tile.start for tile in array.tiles], device=r.device)
    through = own + h * (h * loading.repeat_interleave(lengths, -1) - 2 * crossed)
    return loading.flatten(0, 1), through.flatten(0, 1)
