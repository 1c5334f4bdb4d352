"""Arrays solved row by row against a nodal analysis of the whole network."""

import numpy as np
import pytest
import torch
from nodal_analysis import nodal

from powerplan.hardware.wires.circuit import Wires
from powerplan.hardware.wires.ladder import solve

WIRES = {
    "equal": Wires(row=1.0, column=1.0, driver=1.0, sense=1.0),
    "unequal": Wires(row=3.0, column=0.4, driver=120.0, sense=45.0),
    "strong": Wires(row=40.0, column=25.0, driver=500.0, sense=300.0),
    "no rows": Wires(row=0.0, column=2.0, driver=0.0, sense=10.0),
    "no columns": Wires(row=2.0, column=0.0, driver=10.0, sense=0.0),
    "terminals": Wires(row=0.0, column=0.0, driver=80.0, sense=30.0),
    "wires": Wires(row=2.0, column=3.0),
    "none": Wires(),
    "both ends": Wires(row=2.0, column=1.0, driver=20.0, sense=5.0, both_ends=True),
    "both ends, wires": Wires(row=2.0, column=1.0, both_ends=True),
}
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (7, 5), (5, 12), (16, 16)]


def devices(rows: int, columns: int) -> np.ndarray:
    """Conductances with unused (0) and stuck devices."""
    rng = np.random.default_rng(rows * 100 + columns)
    g = rng.uniform(1e-6, 1e-4, (rows, columns))
    g[rng.random(g.shape) < 0.2] = 0.0
    g[rng.random(g.shape) < 0.1] = 1e-4
    g[0, 0] = 1e-4
    return g


def assert_as_nodal(g: np.ndarray, wires: Wires) -> None:
    currents, power, amplifiers = nodal(
        g, row=wires.row, column=wires.column, driver=wires.driver, sense=wires.sense, both_ends=wires.both_ends
    )
    solved = solve(torch.as_tensor(g), wires)
    for name, ours, theirs in zip(solved._fields, solved, (currents, power, amplifiers), strict=True):
        error = np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()
        assert error < 1e-9, f"{name}: {error:.1e}"


@pytest.mark.parametrize("wires", WIRES.values(), ids=WIRES.keys())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_currents_power_and_what_amplifiers_see_are_those_of_the_network(shape, wires):
    assert_as_nodal(devices(*shape), wires)


@pytest.mark.slow
def test_an_array_of_40_rows_and_columns():
    assert_as_nodal(devices(40, 40), WIRES["unequal"])


def test_arrays_are_solved_many_at_a_time():
    g = torch.as_tensor(np.stack([devices(6, 4), devices(6, 4) / 2])).reshape(2, 1, 6, 4)
    together = solve(g, WIRES["unequal"])
    for k in range(2):
        alone = solve(g[k, 0], WIRES["unequal"])
        for name, both, one in zip(alone._fields, together, alone, strict=True):
            torch.testing.assert_close(both[k, 0], one, rtol=1e-12, atol=0, msg=name)
