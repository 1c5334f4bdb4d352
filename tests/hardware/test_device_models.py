"""One suite for every device model: what prediction uses is what simulation draws, and it can be differentiated."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from device_cases import AGES, CASES, MEASURED, PARTS
from torch import Tensor

import powerplan as pp
from powerplan.hardware.devices import Devices, device_moments, idle_device_moments, start_moments
from powerplan.hardware.flicker import flickering, quadrature
from powerplan.hardware.folded import folded_decay
from powerplan_client._generated import v1 as pb
from powerplan_client.building import hardware_message
from powerplan_client.inputs import hardware_fields
from powerplan_server.wire import Reader
from powerplan_server.wire.hardware import hardware_from_proto

SAMPLES = 200_000
#: about 2000 comparisons with fixed seeds
SIGMAS = 5.0

each = pytest.mark.parametrize("hardware", CASES.values(), ids=CASES.keys())


def targets(hardware: pp.Hardware, count: int) -> Tensor:
    return torch.linspace(hardware.conductance_min, hardware.conductance_max, count, dtype=torch.float64)


def draw(hardware: pp.Hardware, target: Tensor, samples: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Devices at the time of inference and just after programming, (samples, *target.shape) [S]."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.full_like(target, 3e-6)
    shape = (samples, *target.shape)
    buffer = torch.empty(shape)
    devices = Devices.prepare(hardware, target, unit, dtype=torch.float64)
    taken = []

    def normals() -> Tensor:
        taken.append(1)
        return buffer.normal_(generator=generator)

    now, start = torch.empty(shape, dtype=torch.float64), torch.empty(shape, dtype=torch.float64)
    devices.sample(normals, lambda: torch.rand(shape, generator=generator), now, start)
    assert len(taken) == devices.normals_per_device
    return now * unit, start * unit


@pytest.mark.slow
@each
def test_mean_and_variance_are_those_of_the_draws(hardware: pp.Hardware) -> None:
    """Over the whole range, within five standard errors of 200 000 draws, now and just after programming."""
    target = targets(hardware, 7)
    moments = (device_moments(hardware, target), start_moments(hardware, target))
    rounding = 1e-6 * hardware.conductance_max  # normals are drawn in single precision
    for devices, (mean, variance) in zip(draw(hardware, target, SAMPLES), moments, strict=True):
        found, spread = devices.mean(0), devices.var(0)
        error = spread.sqrt() / SAMPLES**0.5
        assert ((found - mean).abs() <= SIGMAS * error + rounding / 100).all()
        fourth = ((devices - found) ** 4).mean(0)
        error = ((fourth - spread**2).clamp(min=0) / SAMPLES).sqrt()
        assert ((spread - variance).abs() <= SIGMAS * error + 1e-5 * variance + rounding**2).all()


@each
def test_clipped_devices_are_never_negative(hardware: pp.Hardware) -> None:
    now, start = draw(hardware, targets(hardware, 7), 2000)
    mean, variance = device_moments(hardware, targets(hardware, 50))
    assert (variance >= 0).all()
    if hardware.clip_conductance:
        assert float(now.min()) >= 0
        assert float(start.min()) >= 0
        assert (mean >= 0).all()


@each
def test_derivative_in_the_target(hardware: pp.Hardware) -> None:
    """Automatic differentiation against central differences, away from the knots."""
    span = hardware.conductance_max - hardware.conductance_min
    inside = hardware.conductance_min + span * torch.linspace(0.0137, 0.9871, 40, dtype=torch.float64)
    step = 1e-6 * span
    up, down = device_moments(hardware, inside + step), device_moments(hardware, inside - step)
    for k, scale in enumerate((1.0, hardware.conductance_max)):
        point = inside.clone().requires_grad_()
        value = device_moments(hardware, point)[k]
        slope = torch.autograd.grad(value.sum(), point)[0] if value.requires_grad else torch.zeros_like(point)
        assert torch.allclose(slope, (up[k] - down[k]) / (2 * step), rtol=1e-4, atol=1e-6 * scale)


@each
def test_derivative_is_finite_at_zero_and_at_knots(hardware: pp.Hardware) -> None:
    edges = [0.0, hardware.conductance_min, hardware.conductance_max, 20e-6, 50e-6, 1e-30]
    edges += [u * hardware.conductance_max for u in (0.0945, 0.16, 0.1591, 0.2, 0.3039, 0.3055, 0.6)]
    inside = [edge for edge in edges if hardware.conductance_min <= edge <= hardware.conductance_max]
    for dtype in (torch.float64, torch.float32):
        for k in range(2):
            point = torch.tensor(inside, dtype=dtype, requires_grad=True)
            value = device_moments(hardware, point)[k]
            assert value.isfinite().all()
            if value.requires_grad:
                assert torch.autograd.grad(value.sum(), point)[0].isfinite().all()


@each
def test_single_precision_is_close(hardware: pp.Hardware) -> None:
    target = targets(hardware, 30)
    mean, variance = device_moments(hardware, target)
    for exact, rounded in zip((mean, variance), device_moments(hardware, target.float()), strict=True):
        tiny = (1e-5 * hardware.conductance_max) ** (1 if exact is mean else 2)
        assert torch.allclose(rounded.double(), exact, rtol=2e-3, atol=tiny)


def toml(value: Any) -> str:
    """A plain value as TOML."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {toml(entry)}" for key, entry in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(toml(entry) for entry in value) + "]"
        case bool():
            return str(value).lower()
        case _:
            return repr(value)


