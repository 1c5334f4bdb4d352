"""Programming: mean and variance of an array's weights from its gains; formulas in
:mod:`powerplan.moments.array.programmed`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from powerplan.hardware.devices import idle_device_moments, just_programmed
from powerplan.hardware.full_scale import FullScale
from powerplan.hardware.hardware import Hardware, LayerHardware
from powerplan.hardware.layer_targets import shifts_together
from powerplan.moments.array.amplifier import Amplifier
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.divider import Divider
from powerplan.moments.array.held import HeldMoments, Kept, LastMade, MadeAgain
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.shifted import ShiftedDevices, Sides
from powerplan.moments.array.weights import WeightMoments, read_for_drift, weight_moments
from powerplan.moments.array.wired import WiredAmplifier


def program(
    constants: ArrayConstants,
    hardware: LayerHardware,
    conductance: Tensor,
    voltage: Tensor,
    scale: FullScale | None = None,
    shares: Tensor | None = None,
    *,
    averaged: frozenset[str] = frozenset(),
    last: LastMade | None = None,
) -> ProgrammedArray:
    """The array at conductance gain () or (n_out,) and voltage gain () or (G·n_in,).

    Args:
        shares: of the rows of every tile in the currents of columns, (G, T, m), where wires have resistance.
        last: of the network; None = the moments of what the devices hold are kept with the array.
    """
    groups, n_in = constants.map.groups, constants.map.n_in
    c = conductance.unsqueeze(-1) if conductance.dim() else conductance
    decode_v = voltage.log().mean().exp() if voltage.dim() else voltage
    v = voltage.reshape(groups, -1) if voltage.dim() else voltage
    if v.dim() and v.shape[1] < n_in:  # the constant that drives the biases
        v = torch.cat([v, decode_v.expand(groups, 1)], 1)
    r = decode_v / v if voltage.dim() else None
    subtracted: Tensor | float = 0.0
    if hardware.devices_per_weight == 1:
        gain = c if r is None else c * r.repeat_interleave(constants.map.n_out // groups, 0)
        subtracted = constants.offset + hardware.conductance_min / gain
    shifted = None
    if shifts_together(hardware):
        shifted = ShiftedDevices.of(constants, hardware, c, r)
    moments_of = partial(weight_moments, constants, c, r) if shifted is None else shifted.moments
    make = partial(_moments, constants, hardware, c, r, subtracted, moments_of)
    array = ProgrammedArray(
        constants=constants,
        hardware=hardware,
        c=c,
        v=v,
        decode_v=decode_v,
        held=Kept(make()) if last is None else MadeAgain(make, last),
        read_out=Amplifier(),
        subtracted=subtracted,
        scale=scale,
        averaged=averaged,
        slice_weights=(1.0,) if hardware.input_slices is None else hardware.input_slices.weights,
    )
    if hardware.read_out == "divider":
        return _divided(array, shifted)
    if shares is None:
        return array
    return _wired(array, array.sides if shifted is None else shifted.sides(hardware), shares)


def _moments(
    constants: ArrayConstants,
    hardware: Hardware,
    c: Tensor,
    r: Tensor | None,
    subtracted: Tensor | float,
    moments_of: Callable[[Hardware], WeightMoments],
) -> HeldMoments:
    """The moments at conductance gain () or (n_out, 1) and relative gains () or (G, n_in) of the rows."""
    groups = constants.map.groups
    size = constants.map.n_out // groups
    partners = (hardware.devices_per_weight - 1) * size  # idle devices of the pairs on one row of a group
    compensation: Tensor | float = 1.0
    if hardware.shifts_mean or hardware.predistort or not hardware.has_constant_programming_noise:
        moments = moments_of(hardware)
        mean_weight, variance, row_conductance = moments
        if hardware.drift_compensation:
            fresh, beside = just_programmed(hardware), subtracted - constants.offset
            of_fresh = moments_of(fresh)
            compensation = read_for_drift(of_fresh, fresh, partners, beside)
            compensation = compensation / read_for_drift(moments, hardware, partners, beside)
            # α (W̄ + u) − u, with W̄ + w in mean_weight
            mean_weight = mean_weight * compensation + (compensation - 1) * beside
            variance = variance * compensation**2
        if constants.offset:
            mean_weight = mean_weight - constants.offset
    else:  # W̄ = W exactly, and every device has the same variance
        mean_weight = constants.weight
        variance = hardware.devices_per_weight * hardware.programming_noise_std**2 / c**2
        row_conductance = (
            c * constants.magnitude_sums if not c.dim() else (constants.magnitudes * c.view(groups, -1, 1)).sum(1)
        )
        if r is not None:
            row_conductance = row_conductance * r
            variance = variance / r.repeat_interleave(size, 0) ** 2
        row_conductance = row_conductance + size * hardware.conductance_min
    row_conductance = row_conductance + partners * idle_device_moments(hardware)[0]
    return HeldMoments(mean_weight, variance, row_conductance, compensation)


def _divided(array: ProgrammedArray, shifted: ShiftedDevices | None) -> ProgrammedArray:
    """The same devices in columns that end in a passive load."""
    divider = Divider.of(array) if shifted is None else Divider.of(array, shifted.sides(array.hardware), shifted.aimed)
    moments = array.held.moments._replace(mean=divider.mean_weight, variance=divider.through(array, array.whole))
    return replace(array, held=Kept(moments), read_out=divider)


def _wired(array: ProgrammedArray, sides: Sides, shares: Tensor) -> ProgrammedArray:
    """The same devices shifted wires that have resistance."""
    wired = WiredAmplifier.of(array, sides, shares)
    moments = array.held.moments._replace(mean=wired.mean_weight(array), variance=wired.through(array, array.whole))
    return replace(array, held=Kept(moments), read_out=wired)
