"""Targets of the devices of a layer: with ``hardware.predistort`` those that make right what its columns read.

Behind wires, and in columns that end in a passive load, a device adds something else to its column than it holds, and
what it adds depends on all others. With M the currents per volt that columns of mean devices g decode to, D what the
difference of a pair, or a device above G_min, shall make, and t what an error of a device adds to its column,

    x ← x + (D − M(g(x)))/t,      0 ≤ |x| ≤ G_max − G_min,

from x = D on, where g holds x on the side of its sign: for wires M and t are the closed form
(:mod:`powerplan.hardware.wires.closed_form`), for passive loads M = κ g and t = κ, κ = (G_L + Σ targets)/(G_L + Σ g) of
the column, to first order in the errors of devices. Each round leaves about as much of the error as the drop of the
wires is; what would take more than the largest conductance stays too small.

Why: docs/decisions/compensation.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from powerplan.hardware.gains import conductance_span
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.predistortion import held_reference, targets
from powerplan.hardware.tiling import row_tiles
from powerplan.hardware.wires.closed_form import transfer_and_reach
from powerplan.hardware.wires.tiles import Tiles

#: of the correction
_ROUNDS = 3


def layer_targets(hardware: Hardware, wanted: Tensor) -> Tensor:
    """Target conductances [S] of devices (sides, G, o, n) of which so much is wanted above conductance_min [S]."""
    return targets(hardware, hardware.conductance_min + held_for(hardware, wanted))


def shifts_together(hardware: Hardware) -> bool:
    """Whether the shifted target of a device depends on the other devices of its array."""
    programmed = hardware.targets_of
    return programmed.predistort and (programmed.has_wires or programmed.read_out == "divider")


def held_for(hardware: Hardware, wanted: Tensor) -> Tensor:
    """What devices (sides, G, o, n) have to hold above conductance_min for columns to read ``wanted`` [S], on average;
    differentiable (once). The same tensor where that is what they hold."""
    if not shifts_together(hardware):
        return wanted
    hardware = hardware.targets_of
    reference, most = held_reference(hardware), conductance_span(hardware)
    pairs = len(wanted) == 2
    difference = wanted[0] - wanted[1] if pairs else wanted[0]
    held = difference
    read_of = _divided if hardware.read_out == "divider" else _behind_wires
    for _ in range(_ROUNDS):
        transfer, reach = read_of(hardware, _sides(held, pairs=pairs), reference)
        read = transfer[0] - transfer[1] if pairs else transfer[0] - reference
        by_device = torch.where(held >= 0, reach[0], reach[-1])
        held = (held + (difference - read) / by_device).clamp(-most if pairs else 0, most)
    return _sides(held, pairs=pairs)


def _behind_wires(hardware: Hardware, held: Tensor, reference: float) -> tuple[Tensor, Tensor]:
    """M and t of devices that hold so much above the reference (sides, G, o, n) [S]."""
    tiles, (sides, *_, rows) = Tiles.of(hardware, *held.shape[2:]), held.shape
    both = [transfer_and_reach(tile, hardware.wires) for tile in tiles.cut(reference + held)]
    transfer, reach = (tiles.join([part[k] for part in both], rows, sides) for k in range(2))
    return transfer, reach


def _divided(hardware: Hardware, held: Tensor, reference: float) -> tuple[Tensor, Tensor]:
    """The same of columns with a passive load."""
    load = hardware.load_conductance or 0.0
    level, target = reference + held, targets(hardware, hardware.conductance_min + held)
    ratios = []
    for tile in row_tiles(held.shape[-1], hardware.array_rows):
        aimed, total = (load + values[..., tile].sum(-1, keepdim=True) for values in (target, level))
        ratios.append((aimed / total).expand_as(held[..., tile]))
    ratio = torch.cat(ratios, -1)
    return ratio * level, ratio


def _sides(held: Tensor, *, pairs: bool) -> Tensor:
    return torch.stack([held, -held]).clamp(min=0) if pairs else held[None]
