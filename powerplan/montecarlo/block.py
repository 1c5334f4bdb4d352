"""Some columns of a crossbar: programmed, and as large as the caches take, in one go for several draws."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from powerplan.hardware import Hardware
from powerplan.hardware.devices import Devices
from powerplan.montecarlo.scratch import Scratch
from powerplan.montecarlo.streams import Streams
from powerplan.montecarlo.wires import BlockWires

#: devices of one draw worked on at a time (more do not fit the caches, fewer do not pay for the calls)
BLOCK_DEVICES = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Block:
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
        wires: around the devices, or None where they are ideal.
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
    wires: BlockWires | None

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
        fast_wires: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Block:
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
            aimed=aimed(hardware, here, tiles).to(dtype),
            noisy=hardware.has_programming_noise,
            wires=BlockWires.of(hardware, here, own, fast=fast_wires, dtype=dtype) if hardware.has_wires else None,
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


def aimed(hardware: Hardware, target: torch.Tensor, tiles: list[slice]) -> torch.Tensor:
    """D̄ of the column of every tile [S], the load and targets (sides, g, o, n), (sides, g, T, o)."""
    return torch.stack([target[..., tile].sum(3) for tile in tiles], 2) + (hardware.load_conductance or 0.0)


def parts(
    groups: int, columns: int, n_in: int, sides: int, within: list[slice] | None = None
) -> list[tuple[slice, slice]]:
    """(groups, columns) of the blocks: some columns of the one group, or several whole groups.

    Args:
        within: columns that stay together, those of one array.
    """
    if groups == 1 and within is not None:
        size = max(1, BLOCK_DEVICES // (sides * n_in * max(tile.stop - tile.start for tile in within)))
        joined = [within[low : low + size] for low in range(0, len(within), size)]
        return [(slice(0, 1), slice(some[0].start, some[-1].stop)) for some in joined]
    if groups == 1:
        # At least two columns in a block where there are two: the product with one column is rounded differently.
        blocks = max(1, min(columns // 2, -(-sides * columns * n_in // BLOCK_DEVICES)))
        edges = [round(k * columns / blocks) for k in range(blocks + 1)]
        return [(slice(0, 1), slice(a, b)) for a, b in itertools.pairwise(edges)]
    step = max(1, BLOCK_DEVICES // (sides * columns * n_in))
    return [(slice(low, min(low + step, groups)), slice(0, columns)) for low in range(0, groups, step)]


def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x Wᵀ for (D, g, R, n) and (D, g, o, n), every draw rounded the same whatever D is."""
    if weight.shape[2] == 1:
        return (x * weight).sum(3, keepdim=True)
    product = torch.bmm(x.flatten(0, 1), weight.flatten(0, 1).transpose(1, 2))
    return product.reshape(*x.shape[:2], *product.shape[1:])
