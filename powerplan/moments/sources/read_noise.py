"""Noise of the read-out, fresh in every read, per row tile and decoded by (c_i v̂)²; R_f where it is known:

    σ_I²  +  4 k_B T Δf (Σ_j (g⁺ + g⁻)_ij + 2/R_f, or 2 G_L)  +  2 q Δf Σ_j (g⁺ + g⁻)_ij v_j E|x_j|.

Of inputs in slices that of every read, times a_s². The sides of a pair that are converted separately have half of it
each.
"""

from __future__ import annotations

from collections.abc import Iterator

from powerplan.hardware.noise import shot_noise, thermal_noise
from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources.errors import Errors, Independent


def read_noise(reading: Reading, channel: Channel) -> Iterator[Errors]:
    """The noise of the channel's tiles."""
    array, hardware = reading.array, reading.array.hardware
    if not hardware.has_read_noise:
        return
    decode, view = array.decode, array.map.columns_view
    variance = len(channel.tiles) * view(array.fresh_share * (hardware.read_noise_std / decode) ** 2).unsqueeze(0)
    if hardware.thermal_noise:
        through = array.read_out.conductance(array, channel)
        variance = variance + view(array.fresh_share * thermal_noise(hardware) * through / decode**2)
    if hardware.shot_noise:
        # G_ij v_j = (g_ij/(c_i r_j)) c_i v̂
        conductance = array.within(channel, array.conductance)
        for weight, read in reading.reads:
            current = array.affine.apply_columns(read.magnitude, conductance)
            variance = variance + weight**2 * current * view(shot_noise(hardware) / decode)
    share = len(channel.sides) / len(array.whole.sides)
    yield Independent(array=array, kind="read", by_column=share * array.column_compensation**2 * variance)