@each
def test_every_border_keeps_it(hardware: pp.Hardware, tmp_path: Any) -> None:
    """JSON, TOML, the wire and the client's fields give back the same value."""
    plain = hardware.to_dict()
    assert pp.Hardware.from_dict(json.loads(json.dumps(plain))) == hardware
    path = tmp_path / "chip.toml"
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in plain.items() if value is not None))
    assert pp.Hardware.from_toml(path) == hardware
    for message in (hardware_message(hardware), pb.Hardware(**hardware_fields(plain))):
        reader = Reader.start()
        assert hardware_from_proto(reader, pb.Hardware.FromString(message.SerializeToString())) == hardware
        reader.done()
    assert hash(pp.Hardware.from_dict(plain)) == hash(hardware)


def test_where_nothing_shifts_the_mean_the_target_itself_is_returned() -> None:
    target = targets(pp.Hardware(), 5)
    for changes in ({}, {"programming_noise_proportional": 0.1}, {"device_gain_std": 0.1}, PARTS["relative flicker"]):
        hardware = pp.Hardware(**changes, clip_conductance=False)
        assert not hardware.shifts_mean
        assert torch.equal(device_moments(hardware, target)[0], target)
    assert device_moments(pp.Hardware(clip_conductance=False), target)[0] is target
    assert device_moments(pp.Hardware(clip_conductance=False), target)[1].shape == ()


def test_one_gaussian_takes_one_step() -> None:
    """A device with programming noise alone costs one normal, in place."""
    target = targets(pp.Hardware(), 5)
    devices = Devices.prepare(pp.Hardware(), target, torch.ones_like(target), dtype=torch.float32)
    normals = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    expected = (target.float() + 2e-6 * normals).clamp(min=0)
    assert devices.in_one_step
    assert torch.allclose(devices.sample(lambda: normals, lambda: normals, normals), expected, rtol=1e-6)


def test_start_and_now_are_the_same_devices() -> None:
    """A global gain can only make up for drift if both readings are of the same devices."""
    hardware = pp.Hardware(**PARTS["power law"], time=3600.0).replace(programming_noise_std=20e-6)
    now, start = draw(hardware, torch.full((1,), 50e-6, dtype=torch.float64), 20_000)
    assert torch.corrcoef(torch.stack([now[:, 0], start[:, 0]]))[0, 1] > 0.7


def test_stuck_devices_hold_the_ends_of_the_range_exactly() -> None:
    hardware = pp.Hardware(**PARTS["everything"], time=3600.0)
    now, _ = draw(hardware, torch.full((1,), 50e-6, dtype=torch.float64), SAMPLES)
    for value, share in ((hardware.conductance_max, 0.01), (hardware.conductance_min, 0.02)):
        found = float(((now - value).abs() < 1e-18).double().mean())
        assert abs(found - share) < 5 * math.sqrt(share / SAMPLES)


