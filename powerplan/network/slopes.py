"""Whether the derivative of a kept call explains how its value changes: it does not at jumps.

Along a line from a to b a value changes by the integral of its slope, if it is continuous and its derivative is right.
The sum over small steps of |change - slope times step| then falls as the steps do. It stays where the value jumps
(sign, round, threshold), where a derivative is that of another function (straight-through estimators, fake
quantisation) or is cut off (detach).

Why: docs/decisions/networks.md [0276].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from powerplan.network.digital import digital
from powerplan.network.ops import Function, Op, Shape
from powerplan.remembered import remembered

#: lengths of the lines: inputs are of order one, and so are the places where functions jump
_SCALES = (0.5, 5.0)
_LINES = 2
#: numbers of steps, by the entries on a line, and the entries that are computed at once
_FEWEST, _MOST = 64, 2048
_ENTRIES = 1 << 21
_ROOM = 1 << 20
_FINER = 16
#: what may be left of the whole change; what finer steps must leave of that at most; and how much the whole change may
#: grow by them (it does without end at poles, which tell nothing)
_LEFT, _FALLS, _GROWS = 0.01, 0.5, 2.0
#: of a value
_ROUNDING = 1e-12


def op_slope_explains(op: Op) -> bool:
    """Whether an operation changes as its derivative says; tried once for a program of ATen."""
    return _program_slope_explains(op) if isinstance(op, Function) else op.slope_explains


@remembered
def _program_slope_explains(op: Function) -> bool:
    return slope_explains(partial(digital, op), op.inputs)


def slope_explains(function: Callable[..., Tensor], shapes: Sequence[Shape]) -> bool:
    """True if a function of values (B, *shape), float64, changes as its derivative says, on a few random lines."""
    generator = torch.Generator().manual_seed(0)
    for scale in _SCALES * _LINES:
        start, end = (
            [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(2)
        )
        steps = min(_MOST, max(_FEWEST, _ENTRIES // sum(x.numel() for x in start)))
        try:
            rest, whole = _changes(function, start, end, steps)
            if rest > _LEFT * whole:
                coarse_rest, coarse_whole = _changes(function, start, end, steps // _FINER)
                if whole <= _GROWS * coarse_whole and rest > _FALLS * coarse_rest:
                    return False
        except RuntimeError:  # torch has no derivative of it
            return False
    return True


def _changes(
    function: Callable[..., Tensor], start: Sequence[Tensor], end: Sequence[Tensor], steps: int
) -> tuple[float, float]:
    """Sums of |change - slope · step| and of |change| over a line, for one combination of the outputs."""
    places = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    rows = max(1, _ROOM // sum(x.numel() for x in start))
    parts = [_along(function, start, end, part) for part in torch.split(places, rows)]
    value, slope = (torch.cat(items) for items in zip(*parts, strict=True))
    change = value.diff()
    rest = change - (slope[1:] + slope[:-1]) / (2 * steps)
    finite = change.isfinite() & rest.isfinite()  # a root is no number on one side
    change, rest = change[finite], rest[finite]
    rest = rest[rest.abs() > _ROUNDING * value[value.isfinite()].abs().max()] if len(rest) else rest
    return float(rest.abs().sum()), float(change.abs().sum())


def _along(
    function: Callable[..., Tensor], start: Sequence[Tensor], end: Sequence[Tensor], places: Tensor
) -> tuple[Tensor, Tensor]:
    """A combination of the outputs at places on the line, and its slope by the place."""
    moved = [b - a for a, b in zip(start, end, strict=True)]
    with torch.enable_grad():
        points = [
            (a + places.view(-1, *(1,) * a.dim()) * d).requires_grad_() for a, d in zip(start, moved, strict=True)
        ]
        outputs = function(*points).reshape(len(places), -1)
        weights = torch.randn(outputs.shape[1], generator=torch.Generator().manual_seed(1), dtype=outputs.dtype)
        value = outputs @ weights
        slope = torch.zeros_like(places)
        if value.requires_grad:
            gradients = torch.autograd.grad(value.sum(), points, allow_unused=True)
            for gradient, d in zip(gradients, moved, strict=True):
                slope = slope if gradient is None else slope + (gradient * d).flatten(1).sum(1)
    return value.detach(), slope
