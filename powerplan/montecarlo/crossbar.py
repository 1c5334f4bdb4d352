"""A crossbar operation on random devices.

    G±_ij random (see :mod:`powerplan.hardware.devices`) with target G_min + c_i r_j max(±W_ij, 0),   r_j = v̂/v_j
    V_pj  = v_j Q(x_pj) + n^V_pj,   n^V ~ N(0, σ_V²) fresh in every read
    I±_pti = (1 + ε±_ti) Σ_{j in tile t} G±_ij V_pj,   ε ~ N(0, σ_g²) once per physical column
    z_pi  = Σ_t Q(α (I⁺_pti − I⁻_pti + n_pti) / (c_i v̂)) − Σ_j u_ij Q(x_pj) + b_i,   n fresh in every read

    Var n_pti = σ_I² + 4 k_B T Δf (Σ_j (G⁺ + G⁻)_ij + 2/R_f) + 2 q Δf Σ_j (G⁺ + G⁻)_ij v_j |Q(x_pj)|

    array power = Σ_pij (G⁺_ij + G⁻_ij) mean(v_j² x_pj² + σ_V²)      mean over the batch; E over n^V in closed form
    TIA power   = R_f Σ_pti mean((I⁺_pti)² + (I⁻_pti)²)

at every position p, with devices that are the same at all positions (``mapping="shared"``) or drawn for each
("unrolled"). α is the gain of drift compensation: of the layer, or of every column. u is 0 for pairs;
with an offset mapping there is one device, with target G_min + c_i r_j (W_ij + w), no minus side, and u_ij is
w + G_min/(c_i r_j). Where biases are a row, the last x_pj is 1, the last W_ij is b_i, and nothing is added digitally.

With passive loads every side of every row tile gives a voltage, y± = (1 + ε±) Σ_j G±_ij V_pj / D±, D± = G_L + (1 + ε±)
Σ_j G±_ij, decoded as the current D̄± y±, D̄ that of the targets; sides are converted separately, with half of the noise
each; G_L makes thermal noise like 1/R_f; array power is less by Σ_pti mean(D (y±)²).

Devices are held as G_ij / (c_i r_j), in units of weight, so that the product with x is z itself and single
precision never sees the scale of a conductance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from powerplan.hardware import Hardware
from powerplan.hardware.converters import quantised
from powerplan.hardware.devices import Devices
from powerplan.hardware.full_scale import FullScale, column_limits, feedback_resistances
from powerplan.hardware.gains import Gain, reference_voltage
from powerplan.hardware.noise import shot_noise, thermal_noise
from powerplan.hardware.stored import stored
from powerplan.hardware.tiling import row_tiles
from powerplan.montecarlo.streams import Streams
from powerplan.network import CrossbarOp
from powerplan.network.array_maps import ConstantRowMap, array_map

#: devices of one draw worked on at a time (more do not fit the caches, fewer do not pay for the calls)
BLOCK_DEVICES = 1 << 18


class Crossbar:
    """The devices of one layer: programmed and read in one go, for several draws at once.

    Args:
        op: the operation.
        input_shape: of one value, without batch.
        conductance: conductance gain c [S per unit weight], a float or (n_out,).
        voltage: voltage gain v [V per unit activation], a float or (n_rows,).
        scale: of the columns, where the read-out depends on it.
    """

    def __init__(
        self,
        op: CrossbarOp,
        input_shape: tuple[int, ...],
        conductance: Gain,
        voltage: Gain,
        hardware: Hardware,
        scale: FullScale | None = None,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        held = stored(op, hardware)
        self.hardware, self.map = hardware, array_map(op, input_shape)
        if held.has_bias_row:
            self.map = ConstantRowMap(self.map, 1.0)
        groups, n_in = op.groups, held.rows
        self._arrays = self.map.positions if hardware.mapping == "unrolled" else 1
        reference = reference_voltage(voltage)
        by_input = np.broadcast_to(np.asarray(voltage, dtype=np.float64), (op.n_rows,)).copy()
        volts = torch.as_tensor(held.by_row(by_input, reference)).unsqueeze(1)
        c = torch.as_tensor(np.broadcast_to(np.asarray(conductance, dtype=np.float64), (op.n_out,)).copy())
        c = c.view(groups, -1, 1)
        # a unit per device only where rows differ: what is constant is cheaper
        unit = c * (reference / volts) if np.ndim(voltage) else c
        sides = torch.as_tensor(np.stack(held.sides)).view(-1, groups, op.n_out // groups, n_in)
        target = hardware.conductance_min + unit * sides
        self._bias = None if held.bias is None else torch.as_tensor(np.array(held.bias)).to(device, dtype)
        self._offset = held.offset
        #: G_min/c_i, (G, 1, o), and 1/r_j, (G, 1, n)
        self._idle = (hardware.conductance_min / c).mT.to(device, dtype)
        self._relative_volts = (volts / reference).to(device, dtype)
        self._row_tiles = row_tiles(n_in, hardware.array_rows)
        #: σ_V/v_j and v_j², (G, 1, n)
        self._input_std = (hardware.input_noise_std / volts).to(device, dtype)
        self._square_volts = (volts**2).to(device, dtype)
        #: row tiles whose columns are converted together: one after its own, or all of them if nothing is
        self._converted = [[t] for t in self._row_tiles] if hardware.converts_columns else [self._row_tiles]
        #: sides of a column that are converted separately
        self._sides_apart = 2 if hardware.read_out == "divider" and hardware.converts_columns else 1
        tiles_in_one = len(self._converted[0]) / self._sides_apart
        self._read_std = (
            (math.sqrt(tiles_in_one) * hardware.read_noise_std / (c * reference)).mT.to(device, dtype).contiguous()
        )
        #: V_max/v_j, (G, 1, n), and L_i, (G, 1, o)
        self._row_limit = (hardware.voltage_max / volts).to(device, dtype)
        self._volts = volts.to(device, dtype)
        decode = c * reference
        if hardware.converts_columns:
            self._column_limit = self._limits(target, scale, c, decode).to(device, dtype)
        feedback = feedback_resistances(hardware, scale, c, decode)
        self._blocks = [
            _Block.of(hardware, target, unit, decode, feedback, part, self._row_tiles, dtype=dtype, device=device)
            for part in _parts(groups, op.n_out // groups, n_in, len(sides))
        ]
        self.block_devices = max(block.shape.numel() for block in self._blocks)

    @property
    def positions(self) -> int:
        """Reads of one inference."""
        return self.map.positions

    def scratch_elements(self, batch: int) -> int:
        """Numbers held for one draw and ``batch`` inputs during :meth:`read`, its input and output not counted."""
        reads = batch * self.positions
        rows = reads * self.map.groups * self.map.n_in
        columns = reads * self.map.n_out
        gathered = rows if rows != batch * math.prod(self.map.input_shape) else 0
        apart = columns * len(self._converted) * self._sides_apart
        noise = 2 * max(rows if self._has_row_noise else 0, apart if self.hardware.has_read_noise else 0)
        noise += 3 * apart * self.hardware.converts_columns + (rows + apart) * self.hardware.shot_noise
        sides = 2 if self._has_amplifiers or self.hardware.read_out == "divider" else 0
        copies = 3 + 2 * self.hardware.drift_compensation + len(self._row_tiles) * (sides > 0)
        return copies * self.block_devices + gathered + noise + (1 + sides) * columns

    @property
    def _has_row_noise(self) -> bool:
        return self.hardware.input_noise_std > 0

    @property
    def _has_amplifiers(self) -> bool:
        return self.hardware.feedback_resistance is not None or self.hardware.feedback_tracking

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """Values at the rows of every array, converted, (D, A, G, R, n), for activations x (D, B, *input_shape).

        A arrays (1, or one per position) are read R times each.
        """
        patches = self.map.patches(x.flatten(0, 1))
        if self.hardware.dac_bits is not None:
            patches = quantised(patches, self._row_limit, self.hardware.dac_bits)
        patches = patches.reshape(*x.shape[:2], *patches.shape[1:])  # (D, B, G, P, n)
        if self._arrays == 1:
            return patches.transpose(1, 2).flatten(2, 3).unsqueeze(1)
        return patches.permute(0, 3, 2, 1, 4)

    def drive(self, rows: torch.Tensor) -> torch.Tensor:
        """Sum over the reads of one inference of E[V_j²] [V²], (D, A, G, n), mean over the batch."""
        reads = self.positions // self._arrays
        mean = rows.square().mean(3).mul_(reads)
        return mean.mul_(self._square_volts[:, 0]).add_(reads * self.hardware.input_noise_std**2)

    def read(
        self, rows: torch.Tensor, drive: torch.Tensor, streams: Streams, scratch: Scratch
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Program the devices of every draw and pass the batch through them.

        Args:
            rows: of each draw (D, A, G, R, n), or (1, ...) if all draws share them; see :meth:`rows`.
            drive: of ``rows``.
            streams: of D draws.

        Returns:
            z (D, B, *output_shape) and the power [W] of one inference in each draw, (D,).
        """
        draws, digital = streams.draws, rows
        if self._has_row_noise:
            noise = streams.normal_(scratch.normals((draws, *rows.shape[1:])))
            rows = torch.addcmul(rows, noise.to(rows.dtype), self._input_std)
        rows = rows.expand(draws, *(-1,) * 4)
        drive = drive.expand(draws, *(-1,) * 3)
        volts = (digital.abs() * self._volts).expand(draws, *(-1,) * 4) if self.hardware.shot_noise else None
        columns, variances, power, drifted = [], [], [], []
        for array in range(self._arrays):
            found = [
                self._read_block(
                    block, rows[:, array], drive[:, array], None if volts is None else volts[:, array], streams, scratch
                )
                for block in self._blocks
            ]
            power += [f.power for f in found]
            if self.hardware.drift_compensation:
                drifted.append([self._joined([f.drifted[k] for f in found]) for k in range(2)])
            columns.append(self._joined([f.columns for f in found]))
            noisy = [f.noise for f in found if f.noise is not None]
            variances += [self._joined(noisy)] if noisy else []
        z = _stacked(columns)  # (D, C, A, G, R, o)
        if self.hardware.has_read_noise:
            std = (self._read_std**2 + _stacked(variances)).sqrt() if variances else self._read_std
            noise = streams.normal_(scratch.normals(tuple(z.shape)))
            z = torch.addcmul(z, noise.to(z.dtype), std)
        if drifted:
            start, now = (_stacked([both[k] for both in drifted]) for k in range(2))  # (D, 1, A, G, 1, o)
            if self.hardware.drift_compensation_by != "column":
                start, now = (part.flatten(1).sum(1).view(-1, *(1,) * 5) for part in (start, now))
            z = z * (start / now).to(z.dtype)
        if self.hardware.converts_columns:
            z = quantised(z, self._column_limit, self.hardware.adc_bits)
        z = z[:, 0] if z.shape[1] == 1 else z.sum(1)  # (D, A, G, R, o)
        if self._offset is not None:
            z = z - self._subtracted(digital)
        return self._value(z), sum(power[1:], power[0])

    def _subtracted(self, rows: torch.Tensor) -> torch.Tensor:
        """Σ_j u_ij x_pj (D or 1, A, G, R, o) of an offset mapping, for the digital inputs."""
        assert self._offset is not None
        by_row = (rows * self._relative_volts).sum(-1, keepdim=True)
        return torch.addcmul(self._offset * rows.sum(-1, keepdim=True), by_row, self._idle)

    def _joined(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Columns (D, C, G, R, o) of blocks."""
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts, 2 if self.map.groups > 1 else 4)

    def _value(self, z: torch.Tensor) -> torch.Tensor:
        """The value (D, B, *output_shape) of columns (D, A, G, R, o), with its bias."""
        draws, reads = z.shape[0], self.positions // self._arrays
        batch = z.shape[3] // reads
        if self._arrays == 1:
            columns = z[:, 0].reshape(draws, z.shape[2], batch, reads, -1).transpose(1, 2)
        else:
            columns = z.permute(0, 3, 2, 1, 4)
        value = self.map.add_bias(self.map.gather(columns.flatten(0, 1)), self._bias)
        return value.reshape(draws, batch, *value.shape[1:])

    def _read_block(
        self,
        block: _Block,
        rows: torch.Tensor,
        drive: torch.Tensor,
        volts: torch.Tensor | None,
        streams: Streams,
        scratch: Scratch,
    ) -> _Found:
        """Columns (D, C, g, R, o) of a block for rows (D, G, R, n), and its power (D,).

        ``volts`` (D, G, R, n) are the magnitudes of the row voltages, if the shot noise depends on them.
        """
        hardware = self.hardware
        x, drive = rows[:, block.groups], drive[:, block.groups]
        devices, start = block.program(streams, scratch)
        drifted = self._read_for_drift(block, start, devices, scratch) if hardware.drift_compensation else ()
        if hardware.column_gain_std:
            devices = self._with_column_gain(devices, streams, scratch)
        more = None  # power beyond Σ G V²
        batch = x.shape[2] // (self.positions // self._arrays)
        if hardware.load_conductance is not None:
            columns, drawn = self._divided(block, x, devices, hardware.load_conductance)
            more = drawn.div_(-batch)
        elif not self._has_amplifiers:
            difference = _over_sides(torch.sub, devices, scratch)
            if len(self._converted) == 1:
                columns = _product(x, difference).unsqueeze(1)
            else:
                columns = torch.stack([_product(x[..., t], difference[..., t]) for t in self._row_tiles], 1)
        else:
            # every row tile has amplifiers of its own
            sides = []
            squares = []
            for tile in self._row_tiles:
                currents = [_product(x[..., tile], side[..., tile]) for side in devices.unbind(1)]
                sides.append(currents[0] - currents[1] if len(currents) == 2 else currents[0].clone())
                squares += [current.square_().sum(2) for current in currents]
            columns = torch.stack(sides, 1) if len(self._converted) > 1 else sum(sides[1:], sides[0]).unsqueeze(1)
            total = sum(squares[1:], squares[0]).mul_(block.dissipation).flatten(1).sum(1)
            more = total.mul_((hardware.feedback_resistance or 1.0) / batch)
        # Sums over columns, not a matrix-vector product, which would round by the alignment of the draw in memory.
        pair = _over_sides(torch.add, devices, scratch)
        pair = torch.mul(pair, block.unit, out=scratch.values("pair", pair.shape))
        by_row = pair.sum(2)
        power = by_row.mul(drive).flatten(1).sum(1)
        noise = None
        if hardware.thermal_noise or hardware.shot_noise:
            noise = self._read_variance(block, pair, None if volts is None else volts[:, block.groups])
        return _Found(columns, noise, power if more is None else power + more, drifted)

    def _read_for_drift(
        self, block: _Block, start: torch.Tensor | None, devices: torch.Tensor, scratch: Scratch
    ) -> tuple[torch.Tensor, ...]:
        """What drift compensation goes by, before and now, added up over the rows of every column (D, 1, g, 1, o)."""
        by_conductance = self.hardware.drift_compensation_by == "conductance"
        read = []
        for held in (devices if start is None else start, devices):
            if by_conductance:
                each = _over_sides(torch.add, held, scratch) * block.unit
            else:
                each = _over_sides(torch.sub, held, scratch).abs()
            read.append(each.sum(3).unsqueeze(1).unsqueeze(3))
        return tuple(read)

    def _read_variance(self, block: _Block, conductance: torch.Tensor, volts: torch.Tensor | None) -> torch.Tensor:
        """Variance (D, C, g, R or 1, o) of thermal and shot noise for conductances (D, g, o, n), sides added up."""
        hardware = self.hardware
        variances = []
        for tiles in self._converted:
            total = torch.zeros((), dtype=conductance.dtype, device=conductance.device)
            for tile in tiles:
                here = conductance[..., tile]
                if hardware.thermal_noise:
                    beside = block.shape[0] * block.load
                    total = total + thermal_noise(hardware) * (here.sum(-1) + beside).unsqueeze(2)
                if volts is not None:
                    total = total + shot_noise(hardware) * _product(volts[..., tile], here)
            variances.append(total / block.decode.unsqueeze(1) ** 2)
        apart = self._sides_apart
        return torch.stack(variances, 1).repeat_interleave(apart, 1).div_(apart)

    def _divided(
        self, block: _Block, x: torch.Tensor, devices: torch.Tensor, load: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decoded columns (D, C, g, R, o) of passive loads, and Σ D y² over reads and columns [W] (D,)."""
        unit = block.unit.expand(block.shape[1:])
        columns, drawn = [], []
        for k, tile in enumerate(self._row_tiles):
            for side, held in enumerate(devices.unbind(1)):
                total = (held[..., tile] * unit[..., tile]).sum(3).add_(load)  # D [S]
                node = _product(x[..., tile], held[..., tile]).div_(total.unsqueeze(2))  # y/(c v̂)
                drawn.append((node.square().sum(2) * total).mul_(block.decode**2).flatten(1).sum(1))
                columns.append(node.mul_((-1) ** side * block.aimed[side, :, k].unsqueeze(1)))
        if self._sides_apart == 2:
            return torch.stack(columns, 1), sum(drawn[1:], drawn[0])
        return sum(columns[1:], columns[0]).unsqueeze(1), sum(drawn[1:], drawn[0])

    def _limits(
        self, target: torch.Tensor, scale: FullScale | None, c: torch.Tensor, decode: torch.Tensor
    ) -> torch.Tensor:
        """L of every column, broadcasting to (C, 1, G, 1, o)."""
        if self.hardware.read_out == "tia":
            return column_limits(self.hardware, scale, c, decode).mT
        aimed = _aimed(self.hardware, target, self._row_tiles).permute(2, 0, 1, 3).flatten(0, 1)  # (C, G, o)
        assert self.hardware.adc_range is not None
        return (self.hardware.adc_range * aimed / decode[..., 0]).unsqueeze(1).unsqueeze(3)

    def _with_column_gain(self, devices: torch.Tensor, streams: Streams, scratch: Scratch) -> torch.Tensor:
        """Devices (D, sides, g, o, n) whose physical columns, one per row tile, have each a gain of their own."""
        out = scratch.values("devices", devices.shape)
        shape = (*devices.shape[:4], len(self._row_tiles))
        error = (
            streams.normal_(scratch.normals(shape, "gain errors"))
            .to(devices.dtype)
            .mul_(self.hardware.column_gain_std)
            .add_(1)
        )
        for index, tile in enumerate(self._row_tiles):
            torch.mul(devices[..., tile], error[..., index : index + 1], out=out[..., tile])
        return out


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Some columns of a crossbar.

    Attributes:
        groups: of the operation that the columns belong to.
        shape: (sides, g, o, n) of its devices, 2 sides or (offset mapping) 1.
        devices: draws them [unit weight].
        unit: c r [S per unit weight], broadcasts to (g, o, n).
        decode: c v̂ [S V], (g, o).
        dissipation: of an amplifier, (c v̂)² [A² per unit output²], times R_f where columns differ in it, (g, o).
        load: conductance at the column beside the devices, G_L or 1/R_f where it is known, that makes noise too,
            (g, o) [S].
        aimed: D̄ of every tile [S], its load and targets, (sides, g, T, o).
    """

    groups: slice
    shape: torch.Size
    devices: Devices
    unit: torch.Tensor
    decode: torch.Tensor
    dissipation: torch.Tensor
    load: torch.Tensor
    aimed: torch.Tensor
    noisy: bool

    @classmethod
    def of(
        cls,
        hardware: Hardware,
        target: torch.Tensor,
        unit: torch.Tensor,
        decode: torch.Tensor,
        feedback: torch.Tensor | None,
        part: tuple[slice, slice],
        tiles: list[slice],
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> _Block:
        groups, columns = part
        here = target[:, groups, columns].to(device)
        own = unit[groups, columns].to(device)
        factor = decode[groups, columns, 0].to(device, dtype)
        dissipation, load = factor**2, torch.full_like(factor, hardware.load_conductance or 0.0)
        if feedback is not None:
            resistance = feedback[groups, columns, 0].to(device)
            load = (1 / resistance).to(dtype)
            if hardware.feedback_tracking:
                dissipation = dissipation * resistance.to(dtype)
        return cls(
            groups=groups,
            shape=here.shape,
            devices=Devices.prepare(hardware, here, own[None], dtype=dtype),
            unit=own.to(dtype),
            decode=factor,
            dissipation=dissipation,
            load=load,
            aimed=_aimed(hardware, here, tiles).to(dtype),
            noisy=hardware.has_programming_noise,
        )

    def program(self, streams: Streams, scratch: Scratch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Devices (D, sides, g, o, n) [unit weight]; with drift compensation also as they were at the start."""
        if not self.noisy:
            return self.devices.mean.expand(streams.draws, -1, -1, -1, -1), None
        shape = (streams.draws, *self.shape)
        buffer = scratch.normals(shape)

        def normals() -> torch.Tensor:
            return streams.normal_(buffer)

        def uniform() -> torch.Tensor:
            return streams.uniform_(buffer)

        in_place = self.devices.in_one_step and buffer.dtype == self.devices.mean.dtype
        out = buffer if in_place else scratch.values("devices", shape)
        if not self.devices.hardware.drift_compensation:
            return self.devices.sample(normals, uniform, out), None
        start = scratch.values("start", shape)
        if in_place:
            out = scratch.values("devices", shape)
        return self.devices.sample(normals, uniform, out, start), start


@dataclass(frozen=True)
class _Found:
    """What reading a block gives: columns (D, C, g, R, o), the variance of their thermal and shot noise or None, power
    (D,) [W], and what drift compensation goes by, at the start and now, (D, 1, g, 1, o), or nothing. C quantities of a
    column are converted separately."""

    columns: torch.Tensor
    noise: torch.Tensor | None
    power: torch.Tensor
    drifted: tuple[torch.Tensor, ...]


def _stacked(arrays: list[torch.Tensor]) -> torch.Tensor:
    """(D, C, A, G, R, o) of columns (D, C, G, R, o) by array."""
    return arrays[0].unsqueeze(2) if len(arrays) == 1 else torch.stack(arrays, 2)


class Scratch:
    """Buffers reused from block to block and from draw to draw: fresh memory would cost a page fault each time."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype, self._device = dtype, device
        self._buffers: dict[str, torch.Tensor] = {}

    def normals(self, shape: tuple[int, ...], name: str = "normals") -> torch.Tensor:
        """A float32 buffer of this shape, contents undefined."""
        return self._buffer(name, shape, torch.float32)

    def values(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A named buffer of the simulation's precision and this shape, contents undefined."""
        return self._buffer(name, shape, self._dtype)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = torch.empty(size, dtype=dtype, device=self._device)
        return buffer[:size].view(shape)


def _aimed(hardware: Hardware, target: torch.Tensor, tiles: list[slice]) -> torch.Tensor:
    """D̄ of the column of every tile [S], the load and targets (sides, g, o, n), (sides, g, T, o)."""
    return torch.stack([target[..., tile].sum(3) for tile in tiles], 2) + (hardware.load_conductance or 0.0)


def _over_sides(combine: Callable[..., torch.Tensor], devices: torch.Tensor, scratch: Scratch) -> torch.Tensor:
    """Sum or difference (D, g, o, n) of devices (D, sides, g, o, n) over the sides; the one side itself."""
    if devices.shape[1] == 1:
        return devices[:, 0]
    return combine(devices[:, 0], devices[:, 1], out=scratch.values("pair", devices[:, 0].shape))


def _parts(groups: int, columns: int, n_in: int, sides: int) -> list[tuple[slice, slice]]:
    """(groups, columns) of the blocks: some columns of the one group, or several whole groups."""
    if groups == 1:
        # At least two columns in a block where there are two: the product with one column is rounded differently.
        blocks = max(1, min(columns // 2, -(-sides * columns * n_in // BLOCK_DEVICES)))
        edges = [round(k * columns / blocks) for k in range(blocks + 1)]
        return [(slice(0, 1), slice(a, b)) for a, b in itertools.pairwise(edges)]
    step = max(1, BLOCK_DEVICES // (sides * columns * n_in))
    return [(slice(low, min(low + step, groups)), slice(0, columns)) for low in range(0, groups, step)]


def _product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x Wᵀ for (D, g, R, n) and (D, g, o, n), every draw rounded the same whatever D is."""
    if weight.shape[2] == 1:
        return (x * weight).sum(3, keepdim=True)
    product = torch.bmm(x.flatten(0, 1), weight.flatten(0, 1).transpose(1, 2))
    return product.reshape(*x.shape[:2], *product.shape[1:])
