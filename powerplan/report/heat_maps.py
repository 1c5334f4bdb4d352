"""Heat maps of the arrays of a plan: what their devices hold, lose to wires and err by, as small pictures.

The arrays of a layer are drawn in one picture, row tiles and groups one below the other, column tiles side by side,
drivers on the left and amplifiers below. Large arrays are drawn coarser, by means over blocks of devices.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from powerplan.hardware.costs.counts import count
from powerplan.moments.device_maps import DeviceMap, map_devices
from powerplan.network import Network
from powerplan.planning import Plan
from powerplan.report.text import typeset
from powerplan.units import percent, si

#: devices of a network up to which maps are made
MOST_DEVICES = 1 << 23
#: layers that are drawn, and arrays of one along either direction
MOST_LAYERS, MOST_ARRAYS = 12, 16
#: devices along either direction up to which every one is drawn
_CELLS = 96
#: longest side of a picture, and of a cell in it [CSS pixels]
_SIDE, _CELL = 300, 12
#: viridis, from low to high
COLOURS = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
_LEVELS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """One quantity of the devices of a layer, drawn: ``cells`` is nan between arrays, ``text`` writes a value."""

    name: str
    cells: np.ndarray
    text: Callable[[float], str]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value."""
        return float(np.nanmin(self.cells)), float(np.nanmax(self.cells))


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerHeat:
    """The arrays of a layer: what is drawn of them, and how, in words."""

    layer: str
    note: str
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A quantity for a page: a PNG as a data address, its size in CSS pixels, its ends and its text alternative."""

    name: str
    source: str
    width: int
    height: int
    low: str
    high: str
    description: str


@dataclass(frozen=True, kw_only=True)
class ArraysView:
    """The arrays of a plan for a page: name, note and pictures of the layers; what is left out."""

    layers: tuple[tuple[str, str, tuple[Picture, ...]], ...]
    left_out: str


def layer_heats(plan: Plan, network: Network) -> tuple[tuple[LayerHeat, ...], str]:
    """The arrays of the first layers of a plan, and what is left out, in words."""
    devices = count(network, plan.hardware).devices.sum()
    if devices > MOST_DEVICES:
        return (), f"Arrays are drawn of networks of up to {MOST_DEVICES:,} devices; this one has {int(devices):,}."
    heats = []
    layers = map_devices(network, plan.hardware, plan.gains)
    for maps, label, _ in zip(layers, network.layer_labels, range(MOST_LAYERS), strict=False):
        heats.append(_heat(maps, label))
    further = len(network.layer_names) - len(heats)
    return tuple(heats), f"{further} further layers are left out." if further else ""


def arrays_view(plan: Plan, network: Network | None) -> ArraysView:
    """What a page shows of the arrays of a plan; nothing without its network."""
    heats, left_out = ((), "") if network is None else layer_heats(plan, network)
    pictures = ((heat.layer, heat.note, tuple(picture(q, heat.layer) for q in heat.quantities)) for heat in heats)
    return ArraysView(layers=tuple(pictures), left_out=left_out)


def picture(quantity: Quantity, layer: str) -> Picture:
    """A quantity as a picture for a page."""
    rows, columns = quantity.cells.shape
    scale = min(_SIDE / rows, _SIDE / columns, _CELL)
    low, high = (typeset(quantity.text(end)) for end in quantity.ends)
    return Picture(
        name=quantity.name,
        source="data:image/png;base64," + base64.b64encode(_png(quantity.cells)).decode(),
        width=max(1, round(scale * columns)),
        height=max(1, round(scale * rows)),
        low=low,
        high=high,
        description=f"{quantity.name} of the devices of {layer}, in their places: {low} to {high}",
    )


def _heat(maps: Sequence[DeviceMap], label: str) -> LayerHeat:
    shown = [m for m in maps if m.group + m.row_tile < MOST_ARRAYS and m.column_tile + m.side < MOST_ARRAYS]
    rows, columns = (max(m.conductance.shape[axis] for m in maps) for axis in (0, 1))
    down = 1 + max(m.group for m in shown) + max(m.row_tile for m in shown)
    across = (1 + max(m.column_tile for m in shown)) * (1 + max(m.side for m in shown))
    block = -(-max(rows * down, columns * across) // _CELLS)
    draw = partial(_mosaic, shown, block)
    siemens, share = partial(si, unit="S", digits=3), partial(percent, digits=3)
    quantities = [Quantity(name="Conductance", cells=draw(lambda m: m.conductance), text=siemens)]
    note = f"{len(maps)} arrays of" if len(maps) > 1 else "One array of"
    note += f" up to {rows} × {columns} devices" if len(maps) > 1 else f" {rows} × {columns} devices"
    note += f", of which {len(shown)} are drawn" if len(shown) < len(maps) else ""
    note += f"; a cell is the mean of {block} × {block} devices." if block > 1 else "; a cell is a device."
    if maps[0].drop is not None:
        quantities.append(Quantity(name="Drop by wires", cells=draw(lambda m: m.drop), text=share))
        note += _dropped([(m.mean_drop, m) for m in maps if m.mean_drop is not None])
    quantities.append(Quantity(name="Error of weights", cells=draw(lambda m: m.error), text=share))
    return LayerHeat(layer=label, note=typeset(note), quantities=tuple(quantities))


def _dropped(drops: Sequence[tuple[float, DeviceMap]]) -> str:
    """What wires take off the currents of the arrays, as a sentence."""
    (worst, at), (least, _) = (pick(drops, key=lambda drop: drop[0]) for pick in (max, min))
    if len(drops) == 1:
        return f" Wires take {percent(worst, 3)} off its currents."
    place = f"row tile {at.row_tile + 1}, column tile {at.column_tile + 1}"
    return f" Wires take {percent(least, 3)} to {percent(worst, 3)} off the currents of an array, most at {place}."


def _mosaic(maps: Sequence[DeviceMap], block: int, values: Callable[[DeviceMap], np.ndarray | None]) -> np.ndarray:
    """The means of blocks of all arrays in their places, a line of nan around each."""
    placed: dict[tuple[int, int], np.ndarray] = {}
    sides = 1 + max(m.side for m in maps)
    tiles = 1 + max(m.row_tile for m in maps)
    for m in maps:
        value = values(m)
        assert value is not None
        placed[m.group * tiles + m.row_tile, m.column_tile * sides + m.side] = _means(value, block)
    down, across = sorted({row for row, _ in placed}), sorted({column for _, column in placed})
    heights = {row: max(v.shape[0] for (r, _), v in placed.items() if r == row) for row in down}
    widths = {column: max(v.shape[1] for (_, c), v in placed.items() if c == column) for column in across}
    cells = np.full((sum(heights.values()) + len(down) + 1, sum(widths.values()) + len(across) + 1), np.nan)
    for (row, column), value in placed.items():
        top = 1 + sum(heights[r] + 1 for r in down if r < row)
        left = 1 + sum(widths[c] + 1 for c in across if c < column)
        cells[top : top + value.shape[0], left : left + value.shape[1]] = value
    return cells


def _means(values: np.ndarray, block: int) -> np.ndarray:
    """Means over blocks of so many rows and columns; those at the end may be smaller."""
    starts = [np.arange(0, size, block) for size in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    lengths = [np.diff(np.append(start, size)) for start, size in zip(starts, values.shape, strict=True)]
    return np.asarray(sums / np.outer(*lengths))


def _png(cells: np.ndarray) -> bytes:
    """Cells in colour, as a PNG with a palette; the page shows through where they are nan."""
    low, high = np.nanmin(cells), np.nanmax(cells)
    place = (cells - low) / (high - low) if high > low else np.where(np.isnan(cells), np.nan, 0.5)
    index = np.where(np.isnan(place), 0, 1 + np.round(np.nan_to_num(place) * (_LEVELS - 1))).astype(np.uint8)
    stops = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in COLOURS], dtype=float)
    at = np.linspace(0, len(stops) - 1, _LEVELS)
    ramp = np.stack([np.interp(at, np.arange(len(stops)), stops[:, k]) for k in range(3)], 1)
    palette = np.vstack([[0, 0, 0], np.round(ramp)]).astype(np.uint8)
    lines = np.pad(index, ((0, 0), (1, 0))).tobytes()  # every line begins with its filter, none

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", cells.shape[1], cells.shape[0], 8, 3, 0, 0, 0)
    colours = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", b"\0")
    image = chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + colours + image
