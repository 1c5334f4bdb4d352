"""The numbers aihwkit is told are those of the plan; where aihwkit is installed, it simulates the plan's error."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.deployment import aihwkit as adapter


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5))


@pytest.fixture(scope="module")
def planned() -> tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan]:
    torch_module = module()
    network = pp.from_torch(torch_module, input_shape=(12,))
    x = np.random.default_rng(0).uniform(0, 1, (16, 12))
    hardware = pp.Hardware(conductance_min=2e-6, programming_noise_std=1e-6, read_noise_std=5e-8, input_noise_std=1e-3)
    return torch_module, network, x, pp.plan(network, hardware, x, pp.MaxNMSE(0.05))


def test_settings_map_the_largest_weight_to_the_largest_conductance(
    planned: tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan],
) -> None:
    """aihwkit's pair converter, G = g_min + (g_max − g_min) w/max|W|, gives the conductances of the export."""
    _, network, _, plan = planned
    export = pp.export(plan, network)
    for layer, node, tiles in zip(
        adapter.layer_settings(network, plan.hardware, plan.gains), network.crossbars, export.layers, strict=True
    ):
        weights = np.asarray(node.op.matrix, dtype=np.float64)  # type: ignore[attr-defined]
        scaled = weights * (layer.g_max - layer.g_min) / np.abs(weights).max()
        positive = (layer.g_min + np.maximum(scaled, 0)) * 1e-6
        np.testing.assert_allclose(tiles.tiles[0].positive, positive.T, rtol=1e-12)


def test_noises_are_in_units_of_the_layer(planned: tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan]) -> None:
    _, network, _, plan = planned
    for layer, c, v in zip(
        adapter.layer_settings(network, plan.hardware, plan.gains),
        plan.gains.conductance,
        plan.gains.voltage,
        strict=True,
    ):
        assert layer.out_noise == pytest.approx(5e-8 / (float(c) * float(v)))
        assert layer.inp_noise == pytest.approx(1e-3 / float(v))


def test_devices_are_those_of_the_hardware() -> None:
    """Mean and standard deviation of the drawn conductances are the hardware's, within five standard errors."""
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False)
    torch.manual_seed(1)
    target = torch.full((200, 200), 2e-5)
    drawn = adapter.held(hardware, target).double()
    assert drawn.shape == target.shape
    assert float(drawn.mean()) == pytest.approx(2e-5, abs=5 * 1e-6 / 200)
    assert float(drawn.std()) == pytest.approx(1e-6, rel=5 / np.sqrt(2 * 40_000))


def test_what_aihwkit_cannot_hold_is_refused(
    planned: tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan],
) -> None:
    _, network, _, plan = planned
    columns = pp.Gains(conductance=(np.full(16, 1e-6), 1e-6), voltage=plan.gains.voltage)
    with pytest.raises(pp.InvalidInput, match="aihwkit scales a whole array"):
        adapter.layer_settings(network, plan.hardware, columns)
    for fields in (
        {"column_gain_std": 0.1},
        {"weight_mapping": "offset"},
        {"bias_mapping": "row"},
        {"read_out": "divider", "load_conductance": 1e-4},
        {"adc_bits": 8},
    ):
        small = pp.Gains(conductance=tuple(0.1 * c for c in plan.gains.conductance), voltage=plan.gains.voltage)
        with pytest.raises(pp.InvalidInput, match=f"hardware.{next(iter(fields))}"):
            adapter.layer_settings(network, plan.hardware.replace(**fields), small)


def test_without_aihwkit_the_install_command_is_named(
    planned: tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, network, _, plan = planned
    monkeypatch.setitem(sys.modules, "aihwkit", None)
    monkeypatch.setitem(sys.modules, "aihwkit.inference", None)
    with pytest.raises(pp.MissingExtra, match=r"powerplan\[aihwkit\]"):
        adapter.rpu_configs(plan, network)


@pytest.mark.slow
def test_aihwkit_simulates_the_planned_error(
    planned: tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan],
) -> None:
    """aihwkit's own layers and noise on the plan's configuration give the error that powerplan simulates."""
    inference = pytest.importorskip("aihwkit.inference.utils")
    torch_module, network, x, plan = planned
    analog = adapter.to_analog(torch_module, plan, network).eval()
    torch.manual_seed(2)
    errors = []
    with torch.no_grad():
        for _ in range(400):
            inference.program_analog_weights(analog, None)
            errors.append(float(((analog(torch.tensor(x, dtype=torch.float32)).numpy() - network(x)) ** 2).mean()))
    simulated = pp.simulate(network, plan.hardware, plan.gains, x, draws=2000)
    error = np.hypot(np.std(errors) / np.sqrt(len(errors)), simulated.mse_standard_error)
    assert abs(np.mean(errors) - simulated.mse) < 5 * error


def test_layers_are_matched_by_their_weights(
    planned: tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan],
) -> None:
    torch_module, network, _, _ = planned
    assert set(adapter._match(torch_module, network)) == {"0", "2"}
    torch.manual_seed(9)
    other = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5))
    with pytest.raises(pp.InvalidInput, match="weights of a layer of the network"):
        adapter._match(other, network)
