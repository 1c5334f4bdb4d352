"""A crossbar operation on random devices.

    G±_ij random (see :mod:`powerplan.hardware.devices`) with target G_min + c_i r_j max(±W_ij, 0),   r_j = v̂/v_j
    V_pj  = v_j Q(x_pj) + n^V_pj,   n^V ~ N(0, σ_V²) fresh in every read
    I±_pti = (1 + ε±_ti) Σ_{j in tile t} G±_ij V_pj,   ε ~ N(0, σ_g²) once per physical column
    z_pi  = s_i [Σ_t Q(α (I⁺_pti − I⁻_pti + n_pti) / (c_i v̂)) − Σ_j u_ij Q(x_pj)] + b_i,   n fresh in every read

    Var n_pti = σ_I² + 4 k_B T Δf (Σ_j (G⁺ + G⁻)_ij + 2/R_f) + 2 q Δf Σ_j (G⁺ + G⁻)_ij v_j |Q(x_pj)|

    array power = Σ_pij (G⁺_ij + G⁻_ij) mean(v_j² x_pj² + σ_V²)      mean over the batch; E over n^V in closed form
    TIA power   = R_f Σ_pti mean((I⁺_pti)² + (I⁻_pti)²)

at every position p, with devices that are the same at all positions of all reads (``mapping="shared"``) or drawn for
each ("unrolled"). s is the digital scale of an output, 1 where there is none. α is the gain of drift compensation:
of the layer, or of every column. u is 0 for pairs;
with an offset mapping there is one device, with target G_min + c_i r_j (W_ij + w), no minus side, and u_ij is
w + G_min/(c_i r_j). Where biases are a row, the last x_pj is 1, the last W_ij is b_i, and nothing is added digitally.

With passive loads every side of every row tile gives a voltage, y± = (1 + ε±) Σ_j G±_ij V_pj / D±, D± = G_L + (1 + ε±)
Σ_j G±_ij, decoded as the current D̄± y±, D̄ that of the targets; sides are converted separately, with half of the noise
each; G_L makes thermal noise like 1/R_f; array power is less by Σ_pti mean(D (y±)²).

Inputs in slices are read part by part (:mod:`powerplan.hardware.input_slices`): z is Σ_s a_s z_s, every z_s with noise
and a conversion of its own, and power is that of all reads.

Devices are held as G_ij / (c_i r_j), in units of weight, so that the product with x is z itself and single
precision never sees the scale of a conductance.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch

from powerplan.hardware.converters import quantised
from powerplan.hardware.full_scale import FullScale, feedback_resistances
from powerplan.hardware.gains import Gain, driven, reference_voltage
from powerplan.hardware.hardware import LayerHardware
from powerplan.hardware.layer_targets import layer_targets
from powerplan.hardware.stored import stored
from powerplan.hardware.tiling import output_tiles, row_tiles
from powerplan.hardware.wires.tiles import Tiles
from powerplan.montecarlo.block import Block, parts
from powerplan.montecarlo.read_out import BlockDevices, BlockRead, ReadOut
from powerplan.montecarlo.scratch import Scratch
from powerplan.montecarlo.streams import Streams
from powerplan.montecarlo.wires import second_moments
from powerplan.network import CrossbarOp
from powerplan.network.array_maps import ConstantRowMap, array_map


class Crossbar:
    """The devices of one array: programmed and read in one go, for several draws at once.

    Args:
        op: the operation.
        input_shape: of one value, without batch.
        conductance: conductance gain c [S per unit weight], a float or (n_out,).
        voltage: voltage gain v [V per unit activation], a float or (n_rows,).
        scale: of the columns, where the read-out depends on it.
        column_scale: what outputs are multiplied by digitally, (n_out,); None = nothing.
        row_scale: what inputs are multiplied by digitally, (n_rows,), see :class:`powerplan.hardware.gains.Gains`.
        fast_wires: the drop along wires in closed form.
    """

    def __init__(
        self,
        op: CrossbarOp,
        input_shape: tuple[int, ...],
        conductance: Gain,
        voltage: Gain,
        hardware: LayerHardware,
        scale: FullScale | None = None,
        column_scale: np.ndarray | None = None,
        row_scale: np.ndarray | None = None,
        *,
        fast_wires: bool = False,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        weights = stored(op, hardware)
        self.hardware, self._has_bias_row = hardware, weights.has_bias_row
        self._slices = hardware.input_slices
        self._reads_per_input = 1 if self._slices is None else len(self._slices.weights)
        groups, n_in = op.groups, weights.rows
        reference = reference_voltage(voltage)
        by_input = np.broadcast_to(np.asarray(voltage, dtype=np.float64), (op.n_rows,)).copy()
        volts = torch.as_tensor(weights.by_row(by_input, reference)).unsqueeze(1)
        c = torch.as_tensor(np.broadcast_to(np.asarray(conductance, dtype=np.float64), (op.n_out,)).copy())
        c = c.view(groups, -1, 1)
        # a unit per device only where rows differ: what is constant is cheaper
        unit = c * (reference / volts) if np.ndim(voltage) else c
        sides = torch.as_tensor(np.stack(weights.sides)).view(-1, groups, op.n_out // groups, n_in)
        target = layer_targets(hardware, unit * sides)
        #: (G, 1, n)
        self._row_scale = None
        if row_scale is not None:
            by_row = torch.tensor(weights.by_row(row_scale, 1.0)).unsqueeze(1)
            volts, reference = driven(volts, reference, by_row)
            unit = c * (reference / volts)
            self._row_scale = by_row.to(device, dtype)
        self._bias = None if weights.bias is None else torch.as_tensor(np.array(weights.bias)).to(device, dtype)
        self._offset = weights.offset
        #: (G, 1, o)
        self._column_scale = None
        if column_scale is not None:
            self._column_scale = torch.tensor(column_scale).view(groups, 1, -1).to(device, dtype)
        #: G_min/c_i, (G, 1, o), and 1/r_j, (G, 1, n)
        self._idle = (hardware.conductance_min / c).mT.to(device, dtype)
        self._relative_volts = (volts / reference).to(device, dtype)
        self._read_out = read_out = ReadOut(hardware=hardware, tiles=row_tiles(n_in, hardware.array_rows))
        #: σ_V/v_j and v_j², (G, 1, n)
        self._input_std = (hardware.input_noise_std / volts).to(device, dtype)
        self._square_volts = (volts**2).to(device, dtype)
        tiles_in_one = len(read_out.converted[0]) / read_out.sides_apart
        self._read_std = (
            (math.sqrt(tiles_in_one) * hardware.read_noise_std / (c * reference)).mT.to(device, dtype).contiguous()
        )
        #: V_max/v_j, (G, 1, n), and L_i, (G, 1, o)
        self._row_limit = (hardware.voltage_max / volts).to(device, dtype)
        self._volts = volts.to(device, dtype)
        decode = c * reference
        if hardware.converts_columns:
            self._column_limit = read_out.limits(target, scale, c, decode).to(device, dtype)
        feedback = feedback_resistances(hardware, scale, c, decode)
        within = output_tiles(op.n_out // groups, hardware) if hardware.has_wires else None
        self._tiles = Tiles.of(hardware, op.n_out // groups, n_in)
        self._blocks = [
            Block.of(
                hardware,
                target,
                unit,
                decode,
                feedback,
                part,
                read_out.tiles,
                fast_wires=fast_wires,
                dtype=dtype,
                device=device,
            )
            for part in parts(groups, op.n_out // groups, n_in, len(sides), within)
        ]
        self.block_devices = max(block.shape.numel() for block in self._blocks)
        self._read_at(op, input_shape)

    def _read_at(self, op: CrossbarOp, input_shape: tuple[int, ...]) -> None:
        self.map = array_map(op, input_shape)
        if self._has_bias_row:
            self.map = ConstantRowMap(self.map, 1.0)
        self._arrays = self.map.positions if self.hardware.mapping == "unrolled" else 1

    def also_read(self, op: CrossbarOp, input_shape: tuple[int, ...]) -> Crossbar:
        """Another read of the same array, by an operation with the same weights, at inputs of this shape."""
        other = copy.copy(self)
        other._read_at(op, input_shape)
        return other

    @property
    def devices(self) -> int:
        """Devices of one array."""
        return sum(block.shape.numel() for block in self._blocks)

    @property
    def positions(self) -> int:
        """Reads of one inference."""
        return self.map.positions

    def scratch_elements(self, batch: int) -> int:
        """Numbers held for one draw and ``batch`` inputs during :meth:`read`, its input and output not counted."""
        reads = batch * self.positions * self._reads_per_input
        rows = reads * self.map.groups * self.map.n_in
        columns = reads * self.map.n_out
        gathered = rows if rows != batch * math.prod(self.map.input_shape) else 0
        apart = columns * len(self._read_out.converted) * self._read_out.sides_apart
        noise = 2 * max(rows if self._has_row_noise else 0, apart if self.hardware.has_read_noise else 0)
        noise += 3 * apart * self.hardware.converts_columns + (rows + apart) * self.hardware.shot_noise
        sides = 2 if self._read_out.has_amplifiers or self.hardware.read_out == "divider" else 0
        wires = self._scratch_of_wires() if self.hardware.has_wires else 0
        copies = 3 + 2 * self.hardware.drift_compensation + len(self._read_out.tiles) * (sides > 0)
        return copies * self.block_devices + gathered + noise + (1 + sides) * columns + wires

    def _scratch_of_wires(self) -> int:
        """Numbers held while the arrays of a block are solved, in double precision, and of their drivers."""
        rows: int = self._tiles.rows
        devices = 2 * self.block_devices
        widest: int = self.hardware.columns_per_output * max(part.stop - part.start for part in self._tiles.outputs)
        arrays = math.ceil(devices / (rows * widest)) + self.map.groups * len(self._read_out.tiles)
        return 5 * devices + 4 * arrays * (rows * rows + 2 * widest * widest)

    @property
    def _has_row_noise(self) -> bool:
        return self.hardware.input_noise_std > 0

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        """Values at the rows of every array, converted, (D, A, G, R, n), for activations x (D, B, *input_shape).

        A arrays (1, or one per position) are read R times each; slices of inputs come one after the other.
        """
        patches = self.map.patches(x.flatten(0, 1))
        if self.hardware.dac_bits is not None:
            patches = quantised(patches, self._row_limit, self.hardware.dac_bits)
        if self._slices is None:
            return self._by_array(patches, x.shape[:2])
        cut = self._slices.cut_rows(patches, self._row_limit, constant=self._has_bias_row)
        return torch.cat([self._by_array(part, x.shape[:2]) for part in cut], 3)

    def _by_array(self, patches: torch.Tensor, inputs: torch.Size) -> torch.Tensor:
        """Values at the rows (D B, G, P, n) as (D, A, G, R, n)."""
        patches = patches.reshape(*inputs, *patches.shape[1:])  # (D, B, G, P, n)
        if self._arrays == 1:
            return patches.transpose(1, 2).flatten(2, 3).unsqueeze(1)
        return patches.permute(0, 3, 2, 1, 4)

    def drive(self, rows: torch.Tensor) -> torch.Tensor:
        """Sum over the reads of one inference of E[V_j²] [V²], (D, A, G, n), mean over the batch; with wires that of
        E[V V'] in every row tile, (D, A, G, T, m, m)."""
        reads = self.positions // self._arrays * self._reads_per_input
        if self.hardware.has_wires:
            moments = second_moments(rows * self._volts, self._tiles)
            moments.diagonal(dim1=-2, dim2=-1).add_(self.hardware.input_noise_std**2)
            return moments.mul_(reads)
        mean = rows.square().mean(3).mul_(reads)
        return mean.mul_(self._square_volts[:, 0]).add_(reads * self.hardware.input_noise_std**2)

    def read(
        self,
        rows: torch.Tensor,
        drive: torch.Tensor,
        streams: Streams,
        scratch: Scratch,
        kept: list[BlockDevices] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Program the devices of every draw and pass the batch through them.

        Args:
            rows: of each draw (D, A, G, R, n), or (1, ...) if all draws share them; see :meth:`rows`.
            drive: of ``rows``.
            streams: of D draws.
            kept: devices of an array that is read again: an empty list takes them, a full one gives them.

        Returns:
            z (D, B, *output_shape) and the power [W] of one inference in each draw, (D,).
        """
        draws, digital = streams.draws, rows
        if self._has_row_noise:
            noise = streams.normal_(scratch.normals((draws, *rows.shape[1:])))
            rows = torch.addcmul(rows, noise.to(rows.dtype), self._input_std)
        rows = rows.expand(draws, *(-1,) * 4)
        drive = drive.expand(draws, *drive.shape[1:])
        volts = (digital.abs() * self._volts).expand(draws, *(-1,) * 4) if self.hardware.shot_noise else None
        columns, variances, power, drifted = [], [], [], []
        for array in range(self._arrays):
            own = None if volts is None else volts[:, array]
            batch = rows.shape[3] // (self.positions // self._arrays * self._reads_per_input)
            read: list[BlockRead] = []
            programmed: list[tuple[torch.Tensor, ...]] = []
            for block in self._blocks:
                devices = self._programmed(len(programmed), streams, scratch, kept)
                programmed.append(devices.drifted)
                read.append(self._read_out.read(block, devices, rows[:, array], drive[:, array], own, batch, scratch))
            power += [part.power for part in read]
            if self.hardware.drift_compensation:
                drifted.append([self._joined([part[k] for part in programmed]) for k in range(2)])
            columns.append(self._joined([part.columns for part in read]))
            noisy = [part.noise for part in read if part.noise is not None]
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
        return self._value(self._added_up(z, digital)), sum(power[1:], power[0])

    def _added_up(self, z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Values (D, A, G, R, o), one for every whole input, of what is converted (D, C, A, G, R, o), read for these
        digital inputs (D or 1, A, G, R, n)."""
        z = z[:, 0] if z.shape[1] == 1 else z.sum(1)
        if self._offset is not None:
            z = z - self._subtracted(rows)
        if self._slices is None:
            return z
        weights = z.new_tensor(self._slices.weights).view(-1, 1, 1)
        return (z.reshape(*z.shape[:3], len(weights), -1, z.shape[-1]) * weights).sum(3)

    def _programmed(
        self, number: int, streams: Streams, scratch: Scratch, kept: list[BlockDevices] | None
    ) -> BlockDevices:
        """The devices of a block, drawn or kept."""
        if kept is not None and number < len(kept):
            return kept[number]
        drawn = self._read_out.program(self._blocks[number], streams, scratch)
        if kept is not None:
            kept.append(drawn.kept())
        return drawn

    def _subtracted(self, rows: torch.Tensor) -> torch.Tensor:
        """Σ_j u_ij x_pj (D or 1, A, G, R, o) of an offset mapping, for the digital inputs."""
        assert self._offset is not None
        by_row = (rows * self._relative_volts).sum(-1, keepdim=True)
        scaled = rows if self._row_scale is None else rows * self._row_scale
        return torch.addcmul(self._offset * scaled.sum(-1, keepdim=True), by_row, self._idle)

    def _joined(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Columns (D, C, G, R, o) of blocks."""
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts, 2 if self.map.groups > 1 else 4)

    def _value(self, z: torch.Tensor) -> torch.Tensor:
        """The value (D, B, *output_shape) of columns (D, A, G, R, o), with their scales and its bias."""
        if self._column_scale is not None:
            z = z * self._column_scale
        draws, reads = z.shape[0], self.positions // self._arrays
        batch = z.shape[3] // reads
        if self._arrays == 1:
            columns = z[:, 0].reshape(draws, z.shape[2], batch, reads, -1).transpose(1, 2)
        else:
            columns = z.permute(0, 3, 2, 1, 4)
        value = self.map.add_bias(self.map.gather(columns.flatten(0, 1)), self._bias)
        return value.reshape(draws, batch, *value.shape[1:])


def _stacked(arrays: list[torch.Tensor]) -> torch.Tensor:
    """(D, C, A, G, R, o) of columns (D, C, G, R, o) by array."""
    return arrays[0].unsqueeze(2) if len(arrays) == 1 else torch.stack(arrays, 2)
