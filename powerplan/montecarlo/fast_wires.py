"""Draws of arrays with resistive wires, about the exact solution of their mean devices.

With M of the mean devices g exact and errors δ of devices, t and u as in :mod:`powerplan.hardware.wires.closed_form`,

    M(g + δ) ≈ M(g) + t δ u − (g + δ) (t A_w⁻¹ (u δ) + u A_b⁻¹ (t δ)),

where A_w⁻¹ and A_b⁻¹ are taken as those of mean loads, one for all rows of a column tile and one for all columns of a
row tile: without loads they are the same for all. They are matrix products then.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.hardware import Hardware
from powerplan.hardware.wires.closed_form import Attenuation
from powerplan.hardware.wires.ladder import solve
from powerplan.hardware.wires.lines import Lines
from powerplan.hardware.wires.tiles import Tiles
from powerplan.montecarlo.scratch import Scratch


@dataclass(frozen=True, kw_only=True, eq=False)
class _Along:
    """One way in which errors act on other devices of their line.

    Attributes:
        before: of an error, what it adds to the current into the line, (sides, g, o, n) [S per unit weight].
        behind: share of what it takes off the devices that reaches the columns, (sides, g, o, n).
    """

    before: Tensor
    behind: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanWires:
    """The mean devices of a block behind their wires, and what errors do.

    Attributes:
        tiles: of the block.
        mean: devices (sides, g, o, n) [unit weight].
        transfer: M/γ (sides, g, o, n) [unit weight], exact.
        reach: t u (sides, g, o, n).
        rows, columns: through the wires of rows and of columns.
        word: A_w⁻¹ of every width of column tiles, (sides k, sides k) or, with sides apart, (k, k) [ohm].
        bit: A_b⁻¹ of every row tile, with its rows, (m, m) [ohm].
        drivers: conductance matrix of the drivers, (g, T, m, m) [S].
        amplifiers: what the amplifiers see of every row tile, (g, T, o) [S].
    """

    tiles: Tiles
    mean: Tensor
    transfer: Tensor
    reach: Tensor
    rows: _Along
    columns: _Along
    word: tuple[Tensor, ...]
    bit: tuple[tuple[slice, Tensor], ...]
    drivers: Tensor
    amplifiers: Tensor

    @classmethod
    def of(cls, conductance: Tensor, unit: Tensor, hardware: Hardware, tiles: Tiles, dtype: torch.dtype) -> MeanWires:
        """Those of mean devices (sides, g, o, n) [S]; ``unit`` γ [S per unit weight] broadcasts to (g, o, n)."""
        wires, (sides, _, _, n) = hardware.wires, conductance.shape
        cut = tiles.cut(conductance)
        solved = [solve(tile, wires) for tile in cut]
        closed = [Attenuation.of(tile, wires) for tile in cut]

        def joined(parts: list[Tensor]) -> Tensor:
            return tiles.join(parts, n, sides)

        u, t = joined([part.rows for part in closed]), joined([part.columns for part in closed])

        def held(value: Tensor) -> Tensor:
            return value.expand(conductance.shape).to(dtype).contiguous()

        return cls(
            tiles=tiles,
            mean=held(conductance / unit),
            transfer=held(joined([part.transfer for part in solved]) / unit),
            reach=held(t * u),
            rows=_Along(before=held(u * unit), behind=held(t)),
            columns=_Along(before=held(t * unit), behind=held(u)),
            word=tuple(_word(tile, hardware, sides).to(dtype) for tile in cut),
            bit=tuple((rows, line.to(dtype)) for rows, line in _bit(conductance, tiles, hardware)),
            drivers=tiles.added([part.drivers for part in solved], 2).to(dtype),
            amplifiers=tiles.columns([part.amplifiers for part in solved], sides).sum(0).to(dtype),
        )

    def around(self, devices: Tensor, scratch: Scratch) -> Tensor:
        """M/γ of drawn devices, both (D, sides, g, o, n) [unit weight]."""
        shape = devices.shape
        error = torch.sub(devices, self.mean, out=scratch.values("errors of devices", shape))
        out = torch.mul(error, self.reach, out=scratch.values("wired", shape)).add_(self.transfer)
        current = torch.mul(error, self.columns.before, out=scratch.values("currents", shape)).view(-1, shape[-1])
        voltage = scratch.values("voltages", shape)
        for rows, line in self.bit:
            torch.mm(current[:, rows], line, out=voltage.view_as(current)[:, rows])
        off = voltage.mul_(self.columns.behind)
        for some, line in zip(self.tiles.alike, self.word, strict=True):
            here = slice(some[0].start, some[-1].stop)
            error_here, before, behind, off_here = (
                _by_column_tile(value[..., here, :], len(some))
                for value in (error, self.rows.before, self.rows.behind, off)
            )
            current = torch.mul(error_here, before, out=scratch.values("currents", tuple(error_here.shape)))
            lines = current.view(-1, len(line), shape[-1])
            raised = torch.bmm(line.expand(len(lines), -1, -1), lines, out=scratch.values("raised", lines.shape))
            off_here.addcmul_(raised.view_as(current), behind)
        return out.addcmul_(off, devices, value=-1)


def _by_column_tile(values: Tensor, tiles: int) -> Tensor:
    """(..., g, C, sides, w, n) of values (..., sides, g, C w, n) of devices."""
    return values.view(*values.shape[:-2], tiles, -1, values.shape[-1]).movedim(-5, -3)


def _word(cut: Tensor, hardware: Hardware, sides: int) -> Tensor:
    """A_w⁻¹ of mean rows of column tiles (..., m, k), columns side by side."""
    wires = hardware.wires
    load = cut.flatten(0, -2).mean(0)
    line = Lines.of(load, wires.row, wires.driver, both_ends=wires.both_ends).at((...,))
    if hardware.pair_layout == "separate_arrays":
        return line
    order = torch.arange(len(load), device=load.device).view(-1, sides).T.flatten()
    return line[order][:, order]


def _bit(conductance: Tensor, tiles: Tiles, hardware: Hardware) -> list[tuple[slice, Tensor]]:
    """A_b⁻¹ of the mean column of every row tile, in the rows' order."""
    n = conductance.shape[-1]
    lines = []
    for low in range(0, n, tiles.rows):
        rows = slice(low, min(low + tiles.rows, n))
        load = conductance[..., rows].flatten(0, -2).mean(0).flip(-1)
        lines.append((rows, Lines.of(load, hardware.wires.column, hardware.wires.sense).at((...,)).flip(0, 1)))
    return lines
