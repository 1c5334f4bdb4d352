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

import numpy as np
import torch

from powerplan.hardware import Hardware
from powerplan.hardware.devices import program, programming_variance
from powerplan.network import Linear
from powerplan.simulate.streams import Streams

#: devices of one draw worked on at a time (they, their noise and their targets should fit the core's cache)
TILE_DEVICES = 1 << 17


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
        to = {"dtype": dtype, "device": device}
        self._target, self._std = (target / gain).to(**to), (std / gain).to(**to)
        self._noisy_devices = bool(std.any())
        self._gain = gain.to(**to)
        self._bias = None if op.bias is None else torch.as_tensor(np.array(op.bias)).to(**to)
        self._read_std = (hardware.read_noise_std / (gain[:, 0] * voltage)).to(**to)
        self._input_std = hardware.input_noise_std / voltage
        # At least two columns in a tile where there are two: the product with one column is rounded differently.
        tiles = max(1, min(self.n_out // 2, -(-2 * self.n_out * self.n_in // TILE_DEVICES)))
        edges = [round(k * self.n_out / tiles) for k in range(tiles + 1)]
        self._tiles = [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]

    @property
    def tile_devices(self) -> int:
        """Devices of one draw worked on at a time."""
        return 2 * self.n_in * max(tile.stop - tile.start for tile in self._tiles)

    def scratch_elements(self, batch: int) -> int:
        """Numbers held for one draw and ``batch`` inputs during :meth:`read`, its input and output not counted."""
        rows = batch * self.n_in if self._input_std else 0
        columns = batch * self.n_out if self.hardware.read_noise_std else 0
        currents = batch * self.tile_devices // self.n_in if self.hardware.feedback_resistance else batch * self.n_out
        return 3 * self.tile_devices + 2 * max(rows, columns) + currents

    def read(self, x: torch.Tensor, streams: Streams, scratch: Scratch) -> tuple[torch.Tensor, torch.Tensor]:
        """Program the devices of every draw and pass the batch through them.

        Args:
            x: (D, B, n_in) activations of each draw, or (1, B, n_in) if all draws share them.
            streams: of D draws.

        Returns:
            z (D, B, n_out) and the power [W] of one inference in each draw, (D,) float64.
        """
        hardware, draws, batch = self.hardware, streams.draws, x.shape[1]
        mean_square = x.square().mean(1) + self._input_std**2
        if self._input_std:
            noise = streams.normal_(scratch.normals((draws, batch, self.n_in)))
            x = torch.add(x, noise.to(x.dtype), alpha=self._input_std)
        x = x.expand(draws, -1, -1)
        z = x.new_empty(draws, batch, self.n_out)
        array = x.new_zeros(draws, dtype=torch.float64)
        tia = torch.zeros_like(array)
        for tile in self._tiles:
            devices = self._program(tile, streams, scratch)
            plus, minus = devices[:, 0], devices[:, 1]
            if hardware.feedback_resistance is None:
                weight = torch.sub(plus, minus, out=scratch.values("pair", plus.shape))
                z[:, :, tile] = _product(x, weight)
            else:
                currents = torch.bmm(x, devices.flatten(1, 2).transpose(1, 2)).unflatten(2, (2, -1))
                torch.sub(currents[:, :, 0], currents[:, :, 1], out=z[:, :, tile])
                square = currents.square_().mean(1).sum(1) * self._tile_gain(tile)[:, 0].square()
                tia += square.sum(1, dtype=torch.float64)
            array += self._array_power(devices, tile, mean_square, scratch)
        if hardware.read_noise_std:
            noise = streams.normal_(scratch.normals((draws, batch, self.n_out)))
            z.add_(noise.to(z.dtype).mul_(self._read_std))
        if self._bias is not None:
            z.add_(self._bias)
        return z, self.voltage**2 * (array + (hardware.feedback_resistance or 0.0) * tia)

    def _program(self, tile: slice, streams: Streams, scratch: Scratch) -> torch.Tensor:
        """Devices (D, 2, columns of the tile, n_in) [unit weight]."""
        target = self._target[:, tile]
        if not self._noisy_devices:
            return target.expand(streams.draws, -1, -1, -1)
        normals = streams.normal_(scratch.normals((streams.draws, *target.shape)))
        out = normals if normals.dtype == target.dtype else scratch.values("devices", normals.shape)
        return program(self.hardware, target, self._std[:, tile], normals, out)

    def _array_power(
        self, devices: torch.Tensor, tile: slice, mean_square: torch.Tensor, scratch: Scratch
    ) -> torch.Tensor:
        """Σ_ij (G⁺_ij + G⁻_ij) mean x_j² over the columns of the tile, (D,) float64 [S · unit activation²]."""
        # Sums over columns, not a matrix-vector product, which would round by the alignment of the draw in memory.
        if len(self._gain) == 1:
            by_row = devices.flatten(1, 2).sum(1) * self._gain[0]
        else:
            pair = torch.add(devices[:, 0], devices[:, 1], out=scratch.values("pair", devices[:, 0].shape))
            by_row = pair.mul_(self._tile_gain(tile)).sum(1)
        return by_row.mul_(mean_square).sum(1, dtype=torch.float64)

    def _tile_gain(self, tile: slice) -> torch.Tensor:
        return self._gain if len(self._gain) == 1 else self._gain[tile]


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
        size = 1
        for n in shape:
            size *= n
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = torch.empty(size, dtype=dtype, device=self._device)
        return buffer[:size].view(shape)


def _product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x Wᵀ for (D, B, n_in) and (D, n_out, n_in), every draw rounded the same whatever D is."""
    if weight.shape[1] == 1:
        return (x * weight).sum(2, keepdim=True)
    return torch.bmm(x, weight.transpose(1, 2))
