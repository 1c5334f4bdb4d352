"""What a crossbar's converters do to the moments of its rows and columns, and the noise of its read-out.

Rows: the value x_j that drives row j is converted with the limit V_max/v_j
(:mod:`powerplan.moments.conversion.staircase`), as it is where no noise has reached it. A convolution whose rows have
voltages of their own drives one value at several rows; it is taken as converted with the geometric mean of their
limits.

Columns: each *channel*, a quantity z_c of a row tile that is converted by itself, becomes P_c z_c + residual, and
the channels are added digitally, with their signs s_c. With variances v_c, the output becomes the linear map P and an
independent residual,

    P = Σ_c P_c v_c / Σ_c v_c,    residual = Σ_c residual_c + Σ_c (P_c − P)² v_c,    shift = Σ_c s_c (E Q(z_c) − E z_c).

Noise of the read-out, per row tile and decoded by (c_i v̂)²; R_f where it is known:

    4 k_B T Δf (Σ_j (g⁺ + g⁻)_ij + 2/R_f, or 2 G_L)  +  2 q Δf Σ_j (g⁺ + g⁻)_ij v_j E|x_j|.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from powerplan.gaussian import rectified
from powerplan.hardware.full_scale import column_limits, feedback_resistances
from powerplan.hardware.noise import shot_noise, thermal_noise
from powerplan.hardware.tiling import row_tiles
from powerplan.moments.array.columns import currents, device_sides, tile_masks
from powerplan.moments.conversion.lattice import Lattice, converted_from
from powerplan.moments.conversion.staircase import converted, converted_exact, converted_on_average

if TYPE_CHECKING:
    from powerplan.moments.array.divider import Divider
    from powerplan.moments.array.programmed import ProgrammedArray


class Conversion(NamedTuple):
    """A converter as a linear map: shift of the mean, slope, variance of the residual; elementwise, of one shape.

    Of a value without error the slope is 1 and there is no residual, but where rounding is averaged over gains.
    """

    shift: Tensor
    slope: Tensor
    residual: Tensor | None

    def variance(self, before: Tensor) -> Tensor:
        """Variance of what is converted, for that before."""
        after = self.slope**2 * before
        return after if self.residual is None else after + self.residual


class Channel(NamedTuple):
    """What is converted by itself: mean and variance (B, *columns) in units of the output, sign, limit (*columns), and
    where it comes from: row tile, side of a divider (0 with amplifiers), weights (n_out, n_in), 0 outside; and what of
    the variance neither rows nor devices cause."""

    mean: Tensor
    variance: Tensor
    sign: int
    limit: Tensor
    tile: int
    side: int
    weight: Tensor
    apart: Tensor


def convert_rows(
    moments: ProgrammedArray,
    mean: Tensor,
    variance: Tensor,
    *,
    exact: bool,
    lattice: Lattice | None = None,
    rounds: bool = True,
) -> Conversion | None:
    """The converters of the rows for inputs of these moments (B, *input_shape); None if there are none.

    Without ``rounds`` slope and residual of those that noise has reached are those of saturation alone.

    Args:
        exact: no noise has reached the inputs.
        lattice: of the inputs, where they come from converters themselves.
    """
    hardware = moments.hardware
    if hardware.dac_bits is None:
        return None
    limit = row_limits(moments)
    if "rows" in moments.averaged or ("noisy rows" in moments.averaged and not exact):
        found = converted_on_average(mean, variance.expand_as(mean), limit, hardware.dac_bits)
        return Conversion(found.mean - mean, torch.ones_like(mean) if exact else found.slope, found.residual)
    if exact:
        value = converted_exact(mean, limit, hardware.dac_bits)
        return Conversion(value - mean, torch.ones_like(mean), None)
    variance = variance.expand_as(mean)
    if lattice is not None:
        found = converted_from(lattice, mean, variance, limit, hardware.dac_bits)
        # derivatives as in converters: those of the trend, which grows with the step
        shift, residual = ((found.mean - mean) / limit).detach(), (found.residual / limit**2).detach()
        return Conversion(limit * shift, found.slope, limit**2 * residual)
    found = converted(mean, variance, limit, hardware.dac_bits)
    held = found if rounds else converted(mean, variance, limit, None)
    return Conversion(found.mean - mean, held.slope, held.residual)


def row_limits(moments: ProgrammedArray) -> Tensor:
    """V_max/v_j, in units of the input; broadcasts to (B, *input_shape)."""
    v = moments.map.by_input(moments.v) if moments.v.dim() else moments.v
    return moments.hardware.voltage_max / v


def convert_columns(
    moments: ProgrammedArray, mean: Tensor, variance: Tensor, factor: Tensor, *, rounds: bool = True
) -> Conversion | None:
    """The converters of the columns, or None if there are none.

    Without ``rounds`` slope and residual are those of saturation alone, and of an averaged rounding the shift too.

    Args:
        mean, variance: of the inputs, converted, (B, *input_shape).
        factor: variance of the output before conversion over that for independent inputs, (B or 1, *shape).
    """
    hardware, map = moments.hardware, moments.map
    if not hardware.converts_columns:
        return None
    factor = map.spread_columns(factor)
    convert = converted_on_average if "columns" in moments.averaged else converted
    parts: list[tuple[Tensor, ...]] = []
    for channel in channels(moments, mean, variance):
        before = (channel.variance * factor).expand_as(channel.mean)
        after = convert(channel.mean, before, channel.limit, hardware.adc_bits)
        held = after if rounds else convert(channel.mean, before, channel.limit, None)
        if not rounds and "columns" in moments.averaged:
            after = held
        slope = held.slope
        parts.append(
            (channel.sign * (after.mean - channel.mean), before, slope * before, slope**2 * before, held.residual)
        )
    shift, before, once, twice, residual = (map.gather_columns(_total(part)) for part in zip(*parts, strict=True))
    noisy = before > 0
    slope = torch.where(noisy, once / torch.where(noisy, before, torch.ones_like(before)), torch.ones_like(before))
    return Conversion(shift, slope, residual + (twice - slope**2 * before).clamp(min=0))


def _total(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])


def channels(moments: ProgrammedArray, mean: Tensor, variance: Tensor) -> Iterator[Channel]:
    """The channels of every row tile, for inputs of these moments (B, *input_shape)."""
    if moments.divider is not None:
        yield from _nodes(moments, moments.divider, mean, variance)
        return
    hardware, map, affine = moments.hardware, moments.map, moments.affine
    decode = moments.decode
    limit = map.columns_view(column_limits(hardware, moments.scale, moments.per_column(moments.c), decode))
    weight = moments.analog_weight
    errors = moments.weight_variance.expand(map.n_out, map.n_in)
    gains = [column.square for column in currents(moments, mean, variance)] if hardware.column_gain_std else []
    for k, inside in enumerate(tile_masks(row_tiles(map.n_in, hardware.array_rows), weight)):
        u, spread = weight * inside, errors * inside
        passed = affine.apply_columns(mean * mean + variance, spread) + map.apply_columns(variance, u * u)
        total = passed
        if moments.has_row_noise:
            through = map.matrices(u * u + spread) * moments.row_noise.unsqueeze(1)
            passed = total = total + map.columns_view(through.sum(-1).reshape(-1))
        for square in gains[hardware.devices_per_weight * k : hardware.devices_per_weight * (k + 1)]:
            total = total + (moments.compensation * hardware.column_gain_std) ** 2 * square
        total = total + _read_variance(moments, mean, variance, k)
        yield Channel(affine.apply_columns(mean, u), total, 1, limit, k, 0, u, total - passed)


def _nodes(moments: ProgrammedArray, divider: Divider, mean: Tensor, variance: Tensor) -> Iterator[Channel]:
    """The voltages of passive columns, both sides of every row tile; each has half of the noise of the pair."""
    hardware, map = moments.hardware, moments.map
    decode = moments.decode
    assert hardware.adc_range is not None
    inside = list(tile_masks(divider.tiles, moments.mean_weight))
    sides = [side.sign for side in divider.sides]
    for node in divider.nodes(mean, variance):
        passed = total = node.devices + node.inputs
        if hardware.column_gain_std:
            gain = hardware.column_gain_std * divider.sensitivity(node)
            total = total + gain**2 * (node.mean**2 + total)
        total = total + 0.5 * _read_variance(moments, mean, variance, node.tile)
        limit = map.columns_view(hardware.adc_range * node.side.target[:, node.tile] / decode)
        weight, side = node.side.weight * inside[node.tile], sides.index(node.side.sign)
        yield Channel(node.mean, total, node.side.sign, limit, node.tile, side, weight, total - passed)


def _read_variance(moments: ProgrammedArray, mean: Tensor, variance: Tensor, tile: int) -> Tensor:
    """Variance (B or 1, *columns) of all noise that is fresh in every read of a row tile, both sides of a pair."""
    hardware = moments.hardware
    decode = moments.decode
    constant = moments.map.columns_view((moments.compensation * hardware.read_noise_std / decode) ** 2).unsqueeze(0)
    fluctuating = fluctuation(moments, mean, variance, (tile,))
    return constant if fluctuating is None else constant + fluctuating


def fluctuation(
    moments: ProgrammedArray, mean: Tensor, variance: Tensor, tiles: Sequence[int] | None = None
) -> Tensor | None:
    """Variance (B or 1, *columns) of thermal and shot noise, added up over row tiles (None = all), if it is counted."""
    hardware, map = moments.hardware, moments.map
    if not (hardware.thermal_noise or hardware.shot_noise):
        return None
    slices = row_tiles(map.n_in, hardware.array_rows)
    tiles = range(len(slices)) if tiles is None else tiles
    decode = moments.decode
    total = decode.new_zeros(1, *map.columns_view(decode).shape)
    if moments.divider is not None:  # without shot noise
        through = _total([side.total[:, k] for side in moments.divider.sides for k in tiles])
        return total + map.columns_view(thermal_noise(hardware) * through / decode**2)
    inside = _total(list(tile_masks([slices[k] for k in tiles], moments.mean_weight)))
    conductance = _total([side for side, _ in device_sides(moments)]) * inside  # over c r
    if hardware.thermal_noise:
        through = (conductance * moments.gain).sum(1) + len(tiles) * _loads(moments)
        total = total + map.columns_view(thermal_noise(hardware) * through / decode**2)
    if hardware.shot_noise:
        # G_ij v_j = (g_ij/(c_i r_j)) c_i v̂
        current = moments.affine.apply_columns(_magnitude(moments, mean, variance), conductance)
        total = total + current * map.columns_view(shot_noise(hardware) / decode)
    return moments.compensation**2 * total


def _loads(moments: ProgrammedArray) -> Tensor:
    """Conductances at a column beside its devices [S], both sides of a pair added up, (n_out,)."""
    feedback = feedback_of(moments)
    return torch.zeros_like(moments.decode) if feedback is None else moments.hardware.devices_per_weight / feedback


def _magnitude(moments: ProgrammedArray, mean: Tensor, variance: Tensor) -> Tensor:
    """E|x| of the inputs."""
    if moments.scale is not None and moments.scale.non_negative:
        return mean.clamp(min=0)
    return 2 * rectified(mean, variance.expand_as(mean)).mean - mean


def feedback_of(moments: ProgrammedArray) -> Tensor | None:
    """R_f,i of the amplifiers of every column (n_out,) [ohm]; None where it is not known."""
    return feedback_resistances(moments.hardware, moments.scale, moments.per_column(moments.c), moments.decode)
