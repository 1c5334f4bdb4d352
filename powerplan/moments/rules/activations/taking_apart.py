"""Where a function of one value is smooth: its breaks (jumps, kinks, roots, poles), and panels a polynomial follows.

Both are found by looking at the function alone. Interpolated on a panel by a polynomial, a smooth function has
Chebyshev coefficients that fall; next to a jump or kink they do not, however small the panel. Halving the panels
whose coefficients do not fall ends at the breaks, to rounding. Between breaks, panels are then halved until their
coefficients fall: their rate gives the distance of the nearest complex singularity.

What is narrower than the spacing of the samples (an 8192nd of the range) may be missed.

Why: docs/decisions/moments.md [0162].
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.polynomial.chebyshev import chebvander
from torch import Tensor

from powerplan.moments.rules.activations.pieces import Pieces

Function = Callable[[Tensor], Tensor]

#: panels of the first look, and points on each
_PANELS, _POINTS = 512, 17
_SHIFT = 0.381966
#: most that the last coefficients of a resolved panel are, relative to those beyond the linear part, and to the value
_TAIL, _ROUNDING = 1e-9, 3e-14
#: halvings that find a break, and after which a smooth place counts as a break too
_DEEPEST, _SOFT = 60, 5
#: halvings of the interval between two breaks
_HALVINGS = 24
#: most panels that are halved at once: what is finer everywhere is left as it is
_MOST = 8192


def pieces(function: Function, half_range: float) -> Pieces:
    """The pieces of a function on [-half_range, half_range]."""

    def values(z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(function(torch.from_numpy(z)))

    # no edge of the first look is at a round number, where functions have their breaks
    inner = half_range * (2 * (np.arange(1, _PANELS) + _SHIFT) / _PANELS - 1)
    edges = np.concatenate([[-half_range], inner, [half_range]])
    with np.errstate(all="ignore"):
        size = _typical(values(_nodes(edges[:-1], edges[1:], _LOBATTO)))
        samples: list[np.ndarray] = []
        between = _breaks(values, edges, size, samples)
        breaks = np.unique(np.concatenate([edges[[0, -1]], between]))
        ends, distances = _panels(values, breaks, size, np.concatenate(samples))
        known = np.isfinite(values((ends[:-1] + ends[1:]) / 2))
        poles = _poles(values, breaks)
    arrays = {"breaks": breaks, "edges": ends, "distances": distances, "known": known, "poles": poles}
    return Pieces(**{name: torch.from_numpy(array) for name, array in arrays.items()})


_Values = Callable[[np.ndarray], np.ndarray]

#: Chebyshev points with and without the ends, and from values there to coefficients
_LOBATTO = -np.cos(np.pi * np.arange(_POINTS) / (_POINTS - 1))
_INNER = -np.cos(np.pi * (np.arange(_POINTS) + 0.5) / _POINTS)
_FROM_LOBATTO, _FROM_INNER = (np.linalg.inv(chebvander(x, _POINTS - 1)) for x in (_LOBATTO, _INNER))


def _nodes(low: np.ndarray, high: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray((low + high)[:, None] / 2 + (high - low)[:, None] / 2 * points)


def _typical(values: np.ndarray) -> float:
    """The usual magnitude of a function: its rounding is left alone where it is nearly zero."""
    largest = np.abs(np.where(np.isfinite(values), values, 0)).max(1)
    return float(np.median(largest))


def _rest(values: np.ndarray, transform: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients, and what the last ones are of what they may be; infinite where only some values are numbers."""
    known = np.isfinite(values)
    coefficients = np.where(known, values, 0) @ transform.T
    magnitudes = np.abs(coefficients)
    floor = _ROUNDING * np.maximum(magnitudes.max(1), size) + np.finfo(float).tiny
    rest = magnitudes[:, -3:].max(1) / (_TAIL * magnitudes[:, 2:].max(1) + floor)
    whole = known.all(1) | ~known.any(1)
    return coefficients, np.where(whole, rest, np.inf)


def _breaks(values: _Values, edges: np.ndarray, size: float, samples: list[np.ndarray]) -> np.ndarray:
    """Places of breaks; what was seen around the first of them is added to the samples."""
    low, high = edges[:-1], edges[1:]
    sharp, soft = [np.empty((0, 2))], [np.empty((0, 2))]  # places and how far off they may be
    for depth in range(_DEEPEST + 1):
        nodes = _nodes(low, high, _LOBATTO)
        _, rest = _rest(values(nodes), _FROM_LOBATTO, size)
        rough = rest > 1
        if depth <= 2 * _SOFT and len(low) <= _PANELS:
            samples.append(nodes.ravel())
        if depth > _SOFT:  # neighbours are pairs, halves of what was rough
            smooth = np.repeat(~rough.reshape(-1, 2).any(1), 2)
            soft.append(np.stack([high[smooth][::2], (high - low)[smooth][::2]], 1))
        low, high = low[rough], high[rough]
        middle = (low + high) / 2
        narrow = (high - low <= 1e-14 * np.maximum(np.abs(low), np.abs(high))) | (depth == _DEEPEST)
        sharp.append(np.stack([middle[narrow], (high - low)[narrow]], 1))
        low, middle, high = low[~narrow], middle[~narrow], high[~narrow]
        if not 0 < len(low) <= _MOST:
            break
        low, high = np.stack([low, middle], 1).ravel(), np.stack([middle, high], 1).ravel()
    span = edges[-1] - edges[0]
    least = 1e-14 * span
    known = _apart(np.concatenate(sharp), 10 * least)
    # smooth places near a break only surround it
    around = 4 * span / (_PANELS * 2**_SOFT)
    other = np.concatenate(soft)
    if len(known):
        other = other[np.abs(other[:, :1] - known[:, 0]).min(1) > around]
    places = [*known, *_apart(other, around)]
    return np.array([_plain(z, max(width, least if abs(z) < least else 0.0)) for z, width in places])


