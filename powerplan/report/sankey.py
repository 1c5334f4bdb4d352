"""The energy of an inference as ribbons from layers to components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: height of the view box; widths of the ribbons and of the bars at both ends, most room for names and that of a
#: letter, and of a line of text between bars
HEIGHT, FLOW = 360.0, 320.0
BAR, NAMES, LETTER, GAP = 10.0, 190.0, 9.5, 18.0
#: layers with ribbons of their own; the least of more are one
MOST_LAYERS = 12


@dataclass(frozen=True, kw_only=True)
class Ribbon:
    """What one component takes in one layer: its outline in the view box."""

    path: str
    style: int
    text: str


@dataclass(frozen=True, kw_only=True)
class End:
    """A bar with its name; ``anchor`` says on which side the name stands."""

    x: float
    y: float
    height: float
    name: str
    name_x: float
    anchor: str


@dataclass(frozen=True, kw_only=True)
class Sankey:
    """Bars at both ends and the ribbons between them; ``width`` of the view box, with room for the names."""

    width: float
    ribbons: tuple[Ribbon, ...]
    ends: tuple[End, ...]


def sankey(
    energies: np.ndarray, layers: Sequence[str], components: Sequence[str], texts: Mapping[tuple[int, int], str]
) -> Sankey:
    """Ribbons of energies (L, C) in the order of layers and components.

    Args:
        texts: what each ribbon says, by layer and component of those that :func:`largest` keeps.
    """
    rows, columns = energies.sum(1), energies.sum(0)
    room = HEIGHT - GAP * (max(energies.shape) - 1)
    scale = room / float(energies.sum())
    left, right = (np.concatenate([[0.0], np.cumsum(sums * scale + GAP)[:-1]]) for sums in (rows, columns))
    before, behind = (min(NAMES, 6 + LETTER * max(map(len, names))) for names in (layers, components))
    near, far = before + BAR, before + BAR + FLOW
    middle = 0.5 * (near + far)
    ribbons = []
    below = [left.copy(), right.copy()]
    for k, j in np.argwhere(energies > 0):
        high = float(energies[k, j] * scale)
        a, b = float(below[0][k]), float(below[1][j])
        below[0][k] += high
        below[1][j] += high
        path = (
            f"M{near:.1f} {a:.2f}C{middle:.1f} {a:.2f} {middle:.1f} {b:.2f} {far:.1f} {b:.2f}"
            f"V{b + high:.2f}C{middle:.1f} {b + high:.2f} {middle:.1f} {a + high:.2f} {near:.1f} {a + high:.2f}Z"
        )
        ribbons.append(Ribbon(path=path, style=int(j), text=texts[int(k), int(j)]))
    ends = [
        End(x=x, y=float(y), height=float(total * scale), name=name, name_x=at, anchor=anchor)
        for x, at, anchor, names, starts, sums in (
            (before, before - 6, "end", layers, left, rows),
            (far, far + BAR + 6, "start", components, right, columns),
        )
        for name, y, total in zip(names, starts, sums, strict=True)
    ]
    return Sankey(width=far + BAR + behind, ribbons=tuple(ribbons), ends=tuple(ends))


def largest(energies: np.ndarray, layers: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Energies (L, C) of so many layers as have ribbons of their own, in their order, and the sum of the others."""
    if len(layers) <= MOST_LAYERS:
        return energies, list(layers)
    kept = np.sort(np.argsort(-energies.sum(1), kind="stable")[: MOST_LAYERS - 1])
    rest = energies.sum(0) - energies[kept].sum(0)
    names = [layers[k] for k in kept]
    return np.vstack([energies[kept], rest]), [*names, f"{len(layers) - len(kept)} others"]
