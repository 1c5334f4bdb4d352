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
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.hardware import Hardware
from powerplan.moments.array.columns import tile_masks
from powerplan.network.array_maps import ArrayMap


@dataclass(frozen=True, kw_only=True, eq=False)
class DividerSide:
    """The columns of one side of the pairs; (n_out, n_in), or by tile (n_out, T).

    Attributes:
        sign: with which they enter the output.
        weight: ĝ/γ.
        variance: K.
        node: h.
        through: F.
        loading: Σ_j K_j r_j² of every tile.
        total, target: D̂ and D̄ of every tile [S].
    """

    sign: int
    weight: Tensor
    variance: Tensor
    node: Tensor
    through: Tensor
    loading: Tensor
    total: Tensor
    target: Tensor


class ColumnNode(NamedTuple):
    """Nodes of one tile and side, in the layout of the map's columns: mean of ỹ, E[ỹ²], and of what they decode to the
    mean and the variances that devices and inputs cause."""

    side: DividerSide
    tile: int
    node: Tensor
    node_square: Tensor
    mean: Tensor
    devices: Tensor
    inputs: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Divider:
    """The passive columns of one crossbar.

    Attributes:
        map, affine: of errors and of values.
        tiles: rows of every tile.
        relative: r, () or (G, n_in).
        row_noise: σ_V²/v_j² (G, n_in), or None.
        load: G_L [S].
        devices: mean g/γ and variance s²/γ² of those of either side, (n_out, n_in).
    """

    map: ArrayMap
    affine: ArrayMap
    tiles: tuple[slice, ...]
    relative: Tensor
    row_noise: Tensor | None
    load: float
    devices: tuple[tuple[Tensor, Tensor], ...]
    sides: tuple[DividerSide, ...]

    @classmethod
    def of(
        cls,
        hardware: Hardware,
        maps: tuple[ArrayMap, ArrayMap],
        tiles: list[slice],
        devices: tuple[tuple[Tensor, Tensor], ...],
        targets: tuple[Tensor, ...],
        c: Tensor,
        relative: Tensor,
        row_noise: Tensor | None,
    ) -> Divider:
        """Columns of given devices.

        Args:
            devices: of both sides mean g/γ and variance s²/γ², (n_out, n_in).
            targets: the conductances aimed at, over γ, (n_out, n_in).
            c: conductance gain, () or (n_out, 1).
            relative: r, () or (G, n_in).
        """
        assert hardware.load_conductance is not None
        map, load = maps[0], hardware.load_conductance
        r = relative.repeat_interleave(map.n_out // map.groups, 0) if relative.dim() else relative

        def sums(values: Tensor) -> Tensor:
            return torch.stack([values[:, tile].sum(1) for tile in tiles], 1)

        def rows(by_tile: Tensor) -> Tensor:
            return at_rows(by_tile, tiles)

        sides = []
        for sign, (mean, variance), target in zip((1, -1), devices, targets, strict=True):
            gain = (c * r).expand_as(mean)
            total, aimed = load + sums(gain * mean), load + sums(gain * target)
            to_mean, to_variance = (variance + part for part in _of_stuck(hardware, mean, gain, rows(total)))
            curvature = sums(gain**2 * to_mean) - hardware.column_gain_std**2 * load * (total - load)
            ratio = rows(aimed / total)
            kept = ratio**2 * to_variance
            node = c * mean / rows(total)
            loading = sums(kept * r**2)
            sides.append(
                DividerSide(
                    sign=sign,
                    weight=ratio * (mean * rows(1 + curvature / total**2) - gain * to_mean / rows(total)),
                    variance=kept,
                    node=node,
                    through=kept * (1 - 2 * r * node) + rows(loading) * node**2,
                    loading=loading,
                    total=total,
                    target=aimed,
                )
            )
        return cls(
            map=map,
            affine=maps[1],
            tiles=tuple(tiles),
            relative=relative,
            row_noise=row_noise,
            load=load,
            devices=devices,
            sides=tuple(sides),
        )

    @property
    def mean_weight(self) -> Tensor:
        """W̄ (n_out, n_in)."""
        first, second = self.sides
        return first.weight - second.weight

    @property
    def through(self) -> Tensor:
        """F (n_out, n_in) of both sides: what a variance of the inputs adds to that of the outputs through devices."""
        first, second = self.sides
        return first.through + second.through

    def nodes(self, mean: Tensor, variance: Tensor, covariance: Tensor | None = None) -> Iterator[ColumnNode]:
        """Every tile and side, for inputs of these moments (B, *input_shape).

        ``covariance`` (B, n, n) of the inputs of a single position; None = independent inputs.
        """
        r = self.full_relative
        for k, inside in enumerate(tile_masks(self.tiles, self.sides[0].weight)):
            for side in self.sides:
                h, kept, weight = side.node * inside, side.variance * inside, side.weight * inside
                node = self.affine.apply_columns(mean, h)
                crossed = self.affine.apply_columns(mean, kept * r)
                squares = self.affine.apply_columns(mean * mean, kept)
                load = self.map.columns_view(side.loading[:, k])
                still = (squares - 2 * node * crossed + load * node * node).clamp(min=0)
                passed = self._quadratic(variance, covariance, h)
                if covariance is None:
                    moving = self.map.apply_columns(variance, side.through * inside) + self._of_rows(
                        side.through * inside
                    )
                else:
                    # Σ_j K_j Var(x_j − r_j ỹ), the noise of the rows with independent x
                    n = covariance.shape[-1]
                    joint = ((h[:, :n] @ covariance) * (kept * r)[:, :n]).sum(-1).reshape(node.shape)
                    moving = self.map.apply_columns(variance, kept) - 2 * joint
                    moving = moving + load * (passed - self._of_rows(h * h)) + self._of_rows(side.through * inside)
                yield ColumnNode(
                    side=side,
                    tile=k,
                    node=node,
                    node_square=node * node + passed,
                    mean=self.affine.apply_columns(mean, weight),
                    devices=still + moving,
                    inputs=self._quadratic(variance, covariance, weight),
                )

    def drawn_from(self, node: ColumnNode, decode: Tensor) -> Tensor:
        """E[D y²] of every column [W] for the decoding gain v̂ and, in ``decode`` (n_out,), c."""
        side, k = node.side, node.tile
        per_variance = self.map.columns_view((decode / side.target[:, k]) ** 2)
        return self.map.columns_view(side.total[:, k]) * (node.node_square + per_variance * node.devices)

    def sensitivity(self, node: ColumnNode) -> Tensor:
        """G_L/D̂: what a gain error of a whole column moves its voltage by, in the layout of the map's columns."""
        return self.map.columns_view(self.load / node.side.total[:, node.tile])

    @property
    def full_relative(self) -> Tensor:
        """r, () or (n_out, n_in)."""
        if not self.relative.dim():
            return self.relative
        return self.relative.repeat_interleave(self.map.n_out // self.map.groups, 0)

    def _quadratic(self, variance: Tensor, covariance: Tensor | None, weight: Tensor) -> Tensor:
        """Variance of Σ_j weight_j x_j, the noise of the rows included, in the layout of the map's columns."""
        if covariance is None:
            passed = self.map.apply_columns(variance, weight * weight)
        else:
            some = weight[:, : covariance.shape[-1]]
            total = ((some @ covariance) * some).sum(-1)
            passed = total.reshape(-1, *self.map.output_shape)
        return passed + self._of_rows(weight * weight)

    def _of_rows(self, weight: Tensor) -> Tensor:
        """Σ_j weight_ij σ_V²/v_j², in the layout of the map's columns."""
        if self.row_noise is None:
            return weight.new_zeros(())
        sums = (self.map.matrices(weight) * self.row_noise.unsqueeze(1)).sum(-1)
        return self.map.columns_view(sums.reshape(-1))


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
