"""Stuck devices as rare events.

A device that is stuck (conductance_max or conductance_min instead of what it would hold, g_u on average) errs by a
whole range. Where only a few of a column's devices are, their sum is not Gaussian, and a nonlinear operation makes
other moments of it than of a Gaussian. An error of a device is then a usual one, Gaussian in a sum, and an event:

    e = (1 − s) u + s J − p J,     s = 1 with chance p,     J = α (G_stuck − g_u)/γ,
    Var e = (1 − p) Var u + Σ_k p_k J_k² − (Σ_k p_k J_k)²   for every k = on, off and side of a pair.

In a column with a passive load (:mod:`powerplan.moments.divider`) an event changes the total conductance D̂ by its own
step too: f as there takes the place of J.

Events are so few that they are drawn one by one (as many as expected, thrown over all devices of all sets), which costs
much less than drawing every device. With a generator of their own: where a few more devices are stuck, the others stay
the same, so that predictions can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from powerplan.moments.columns import device_sides
from powerplan.moments.crossbar import CrossbarMoments
from powerplan.moments.device_errors import DeviceErrors
from powerplan.moments.divider import acting, at_rows
from powerplan.network.array_maps import ArrayMap

#: expected stuck devices of a column beyond which their sum is as good as Gaussian
MANY_STUCK = 16
#: share of stuck devices beyond which they are not rare: too many would be drawn twice
_LARGE_SHARE = 0.2
#: numbers that say where an event is
_INDICES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Stuck:
    """Devices of one side of the pairs that are stuck at one end.

    Attributes:
        chance: p.
        jump: J (n_out, n_in) in units of the weight.
        part: of which of ``CrossbarMoments.device_errors`` they are.
    """

    chance: float
    jump: Tensor
    part: int


def is_rare(moments: CrossbarMoments) -> bool:
    """True if a few stuck devices cause much of the error of a layer."""
    share = moments.hardware.stuck_fraction
    return 0 < share <= min(_LARGE_SHARE, MANY_STUCK / moments.map.n_in)


def stuck_devices(moments: CrossbarMoments) -> tuple[Stuck, ...]:
    """The kinds of stuck devices of a crossbar."""
    hardware, divider = moments.hardware, moments.divider
    free = 1 - hardware.stuck_fraction
    found = []
    for k, (mean, _) in enumerate(device_sides(moments)):
        steps = [(share, value / moments.gain - mean) for share, value in hardware.stuck_shares]
        usual = -sum(share * step for share, step in steps) / free
        for share, step in steps:
            jump = moments.compensation * (step - usual)
            if divider is not None:
                total, target = (at_rows(t, divider.tiles) for t in (divider.sides[k].total, divider.sides[k].target))
                jump = target / total * (acting(step, moments.gain, total) - usual)
            found.append(Stuck(chance=share, jump=jump if k == 0 else -jump, part=k if divider is not None else 0))
    return tuple(found)


def without_events(moments: CrossbarMoments, stuck: Sequence[Stuck]) -> tuple[DeviceErrors, ...]:
    """The errors of the devices with what is left of their variance once the events are drawn."""
    left = []
    for k, part in enumerate(moments.device_errors):
        variance = part.variance
        for kind in stuck:
            variance = variance - kind.chance * kind.jump.square() if kind.part == k else variance
        left.append(replace(part, variance=variance.clamp(min=0)))
    return tuple(left)


def event_entries(moments: CrossbarMoments, stuck: Sequence[Stuck]) -> int:
    """Entries that the events of one set of devices take, about: what they move and where they are."""
    arrays = 1 if moments.is_shared else moments.map.positions
    events = sum(kind.chance for kind in stuck) * moments.mean_weight.numel() * arrays
    return math.ceil(events * (moments.map.positions / arrays + _INDICES))


def moved_by_events(
    moments: CrossbarMoments, stuck: Sequence[Stuck], rows: Tensor, sets: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """What stuck devices of independent sets (B, R) move columns by, (B, R, G, P, o), less its mean.

    Args:
        rows: values at the rows (B or 1, R or 1, G, P, n).
    """
    arrays = 1 if moments.is_shared else moments.map.positions
    parts = moments.device_errors
    moved = rows.new_zeros(())
    for kind in stuck:
        mean = moments.map.matrices(kind.chance * kind.jump)
        moved = moved - parts[kind.part].moved(rows, mean[None, None])
        moved = moved + _events(kind, parts[kind.part], moments.map, rows, sets, arrays, generator)
    return moved


def _events(
    kind: Stuck,
    part: DeviceErrors,
    map: ArrayMap,
    rows: Tensor,
    sets: tuple[int, int],
    arrays: int,
    generator: torch.Generator,
) -> Tensor:
    """What devices of one kind move the columns of every set by, (B, R, G, P, o), for arrays that share positions."""
    cells, size = kind.jump.numel(), map.n_out // map.groups
    whole = math.prod(sets) * arrays * cells
    seed, part_of_one = torch.randint(1 << 31, (2,), generator=generator, device=rows.device).tolist()
    own = torch.Generator(rows.device).manual_seed(seed)
    count = math.floor(whole * kind.chance + part_of_one / (1 << 31))
    event = torch.randint(whole, (count,), generator=own, device=rows.device)  # of (B, R, arrays, G, o, n)
    device, row, column = event % cells, event % map.n_in, event // map.n_in
    array, group = event // cells, device // (size * map.n_in)
    place = array // arrays

    def found(values: Tensor, last: Tensor, some: Tensor | slice = slice(None)) -> Tensor:
        """Of values (B or 1, R or 1, G, P, l) those at the arrays of events and their last index, (·, P/arrays)."""
        by_array = values.reshape(*values.shape[:3], arrays, -1, values.shape[-1])
        b, r = place[some] // sets[1] % len(values), place[some] % sets[1] % values.shape[1]
        return by_array[b, r, group[some], array[some] % arrays, :, last[some]]

    driving = found(rows, row)
    for node, tile, r in part.nodes(rows):
        (some,) = torch.where((row >= tile.start) & (row < tile.stop))
        driving[some] -= r[group[some], row[some] - tile.start].unsqueeze(1) * found(node, column % size, some)
    made = rows.new_zeros(whole // map.n_in, driving.shape[1])
    made.index_add_(0, column, kind.jump.flatten()[device].unsqueeze(1) * driving)
    return made.view(*sets, arrays, map.groups, size, -1).permute(0, 1, 3, 2, 5, 4).flatten(3, 4)
