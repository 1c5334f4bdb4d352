"""Corrections from error samples: against the full covariance, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import powerplan as pp
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.program import program
from powerplan.moments.samples.corrections import Corrections
from powerplan.moments.samples.count import first_samples
from powerplan.moments.samples.statistics import shift_of
from powerplan.moments.sources.device_samples import device_errors
from powerplan.moments.walks.lowered import Place
from powerplan.network import Activation, Conv, Flatten, Linear, MaxPool, Mean, Multiply, Network, Node

RNG = np.random.default_rng(7)


def he(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))


def chain(input_shape: tuple[int, ...], *nodes: tuple[str, object, tuple[str, ...]]) -> Network:
    return Network(input_shape=input_shape, nodes=tuple(Node(name=n, op=op, inputs=i) for n, op, i in nodes))  # type: ignore[arg-type]


RELU = Activation(kind="relu")
#: gates whose two factors err together
GATED = chain(
    (3, 6),
    ("hidden", Linear(weight=he(8, 6)), ("input",)),
    ("left", Linear(weight=he(4, 8)), ("hidden",)),
    ("right", Linear(weight=he(4, 8)), ("hidden",)),
    ("gate", Multiply(), ("left", "right")),
)
#: a kernel whose errors agree at all positions, gathered by a mean
POOLED = chain(
    (1, 8, 8),
    ("c1", Conv(weight=he(4, 1, 3, 3), bias=0.1 * RNG.normal(size=4)), ("input",)),
    ("r1", RELU, ("c1",)),
    ("c2", Conv(weight=he(6, 4, 3, 3)), ("r1",)),
    ("r2", RELU, ("c2",)),
    ("m", Mean(axes=(1, 2)), ("r2",)),
)
WINDOWS = chain(
    (1, 8, 8),
    ("c1", Conv(weight=he(4, 1, 3, 3)), ("input",)),
    ("pool", MaxPool(kernel=(2, 2)), ("c1",)),
    ("f", Flatten(), ("pool",)),
)
#: variances pass many operations
DEEP = chain(
    (8, 6, 6),
    *(
        node
        for i in range(8)
        for node in (
            (f"c{i}", Conv(weight=he(8, 8, 3, 3), padding=((1, 1), (1, 1))), (f"r{i - 1}" if i else "input",)),
            (f"r{i}", RELU, (f"c{i}",)),
        )
    ),
    ("f", Flatten(), ("r7",)),
    ("head", Linear(weight=he(3, 288)), ("f",)),
)


def batch(network: Network, size: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(size, *network.input_shape))


def predicted(network: Network, noise: float, **options: object) -> pp.Prediction:
    hardware = pp.Hardware(programming_noise_std=noise, clip_conductance=False)
    x = batch(network)
    return pp.predict(network, hardware, pp.Gains.full_range(network, hardware, x), x, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_products_of_values_that_err_together_have_the_mean_of_the_covariance() -> None:
    """E[xy] = E x E y + Cov(x, y): known to the joint method, found by samples, not by the rule."""
    joint = predicted(GATED, 6e-6, method="covariance").output_mean
    samples = predicted(GATED, 6e-6, marginal_fields=4096).output_mean
    alone = predicted(GATED, 6e-6, marginal_fields=0).output_mean
    assert joint is not None
    assert samples is not None
    assert alone is not None
    off = np.square(alone - joint).mean()
    assert off > 0
    assert np.square(samples - joint).mean() < 0.02 * off


def test_output_variance_is_that_of_the_covariance() -> None:
    """Errors of inputs and residuals add up coherently: within 3 % of the joint method, 10 % low without."""
    joint = predicted(POOLED, 6e-6, method="covariance")
    variance = joint.mse - joint.mse_bias
    samples, alone = (predicted(POOLED, 6e-6, marginal_fields=n) for n in (256, 0))
    assert samples.mse - samples.mse_bias == pytest.approx(variance, rel=0.03)
    assert alone.mse - alone.mse_bias < 0.9 * variance


@pytest.mark.slow
def test_maxima_of_correlated_entries_have_the_simulated_mean() -> None:
    """Pairs of Gaussians with one correlation for a channel are off; samples bring a tenth of that or less."""
    hardware = pp.Hardware(programming_noise_std=6e-6, clip_conductance=False)
    x = batch(WINDOWS)
    gains = pp.Gains.full_range(WINDOWS, hardware, x)
    simulated = pp.simulate(WINDOWS, hardware, gains, x, draws=8000, seed=1).output_mean
    samples, alone = (pp.predict(WINDOWS, hardware, gains, x, marginal_fields=n).output_mean for n in (512, 0))
    assert samples is not None
    assert alone is not None
    assert np.square(samples - simulated).mean() < 0.1 * np.square(alone - simulated).mean()


class Encoder(nn.Module):
    """Large tokens: some rows of the first softmax are near a vertex."""

    shape = (5, 16)

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(3.0 * x).mean(1))


class PooledUpsampling(nn.Module):
    """Windows of a maximum in which some entries are nearly the same and others are not."""

    shape = (1, 13, 13)

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2, self.head = nn.Conv2d(1, 6, 3, stride=2), nn.Conv2d(6, 6, 3), nn.Linear(54, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.leaky_relu(self.c2(torch.relu(self.c1(x))))
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
        x = nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 3).flatten(1))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "seed", "noise"), [(Encoder, 1, 1.5e-5), (PooledUpsampling, 2, 1.4e-5)])
def test_slopes_that_are_only_assumed_are_corrected(build: type[nn.Module], seed: int, noise: float) -> None:
    """The linear part of a saturated softmax, or of a maximum over unequal pairs, is what it is on average: without
    that the MSE is 7 to 10 % off here."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build().eval()
    shape: tuple[int, ...] = module.shape  # type: ignore[assignment]
    network, x = pp.from_torch(module, shape), np.random.default_rng(0).normal(size=(6, *shape))
    hardware = pp.Hardware(programming_noise_std=noise)
    gains = pp.Gains.full_range(network, hardware, x)
    found = pp.predict(network, hardware, gains, x)
    simulated = pp.simulate(network, hardware, gains, x, draws=20_000, relative_standard_error=0.007)
    assert 0.03 < simulated.nmse < 0.3
    error = simulated.mse_standard_error / simulated.mse
    assert abs(found.mse / simulated.mse - 1) < 0.02 + 3 * error


