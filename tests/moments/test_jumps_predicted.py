"""Networks with jumps and kinks between their layers: predicted as simulated, planned, saved."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
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


ROUNDING: Sequence[Sequence[Any]] = [("mul", VALUE, 32.0), ("round", {"step": 0}), ("mul", {"step": 1}, 1 / 32)]


def chain(program: Sequence[Sequence[Any]], *sizes: int) -> Network:
    """Linear layers between sizes, without biases, the function behind all but the last."""
    steps = tuple((step, tuple(arguments), {}) for step, *arguments in program)
    rng, nodes, before = np.random.default_rng(3), [], "input"
    for i, (size, width) in enumerate(pairwise(sizes)):
        weight = rng.normal(size=(width, size)) / np.sqrt(size)
        nodes.append(Node(name=f"layer{i}", op=Linear(weight=weight), inputs=(before,)))
        if i < len(sizes) - 2:
            function = Function(steps=steps, inputs=((width,),), shape=(width,), label="jump")
            nodes.append(Node(name=f"function{i}", op=function, inputs=(f"layer{i}",)))
        before = nodes[-1].name
    return Network(input_shape=(sizes[0],), nodes=tuple(nodes))


def test_samples_are_taken_where_noise_is_small_beside_the_steps_of_a_rounding() -> None:
    """Steps of 1/32: noise over several of them needs none; within one, errors are whole steps, rare and large."""
    net = chain(ROUNDING, 8, 16, 16, 3)
    for noise, taken in ((1e-6, False), (1e-8, True)):
        hardware = pp.Hardware(programming_noise_std=noise)
        gains = pp.Gains.full_range(net, hardware, INPUTS[:1])
        predicted = pp.predict(net, hardware, gains, INPUTS[:1], sampling_error=0.5)
        assert (predicted.marginal_fields > 0, predicted.mse_standard_error > 0) == (taken, taken)
        assert pp.predict(net, hardware, gains, INPUTS[:1], marginal_fields=0).marginal_fields == 0
        assert pp.predict(net, hardware, gains, INPUTS[:1], marginal_fields=64).marginal_fields == 64


@pytest.mark.slow
def test_rounding_is_predicted_as_it_says() -> None:
    """Two roundings in series, noise of less than half a step: within three standard errors of both, and 5 %."""
    net, hardware = chain(ROUNDING, 8, 16, 16, 3), pp.Hardware(programming_noise_std=5e-8)
    gains = pp.Gains.full_range(net, hardware, INPUTS)
    simulated = pp.simulate(net, hardware, gains, INPUTS, draws=8000, seed=0)
    predicted = pp.predict(net, hardware, gains, INPUTS)
    chance = np.hypot(simulated.mse_standard_error, predicted.mse_standard_error)
    assert abs(predicted.mse - simulated.mse) < min(3 * chance, 0.05 * simulated.mse)


@pytest.mark.slow
def test_signs_in_a_larger_network_are_predicted_as_it_says() -> None:
    """784-128-64-10 units with few samples in a round: within three standard errors of both."""
    net, hardware = chain(PROGRAMS["sign"], 784, 128, 64, 10), pp.Hardware(programming_noise_std=1e-6)
    inputs = np.random.default_rng(11).normal(size=(64, 784))
    gains = pp.Gains.full_range(net, hardware, inputs)
    simulated = pp.simulate(net, hardware, gains, inputs, draws=3000, seed=0)
    predicted = pp.predict(net, hardware, gains, inputs)
    assert predicted.mse_standard_error < 0.003 * predicted.mse
    chance = np.hypot(simulated.mse_standard_error, predicted.mse_standard_error)
    assert abs(predicted.mse - simulated.mse) < 3 * chance
