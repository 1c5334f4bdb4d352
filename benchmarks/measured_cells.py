"""Measured devices against what is predicted from their moments, on the digits network.

16 292 RRAM cells were programmed to 32 levels and read at five times (the file data/techC/relaxdata.min.tsv.gz of the
public repository akashlevy/RRAM-Relaxation-Master-Model, MIT licence). A device of a target between two levels holds
the same quantile of both, u drawn at random, on a straight line between them. powerplan is told mean and spread of the
cells of each level, and what each level was programmed to: the mean just after programming.

    python -m benchmarks.measured_cells [--json FILE]       POWERPLAN_CELLS names the file
    python -m benchmarks.measured_cells --excerpt FILE      every eighth cell, as the tests use them
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import powerplan as pp
from benchmarks.common import run
from powerplan.hardware.aging import Snapshot
from powerplan.network.ops import Linear

#: environment variable that names the file of the cells
CELLS = "POWERPLAN_CELLS"
LEVELS = 32
_DRAWS = 1000
_EVERY = 8
_NANO = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Conductances [S] at each time [s] after programming, sorted, one array per level."""

    by_time: dict[float, list[np.ndarray]]

    @property
    def targets(self) -> np.ndarray:
        """What every level was programmed to (LEVELS,) [S]: its mean at time 0."""
        return np.array([cells.mean() for cells in self.by_time[0.0]])

    @property
    def later(self) -> tuple[float, ...]:
        """The times after time 0."""
        return tuple(time for time in self.by_time if time > 0)

    def snapshot(self, time: float, targets: np.ndarray) -> Snapshot:
        """Mean and standard deviation of every level, entered at ``targets``."""
        levels = self.by_time[time]
        return Snapshot.table(targets, [c.mean() for c in levels], [c.std() for c in levels], time=time)

    def hardware(self, time: float, **changes: Any) -> pp.Hardware:
        """Devices between the lowest and the highest level."""
        targets = self.targets
        fields = {"conductance_min": targets[0], "conductance_max": targets[-1], "time": time}
        return pp.Hardware(measurements=(self.snapshot(time, targets),), **(fields | changes))

    def draw(self, time: float, target: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """What devices of ``target`` [S] hold: cells of the two levels around it."""
        levels = self.by_time[time]
        place = np.interp(target, self.targets, np.arange(LEVELS))
        lower = np.minimum(place.astype(int), LEVELS - 2)
        quantile = random.random(target.shape)
        programmed = np.empty((2, *target.shape))
        for level, cells in enumerate(levels):
            for side in range(2):
                here = lower + side == level
                programmed[side][here] = cells[(quantile[here] * len(cells)).astype(int)]
        weight = place - lower
        conductances: np.ndarray = (1 - weight) * programmed[0] + weight * programmed[1]
        return conductances


def read_published(path: Path) -> Cells:
    """The published table: level in column 6, time in column 7, conductance [S] in column 4."""
    with gzip.open(path, "rt") as lines:
        rows = np.array([[float(row[k]) for k in (3, 5, 6)] for row in csv.reader(lines, delimiter="\t")])
    conductance, level, time = rows.T
    chosen = {float(t): [np.sort(conductance[(time == t) & (level == k)]) for k in range(LEVELS)] for t in set(time)}
    return Cells(by_time=dict(sorted(chosen.items())))


def write_excerpt(cells: Cells, path: Path) -> None:
    """Every eighth of the sorted cells of each level: a line of time [s], level, conductances [nS]."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for time, levels in cells.by_time.items():
            for level, level_cells in enumerate(levels):
                writer.writerow([f"{time:g}", level, *(f"{g / _NANO:.0f}" for g in level_cells[_EVERY // 2 :: _EVERY])])


def read_excerpt(path: Path) -> Cells:
    """What :func:`write_excerpt` wrote."""
    by_time: dict[float, list[np.ndarray]] = {}
    with path.open(encoding="utf-8") as file:
        for time, _, *cells in csv.reader(file):
            by_time.setdefault(float(time), []).append(_NANO * np.array(cells, dtype=float))
    return Cells(by_time=by_time)


def drawn_errors(cells: Cells, time: float, example: pp.Example, draws: int, seed: int = 0) -> np.ndarray:
    """NMSE of every draw of the network's devices, at gains of the whole range."""
    random = np.random.default_rng(seed)
    network, inputs = example.network, example.inputs
    low, high = cells.targets[[0, -1]]
    ideal = network(inputs)
    operations = [node.op for node in network.crossbars if isinstance(node.op, Linear)]
    errors = np.zeros(draws)
    for k in range(draws):
        x = np.asarray(inputs, dtype=float)
        for layer, operation in enumerate(operations):
            weight = np.asarray(operation.matrix, dtype=float)
            gain = (high - low) / np.abs(weight).max()
            sides = [cells.draw(time, low + gain * np.maximum(sign * weight, 0), random) for sign in (1, -1)]
            x = x @ ((sides[0] - sides[1]) / gain).T + (0.0 if operation.bias is None else operation.bias)
            x = np.maximum(x, 0) if layer + 1 < len(operations) else x
        errors[k] = ((x - ideal) ** 2).mean()
    return errors / float((ideal**2).mean())


def predicted(example: pp.Example, hardware: pp.Hardware) -> float:
    """Predicted NMSE at gains of the whole range."""
    gains = pp.Gains.full_range(example.network, hardware, example.inputs)
    return pp.predict(example.network, hardware, gains, example.inputs).nmse


def tables(cells: Cells, time: float) -> dict[str, pp.Hardware]:
    """The same cells, told in several ways."""
    targets = cells.targets
    at_zero = np.append(0.0, targets[1:])
    as_measured = cells.hardware(time)
    clipped = as_measured.replace(clip_conductance=True)
    with warnings.catch_warnings():  # the table is wrong on purpose
        warnings.simplefilter("ignore", pp.MeasurementWarning)
        wrong = cells.snapshot(time, at_zero)
    return {
        "as_measured": as_measured,
        "clipped": clipped,
        "clipped_and_2uS": clipped.replace(programming_noise_std=2e-6),
        "lowest_at_0": as_measured.replace(conductance_min=0.0, measurements=(wrong,)),
    }


def measure() -> dict[str, Any]:
    """Every time after programming."""
    if CELLS not in os.environ:
        sys.exit(f"Set {CELLS} to the path of relaxdata.min.tsv.gz.")
    cells, example = read_published(Path(os.environ[CELLS])), pp.load_example("digits")
    rows = []
    for time in cells.later:
        drawn = drawn_errors(cells, time, example, _DRAWS)
        rows.append(
            {
                "time_s": time,
                "cells_nmse": float(drawn.mean()),
                "standard_error": float(drawn.std(ddof=1)) / math.sqrt(_DRAWS),
                **{name: predicted(example, hardware) for name, hardware in tables(cells, time).items()},
            }
        )
        print(rows[-1], flush=True)
    return {"draws": _DRAWS, "inputs": len(example.inputs), "times": rows}


if __name__ == "__main__":
    if "--excerpt" in sys.argv:
        write_excerpt(read_published(Path(os.environ[CELLS])), Path(sys.argv[-1]))
    else:
        run(__doc__, measure)
