"""Networks with jumps and kinks between their layers: predicted as simulated, planned, saved."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.network import Linear, Network, Node
from powerplan.network.ops import Function

VALUE, WIDTH = {"value": 0}, 24
PROGRAMS: dict[str, Sequence[Sequence[Any]]] = {
    "sign": [("sign", VALUE)],
    "threshold": [("threshold", VALUE, 0.3, 0.0)],
    "step": [("gt", VALUE, 0.2)],
    "quarters": [("mul", VALUE, 4.0), ("round", {"step": 0}), ("mul", {"step": 1}, 0.25)],
    "hardshrink": [("hardshrink", VALUE, 0.5)],
    "abs": [("abs", VALUE)],
    "root": [("abs", VALUE), ("sqrt", {"step": 0})],
}
INPUTS = np.random.default_rng(1).normal(size=(8, 8))


def network(name: str, layers: int) -> Network:
    """8 inputs, so many hidden layers of width 24 with the function behind them, 5 outputs."""
    steps = tuple((step, tuple(arguments), {}) for step, *arguments in PROGRAMS[name])
    function = Function(steps=steps, inputs=((WIDTH,),), shape=(WIDTH,), label=name)
    rng, nodes, before, size = np.random.default_rng(0), [], "input", 8
    for i in range(layers):
        weight = rng.normal(size=(WIDTH, size)) / np.sqrt(size)
        nodes.append(
            Node(name=f"layer{i}", op=Linear(weight=weight, bias=0.1 * rng.normal(size=WIDTH)), inputs=(before,))
        )
        nodes.append(Node(name=f"function{i}", op=function, inputs=(f"layer{i}",)))
        before, size = f"function{i}", WIDTH
    nodes.append(Node(name="out", op=Linear(weight=rng.normal(size=(5, WIDTH)) / np.sqrt(WIDTH)), inputs=(before,)))
    return Network(input_shape=(8,), nodes=tuple(nodes))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [5e-7, 2e-6])
@pytest.mark.parametrize("name", PROGRAMS)
def test_mse_behind_one_function_is_that_of_simulation(name: str, noise: float) -> None:
    """By all three methods within 3 %, simulated to 1 %: what reaches the function is nearly Gaussian."""
    net, hardware = network(name, 1), pp.Hardware(programming_noise_std=noise)
    gains = pp.Gains.full_range(net, hardware, INPUTS)
    simulated = pp.simulate(net, hardware, gains, INPUTS, draws=20_000, relative_standard_error=0.007, seed=0)
    assert simulated.mse_standard_error < 0.01 * simulated.mse
    for method in ("linearized", "diagonal", "covariance"):
        predicted = pp.predict(net, hardware, gains, INPUTS, method=method)
        assert predicted.mse == pytest.approx(simulated.mse, rel=0.03), method


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_mse_behind_two_functions_is_that_of_simulation(name: str) -> None:
    """Within 3 %, simulated to 1 %: samples know that what a jump makes of noise is not Gaussian."""
    net, hardware = network(name, 2), pp.Hardware(programming_noise_std=2e-6)
    gains = pp.Gains.full_range(net, hardware, INPUTS)
    simulated = pp.simulate(net, hardware, gains, INPUTS, draws=4000, seed=0)
    assert simulated.mse_standard_error < 0.01 * simulated.mse
    assert pp.predict(net, hardware, gains, INPUTS).mse == pytest.approx(simulated.mse, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "abs"])
def test_plans_and_files(name: str) -> None:
    """A plan meets its target when simulated; a network comes back from a file as the same."""
    net, hardware = network(name, 1), pp.Hardware(programming_noise_std=1e-6)
    stream = io.BytesIO()
    net.save(stream)
    again = Network.load(io.BytesIO(stream.getvalue()))
    assert again.digest == net.digest
    plan = pp.plan(again, hardware, INPUTS, pp.MaxNMSE(0.05))
    simulated = pp.simulate(net, hardware, plan.gains, INPUTS, draws=2000, seed=0)
    assert simulated.nmse == pytest.approx(0.05, rel=0.03 + 4 * simulated.mse_standard_error / simulated.mse)
