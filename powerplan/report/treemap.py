"""A treemap of power: a rectangle per layer, as large as its power, divided among what draws it.

Rectangles are laid out by squarifying (Bruls, Huizing and van Wijk, "Squarified Treemaps", 2000): rows along the
shorter side, each as long as its rectangles come nearer to squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.moments.prediction import Prediction
from powerplan.report.text import typeset
from powerplan.units import share, si

#: size in units of the view box, and the least width and height of a rectangle with a label, by its characters
WIDTH, HEIGHT = 720.0, 240.0
_CHARACTER, _LINE = 8.0, 17.0
#: how much larger labels are on a phone, where the whole is half as large
ON_A_PHONE = 1.8
#: layers with a rectangle of their own; the others are one together
MOST_LAYERS = 60
#: what draws power, by its look
SOURCES = {"": "devices", "hollow": "feedback of amplifiers", "pale": "converters"}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A rectangle in the view box; ``look`` is that of its source, ``text`` a tooltip."""

    x: float
    y: float
    width: float
    height: float
    look: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """The lines of a layer at the upper left corner of its rectangle, where they fit; ``wide`` if on a phone they do
    not."""

    x: float
    y: float
    lines: tuple[str, ...]
    wide: bool


@dataclass(frozen=True, kw_only=True)
class Treemap:
    """Rectangles of sources, outlines of layers, labels, and the text alternative."""

    description: str
    tiles: tuple[Tile, ...]
    layers: tuple[Tile, ...]
    labels: tuple[Label, ...]
    sources: tuple[tuple[str, str], ...]
    width: float = WIDTH
    height: float = HEIGHT


def power_treemap(prediction: Prediction) -> Treemap | None:
    """The power of a prediction; None with fewer than two layers that draw any."""
    parts = np.stack(
        [prediction.array_power_by_layer, prediction.tia_power_by_layer, prediction.converter_power_by_layer], axis=1
    )
    order = [int(i) for i in np.argsort(-parts.sum(1), kind="stable") if parts[i].sum() > 0]
    if len(order) < 2:
        return None
    shown = order[: MOST_LAYERS - 1] if len(order) > MOST_LAYERS else order
    names = [prediction.layer_labels[i] for i in shown]
    powers = [parts[i] for i in shown]
    if len(shown) < len(order):
        names.append(f"{len(order) - len(shown)} more layers")
        powers.append(parts[order[len(shown) :]].sum(0))
    total = float(parts.sum())
    tiles: list[Tile] = []
    layers: list[Tile] = []
    labels: list[Label] = []
    places = squarified([float(power.sum()) for power in powers], WIDTH, HEIGHT)
    for name, power, (x, y, width, height) in zip(names, powers, places, strict=True):
        own = float(power.sum())
        begun = 0.0
        layers.append(_tile(x, y, width, height, "layer", ""))
        for (look, source), watts in zip(SOURCES.items(), power.tolist(), strict=True):
            if watts > 0:
                long = watts / own
                tile = (x + begun * width, y, long * width, height)
                if height > width:
                    tile = (x, y + begun * height, width, long * height)
                tip = typeset(f"{name}, {source}: {si(watts, 'W')}, {share(watts, total)} of the power")
                tiles.append(_tile(*tile, look, tip))
                begun += long
        words = (name, si(own, "W", 3), share(own, total))
        lines = next(filter(lambda some: _fits(some, width, height), ((name, ", ".join(words[1:])), words)), ())
        if lines:
            larger = not _fits(lines, width / ON_A_PHONE, height / ON_A_PHONE)
            labels.append(Label(x=round(x + 8, 1), y=round(y, 1), lines=tuple(map(typeset, lines)), wide=larger))
    largest = ", ".join(f"{n} {share(float(p.sum()), total)}" for n, p in list(zip(names, powers, strict=True))[:5])
    return Treemap(
        description=typeset(f"Power of {si(total, 'W')} by layer: {largest}."),
        tiles=tuple(tiles),
        layers=tuple(layers),
        labels=tuple(labels),
        sources=tuple(
            (look, words) for (look, words), sum_of in zip(SOURCES.items(), parts.sum(0), strict=True) if sum_of
        ),
    )


def _fits(lines: Sequence[str], width: float, height: float) -> bool:
    return max(map(len, lines)) * _CHARACTER < width - 12 and height - 6 > len(lines) * _LINE


def _tile(x: float, y: float, width: float, height: float, look: str, text: str) -> Tile:
    return Tile(x=round(x, 1), y=round(y, 1), width=round(width, 1), height=round(height, 1), look=look, text=text)


def squarified(areas: Sequence[float], width: float, height: float) -> list[tuple[float, float, float, float]]:
    """(x, y, width, height) of rectangles that fill width × height, in proportion to areas > 0 that do not increase."""
    scale = width * height / sum(areas)
    left = [area * scale for area in areas]
    places: list[tuple[float, float, float, float]] = []
    x = y = 0.0
    while left:
        side = min(width, height)
        count = 1
        while count < len(left) and _worst(left[: count + 1], side) <= _worst(left[:count], side):
            count += 1
        row, left = left[:count], left[count:]
        deep, along = sum(row) / side, 0.0
        for area in row:
            long = area / deep
            places.append((x, y + along, deep, long) if width >= height else (x + along, y, long, deep))
            along += long
        if width >= height:
            x, width = x + deep, width - deep
        else:
            y, height = y + deep, height - deep
    return places


def _worst(row: Sequence[float], side: float) -> float:
    """The largest ratio of sides of the rectangles of a row along a side."""
    deep = sum(row) / side
    return max(max(area / deep / deep, deep * deep / area) for area in row)
