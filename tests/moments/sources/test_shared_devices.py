"""Devices that serve several positions, random combinations of outputs, corrections: against definitions and draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments.sources.shared import shared_covariance, shared_variance
from powerplan.network import (
    Activation,
    Add,
    AveragePool,
    Conv,
    ConvTranspose,
    Flatten,
    Linear,
    Mean,
    Network,
    Node,
)

RNG = np.random.default_rng(3)


def he(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))


def chain(input_shape: tuple[int, ...], *nodes: tuple[str, object, tuple[str, ...]]) -> Network:
    return Network(input_shape=input_shape, nodes=tuple(Node(name=n, op=op, inputs=i) for n, op, i in nodes))  # type: ignore[arg-type]


RELU = Activation(kind="relu")
SAME = ((1, 1), (1, 1))
CONVOLUTIONAL = chain(
    (1, 10, 10),
    ("c1", Conv(weight=he(6, 1, 3, 3), bias=0.1 * RNG.normal(size=6), padding=SAME), ("input",)),
    ("r1", RELU, ("c1",)),
    ("p1", AveragePool(kernel=(2, 2)), ("r1",)),
    ("c2", Conv(weight=he(8, 6, 3, 3)), ("p1",)),
    ("r2", RELU, ("c2",)),
    ("f", Flatten(), ("r2",)),
    ("l1", Linear(weight=he(6, 72)), ("f",)),
)
RESIDUAL = chain(
    (3, 6, 6),
    ("c1", Conv(weight=he(8, 3, 3, 3), padding=SAME), ("input",)),
    ("r1", RELU, ("c1",)),
    ("depthwise", Conv(weight=he(8, 1, 3, 3), groups=8, padding=SAME), ("r1",)),
    ("r2", RELU, ("depthwise",)),
    ("pointwise", Conv(weight=he(8, 8, 1, 1)), ("r2",)),
    ("join", Add(), ("pointwise", "r1")),
    ("r3", RELU, ("join",)),
    ("up", ConvTranspose(weight=he(8, 4, 2, 2), stride=(2, 2)), ("r3",)),
    ("m", Mean(axes=(1, 2)), ("up",)),
    ("l1", Linear(weight=he(5, 4)), ("m",)),
)
NETWORKS = {"convolutional": CONVOLUTIONAL, "residual": RESIDUAL}
CASES = {
    "plain": {},
    "clipped_tiles": {"array_rows": 10, "feedback_resistance": 1e4, "read_noise_std": 1e-7},
    "row_noise": {"input_noise_std": 2e-3},
    "column_gain": {"column_gain_std": 0.03, "array_rows": 10, "programming_noise_std": 1e-6},
    "unrolled": {"mapping": "unrolled", "column_gain_std": 0.02},
}


def batch(network: Network, size: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(size, *network.input_shape))


@pytest.mark.slow
def test_shared_variance_is_the_squared_weight_gradient() -> None:
    """Σ_ij V_ij (Σ_p A_pi x_pj)², its covariance between directions, and its derivatives."""
    make = torch.Generator().manual_seed(0)
    adjoint, rows, variance = (
        torch.randn(shape, generator=make, dtype=torch.float64) for shape in ((2, 3, 2, 5, 4), (2, 2, 5, 6), (2, 4, 6))
    )
    variance = variance.abs()
    gradient = torch.einsum("bkgpo,bgpn->bkgon", adjoint, rows)
    expected = torch.einsum("bkgon,gon,blgon->bkl", gradient, variance, gradient)
    torch.testing.assert_close(shared_covariance(adjoint, rows, variance), expected)
    torch.testing.assert_close(shared_variance(adjoint, rows, variance), expected.diagonal(dim1=1, dim2=2))
    points = tuple(value.requires_grad_() for value in (adjoint, rows, variance))
    column = variance.detach()[..., :1].clone().requires_grad_()
    for caused in (shared_variance, shared_covariance):
        assert torch.autograd.gradcheck(caused, points)
        assert torch.autograd.gradcheck(caused, (*points[:2], column))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NETWORKS)
def test_without_noise_the_simulation_is_the_network(name: str, case: str) -> None:
    """Every mapping and tiling computes the ideal output with exact devices."""
    network = NETWORKS[name]
    quiet = {"programming_noise_std": 0.0, "read_noise_std": 0.0, "input_noise_std": 0.0, "column_gain_std": 0.0}
    hardware = pp.Hardware(**{**CASES[case], **quiet})
    x = batch(network)
    gains = pp.Gains.full_range(network, hardware, x)
    simulation = pp.simulate(network, hardware, gains, x, draws=2, dtype="float64")
    np.testing.assert_allclose(simulation.output_mean, network(x), rtol=1e-9, atol=1e-12)
    prediction = pp.predict(network, hardware, gains, x)
    np.testing.assert_allclose(simulation.power_by_layer, prediction.power_by_layer, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NETWORKS)
def test_predicted_error_and_power_agree_with_draws(name: str, case: str) -> None:
    """MSE within 3 % and four standard errors, power by layer within 1 %, at about 1 to 4 % NMSE."""
    network = NETWORKS[name]
    hardware = pp.Hardware(**{"programming_noise_std": 2e-6, **CASES[case]})
    x = batch(network)
    gains = pp.Gains.full_range(network, hardware, x, conductance_max=80e-6)
    prediction = pp.predict(network, hardware, gains, x)
    simulation = pp.simulate(network, hardware, gains, x, draws=300 if case == "unrolled" else 4000, seed=1)
    slack = 4 * simulation.mse_standard_error + 0.03 * simulation.mse
    assert abs(prediction.mse - simulation.mse) < slack
    tolerance = 0.01 * simulation.power_by_layer + 4 * simulation.power_by_layer_standard_error
    assert (np.abs(prediction.power_by_layer - simulation.power_by_layer) < tolerance).all()


def test_row_voltages_change_the_noise_and_not_the_output() -> None:
    """A voltage gain per row, with the inverse in the stored weights: ideal output and power agree with draws."""
    hardware = pp.Hardware(programming_noise_std=0.0)
    x = batch(RESIDUAL)
    rng = np.random.default_rng(1)
    volts = [0.02 * np.exp(0.3 * rng.normal(size=node.op.n_rows)) for node in RESIDUAL.crossbars]  # type: ignore[attr-defined]
    limits = pp.hardware.gains.conductance_limits(RESIDUAL, hardware, volts)
    gains = pp.Gains(conductance=limits, voltage=volts)
    simulation = pp.simulate(RESIDUAL, hardware, gains, x, draws=2, dtype="float64")
    np.testing.assert_allclose(simulation.output_mean, RESIDUAL(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        simulation.power_by_layer, pp.predict(RESIDUAL, hardware, gains, x).power_by_layer, rtol=1e-9
    )


def test_random_combinations_are_unbiased() -> None:
    """The MSE by 2000 random combinations lies within four of its own standard errors of that by every output."""
    x = batch(CONVOLUTIONAL)
    hardware = pp.Hardware()
    gains = pp.Gains.full_range(CONVOLUTIONAL, hardware, x)
    exact = pp.predict(CONVOLUTIONAL, hardware, gains, x, output_combinations=0, marginal_fields=0)
    some = pp.predict(CONVOLUTIONAL, hardware, gains, x, output_combinations=2000, marginal_fields=0)
    assert exact.mse_standard_error == 0
    assert 0 < some.mse_standard_error < 0.05 * exact.mse
    assert abs(some.mse - exact.mse) < 4 * some.mse_standard_error
    assert some.mse_by_output.mean() == pytest.approx(some.mse, rel=1e-9)
    assert some.output_covariance is None
    np.testing.assert_allclose(some.power_by_layer, exact.power_by_layer, rtol=1e-12)


def test_memory_limit_changes_nothing_but_parts() -> None:
    """One input at a time gives the numbers of all at once, corrections of marginal variances apart."""
    x = batch(RESIDUAL, 5)
    hardware = pp.Hardware()
    gains = pp.Gains.full_range(RESIDUAL, hardware, x)
    whole = pp.predict(RESIDUAL, hardware, gains, x, marginal_fields=0)
    fractions: list[float] = []
    parts = pp.predict(
        RESIDUAL, hardware, gains, x, marginal_fields=0, memory_limit=1, progress=lambda done: fractions.append(done)
    )
    assert fractions == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert parts.mse == pytest.approx(whole.mse, rel=1e-12)
    np.testing.assert_allclose(parts.mse_by_layer, whole.mse_by_layer, rtol=1e-9)
    assert parts.layers == ()


def test_single_precision_loses_little() -> None:
    x = batch(RESIDUAL)
    gains = pp.Gains.full_range(RESIDUAL, pp.Hardware(), x)
    double, single = (
        pp.predict(RESIDUAL, pp.Hardware(), gains, x, dtype=dtype, marginal_fields=0)
        for dtype in ("float64", "float32")
    )
    assert single.mse == pytest.approx(double.mse, rel=1e-4)
    np.testing.assert_allclose(single.power_by_layer, double.power_by_layer, rtol=1e-4)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("output_combinations", 1),
        ("output_combinations", -1),
        ("output_combinations", 2.5),
        ("output_combinations", 10**9),
        ("marginal_fields", -1),
        ("marginal_fields", 10**9),
        ("marginal_fields", True),
        ("memory_limit", 0),
        ("memory_limit", float("inf")),
        ("seed", -1),
    ],
)
def test_bad_options_are_refused_by_name(option: str, value: object) -> None:
    x = batch(CONVOLUTIONAL)
    gains = pp.Gains.full_range(CONVOLUTIONAL, pp.Hardware(), x)
    with pytest.raises(pp.InvalidInput, match=option):
        pp.predict(CONVOLUTIONAL, pp.Hardware(), gains, x, **{option: value})  # type: ignore[arg-type]
    if option != "seed":
        with pytest.raises(pp.InvalidInput, match=option):
            pp.plan(CONVOLUTIONAL, pp.Hardware(), x, pp.MaxNMSE(0.01), **{option: value})  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_plan_of_a_residual_network_meets_its_target() -> None:
    """Optimal to the tolerance with corrections held, and met by the prediction at its gains."""
    x = batch(RESIDUAL)
    hardware = pp.Hardware(programming_noise_std=1e-6)
    plan = pp.plan(RESIDUAL, hardware, x, pp.MaxNMSE(0.01), marginal_fields=16)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.prediction.nmse == pytest.approx(0.01, rel=1e-6)
    assert plan.certificate is not None
    assert plan.certificate.kkt_residual < 1e-7
    again = pp.predict(RESIDUAL, hardware, plan.gains, x, marginal_fields=16)
    assert again.nmse == pytest.approx(0.01, rel=5e-3)


@pytest.mark.parametrize("target", [pp.MaxOutputMSE(0.1), pp.MaxFlipRate(0.1), pp.MaxNMSE(0.01)])
def test_combinations_are_refused_where_single_outputs_matter(target: object) -> None:
    x = batch(CONVOLUTIONAL)
    weights = np.arange(6.0) if isinstance(target, pp.MaxNMSE) else None
    with pytest.raises(pp.InvalidInput, match="output_combinations"):
        pp.plan(CONVOLUTIONAL, pp.Hardware(), x, target, output_combinations=8, output_weights=weights)  # type: ignore[arg-type]


def test_few_positions_are_the_same_without_gradients() -> None:
    """Products between positions and gradients of every weight: the same where rows are alike."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    adjoint, rows, variance = random(2, 3, 2, 4, 12), random(2, 2, 4, 15), random(2, 12, 1).square()
    caused, slopes = [], []
    for weights in (variance, variance.expand(-1, -1, 15)):
        arguments = [x.clone().requires_grad_() for x in (adjoint, rows, weights)]
        caused.append(shared_variance(*arguments))
        slopes.append(torch.autograd.grad((caused[-1] * torch.arange(1.0, 4)).sum(), arguments))
    torch.testing.assert_close(caused[0], caused[1])
    for quick, long in zip(slopes[0], slopes[1], strict=True):
        torch.testing.assert_close(quick, long.sum(-1, keepdim=True) if quick.shape[-1] == 1 else long)