def test_one_seed_gives_one_prediction() -> None:
    first, again, other = (predicted(POOLED, 2e-6, marginal_fields=16, seed=seed).mse for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first == pytest.approx(other, rel=0.1)


@pytest.mark.parametrize(("asked", "made"), [(None, 256), (7, 7), (19, 16), (0, 0)])
def test_a_prediction_says_how_many_samples_it_rests_on(asked: int | None, made: int) -> None:
    assert predicted(POOLED, 2e-6, marginal_fields=asked).marginal_fields == made
    assert predicted(POOLED, 2e-6, method="diagonal", marginal_fields=asked).marginal_fields == 0


def test_one_sample_says_nothing_of_means() -> None:
    """A single sample cannot tell a shift from chance: the means stay those of the rules."""
    one, none = (predicted(GATED, 2e-6, marginal_fields=n) for n in (1, 0))
    np.testing.assert_array_equal(one.output_mean, none.output_mean)


def test_inputs_without_samples_get_what_the_others_have_in_common() -> None:
    """Factors are their mean, shifts the mean of each channel; within the first P inputs nothing changes."""
    shifts = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    known = Corrections(
        factors={Place("a", "array"): torch.tensor([1.0, 3.0]).view(2, 1)}, shifts={Place("b", "digital"): shifts}
    )
    inside, across, beyond = (known.of(part, 5) for part in (slice(0, 2), slice(1, 4), slice(3, 5)))
    assert torch.equal(inside.shifts[Place("b", "digital")], shifts)
    assert across.factors[Place("a", "array")].flatten().tolist() == [3.0, 2.0, 2.0]
    assert torch.equal(across.shifts[Place("b", "digital")][0], shifts[1])
    mean = shifts.mean((0, 2, 3))
    torch.testing.assert_close(across.shifts[Place("b", "digital")][2, :, 1, 2], mean)
    torch.testing.assert_close(beyond.shifts[Place("b", "digital")].flatten(), mean)


def test_groups_of_inputs_are_joined_in_order() -> None:
    groups = [(n, Corrections(factors={Place("a", "array"): torch.full((1, 2), float(n))})) for n in (2, 1)]
    assert Corrections.joined(groups).factors[Place("a", "array")][:, 0].tolist() == [2.0, 2.0, 1.0]
    assert Corrections.joined(groups[:1]) is groups[0][1]


def test_shifts_beyond_chance_stay_and_chance_goes() -> None:
    """Means far beyond their chance are kept to 1 %, pure chance leaves what a channel has in common alone, zeros stay
    zero."""
    generator = torch.Generator().manual_seed(0)
    std = torch.ones(2, 3, 20, 20, dtype=torch.float64)
    real, mean = torch.randn(2, *std.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(shift_of(real, 1e-4 * std, std, mean), real, rtol=0.01, atol=1e-3)
    common = 0.3 - 0.2 * mean
    left = shift_of(common + 0.1 * real, 0.01 * std, std, mean)
    assert (left - common).abs().mean() < 0.03
    assert (shift_of(real, std, 0 * std, mean) == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("resistance", [None, 3e4], ids=["devices", "amplifiers"])
def test_layer_power_is_that_of_the_simulation(resistance: float | None) -> None:
    """Clipped devices, NMSE 45 %, rows that see the middle of an image more often than its edge, currents that add up
    what their rows err by together: within four standard errors of under 1 %, the amplifiers 8 % off without."""
    hardware = pp.Hardware(programming_noise_std=9e-6, feedback_resistance=resistance)
    x = batch(POOLED)
    gains = pp.Gains.full_range(POOLED, hardware, x)
    simulated = pp.simulate(POOLED, hardware, gains, x, draws=6000, seed=1, dtype="float32")
    samples, alone = (pp.predict(POOLED, hardware, gains, x, marginal_fields=n).power_by_layer for n in (512, 0))
    error = simulated.power_by_layer_standard_error
    np.testing.assert_array_less(np.abs(samples - simulated.power_by_layer), 4 * error)
    if resistance is not None:
        assert np.any(np.abs(alone - simulated.power_by_layer) > 8 * error)


@pytest.mark.parametrize(
    "hardware",
    [
        pp.Hardware(programming_noise_std=2e-5),
        pp.Hardware(programming_noise_proportional=0.3, clip_conductance=False, conductance_min=1e-6),
        pp.Hardware(programming_noise_std=5e-6, weight_mapping="offset", stuck_on_fraction=0.02),
    ],
    ids=["clipped", "proportional", "stuck"],
)
def test_drawn_devices_have_the_moments_of_the_weights(hardware: pp.Hardware) -> None:
    """Mean 0 and the weights' variance, within six standard errors of 20 000 draws."""
    (crossbar, _) = ArrayConstants.all_of(POOLED, hardware, torch.float64)
    c, v = torch.tensor(1e-5, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)
    moments = program(crossbar, hardware, c, v)
    drawn = device_errors(moments, 20_000, torch.Generator().manual_seed(0))
    variance = moments.weight_variance.expand(drawn.shape[1:])
    assert (drawn.mean(0).abs() < 6 * (variance / len(drawn)).sqrt()).all()
    spread = drawn.square()
    assert ((spread.mean(0) - variance).abs() < 6 * spread.std(0) / len(drawn) ** 0.5).all()


def test_many_inputs_take_fewer_samples() -> None:
    """Few devices ask for many samples, unless many inputs average over them; rare errors for as many as hold some."""
    counts = [first_samples(POOLED, pp.Hardware(), n) for n in (1, 8, 64, 10_000)]
    assert counts == [256, 256, 32, 24]
    wide = chain((640,), ("l", Linear(weight=he(1280, 640)), ("input",)), ("h", Linear(weight=he(4, 1280)), ("l",)))
    assert first_samples(wide, pp.Hardware(), 8) == 24
    counts = [first_samples(wide, pp.Hardware(stuck_on_fraction=p), 8) for p in (1e-9, 1e-6, 0.1)]
    assert counts == [1302, 625, 256]  # the limit of work; 8192 stuck devices among 1.6 million; the least of rare ones
    assert first_samples(wide, pp.Hardware(weight_mapping="offset", adc_bits=8), 8) == 1302


@pytest.mark.slow
def test_few_samples_in_a_round_do_not_add_variance_from_layer_to_layer() -> None:
    """Rounds of four and of 128 samples have the same variances behind eight convolutions, but for chance."""
    few, many = (predicted(DEEP, 2e-6, marginal_fields=samples).layers for samples in (64, 2048))
    ratios = [own.variance.mean() / right.variance.mean() for own, right in zip(few, many, strict=True)]
    np.testing.assert_allclose(ratios, 1, atol=0.06)