def test_all_devices_stuck() -> None:
    hardware = pp.Hardware(stuck_on_fraction=0.25, stuck_off_fraction=0.75)
    mean, variance = device_moments(hardware, targets(hardware, 3))
    assert torch.allclose(mean, torch.full_like(mean, 25e-6))
    assert torch.allclose(variance, torch.full_like(mean, 0.25 * 0.75 * 100e-6**2))


def test_idle_devices() -> None:
    for hardware in CASES.values():
        mean, variance = device_moments(hardware, torch.tensor(hardware.conductance_min, dtype=torch.float64))
        assert idle_device_moments(hardware) == (float(mean), float(variance))


def test_snapshots_are_met_at_their_times() -> None:
    """At a measured time the measured mean and spread, between two times what lies between them."""
    target = targets(pp.Hardware(), 11)
    hardware = pp.Hardware(programming_noise_std=0, clip_conductance=False, measurements=MEASURED, time=1.0)
    alone = [hardware.replace(measurements=(snapshot,)) for snapshot in MEASURED]
    first, last = (device_moments(one, target)[0] for one in alone)
    assert torch.allclose(device_moments(hardware, target)[0], first)
    assert torch.allclose(device_moments(hardware.replace(time=1e6), target)[0], last)
    assert torch.allclose(device_moments(hardware.replace(time=1e3), target)[0], (first + last) / 2)
    assert torch.allclose(start_moments(hardware.replace(time=1e3), target)[0], first)


@pytest.mark.parametrize("age", [*AGES.values(), 1e12])
def test_drift_only_lowers(age: float) -> None:
    """With a power law the mean falls with time and never below zero."""
    hardware = pp.Hardware(drift=PARTS["power law"]["drift"], time=age)
    later = hardware.replace(time=min(2 * age + 1, 1e12))
    target = targets(hardware, 20)
    assert (device_moments(later, target)[0] <= device_moments(hardware, target)[0]).all()
    assert (device_moments(hardware, target)[0] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.0, 1e-6, 0.3, 3.0, 50.0, 700.0])
@pytest.mark.parametrize("std", [0.0, 1e-7, 0.1, 2.0, 30.0, 400.0])
def test_folded_gaussian_against_quadrature(mean: float, std: float) -> None:
    """E[e^(-k|z|)] for k = 1, 2; no overflow for any exponent."""
    found, variance = folded_decay(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    first, second = decay_by_quadrature(1, mean, std), decay_by_quadrature(2, mean, std)
    assert float(found) == pytest.approx(first, rel=1e-7, abs=1e-300)
    assert float(variance) == pytest.approx(second - first**2, rel=1e-6, abs=1e-13)


FOLLOWING = {name: hardware for name, hardware in CASES.items() if hardware.noise_follows_programming}


@pytest.mark.parametrize("hardware", FOLLOWING.values(), ids=FOLLOWING.keys())
def test_table_of_flickering_devices(hardware: pp.Hardware) -> None:
    """Within 1e-3 of a quadrature with ten times the nodes, between the targets of the table too."""
    span = hardware.conductance_max - hardware.conductance_min
    place = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = hardware.conductance_min + span * torch.cat([place, 0.02 * place])
    for found, exact in zip(flickering(hardware, target), quadrature(hardware, target, 480), strict=True):
        assert ((found / exact - 1).abs() < 1e-3).all()


def decay_by_quadrature(k: int, mean: float, std: float) -> float:
    """The trapezoidal rule over the narrower of the Gaussian and the exponential."""
    if k * std < 1:
        z = np.linspace(-12, 12, 400_001)
        values = np.exp(-z * z / 2 - k * abs(mean + std * z)) / math.sqrt(2 * math.pi)
    else:
        z = np.linspace(0, 400 / k, 2_000_001)
        folded = np.exp(-(((z - mean) / std) ** 2) / 2) + np.exp(-(((z + mean) / std) ** 2) / 2)
        values = folded * np.exp(-k * z) / (math.sqrt(2 * math.pi) * std)
    return float(np.trapezoid(values, z))
