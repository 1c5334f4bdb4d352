"""Conductance, drop by wires and error of every device, in its place in its array."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.wires.tiles import Place, Tiles, sum_of
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.program import program
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.wired import WiredAmplifier
from powerplan.moments.digital_scales import scaled_by
from powerplan.network.graph import Network


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceMap:
    """The devices of one array; row m is the nearest to the amplifiers, column 1 to the drivers.

    Attributes:
        layer: name.
        group, row_tile, column_tile: of the layer's arrays, from 0.
        side: 0, or 1 of the negative weights where these have arrays of their own.
        conductance: mean (m, k) [S].
        drop: share that wires take off what a device adds to its column, (m, k); None with ideal wires.
        error: root mean square over chips of the error of the weight that a device is for, (m, k), as a part of the
            layer's largest weight: noise and what devices and wires are off by on average.
        mean_drop: share that wires take off the column currents of all rows driven alike; None with ideal wires.
    """

    layer: str
    group: int
    row_tile: int
    column_tile: int
    side: int
    conductance: np.ndarray
    drop: np.ndarray | None
    error: np.ndarray
    mean_drop: float | None


def map_devices(network: Network, hardware: Hardware, gains: Gains) -> Iterator[tuple[DeviceMap, ...]]:
    """The arrays of every crossbar layer with what their devices hold, lose to wires and err by; layer by layer.

    Digital scales are those of the gains, which those of plans have.

    Raises:
        InvalidInput: gains that do not belong to the network.
    """
    gains.check(network, hardware)
    layers = zip(
        ArrayConstants.all_of(network, hardware, torch.float64), hardware.of_layers(network.layer_names), strict=True
    )
    with torch.no_grad():
        for i, (constants, own) in enumerate(layers):
            column_scale, row_scale = (
                None if scales is None else torch.tensor(scales[i]) for scales in (gains.column_scale, gains.row_scale)
            )
            tiles = Tiles.of(own, constants.map.n_out // constants.map.groups, constants.map.n_in)
            # how currents divide decides about what errors of devices share, not about any one of them
            shares = torch.ones_like(tiles.by_row(constants.weight.new_ones(constants.map.groups, constants.map.n_in)))
            array = program(
                constants,
                own,
                torch.tensor(gains.conductance[i], dtype=torch.float64),
                torch.tensor(gains.voltage[i], dtype=torch.float64),
                shares=shares / shares.shape[-1] if own.has_wires else None,
            )
            yield tuple(_maps(constants.name, scaled_by(array, column_scale, row_scale), tiles))


def _maps(layer: str, array: ProgrammedArray, tiles: Tiles) -> Iterator[DeviceMap]:
    weight, sides = array.constants.weight, len(array.sides)
    off = array.mean_weight - weight
    error = (off**2 + sum_of([errors.variance for errors in array.read_out.device_errors(array)])).sqrt()
    conductance = torch.stack([mean * array.gain for mean, _ in array.sides])
    values = [
        conductance,
        (error / weight.abs().max().clamp(min=torch.finfo(weight.dtype).tiny)).expand_as(conductance),
    ]
    if isinstance(array.read_out, WiredAmplifier):
        by_side = array.read_out.by_side
        values.append(torch.stack([1 - side.reach for side in by_side]))
        values.append(torch.stack([side.weight * array.gain for side in by_side]))
    here = torch.ones_like(conductance)
    shape = (sides, array.map.groups, -1, array.map.n_in)
    every = torch.stack([value.reshape(shape) for value in (here, *values)])  # (Q, S, G, o, n)
    for place, tile in tiles.arrays(tiles.cut(every), 2):
        yield _map(layer, tile, place)


def _map(layer: str, tile: Tensor, place: Place) -> DeviceMap:
    """Of the values (Q, m, k) of an array, whose first are 1 where there are devices: the last rows."""
    rows = int(tile[0, :, 0].sum())
    _, conductance, error, *wired = tile[:, tile.shape[1] - rows :].numpy()
    drop, transfer = wired or (None, None)
    return DeviceMap(
        layer=layer,
        **place._asdict(),
        conductance=conductance,
        drop=drop,
        error=error,
        mean_drop=None
        if transfer is None
        else float(1 - transfer.sum() / conductance.sum())
        if conductance.any()
        else 0.0,
    )
