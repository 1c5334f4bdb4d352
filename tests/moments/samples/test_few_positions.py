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
from powerplan.moments.sources.errors import Sampled
from powerplan.moments.sources.stuck import parts_of
from powerplan.network import Conv, Network, Node

POSITIONS, SAMPLES = 4, 40_000


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_columns_are_drawn_with_the_covariance_of_their_positions(
    groups: int, alike: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Σ_k V_ok x_pk x_qk; of a position whose rows are a multiple of another's the errors are as well."""
    monkeypatch.setattr(device_samples, "FEW_DEVICES", 0)
    way = "_columns_alike" if alike else "_gaussian_columns"
    if alike:
        monkeypatch.setattr(device_samples, "_positions_are_few", lambda array, batch: False)
    taken: list[str] = []
    draw = getattr(device_samples, way)
    monkeypatch.setattr(device_samples, way, lambda *args: taken.append(way) or draw(*args))
    rng = np.random.default_rng(0)
    op = Conv(weight=rng.normal(size=(4, 6 // groups, 1, 1)), groups=groups)
    network = Network(input_shape=(6, 2, 2), nodes=(Node(name="c", op=op, inputs=("input",)),))
    hardware = pp.Hardware(
        conductance_min=1e-5, programming_noise_std=1e-6, programming_noise_proportional=0.0 if alike else 0.3
    )
    (constants,) = ArrayConstants.all_of(network, hardware, torch.float64)
    array = program(constants, hardware, torch.tensor(1e-5, dtype=torch.float64), torch.ones((), dtype=torch.float64))
    x = torch.as_tensor(rng.normal(size=(1, 1, 6, 2, 2)))
    x[..., 1, 1] = -2 * x[..., 0, 1]
    generator = torch.Generator().manual_seed(0)
    sampled = Sampled(array=array, values=x, count=SAMPLES, generator=generator, common=generator)
    (part,) = parts_of(array)
    moved = device_samples.device_samples(array, part, sampled)[0]  # (R, G, P, o)
    assert taken == [way]
    assert moved.shape == (SAMPLES, groups, POSITIONS, 4 // groups)
    rows, variance = array.map.patches(x[0])[0], array.map.matrices(array.weight_variance.expand(4, array.map.n_in))
    expected = torch.einsum("gok,gpk,gqk->gopq", variance, rows, rows)
    found = torch.einsum("rgpo,rgqo->gopq", moved, moved) / SAMPLES
    size = expected.diagonal(dim1=-2, dim2=-1).sqrt()
    chance = size.unsqueeze(-1) * size.unsqueeze(-2) * (2 / SAMPLES) ** 0.5
    assert ((found - expected).abs() < 5 * chance).all()
    torch.testing.assert_close(moved[:, :, 3], -2 * moved[:, :, 1], rtol=1e-2, atol=1e-2 * float(size.max()))


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
