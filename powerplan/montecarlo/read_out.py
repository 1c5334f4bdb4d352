"""How the columns of a block are read: amplifiers or passive loads, gains of columns, noise, what drift goes by."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from powerplan.hardware.full_scale import FullScale, column_limits
from powerplan.hardware.hardware import LayerHardware
from powerplan.hardware.noise import shot_noise, thermal_noise
from powerplan.montecarlo.block import Block, aimed, product
from powerplan.montecarlo.scratch import Scratch, over_sides
from powerplan.montecarlo.streams import Streams
from powerplan.montecarlo.wires import Wired


@dataclass(frozen=True)
class BlockDevices:
    """A programmed block: devices (D, sides, g, o, n) with the gains of their columns; what drift compensation goes by,
    at the start and now, (D, 1, g, 1, o), or nothing; where wires have a resistance, what is behind them, of which
    ``devices`` then are those that ideal wires would take."""

    devices: torch.Tensor
    drifted: tuple[torch.Tensor, ...]
    wired: Wired | None = None

    def kept(self) -> BlockDevices:
        """A copy, which stays when buffers are used again."""
        return replace(self, devices=self.devices.clone())


@dataclass(frozen=True)
class BlockRead:
    """What reading a block gives: columns (D, C, g, R, o), the variance of their thermal and shot noise or None, and
    power (D,) [W]. C quantities of a column are converted separately."""

    columns: torch.Tensor
    noise: torch.Tensor | None
    power: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class ReadOut:
    """The read-out of a layer.

    Attributes:
        tiles: rows of every row tile.
    """

    hardware: LayerHardware
    tiles: list[slice]

    @cached_property
    def converted(self) -> list[list[slice]]:
        """Row tiles whose columns are converted together: one after its own, or all of them if nothing is."""
        return [[tile] for tile in self.tiles] if self.hardware.converts_columns else [self.tiles]

    @cached_property
    def sides_apart(self) -> int:
        """Sides of a column that are converted separately."""
        return 2 if self.hardware.read_out == "divider" and self.hardware.converts_columns else 1

    @property
    def has_amplifiers(self) -> bool:
        """True if the power of amplifiers is known."""
        return self.hardware.feedback_resistance is not None or self.hardware.feedback_tracking

    def limits(
        self, target: torch.Tensor, scale: FullScale | None, c: torch.Tensor, decode: torch.Tensor
    ) -> torch.Tensor:
        """L of every column, broadcasting to (C, 1, G, 1, o)."""
        if self.hardware.read_out == "tia":
            return column_limits(self.hardware, scale, c, decode).mT
        targets = aimed(self.hardware, target, self.tiles).permute(2, 0, 1, 3).flatten(0, 1)  # (C, G, o)
        assert self.hardware.adc_range is not None
        return (self.hardware.adc_range * targets / decode[..., 0]).unsqueeze(1).unsqueeze(3)

    def program(self, block: Block, streams: Streams, scratch: Scratch) -> BlockDevices:
        """Program a block."""
        devices, start = block.program(streams, scratch)
        drifted = self._read_for_drift(block, start, devices, scratch) if self.hardware.drift_compensation else ()
        wired = None if block.wires is None else block.wires.around(devices, scratch)
        if wired is not None:
            devices = wired.devices
        if self.hardware.column_gain_std:
            devices = self._with_column_gain(devices, streams, scratch)
        return BlockDevices(devices, drifted, wired)

    def read(
        self,
        block: Block,
        programmed: BlockDevices,
        rows: torch.Tensor,
        drive: torch.Tensor,
        volts: torch.Tensor | None,
        batch: int,
        scratch: Scratch,
    ) -> BlockRead:
        """Read a block.

        Args:
            programmed: its devices.
            rows: (D, G, R, n).
            drive: (D, G, n), with wires (D, G, T, m, m).
            volts: magnitudes of the row voltages (D, G, R, n), if the shot noise depends on them.
            batch: inputs that the reads are of.
        """
        hardware, devices = self.hardware, programmed.devices
        x, drive = rows[:, block.groups], drive[:, block.groups]
        if hardware.load_conductance is not None:
            columns, more = self._divided(block, x, devices, hardware.load_conductance, batch)
        elif self.has_amplifiers:
            columns, more = self._amplified(block, x, devices, batch)
        else:
            columns, more = self._grounded(x, devices, scratch), None
        if programmed.wired is None:
            # Sums over columns, not a matrix-vector product, which would round by the alignment of the draw in memory.
            pair = over_sides(torch.add, devices, scratch)
            pair = torch.mul(pair, block.unit, out=scratch.values("pair", pair.shape))
            power = pair.sum(2).mul(drive).flatten(1).sum(1)
        else:
            pair, power = None, programmed.wired.power(drive)
        noise = None
        if hardware.thermal_noise or hardware.shot_noise:
            noise = self._read_variance(block, programmed, pair, None if volts is None else volts[:, block.groups])
        return BlockRead(columns, noise, power if more is None else power + more)

    def _grounded(self, x: torch.Tensor, devices: torch.Tensor, scratch: Scratch) -> torch.Tensor:
        """Columns (D, C, g, R, o) held at 0 V, whatever that takes."""
        difference = over_sides(torch.sub, devices, scratch)
        if len(self.converted) == 1:
            return product(x, difference).unsqueeze(1)
        return torch.stack([product(x[..., t], difference[..., t]) for t in self.tiles], 1)

    def _amplified(
        self, block: Block, x: torch.Tensor, devices: torch.Tensor, batch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same with amplifiers of every row tile's own, and the power (D,) that these take [W]."""
        sides, squares = [], []
        for tile in self.tiles:
            currents = [product(x[..., tile], side[..., tile]) for side in devices.unbind(1)]
            sides.append(currents[0] - currents[1] if len(currents) == 2 else currents[0].clone())
            squares += [current.square_().sum(2) for current in currents]
        columns = torch.stack(sides, 1) if len(self.converted) > 1 else sum(sides[1:], sides[0]).unsqueeze(1)
        total = sum(squares[1:], squares[0]).mul_(block.dissipation).flatten(1).sum(1)
        return columns, total.mul_((self.hardware.feedback_resistance or 1.0) / batch)

    def _divided(
        self, block: Block, x: torch.Tensor, devices: torch.Tensor, load: float, batch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decoded columns (D, C, g, R, o) of passive loads, and the power (D,) beyond Σ G V², −Σ D y² [W]."""
        unit = block.unit.expand(block.shape[1:])
        columns, drawn = [], []
        for k, tile in enumerate(self.tiles):
            for side, conductances in enumerate(devices.unbind(1)):
                total = (conductances[..., tile] * unit[..., tile]).sum(3).add_(load)  # D [S]
                node = product(x[..., tile], conductances[..., tile]).div_(total.unsqueeze(2))  # y/(c v̂)
                drawn.append((node.square().sum(2) * total).mul_(block.decode**2).flatten(1).sum(1))
                columns.append(node.mul_((-1) ** side * block.aimed[side, :, k].unsqueeze(1)))
        more = sum(drawn[1:], drawn[0]).div_(-batch)
        return torch.stack(columns, 1) if self.sides_apart == 2 else sum(columns[1:], columns[0]).unsqueeze(1), more

    def _read_for_drift(
        self, block: Block, start: torch.Tensor | None, devices: torch.Tensor, scratch: Scratch
    ) -> tuple[torch.Tensor, ...]:
        """What drift compensation goes by, before and now, added up over the rows of every column (D, 1, g, 1, o)."""
        by_conductance = self.hardware.drift_compensation_by == "conductance"
        read = []
        for conductances in (devices if start is None else start, devices):
            if by_conductance:
                each = over_sides(torch.add, conductances, scratch) * block.unit
            else:
                each = over_sides(torch.sub, conductances, scratch).abs()
            read.append(each.sum(3).unsqueeze(1).unsqueeze(3))
        return tuple(read)

    def _read_variance(
        self, block: Block, programmed: BlockDevices, conductance: torch.Tensor | None, volts: torch.Tensor | None
    ) -> torch.Tensor:
        """Variance (D, C, g, R or 1, o) of thermal and shot noise for conductances (D, g, o, n), sides added up; None
        behind wires."""
        hardware = self.hardware
        variances = []
        for first, tiles in zip(itertools.count(0, len(self.converted[0])), self.converted, strict=False):
            total = torch.zeros((), dtype=programmed.devices.dtype, device=programmed.devices.device)
            for number, tile in enumerate(tiles, first):
                if hardware.thermal_noise:
                    seen = self._seen_by_amplifiers(programmed, conductance, number)
                    total = total + thermal_noise(hardware) * (seen + block.shape[0] * block.load).unsqueeze(2)
                if volts is not None and conductance is not None:
                    total = total + shot_noise(hardware) * product(volts[..., tile], conductance[..., tile])
            variances.append(total / block.decode.unsqueeze(1) ** 2)
        apart = self.sides_apart
        return torch.stack(variances, 1).repeat_interleave(apart, 1).div_(apart)

    def _seen_by_amplifiers(
        self, programmed: BlockDevices, conductance: torch.Tensor | None, tile: int
    ) -> torch.Tensor:
        """Conductance (D, g, o) at the columns of a row tile, sides added up."""
        if programmed.wired is not None:
            return programmed.wired.amplifiers[:, :, tile]
        assert conductance is not None
        return conductance[..., self.tiles[tile]].sum(-1)

    def _with_column_gain(self, devices: torch.Tensor, streams: Streams, scratch: Scratch) -> torch.Tensor:
        """Devices (D, sides, g, o, n) whose physical columns, one per row tile, have each a gain of their own."""
        out = scratch.values("devices", devices.shape)
        shape = (*devices.shape[:4], len(self.tiles))
        error = (
            streams.normal_(scratch.normals(shape, "gain errors"))
            .to(devices.dtype)
            .mul_(self.hardware.column_gain_std)
            .add_(1)
        )
        for index, tile in enumerate(self.tiles):
            torch.mul(devices[..., tile], error[..., index : index + 1], out=out[..., tile])
        return out
