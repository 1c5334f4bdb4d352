"""Stuck devices as rare events.

A device that is stuck (conductance_max or conductance_min instead of what it would hold, g_u on average) errs by a
whole range. Where only a few of a column's devices are, their sum is not Gaussian, and a nonlinear operation makes
other moments of it than of a Gaussian. An error of a device is then a usual one, Gaussian in a sum, and an event:

    e = (1 − s) u + s J − p J,     s = 1 with chance p,     J = α (G_stuck − g_u)/γ,
    Var e = (1 − p) Var u + Σ_k p_k J_k² − (Σ_k p_k J_k)²   for every k = on, off and side of a pair.

In a column with a passive load (:mod:`powerplan.moments.array.divider`) an event changes the total conductance D̂ by
its own step too: f as there takes the place of J.

Events are so few that they are drawn one by one (as many as expected, thrown over all devices of all sets), which costs
much less than drawing every device. With a generator of their own: where a few more devices are stuck, the others stay
the same, so that predictions can be compared.

Why: docs/decisions/error-samples.md [0254, 0255].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from powerplan.moments.array.device_errors import DeviceErrors
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.network.array_maps import ArrayMap

#: expected stuck devices of a column beyond which their sum is as good as Gaussian
_MANY_STUCK = 16
#: share of stuck devices beyond which they are not rare: too many would be drawn twice
_LARGE_SHARE = 0.2
#: numbers that say where an event is
_INDICES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Stuck devices of one kind: their share p and their steps J (n_out, n_in) in units of the weight."""

    share: float
    steps: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One of the independent parts of the errors of a crossbar's devices (the sides of a divider's pairs): the usual
    errors, with what is left of their variance, and the events; ``rows`` is 1 at its rows (n_in,), None = at all."""

    usual: DeviceErrors
    events: tuple[Events, ...] = ()
    rows: Tensor | None = None

    def within(self, tile: slice, shape: tuple[int, int]) -> Part:
        """Those of the rows of one tile, for devices (n_out, n_in)."""
        rows = self.usual.variance.new_zeros(shape[1])
        rows[tile] = 1
        nodes = tuple(node for node in self.usual.nodes if node.rows == tile)
        usual = replace(self.usual, variance=self.usual.variance.expand(shape) * rows, nodes=nodes)
        events = tuple(replace(kind, steps=kind.steps * rows) for kind in self.events)
        return Part(usual=usual, events=events, rows=rows)


def is_rare(array: ProgrammedArray) -> bool:
    """True if a few stuck devices cause much of the error of a layer."""
    share = array.hardware.stuck_fraction
    return 0 < share <= min(_LARGE_SHARE, _MANY_STUCK / array.map.n_in)


def parts_of(array: ProgrammedArray) -> tuple[Part, ...]:
    """The parts of the errors of an array's devices, with events where they are rare."""
    parts = array.read_out.device_errors(array)
    if not is_rare(array):
        return tuple(Part(usual=part) for part in parts)
    events: list[list[Events]] = [[] for _ in parts]
    free = 1 - array.hardware.stuck_fraction
    for side, (mean, _) in enumerate(array.sides):
        steps = [(share, value / array.gain - mean) for share, value in array.hardware.stuck_shares]
        usual_step = -torch.stack([share * step for share, step in steps]).sum(0) / free
        for share, step in steps:
            jump = array.read_out.jump(array, side, step, usual_step)
            events[min(side, len(parts) - 1)].append(Events(share=share, steps=jump if side == 0 else -jump))
    divided = []
    for part, kinds in zip(parts, events, strict=True):
        drawn = sum((kind.share * kind.steps.square() for kind in kinds), torch.zeros_like(part.variance))
        usual = replace(part, variance=(part.variance - drawn).clamp(min=0))
        divided.append(Part(usual=usual, events=tuple(kinds)))
    return tuple(divided)


def _arrays(array: ProgrammedArray, positions: int) -> int:
    """Arrays with devices of their own, each of which serves the same number of positions."""
    return 1 if array.is_shared else positions


def event_entries(array: ProgrammedArray, positions: int) -> int:
    """Entries that the events of one set of devices take, about: what they move and where they are."""
    arrays = _arrays(array, positions)
    devices = array.hardware.devices_per_weight * array.constants.size * arrays
    return math.ceil(array.hardware.stuck_fraction * devices * (positions / arrays + _INDICES))


def moved_by_events(
    array: ProgrammedArray, part: Part, rows: Tensor, sets: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """What stuck devices of independent sets (B, R) move columns by, (B, R, G, P, o), less its mean.

    Args:
        part: with events.
        rows: values at the rows (B or 1, R or 1, G, P, n).
    """
    arrays = _arrays(array, array.map.positions)
    mean = torch.stack([kind.share * kind.steps for kind in part.events]).sum(0)
    moved = -part.usual.moved(rows, array.map.matrices(mean)[None, None])
    for kind in part.events:
        moved = moved + _events(kind, part.usual, array.map, rows, sets, arrays, generator)
    return moved


def _events(
    kind: Events,
    part: DeviceErrors,
    map: ArrayMap,
    rows: Tensor,
    sets: tuple[int, int],
    arrays: int,
    generator: torch.Generator,
) -> Tensor:
    """What devices of one kind move the columns of every set by, (B, R, G, P, o), for arrays that share positions."""
    cells, size = kind.steps.numel(), map.n_out // map.groups
    whole = math.prod(sets) * arrays * cells
    seed, part_of_one = torch.randint(1 << 31, (2,), generator=generator, device=rows.device).tolist()
    own = torch.Generator(rows.device).manual_seed(seed)
    count = math.floor(whole * kind.share + part_of_one / (1 << 31))
    event = torch.randint(whole, (count,), generator=own, device=rows.device)  # of (B, R, arrays, G, o, n)
    device, row, column = event % cells, event % map.n_in, event // map.n_in
    array, group = event // cells, device // (size * map.n_in)
    place = array // arrays

    def at_events(values: Tensor, last: Tensor, some: Tensor | slice = slice(None)) -> Tensor:
        """Of values (B or 1, R or 1, G, P, l) those at the arrays of events and their last index, (·, P/arrays)."""
        by_array = values.reshape(*values.shape[:3], arrays, -1, values.shape[-1])
        b, r = place[some] // sets[1] % len(values), place[some] % sets[1] % values.shape[1]
        return by_array[b, r, group[some], array[some] % arrays, :, last[some]]

    driving = at_events(rows, row)
    for node in part.nodes:
        (some,) = torch.where((row >= node.rows.start) & (row < node.rows.stop))
        r = node.relative[group[some], row[some] - node.rows.start]
        driving[some] -= r.unsqueeze(1) * at_events(node.at(rows), column % size, some)
    errors = rows.new_zeros(whole // map.n_in, driving.shape[1])
    errors.index_add_(0, column, kind.steps.flatten()[device].unsqueeze(1) * driving)
    return errors.view(*sets, arrays, map.groups, size, -1).permute(0, 1, 3, 2, 5, 4).flatten(3, 4)
