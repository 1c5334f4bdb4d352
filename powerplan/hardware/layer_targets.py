"""Targets of the devices of a layer: with ``hardware.predistort`` those that make right what its columns read.

Behind wires a device adds less to its column than it holds, and how much less depends on all others. With M the
currents per volt of mean devices g (:mod:`powerplan.hardware.wires.closed_form`), t u what an error of a device adds to
its column, and D what the difference of a pair, or a device above G_min, shall make,

    x ← x + (D − M(g(x)))/(t u),      0 ≤ |x| ≤ G_max − G_min,

from x = D on, where g holds x on the side of its sign. Each round leaves about as much of the error as the drop of the
wires is; what would take more than the largest conductance stays too small.

Why: docs/decisions/compensation.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from powerplan.hardware.gains import conductance_span
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.predistortion import held_reference, targets
from powerplan.hardware.wires.closed_form import transfer_and_reach
from powerplan.hardware.wires.tiles import Tiles

#: of the correction
_ROUNDS = 3


def layer_targets(hardware: Hardware, wanted: Tensor) -> Tensor:
    """Target conductances [S] of devices (sides, G, o, n) of which so much is wanted above conductance_min [S]."""
    return targets(hardware, hardware.conductance_min + behind_wires(hardware, wanted))


def shifts_for_wires(hardware: Hardware) -> bool:
    """Whether targets make up for wires."""
    return hardware.predistort and hardware.targets_of.has_wires


def behind_wires(hardware: Hardware, wanted: Tensor) -> Tensor:
    """What devices (sides, G, o, n) have to hold above conductance_min for columns to read ``wanted`` [S], on average;
    differentiable (once). The same tensor without ``predistort`` or with ideal wires."""
    if not shifts_for_wires(hardware):
        return wanted
    hardware = hardware.targets_of
    tiles, (sides, *_, rows) = Tiles.of(hardware, *wanted.shape[2:]), wanted.shape
    reference, most = held_reference(hardware), conductance_span(hardware)
    pairs = sides == 2
    difference = wanted[0] - wanted[1] if pairs else wanted[0]
    held = difference
    for _ in range(_ROUNDS):
        cut = tiles.cut(reference + _sides(held, pairs=pairs))
        both = [transfer_and_reach(tile, hardware.wires) for tile in cut]
        transfer, reach = (tiles.join([part[k] for part in both], rows, sides) for k in range(2))
        read = transfer[0] - transfer[1] if pairs else transfer[0] - reference
        by_device = torch.where(held >= 0, reach[0], reach[-1])
        held = (held + (difference - read) / by_device).clamp(-most if pairs else 0, most)
    return _sides(held, pairs=pairs)


def _sides(held: Tensor, *, pairs: bool) -> Tensor:
    return torch.stack([held, -held]).clamp(min=0) if pairs else held[None]
