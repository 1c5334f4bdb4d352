"""Max-pooling before a non-decreasing activation: the same function, with better moments."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments.rules import linearize
from powerplan.moments.walks.reorder import maxima_first
from powerplan.network import ops
from powerplan.network.node import Node

POOLS = [ops.MaxPool(kernel=(3, 3), stride=(2, 2), padding=(1, 1)), ops.AdaptiveMaxPool(size=(2, 3))]


def network(activation: ops.Activation, pool: ops.Op, *, branch: bool = False) -> pp.Network:
    rng = np.random.default_rng(0)
    nodes = [
        Node(name="conv", op=ops.Conv(weight=rng.normal(size=(3, 2, 3, 3))), inputs=("input",)),
        Node(name="act", op=activation, inputs=("conv",)),
        Node(name="pool", op=pool, inputs=("act",)),
        Node(name="flat", op=ops.Flatten(), inputs=("pool",)),
    ]
    if branch:
        nodes[3:] = [
            Node(name="other", op=ops.AdaptiveAveragePool(size=(1, 1)), inputs=("act",)),
            Node(name="sum", op=ops.Add(), inputs=("pool", "other")),
        ]
    return pp.Network(input_shape=(2, 7, 8), nodes=tuple(nodes))


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("kind", ops.ACTIVATIONS)
def test_the_function_is_the_same(kind: str, pool: ops.Op) -> None:
    """For every activation; those that decrease somewhere stay where they are."""
    before = network(ops.Activation(kind=kind), pool)
    after = maxima_first(before)
    x = 3 * np.random.default_rng(1).normal(size=(4, *before.input_shape))
    np.testing.assert_allclose(after(x), before(x), rtol=1e-12)
    moved = kind not in ("gelu", "gelu_tanh", "silu", "mish", "hard_swish")
    assert (after is not before) == moved
    assert after is maxima_first(before)
    assert [node.name for node in after.nodes] == [node.name for node in before.nodes]


def test_parameters_decide() -> None:
    falling = ops.Activation(kind="leaky_relu", parameters={"negative_slope": -0.1})
    before = network(falling, POOLS[0])
    assert maxima_first(before) is before
    assert (
        maxima_first(network(ops.Activation(kind="elu", parameters={"alpha": -1.0}), POOLS[0])).nodes[1].op != POOLS[0]
    )


def test_an_activation_read_elsewhere_stays() -> None:
    before = network(ops.Activation(kind="relu"), POOLS[0], branch=True)
    assert maxima_first(before) is before


@pytest.mark.parametrize("mu", [-0.7, 0.0, 0.5])
def test_moments_are_better(mu: float) -> None:
    """Four independent rectified Gaussians: maxima first are within 7 % in std, else 25 % off or more."""
    relu, pool = ops.Activation(kind="relu"), ops.MaxPool(kernel=(4,))
    mean, variance = torch.full((1, 1, 4), mu, dtype=torch.float64), torch.ones(1, 1, 4, dtype=torch.float64)
    draws = torch.randn(200_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + mu
    values = draws.amax(1).relu()

    def moments(*order: ops.Op) -> tuple[float, float]:
        m, v = mean, variance
        for op in order:
            step = linearize(op, [m], [v])
            m, v = step.mean, step.variance
        return float(m), float(v.sqrt())

    first, std = moments(pool, relu)
    assert first == pytest.approx(float(values.mean()), abs=0.02 * float(values.std()))
    assert std == pytest.approx(float(values.std()), rel=0.07)
    assert moments(relu, pool)[1] < 0.75 * float(values.std())
