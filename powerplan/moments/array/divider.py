"""Columns that end in a passive load: moments of the voltage divider.

The node of a column (one side of a pair, rows j of one tile) takes the voltage

    y = N/D,      N = Σ_j G_j V_j,      D = G_L + Σ_j G_j,

and is decoded with the conductances D̄ that were aimed at: z = Σ_tiles (D̄⁺y⁺ − D̄⁻y⁻)/(c v̂). With means g, variances s²
of the devices, D̂ = G_L + Σ g, κ = D̄/D̂ and γ_j = c r_j, second-order moments of the ratio give

    mean weight     ĝ_j/γ_j = κ (g_j (1 + Σ s²/D̂²) − s_j²/D̂)/γ_j
    node            ỹ = y/v̂ ≈ Σ_j h_j x_j,      h_j = c (g_j/γ_j)/D̂
    variance        q = Σ_j K_j E[(x_j − r_j ỹ)²],      K_j = κ² s_j²/γ_j²
                      = Σ_j K_j (μ_j − r_j ȳ)² + Σ_j F_j Var x_j,      F_j = K_j (1 − 2 r_j h_j) + h_j² Σ_k K_k r_k²

for independent inputs: an error δG_j moves y by δG_j (V_j − y)/D. Noise of the rows is part of Var x_j. What differs
from the amplifier is that a larger conductance also loads the node. A gain error of the whole column moves y by
G_L/D̂ of it, and, to second order, lowers its mean by σ_g² G_L (D̂ − G_L)/D̂².

A stuck device errs by so much, e, that D is not D̂ with it: it moves y as f = e/(1 + e/D̂) would if D stayed. Of the
p e² that the share p of such devices has in s², the mean takes p e f instead, the variance p f². That is exact for one
of them in a column; that others are stuck at the same time is not known (columns of 16 rows, 5 % stuck on, each with
half of the column's conductance: variance 5 % low).

    power of devices and load = Σ_j G_j V_j² − D y²,      E[D y²] = v̂² (D̂ E[ỹ²] + D̂ (c/D̄)² q).

Why: docs/decisions/read-out.md [0197].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.hardware import Hardware
from powerplan.moments.array.device_errors import DeviceErrors, TileNodes
from powerplan.moments.array.read_out import Channel, Column, ReadOut
from powerplan.moments.array.shifted import Sides

if TYPE_CHECKING:
    from powerplan.moments.array.programmed import ProgrammedArray
    from powerplan.moments.array.reading import Reading


@dataclass(frozen=True, kw_only=True, eq=False)
class DividerSide:
    """The columns of one side of the pairs; (n_out, n_in), or by tile (n_out, T).

    Attributes:
        weight: ĝ/γ.
        variance: K.
        node: h.
        through: F.
        loading: Σ_j K_j r_j² of every tile.
        total, target: D̂ and D̄ of every tile [S].
    """

    weight: Tensor
    variance: Tensor
    node: Tensor
    through: Tensor
    loading: Tensor
    total: Tensor
    target: Tensor


class ColumnNode(NamedTuple):
    """Nodes of one tile and side, in the layout of the map's columns: mean of ỹ, E[ỹ²], and of what they decode to the
    mean and the variances that devices and inputs cause, and noise of the rows through the errors of devices."""

    side: DividerSide
    tile: int
    node: Tensor
    node_square: Tensor
    mean: Tensor
    devices: Tensor
    inputs: Tensor
    noise: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Divider(ReadOut):
    """The passive columns of one array: the voltage of every side of every row tile is converted by itself.

    Attributes:
        load: G_L [S].
        devices: mean g/γ and variance s²/γ² of those of either side, (n_out, n_in).
        by_side: their columns.
    """

    load: float
    devices: Sides
    by_side: tuple[DividerSide, ...]

    @classmethod
    def of(
        cls, array: ProgrammedArray, devices: Sides | None = None, targets: Sequence[Tensor] | None = None
    ) -> Divider:
        """The columns of an array as it would be with amplifiers.

        Args:
            devices, targets: as in the class, and targets/γ of either side, where these are not those of the weights.
        """
        if devices is None or targets is None:
            devices, idle, weight = array.sides, array.hardware.conductance_min / array.gain, array.constants.weight
            targets = [idle + (sign * weight).clamp(min=0) for sign in (1, -1)]
        hardware, tiles = array.hardware, array.tiles
        assert hardware.load_conductance is not None
        load, r = hardware.load_conductance, _relative(array)

        def sums(values: Tensor) -> Tensor:
            return torch.stack([values[:, tile].sum(1) for tile in tiles], 1)

        def rows(by_tile: Tensor) -> Tensor:
            return at_rows(by_tile, tiles)

        sides = []
        for target, (mean, variance) in zip(targets, devices, strict=True):
            gain = (array.c * r).expand_as(mean)
            total, aimed = load + sums(gain * mean), load + sums(gain * target)
            to_mean, to_variance = (variance + part for part in _of_stuck(hardware, mean, gain, rows(total)))
            curvature = sums(gain**2 * to_mean) - hardware.column_gain_std**2 * load * (total - load)
            ratio = rows(aimed / total)
            own_variance = ratio**2 * to_variance
            node = array.c * mean / rows(total)
            loading = sums(own_variance * r**2)
            sides.append(
                DividerSide(
                    weight=ratio * (mean * rows(1 + curvature / total**2) - gain * to_mean / rows(total)),
                    variance=own_variance,
                    node=node,
                    through=own_variance * (1 - 2 * r * node) + rows(loading) * node**2,
                    loading=loading,
                    total=total,
                    target=aimed,
                )
            )
        return cls(load=load, devices=devices, by_side=tuple(sides))

    @property
    def mean_weight(self) -> Tensor:
        """W̄ (n_out, n_in)."""
        first, second = self.by_side
        return first.weight - second.weight

    def nodes(self, reading: Reading, channel: Channel) -> Iterator[ColumnNode]:
        """Those of a channel, tile by tile and side by side."""
        array = reading.array
        r, map, noise = _relative(array), array.map, array.row_noise_through
        for tile in channel.tiles:
            rows = Channel((tile,), channel.sides)
            for side in (self.by_side[k] for k in channel.sides):
                h, own_variance, weight, through = (
                    array.within(rows, value) for value in (side.node, side.variance, side.weight, side.through)
                )
                node, crossed = reading.linear(h), reading.linear(own_variance * r)
                squares = array.affine.apply_columns(reading.mean * reading.mean, own_variance)
                load = map.columns_view(side.loading[:, tile])
                still = (squares - 2 * node * crossed + load * node * node).clamp(min=0)
                passed = reading.passed(h)
                if reading.covariance is None:
                    moving = map.apply_columns(reading.variance, through)
                else:  # Σ_j K_j Var(x_j − r_j ỹ)
                    n = reading.covariance.shape[-1]
                    joint = ((h[:, :n] @ reading.covariance) * (own_variance * r)[:, :n]).sum(-1).reshape(node.shape)
                    moving = map.apply_columns(reading.variance, own_variance) - 2 * joint + load * passed
                yield ColumnNode(
                    side=side,
                    tile=tile,
                    node=node,
                    node_square=node * node + passed + noise(h * h),
                    mean=reading.linear(weight),
                    devices=still + moving,
                    noise=noise(through),
                    inputs=reading.passed(weight) + noise(weight * weight),
                )

    def channels(self, array: ProgrammedArray) -> tuple[Channel, ...]:
        return tuple(Channel((k,), (side,), 1 - 2 * side) for k in array.whole.tiles for side in array.whole.sides)

    def sides(self, array: ProgrammedArray) -> tuple[tuple[Tensor, Tensor], ...]:
        return self.devices

    def weight(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        if len(channel.sides) == len(self.by_side):
            return array.within(channel, array.mean_weight)
        (side,) = channel.sides
        return array.within(channel, self.by_side[side].weight)

    def through(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        return array.within(channel, torch.stack([self.by_side[side].through for side in channel.sides]).sum(0))

    def device_errors(self, array: ProgrammedArray) -> tuple[DeviceErrors, ...]:
        relative = array.relative.expand(array.map.groups, array.map.n_in)

        def nodes(weight: Tensor) -> tuple[TileNodes, ...]:
            return tuple(
                TileNodes(rows=tile, weight=weight[..., tile], relative=relative[:, tile]) for tile in array.tiles
            )

        return tuple(
            DeviceErrors(variance=side.variance, nodes=nodes(array.map.matrices(side.node))) for side in self.by_side
        )

    def device_variance(self, reading: Reading, channel: Channel) -> Tensor:
        return torch.stack([node.devices for node in self.nodes(reading, channel)]).sum(0)

    def columns(self, reading: Reading, channel: Channel) -> Iterator[Column]:
        for node in self.nodes(reading, channel):
            part = reading.array.map.columns_view(self.load / node.side.total[:, node.tile])
            yield Column(node.mean, node.devices + node.noise + node.inputs, part)

    def limits(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        assert array.hardware.adc_range is not None
        (tile,), (side,) = channel.tiles, channel.sides
        return array.map.columns_view(array.hardware.adc_range * self.by_side[side].target[:, tile] / array.decode)

    def conductance(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        first, second = self.by_side
        return (first.total + second.total)[:, list(channel.tiles)].sum(1)

    def saved_power(self, reading: Reading) -> Tensor | float:
        """E[D y²] of every column, summed up."""
        array = reading.array
        c, view = array.per_column(array.c), array.map.columns_view
        drawn = [
            view(node.side.total[:, node.tile])
            * (node.node_square + view((c / node.side.target[:, node.tile]) ** 2) * (node.devices + node.noise))
            for node in self.nodes(reading, array.whole)
        ]
        return array.decode_v**2 * torch.stack(drawn).sum() / len(reading.mean)

    def jump(self, array: ProgrammedArray, side: int, step: Tensor, usual: Tensor) -> Tensor:
        total, target = (at_rows(t, array.tiles) for t in (self.by_side[side].total, self.by_side[side].target))
        return target / total * (acting(step, array.gain, total) - usual)


def _relative(array: ProgrammedArray) -> Tensor:
    """r, () or (n_out, n_in)."""
    r = array.relative
    return r.repeat_interleave(array.map.n_out // array.map.groups, 0) if r.dim() else r


def at_rows(by_tile: Tensor, tiles: Sequence[slice]) -> Tensor:
    """What columns have in every tile (n_out, T) at all rows (n_out, n_in)."""
    widths = torch.tensor([tile.stop - tile.start for tile in tiles], device=by_tile.device)
    return by_tile.repeat_interleave(widths, 1)


def acting(step: Tensor, gain: Tensor, total: Tensor) -> Tensor:
    """f = e/(1 + γe/D̂): the small step that would move the node as much as the step e of a device does."""
    return step / (1 + gain * step / total)


def _of_stuck(hardware: Hardware, mean: Tensor, gain: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """What the steps of stuck devices make more of the variance s²/γ² in the mean of the node and in its variance."""
    to_mean = to_variance = torch.zeros_like(mean)
    for share, value in hardware.stuck_shares:
        step = value / gain - mean
        small = acting(step, gain, total)
        to_mean = to_mean + share * step * (small - step)
        to_variance = to_variance + share * (small**2 - step**2)
    return to_mean, to_variance
