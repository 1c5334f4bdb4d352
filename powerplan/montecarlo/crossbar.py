"""A linear layer on a crossbar of random devices.

    G±_ij ~ N(g±_ij, s²(g±_ij)) independent, clipped at zero or not,   g±_ij = G_min + c_i max(±W_ij, 0)
    V_j   = v x_j + n^V_j,   n^V_j ~ N(0, σ_V²) fresh in every read
    I±_i  = Σ_j G±_ij V_j
    z_i   = (I⁺_i − I⁻_i + n_i) / (c_i v) + b_i,   n_i ~ N(0, σ_I²) fresh in every read

    array power = Σ_ij (G⁺_ij + G⁻_ij) mean(v² x_j² + σ_V²)      mean over the batch; E over n^V in closed form
    TIA power   = R_f Σ_i mean((I⁺_i)² + (I⁻_i)²)

Devices are held as G_ij / c_i, in units of weight, so that the product with x is z itself and single
precision never sees the scale of a conductance.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from powerplan.hardware import Hardware
from powerplan.hardware.devices import program, programming_variance
from powerplan.montecarlo.streams import Streams
from powerplan.network import Linear

#: devices of one draw worked on at a time (more do not fit the caches, fewer do not pay for the calls)
TILE_DEVICES = 1 << 18


class Crossbar:
    """The devices of one layer: programmed and read in one go, for several draws at once.

    Args:
        op: the layer.
        conductance: conductance gain c [S per unit weight], a float or (n_out,).
        voltage: voltage gain v [V per unit activation].
    """

    def __init__(
        self,
        op: Linear,
        conductance: float | np.ndarray,
        voltage: float,
        hardware: Hardware,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.hardware, self.voltage = hardware, voltage
        self.n_out, self.n_in = op.n_out, op.n_in
        gain = torch.as_tensor(np.array(conductance, dtype=np.float64)).reshape(-1, 1)
        weight = torch.as_tensor(np.array(op.weight, dtype=np.float64))
        target = hardware.conductance_min + gain * torch.stack([weight.clamp(min=0), (-weight).clamp(min=0)])
        std = programming_variance(hardware, target).sqrt()
        target_weight, std_weight = (target / gain).to(device, dtype), _collapsed(std / gain).to(device, dtype)
        self._noisy_devices = bool(std.any())
        self._bias = None if op.bias is None else torch.as_tensor(np.array(op.bias)).to(device, dtype)
        self._read_std = (hardware.read_noise_std / (gain[:, 0] * voltage)).to(device, dtype)
        gain = gain.to(device, dtype)
        self._input_std = hardware.input_noise_std / voltage
        # At least two columns in a tile where there are two: the product with one column is rounded differently.
        tiles = max(1, min(self.n_out // 2, -(-2 * self.n_out * self.n_in // TILE_DEVICES)))
        edges = [round(k * self.n_out / tiles) for k in range(tiles + 1)]
        self._tiles = [
            _Tile(
                target=target_weight[:, a:b],
                std=_columns(std_weight, 1, a, b),
                gain=_columns(gain, 0, a, b),
            )
            for a, b in itertools.pairwise(edges)
        ]
        self.tile_devices = max(tile.target.numel() for tile in self._tiles)

    def scratch_elements(self, batch: int) -> int:
        """Numbers held for one draw and ``batch`` inputs during :meth:`read`, its input and output not counted."""
        rows = batch * self.n_in if self._input_std else 0
        columns = batch * self.n_out if self.hardware.read_noise_std else 0
        currents = batch * self.tile_devices // self.n_in if self.hardware.feedback_resistance else batch * self.n_out
        return 3 * self.tile_devices + 2 * max(rows, columns) + currents

    def mean_square_voltage(self, x: torch.Tensor) -> torch.Tensor:
        """Mean over the batch of E[V_j²] [V²], (D, n_in), for activations x (D, B, n_in)."""
        return x.square().mean(1).mul_(self.voltage * self.voltage).add_(self.hardware.input_noise_std**2)

    def read(
        self, x: torch.Tensor, mean_square_voltage: torch.Tensor, streams: Streams, scratch: Scratch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Program the devices of every draw and pass the batch through them.

        Args:
            x: (D, B, n_in) activations of each draw, or (1, B, n_in) if all draws share them.
            mean_square_voltage: of ``x``.
            streams: of D draws.

        Returns:
            z (D, B, n_out) and the power [W] of one inference in each draw, (D,).
        """
        hardware, draws, batch = self.hardware, streams.draws, x.shape[1]
        if self._input_std:
            noise = streams.normal_(scratch.normals((draws, batch, self.n_in)))
            x = torch.add(x, noise.to(x.dtype), alpha=self._input_std)
        x = x.expand(draws, -1, -1)
        columns, by_row, tia = [], [], []
        for tile in self._tiles:
            devices = self._program(tile, streams, scratch)
            if hardware.feedback_resistance is None:
                pair = torch.sub(devices[:, 0], devices[:, 1], out=scratch.values("pair", devices[:, 0].shape))
                columns.append(_product(x, pair))
            else:
                currents = torch.bmm(x, devices.flatten(1, 2).transpose(1, 2)).view(draws, batch, 2, -1)
                columns.append(currents[:, :, 0] - currents[:, :, 1])
                squares = currents.square_().mean(1).mul_((self.voltage * tile.gain[:, 0]) ** 2)
                tia.append(squares.flatten(1).sum(1))
            by_row.append(self._conductance_by_row(devices, tile, scratch))
        power = sum(by_row[1:], by_row[0]).mul_(mean_square_voltage).sum(1)
        if tia and hardware.feedback_resistance is not None:
            power += hardware.feedback_resistance * sum(tia[1:], tia[0])
        z = columns[0] if len(columns) == 1 else torch.cat(columns, dim=2)
        if hardware.read_noise_std:
            noise = streams.normal_(scratch.normals((draws, batch, self.n_out)))
            z.add_(noise.to(z.dtype).mul_(self._read_std))
        return (z if self._bias is None else z.add_(self._bias)), power

    def _program(self, tile: _Tile, streams: Streams, scratch: Scratch) -> torch.Tensor:
        """Devices (D, 2, columns of the tile, n_in) [unit weight]."""
        if not self._noisy_devices:
            return tile.target.expand(streams.draws, -1, -1, -1)
        normals = streams.normal_(scratch.normals((streams.draws, *tile.target.shape)))
        out = normals if normals.dtype == tile.target.dtype else scratch.values("devices", normals.shape)
        return program(self.hardware, tile.target, tile.std, normals, out)

    def _conductance_by_row(self, devices: torch.Tensor, tile: _Tile, scratch: Scratch) -> torch.Tensor:
        """Σ_i (G⁺_ij + G⁻_ij) over the columns of the tile, (D, n_in) [S]."""
        # Sums over columns, not a matrix-vector product, which would round by the alignment of the draw in memory.
        if len(tile.gain) == 1:
            return devices.flatten(1, 2).sum(1).mul_(tile.gain)
        pair = torch.add(devices[:, 0], devices[:, 1], out=scratch.values("pair", devices[:, 0].shape))
        return pair.mul_(tile.gain).sum(1)


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """n columns of a crossbar: target (2, n, n_in) and std [weight], gain [S per unit weight].

    std broadcasts to target, gain (n, 1) or (1, 1) to (n, n_in).
    """

    target: torch.Tensor
    std: torch.Tensor
    gain: torch.Tensor


