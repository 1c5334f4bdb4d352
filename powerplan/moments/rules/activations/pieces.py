"""A function of one value on a range, taken apart into smooth panels.

Why: docs/decisions/moments.md [0162].
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.special import ndtr

#: standard deviations that one value in a million exceeds
RARE = 4.9


class PanelSettings(Protocol):
    """Reach in standard deviations; points of a panel, and more of them per standard deviation of its width."""

    @property
    def reach(self) -> float: ...
    @property
    def points(self) -> int: ...
    @property
    def per_width(self) -> float: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """A function on a range, taken apart.

    Attributes:
        breaks: increasing; the first and the last are the ends of the range.
        edges: of the panels, increasing, (panels + 1,); all breaks are among them.
        distances: of the nearest complex singularity as seen from each panel, (panels,).
        known: False where the function is no number, (panels,).
        poles: where it grows without end, so that its variance has none.
    """

    breaks: Tensor
    edges: Tensor
    distances: Tensor
    known: Tensor
    poles: Tensor

    def to(self, device: torch.device) -> Pieces:
        """The same on a device."""
        return Pieces(**{name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)})

    def around(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The breaks below and above z; a z on a break is above the one before it."""
        above = torch.searchsorted(self.breaks, z).clamp(1, len(self.breaks) - 1)
        return self.breaks[above - 1], self.breaks[above]

    def broken(self, low: Tensor, high: Tensor) -> Tensor:
        """True where a break is between low and high."""
        inner = self.breaks[1:-1]
        return torch.searchsorted(inner, low) != torch.searchsorted(inner, high)

    def between(self, low: float, high: float) -> list[float]:
        """Distances of the panels that touch [low, high]; none if a break is there."""
        breaks, edges, distances = self._lists
        if bisect_left(breaks, low) != bisect_left(breaks, high):
            return []
        return distances[max(bisect_left(edges, low) - 1, 0) : bisect_left(edges, high)]

    @cached_property
    def _lists(self) -> tuple[list[float], list[float], list[float]]:
        return self.breaks.tolist(), self.edges.tolist(), self.distances.tolist()

    def distance(self, z: Tensor) -> Tensor:
        """Of the nearest singularity from z."""
        return self.distances[self._panel(z)]

    def touched(self, low: Tensor, high: Tensor) -> Tensor:
        """Number of panels that windows [low, high] touch."""
        return self._panel(high) - self._panel(low) + 1

    def nearest(self, low: Tensor, high: Tensor) -> Tensor:
        """The smallest distance among the panels that windows [low, high] touch."""
        first, last = self._panel(low), self._panel(high)
        level = (last - first + 1).to(torch.float64).log2().floor().long()
        table = self._least
        return torch.minimum(table[level, first], table[level, last + 1 - 2**level])

    def nodes(self, centre: Tensor, width: Tensor, count: int, settings: PanelSettings) -> tuple[Tensor, Tensor]:
        """Points t and weights (points, n) of Gauss-Legendre on ``count`` panels in reach of z = centre + width t."""
        reach = settings.reach
        low, high = self._clear_of_poles(centre, width, reach)
        first = self._panel(centre - reach * width)
        panels = first + torch.arange(count + 1, device=first.device).unsqueeze(1)
        t = ((self.edges[panels.clamp(max=len(self.edges) - 1)] - centre) / width).clamp(-reach, reach)
        t[0], t[-1] = -reach, reach
        t = torch.maximum(torch.minimum(t, high), low)
        points, weights = [], []
        for low, high in pairwise(t):
            middle, half = (high + low) / 2, (high - low) / 2
            widest = 2 * float(half.max())
            if widest > 0:
                few = math.ceil((settings.points + settings.per_width * widest) / 4) * 4
                x, w = (a.to(t.device) for a in _legendre(few))
                points.append(middle + half * x)
                weights.append(half * w)
        t = torch.cat(points)
        return t, torch.cat(weights) * torch.exp(-0.5 * t * t)

    def holds(self, mean: Tensor, std: Tensor) -> bool:
        """False where a pole is in reach of an entry's noise, or values at which the function is no number."""
        near = any(bool(((pole - mean).abs() < RARE * std).any()) for pole in self.poles.tolist())
        lost = torch.zeros_like(mean)
        for low, high, known in zip(self.edges[:-1], self.edges[1:], self.known.tolist(), strict=True):
            if not known:
                lost = lost + ndtr((high - mean) / std) - ndtr((low - mean) / std)
        return not near and bool((lost < 2 * ndtr(torch.tensor(-RARE))).all())

    def _clear_of_poles(self, centre: Tensor, width: Tensor, reach: float) -> tuple[Tensor, Tensor]:
        """Ends of the range of t: poles that noise hardly reaches are left out."""
        low, high = torch.full_like(centre, -reach), torch.full_like(centre, reach)
        for pole in self.poles.tolist():
            t = (pole - centre) / width
            low = torch.where((t < -RARE) & (t > -reach), torch.maximum(low, 0.9 * t), low)
            high = torch.where((t > RARE) & (t < reach), torch.minimum(high, 0.9 * t), high)
        return low, high

    def _panel(self, z: Tensor) -> Tensor:
        """Number of the panel that holds each z."""
        return (torch.searchsorted(self.edges, z) - 1).clamp(0, len(self.distances) - 1)

    @cached_property
    def _least(self) -> Tensor:
        """Row j: least of 2^j distances from each panel on."""
        rows = [self.distances]
        for j in range(len(self.distances).bit_length() - 1):
            moved = torch.full_like(self.distances, math.inf)
            moved[: -(2**j)] = rows[-1][2**j :]
            rows.append(torch.minimum(rows[-1], moved))
        return torch.stack(rows)


@lru_cache(maxsize=64)
def _legendre(points: int) -> tuple[Tensor, Tensor]:
    from scipy.special import roots_legendre

    x, weights = roots_legendre(points)
    return torch.from_numpy(x).unsqueeze(1), torch.from_numpy(weights).unsqueeze(1)
