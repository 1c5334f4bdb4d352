"""The covariance method on graphs: convolutions, joins, products; exact where it should be, against simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments.rules import beyond_linear, linearize
from powerplan.moments.walks import joint
from powerplan.network import ops
from powerplan.network.digital import digital
from powerplan.network.node import Node

EVERY_NOISE = {
    "conductance_min": 1e-6,
    "programming_noise_std": 4e-6,
    "programming_noise_proportional": 0.05,
    "read_noise_std": 2e-7,
    "input_noise_std": 4e-3,
    "column_gain_std": 0.03,
}
#: one draw of an array per position takes longer
DRAWS = {"shared": 2000, "unrolled": 600}


def graph(input_shape: tuple[int, ...], *nodes: tuple[str, ops.Op, tuple[str, ...]]) -> pp.Network:
    return pp.Network(input_shape=input_shape, nodes=tuple(Node(name=n, op=op, inputs=i) for n, op, i in nodes))


def kernel(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))


def residual(activation: str = "identity") -> pp.Network:
    """Two convolutions with a skip connection, grouped and strided, joined by sum and by concatenation."""
    rng = np.random.default_rng(3)
    return graph(
        (2, 6, 5),
        ("a", ops.Conv(weight=kernel(rng, 4, 2, 3, 3), bias=rng.normal(size=4), padding=((1, 1), (1, 1))), ("input",)),
        ("f", ops.Activation(kind=activation), ("a",)),
        ("b", ops.Conv(weight=kernel(rng, 4, 2, 3, 3), padding=((1, 1), (1, 1)), groups=2), ("f",)),
        ("sum", ops.Add(), ("f", "b")),
        ("g", ops.Activation(kind=activation), ("sum",)),
        ("c", ops.Conv(weight=kernel(rng, 3, 4, 2, 2), stride=(2, 2)), ("g",)),
        ("d", ops.Conv(weight=kernel(rng, 2, 4, 2, 2), stride=(2, 2), dilation=(1, 1)), ("g",)),
        ("both", ops.Concat(axis=0), ("c", "d")),
        ("flat", ops.Flatten(), ("both",)),
        ("out", ops.Linear(weight=kernel(rng, 3, 30)), ("flat",)),
    )


def upward(activation: str = "identity") -> pp.Network:
    """A transposed convolution whose windows overlap, an average and a linear layer on tokens."""
    rng = np.random.default_rng(4)
    return graph(
        (3, 4),
        ("t", ops.ConvTranspose(weight=kernel(rng, 3, 2, 3), stride=(2,), padding=((1, 0),)), ("input",)),
        ("f", ops.Activation(kind=activation), ("t",)),
        ("pool", ops.AveragePool(kernel=(2,)), ("f",)),
        ("tokens", ops.Permute(axes=(1, 0)), ("pool",)),
        ("out", ops.Linear(weight=kernel(rng, 3, 2)), ("tokens",)),
    )


def gated() -> pp.Network:
    """x · W x with both factors noisy and correlated, and a matrix product of a value with itself transposed."""
    rng = np.random.default_rng(5)
    return graph(
        (3, 4),
        ("a", ops.Linear(weight=kernel(rng, 4, 4)), ("input",)),
        ("b", ops.Linear(weight=kernel(rng, 4, 4)), ("a",)),
        ("gate", ops.Multiply(), ("a", "b")),
        ("turned", ops.Permute(axes=(1, 0)), ("a",)),
        ("scores", ops.MatMul(), ("a", "turned")),
        ("mixed", ops.MatMul(), ("scores", "gate")),
        ("out", ops.Mean(axes=(0,)), ("mixed",)),
    )


def compare(network: pp.Network, hardware: pp.Hardware, draws: int, off: float, seed: int = 0) -> None:
    """Mean, covariance and power of the prediction against a simulation, ``off`` beyond five standard errors."""
    x = np.random.default_rng(seed).normal(size=(2, *network.input_shape))
    gains = pp.Gains.full_range(network, hardware, x)
    p = pp.predict(network, hardware, gains, x, method="covariance")
    s = pp.simulate(network, hardware, gains, x, draws=draws, seed=1, dtype="float64")
    variance = np.einsum("bkk->bk", s.output_covariance)
    assert (np.abs(p.output_mean - s.output_mean) <= 5 * np.sqrt(variance / draws) + off * np.sqrt(variance)).all()
    size = np.sqrt(variance[:, :, None] * variance[:, None, :])
    assert (np.abs(p.output_covariance - s.output_covariance) <= (5 * np.sqrt(3 / draws) + off) * size).all()
    assert p.mse == pytest.approx(s.mse, abs=5 * s.mse_standard_error + off * s.mse)
    np.testing.assert_allclose(p.power_by_layer, s.power_by_layer, rtol=0.01 + off)


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
@pytest.mark.parametrize("make", [residual, upward])
def test_linear_networks_are_exact(make, mapping: str) -> None:
    """Every noise at NMSE of tens of percent: mean and covariance within the error of the draws."""
    compare(make(), pp.Hardware(mapping=mapping, **EVERY_NOISE), DRAWS[mapping], 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
@pytest.mark.parametrize(("make", "kind"), [(residual, "relu"), (upward, "tanh")])
def test_activations(make, kind: str, mapping: str) -> None:
    """With activations within 5 % of a standard deviation and of the covariances beside."""
    compare(make(kind), pp.Hardware(mapping=mapping, **EVERY_NOISE), DRAWS[mapping], 0.05)


@pytest.mark.slow
def test_tiles() -> None:
    """Arrays of at most 7 rows: partial sums with noise of their own."""
    compare(residual(), pp.Hardware(array_rows=7, array_columns=3, **EVERY_NOISE), 2000, 0.0)


@pytest.mark.slow
def test_products_of_correlated_values() -> None:
    """A gate and a Gram matrix, whose factors are the same value: means shift by their covariances."""
    noise = {"programming_noise_std": 1.5e-6, "input_noise_std": 2e-3}
    compare(gated(), pp.Hardware(**noise), 4000, 0.03)


@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
@pytest.mark.parametrize("make", [residual, upward])
def test_linearized_agrees_at_small_noise(make, mapping: str) -> None:
    """Both keep all correlations: of small noise they give the same covariance."""
    network = make()
    hardware = pp.Hardware(mapping=mapping, programming_noise_std=1e-8, read_noise_std=1e-10, input_noise_std=1e-6)
    x = np.random.default_rng(0).normal(size=(2, *network.input_shape))
    gains = pp.Gains.full_range(network, hardware, x)
    first, second = (pp.predict(network, hardware, gains, x, method=m) for m in ("covariance", "linearized"))
    size = np.abs(first.output_covariance).max()
    np.testing.assert_allclose(first.output_covariance, second.output_covariance, atol=1e-4 * size)


@pytest.mark.slow
def test_derivatives() -> None:
    """The MSE is differentiable in the gains: automatic against finite differences."""
    network = residual("relu")
    hardware = pp.Hardware(**EVERY_NOISE)
    x = np.random.default_rng(0).normal(size=(1, *network.input_shape))
    from powerplan.moments.predictor import Predictor

    predictor = Predictor.of(network, hardware, x, method="covariance")
    conductance, voltage, _ = predictor.gain_tensors(pp.Gains.full_range(network, hardware, x))

    def mse(scale: torch.Tensor) -> torch.Tensor:
        programmed = predictor.program([c * s for c, s in zip(conductance, scale, strict=True)], voltage)
        return predictor.moments(programmed).variance.mean()

    scale = torch.full((5,), 0.8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(mse(scale), scale)
    with torch.no_grad():
        for i in range(5):
            step = torch.zeros_like(scale)
            step[i] = 1e-5
            slope = (mse(scale + step) - mse(scale - step)) / 2e-5
            assert float(gradient[i]) == pytest.approx(float(slope), rel=1e-4)


def test_too_large_networks_are_refused() -> None:
    """Before anything is allocated, with the memory that it would take."""
    network = graph((3, 200, 200), ("a", ops.Conv(weight=np.ones((8, 3, 3, 3))), ("input",)))
    hardware = pp.Hardware()
    x = np.ones((1, 3, 200, 200))
    gains = pp.Gains.full_range(network, hardware, x)
    with pytest.raises(pp.InvalidInput, match=r"needs .* GiB.*linearized"):
        pp.predict(network, hardware, gains, x, method="covariance")
    assert joint.joint_entries(network) > (8 * 198 * 198) ** 2


@pytest.mark.parametrize(
    ("op", "shapes"),
    [
        (ops.Multiply(), ((3, 2), (3, 2))),
        (ops.Multiply(), ((3, 2), (2,))),
        (ops.MatMul(), ((2, 3), (3, 2))),
        (ops.MatMul(), ((2, 2, 2), (2, 3))),
    ],
)
def test_products_of_jointly_gaussian_values(op: ops.Op, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Linear part and what is beyond it give the mean and covariance of 200 000 draws, for any joint Gaussian."""
    rng = np.random.default_rng(1)
    sizes = [int(np.prod(shape)) for shape in shapes]
    root = torch.tensor(rng.normal(size=(sum(sizes), sum(sizes))) / np.sqrt(sum(sizes)))
    means = [torch.tensor(rng.normal(size=(1, *shape))) for shape in shapes]
    blocks = [list(row.split(sizes, dim=1)) for row in (root @ root.T).split(sizes, dim=0)]
    variances = [blocks[i][i].diagonal().reshape(m.shape) for i, m in enumerate(means)]
    step = linearize(op, means, variances)
    mean, extra = beyond_linear(op, step, means, lambda i, j: blocks[i][j][None])
    assert mean is not None
    assert extra is not None
    jacobian = step.push(
        *(
            r.T.reshape(1, sum(sizes), *s)
            for r, s in zip(torch.eye(sum(sizes)).double().split(sizes), shapes, strict=True)
        )
    ).flatten(2)[0]
    found = jacobian.T @ root @ root.T @ jacobian + extra[0]
    draws = torch.randn(200_000, sum(sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ root.T
    noisy = [m + d.reshape(-1, *s) for m, d, s in zip(means, draws.split(sizes, dim=1), shapes, strict=True)]
    values = digital(op, *noisy).flatten(1)
    exact = torch.cov(values.T)
    std = exact.diagonal().sqrt()
    np.testing.assert_allclose(((mean.flatten() - values.mean(0)) / std).numpy(), 0, atol=5 / np.sqrt(200_000))
    np.testing.assert_allclose(((found - exact) / torch.outer(std, std)).numpy(), 0, atol=0.03)


@pytest.mark.parametrize("method", ["linearized", "covariance", "diagonal"])
def test_constants_in_single_precision(method: str) -> None:
    """A class token joined to noisy tokens: float32 gives what float64 gives."""
    rng = np.random.default_rng(0)
    network = graph(
        (3, 4),
        ("a", ops.Linear(weight=kernel(rng, 4, 4)), ("input",)),
        ("token", ops.Constant(value=rng.normal(size=(1, 4))), ()),
        ("all", ops.Concat(axis=0), ("token", "a")),
        ("out", ops.Linear(weight=kernel(rng, 2, 4)), ("all",)),
    )
    x = rng.normal(size=(2, 3, 4))
    hardware = pp.Hardware()
    gains = pp.Gains.full_range(network, hardware, x)
    single, double = (pp.predict(network, hardware, gains, x, method=method, dtype=d) for d in ("float32", "float64"))
    assert single.mse == pytest.approx(double.mse, rel=1e-4)


def test_maxima_of_correlated_entries() -> None:
    """A window in which one kernel's errors agree: the bias of the maximum is not that of independent entries."""
    rng = np.random.default_rng(6)
    network = graph(
        (1, 9, 9),
        ("a", ops.Conv(weight=kernel(rng, 3, 1, 4, 4)), ("input",)),
        ("f", ops.Activation(kind="relu"), ("a",)),
        ("p", ops.MaxPool(kernel=(2, 2)), ("f",)),
        ("flat", ops.Flatten(), ("p",)),
        ("out", ops.Linear(weight=kernel(rng, 2, 27)), ("flat",)),
    )
    x = 1 + 0.3 * rng.normal(size=(2, 1, 9, 9))
    hardware = pp.Hardware(programming_noise_std=6e-6)
    gains = pp.Gains.full_range(network, hardware, x)
    s = pp.simulate(network, hardware, gains, x, draws=3000, seed=1)
    for method in ("covariance", "linearized"):
        p = pp.predict(network, hardware, gains, x, method=method)
        assert p.mse == pytest.approx(s.mse, rel=0.06, abs=4 * s.mse_standard_error)
