"""What is cheaper where an array is read at few positions is the same as the long way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.program import program
from powerplan.moments.samples import coherence
from powerplan.moments.sources import device_samples
from powerplan.moments.sources.sampled import Sampled
from powerplan.moments.sources.stuck import parts_of
from powerplan.network import Activation, Conv, Network, Node

POSITIONS, SAMPLES = 4, 40_000


@pytest.mark.parametrize("errs", [False, True])
@pytest.mark.parametrize(("groups", "proportional"), [(1, 0.0), (2, 0.0), (1, 0.3)])
def test_columns_are_drawn_with_the_covariance_of_their_positions(
    groups: int, proportional: float, errs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Σ_k V_ok E[x_pk x_qk], by positions and (of two groups) by rows, exactly where V is separable; elsewhere on
    average over columns. Where the input errs, the mean goes with the error of one sample. Of a position
    whose rows are a multiple of another's the errors are as well."""
    monkeypatch.setattr(device_samples, "_MANY_ROWS", 0)
    rng = np.random.default_rng(0)
    n_out, n_in = (64, 128) if proportional else (4, 6)
    op = Conv(weight=rng.normal(size=(n_out, n_in // groups, 1, 1)), groups=groups)
    network = Network(input_shape=(n_in, 2, 2), nodes=(Node(name="c", op=op, inputs=("input",)),))
    hardware = pp.Hardware(programming_noise_std=1e-6, programming_noise_proportional=proportional)
    if not proportional:
        hardware = hardware.replace(clip_conductance=False)
    (constants,) = ArrayConstants.all_of(network, hardware, torch.float64)
    gains = torch.as_tensor(1e-5 * rng.uniform(0.5, 2, n_out))
    array = program(constants, hardware, gains, torch.ones((), dtype=torch.float64))
    assert device_samples.numbers_by_position(array.map) == (groups == 1)
    x, error = (torch.as_tensor(rng.normal(size=(1, n_in, 2, 2))) for _ in range(2))
    for value in (x, error):
        value[..., 1, 1] = -2 * value[..., 0, 1]
    generator = torch.Generator().manual_seed(0)
    samples = SAMPLES // 10 if proportional else SAMPLES
    errors = error.unsqueeze(1).expand(-1, samples, -1, -1, -1) if errs else None
    sampled = Sampled(array=array, mean=x, errors=errors, count=samples, generator=generator, common=generator)
    (part,) = parts_of(array)
    moved = device_samples.device_samples(array, part, sampled)[0]  # (R, G, P, o)
    assert moved.shape == (samples, groups, POSITIONS, n_out // groups)
    rows = array.map.patches(torch.cat([x, error] if errs else [x]))
    weights = array.weight_variance.expand(n_out, n_in // groups)
    expected = torch.einsum("gok,bgpk,bgqk->gopq", array.map.matrices(weights), rows, rows)
    found = torch.einsum("rgpo,rgqo->gopq", moved, moved) / samples
    size, found_size = (value.diagonal(dim1=-2, dim2=-1).sqrt() for value in (expected, found))
    if proportional:  # correlations; samples are scaled to variances that are known
        off = found / outer(found_size) - expected / outer(size)
        assert off.mean(1).abs().max() < 0.005
    else:
        assert ((found - expected) / outer(size)).abs().max() < 5 * (2 / samples) ** 0.5
    torch.testing.assert_close(moved[:, :, 3], -2 * moved[:, :, 1], rtol=1e-4, atol=1e-4 * float(size.max()))


def outer(size: torch.Tensor) -> torch.Tensor:
    """Products of all pairs of the last axis."""
    return size.unsqueeze(-1) * size.unsqueeze(-2)


@pytest.mark.parametrize("uniform", [False, True])
def test_sums_over_samples_and_directions_may_come_first(uniform: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Σ V (Σ_p A x)² over directions and samples, by products of positions and by every gradient."""
    generator = torch.Generator().manual_seed(0)
    columns, rows, variance = (
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((3, 2, 5, 14), (7, 2, 5, 16), (2, 14, 1 if uniform else 16))
    )
    first = coherence._through_devices(columns, rows, variance.square())
    monkeypatch.setattr(coherence, "_MOST_PRODUCTS", 0)
    torch.testing.assert_close(first, coherence._through_devices(columns, rows, variance.square().expand(-1, -1, 16)))


@pytest.mark.parametrize(("noise", "passed_over"), [(2e-9, True), (5e-6, False)])
def test_what_inputs_cause_is_added_up_where_it_can_count(
    noise: float, passed_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With little noise the errors of inputs cause next to nothing through those of devices, however they add up."""
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=(8, n, 3, 3)) / np.sqrt(4.5 * n) for n in (3, 8, 8)]
    nodes = [Node(name="c0", op=Conv(weight=kernels[0]), inputs=("input",))]
    for i in (1, 2):
        nodes.append(Node(name=f"a{i}", op=Activation(kind="relu"), inputs=(f"c{i - 1}",)))
        nodes.append(Node(name=f"c{i}", op=Conv(weight=kernels[i]), inputs=(f"a{i}",)))
    network, inputs = Network(input_shape=(3, 9, 9), nodes=tuple(nodes)), rng.normal(size=(2, 3, 9, 9))
    hardware = pp.Hardware(programming_noise_std=noise)
    gains = pp.Gains.full_range(network, hardware, inputs)
    summed: list[int] = []
    through = coherence._through_devices
    monkeypatch.setattr(coherence, "_through_devices", lambda *parts: summed.append(1) or through(*parts))
    found = pp.predict(network, hardware, gains, inputs)
    some = len(summed)
    monkeypatch.setattr(coherence, "_NEGLIGIBLE", -1.0)
    every = pp.predict(network, hardware, gains, inputs)
    assert (len(summed) - some > some) is passed_over
    assert found.mse == pytest.approx(every.mse, rel=1e-5 if passed_over else 0)