class Scratch:
    """Buffers reused from tile to tile and from draw to draw: fresh memory would cost a page fault each time."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._buffers: dict[str, torch.Tensor] = {}

    def normals(self, shape: tuple[int, ...]) -> torch.Tensor:
        """A float32 buffer of this shape, contents undefined."""
        return self._buffer("normals", shape, torch.float32)

    def values(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A named buffer of the simulation's precision and this shape, contents undefined."""
        return self._buffer(name, shape, self._dtype)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = torch.empty(size, dtype=dtype, device=self._device)
        return buffer[:size].view(shape)


def _collapsed(values: torch.Tensor) -> torch.Tensor:
    """Values with every axis along which they are constant cut to length 1: less to read for every draw."""
    for axis in range(values.dim()):
        first = values.narrow(axis, 0, 1)
        if bool((values == first).all()):
            values = first
    return values


def _columns(values: torch.Tensor, axis: int, start: int, stop: int) -> torch.Tensor:
    """Columns start to stop of values that may hold one entry for all columns."""
    return values if values.shape[axis] == 1 else values.narrow(axis, start, stop - start)


def _product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x Wᵀ for (D, B, n_in) and (D, n_out, n_in), every draw rounded the same whatever D is."""
    if weight.shape[1] == 1:
        return (x * weight).sum(2, keepdim=True)
    return torch.bmm(x, weight.transpose(1, 2))
