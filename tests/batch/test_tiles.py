"""Plans over sizes of arrays are those of each size alone; what smaller arrays cost is counted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.batch.table import rows

_RNG = np.random.default_rng(0)
NETWORK = pp.Network.mlp([_RNG.normal(size=(5, 4)), _RNG.normal(size=(3, 5))], [np.zeros(5), np.zeros(3)])
INPUTS = _RNG.normal(size=(8, 4))
WIRED = pp.Hardware(programming_noise_std=0.5e-6, wire_resistance_row=300.0, array_rows=8, array_columns=8)


def test_each_size_is_a_plan_of_its_own(tmp_path: Path) -> None:
    target = pp.MaxNMSE(0.2)
    tiles = pp.plan_tiles(NETWORK, WIRED, INPUTS, target, sizes=(2, (3, 4)), granularity="network")
    alone = pp.plan(NETWORK, WIRED.replace(array_rows=3, array_columns=4), INPUTS, target, granularity="network")
    small, middle = tiles.sizes
    assert middle.power == alone.power
    # weights (5, 4) and (3, 5); an array has columns for one output, or for two
    assert (small.array_count, small.conversions) == (2 * 5 + 3 * 3, 2 * 5 + 3 * 3)
    assert (middle.array_count, middle.conversions) == (2 * 3 + 2 * 2, 2 * 5 + 2 * 3)
    assert small.power is not None
    assert middle.power is not None
    assert tiles.best() == tiles.best("energy") == (small if small.power < middle.power else middle)
    row = rows(tiles)[1]
    assert row["largest_wire_drop"] == np.max(alone.prediction.largest_wire_drop_by_layer)
    assert row["wire_bias"] == np.sum(alone.prediction.wire_bias_by_layer)
    lines = tiles.table().splitlines()
    assert lines[0].split()[-3:] == ["arrays", "conversions", "outcome"]
    assert lines[2].split()[-3:] == ["19", "19", "optimal"]
    tiles.report(tmp_path / "tiles.html")
    page = (tmp_path / "tiles.html").read_text()
    assert re.search(r"Conversions</th>\s*<td>19</td>\s*<td>16</td>", page)  # side by side


def test_sizes_that_miss_the_target_say_why(tmp_path: Path) -> None:
    hardware = WIRED.replace(wire_resistance_row=0.0)  # a search without wires takes half as long
    tiles = pp.plan_tiles(NETWORK, hardware, INPUTS, pp.MaxNMSE(1e-6), sizes=(2, 6), granularity="network")
    assert not any(size.feasible for size in tiles.sizes)
    assert all("The lowest reachable NMSE" in size.reason for size in tiles.sizes)
    figure = tiles.plot(tmp_path / "tiles.svg")
    assert all(text.get_text().startswith("out of reach") for text in figure.axes[0].texts)


def test_energy_is_that_with_costs_where_there_are() -> None:
    hardware = WIRED.replace(adc_bits=8, dac_bits=8, costs="node_32nm")
    tiles = pp.plan_tiles(NETWORK, hardware, INPUTS, pp.MaxNMSE(0.2), sizes=(2, 6), granularity="network")
    small, large = tiles.sizes
    assert small.plan is not None
    assert small.plan.costs is not None
    assert small.energy == small.plan.costs.energy
    assert tiles.best("energy") == large  # of fewer conversions
    assert "least energy with costs: array_rows=6" in tiles.table()


@pytest.mark.parametrize("sizes", [(), (64, 64), (0,), (-2, 4), ((2, 3, 4),), (2.5,), (float("nan"),), "64", 64])
def test_sizes_that_are_none_are_refused(sizes: Any) -> None:
    with pytest.raises(pp.InvalidInput, match="sizes: got"):
        pp.plan_tiles(NETWORK, WIRED, INPUTS, pp.MaxNMSE(0.1), sizes=sizes)