def _poles(values: _Values, breaks: np.ndarray) -> np.ndarray:
    """The breaks next to which a function grows so fast that its square has no integral."""
    inner = breaks[1:-1]
    gap = np.minimum(np.diff(breaks)[:-1], np.diff(breaks)[1:])
    near, nearer = (
        np.abs(values(np.stack([inner - part * gap, inner + part * gap]))).max(0, initial=0.0) for part in (1e-6, 1e-9)
    )
    return np.asarray(inner[(nearer > 10 * near) & (nearer**2 * 1e-9 > 0.3 * near**2 * 1e-6)])


def _apart(places: np.ndarray, least: float) -> np.ndarray:
    """Of places and widths (n, 2) with others within ``least`` the narrowest."""
    places = places[np.argsort(places[:, 0])]
    cluster = np.cumsum(np.diff(places[:, 0], prepend=-np.inf) > least)
    order = np.lexsort((places[:, 1], cluster))
    return places[order[np.unique(cluster[order], return_index=True)[1]]]


def _plain(z: float, width: float) -> float:
    """The number with fewest digits that is z as well as it is known."""
    if abs(z) <= width:
        return 0.0
    return next((short for digits in range(1, 13) if abs((short := float(f"{z:.{digits}g}")) - z) <= width), z)


def _panels(values: _Values, breaks: np.ndarray, size: float, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges of panels between breaks, and the distance of the singularity of each."""
    low, high = breaks[:-1], breaks[1:]
    sampled = values(samples)
    done: list[tuple[np.ndarray, np.ndarray]] = []
    for depth in range(_HALVINGS + 1):
        coefficients, rest = _rest(values(_nodes(low, high, _INNER)), _FROM_INNER, size)
        good = (rest <= 1) & _follows(coefficients, low, high, samples, sampled, size)
        middle = (low + high) / 2
        if depth == _HALVINGS or np.count_nonzero(~good) > _MOST:
            good = np.full_like(good, True)
        done.append((low[good], _distance(coefficients[good], (high - low)[good] / 2, size)))
        low, middle, high = low[~good], middle[~good], high[~good]
        if not len(low):
            break
        low, high = np.stack([low, middle], 1).ravel(), np.stack([middle, high], 1).ravel()
    starts, distances = (np.concatenate(parts) for parts in zip(*done, strict=True))
    order = np.argsort(starts)
    return np.append(starts[order], breaks[-1]), distances[order]


def _follows(
    coefficients: np.ndarray, low: np.ndarray, high: np.ndarray, samples: np.ndarray, sampled: np.ndarray, size: float
) -> np.ndarray:
    """True where the polynomial of a panel meets the samples in it: nothing narrow is between its own points."""
    panel = np.searchsorted(low, samples, side="right") - 1
    margin = 1e-9 * (high - low)
    inside = (panel >= 0) & np.isfinite(sampled)
    inside &= (samples > (low + margin)[panel]) & (samples < (high - margin)[panel])
    panel, z, wanted = panel[inside], samples[inside], sampled[inside]
    x = (2 * z - low[panel] - high[panel]) / (high - low)[panel]
    error = np.abs((chebvander(x, _POINTS - 1) * coefficients[panel]).sum(1) - wanted)
    magnitude = np.abs(coefficients)
    allowed = 100 * (_TAIL * magnitude[:, 1:].max(1) + _ROUNDING * np.maximum(magnitude.max(1), size))
    good = np.full(len(low), True)
    good[panel[error > allowed[panel]]] = False
    return good


def _distance(coefficients: np.ndarray, half: np.ndarray, size: float) -> np.ndarray:
    """Of the nearest singularity: coefficients fall as ρ^-k, with half axis l (ρ - 1/ρ)/2 of the ellipse."""
    magnitude = np.abs(coefficients)
    scale = np.maximum(magnitude.max(1), size) + np.finfo(float).tiny
    # variations far below the value itself need no more digits than it
    fall = np.maximum(magnitude[:, 1:].max(1), 1e-5 * scale) / np.maximum(magnitude[:, -3:].max(1), _ROUNDING * scale)
    rate = np.maximum(fall, 1 + 1e-3) ** (1 / (_POINTS - 3))
    return np.asarray(half * (rate - 1 / rate) / 2)
