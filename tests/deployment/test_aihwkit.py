"""The numbers aihwkit is told are those of the plan; where aihwkit is installed, it simulates the plan's error."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.deployment import aihwkit as adapter
from powerplan.examples import Example
from powerplan.hardware.aging import PowerLawDrift
from powerplan.hardware.curves import Polynomial


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


def test_scales_of_columns_are_handed_on() -> None:
    network, x = pp.from_torch(module(), input_shape=(12,)), np.random.default_rng(0).uniform(0, 1, (16, 12))
    plan = pp.plan(network, HARDWARE["scales of columns"], x, pp.MaxNMSE(0.05))
    settings = adapter.layer_settings(network, plan.hardware, plan.gains)
    assert plan.gains.column_scale is not None
    for layer, scale in zip(settings, plan.gains.column_scale, strict=True):
        assert np.array_equal(layer.column_scale, scale)
    with pytest.raises(pp.InvalidInput, match=r"gains\.column_scale"):
        adapter.layer_settings(
            network, plan.hardware, pp.Gains(conductance=plan.gains.conductance, voltage=plan.gains.voltage)
        )


def test_devices_are_those_of_the_hardware() -> None:
    """Mean and standard deviation of the drawn conductances are the hardware's, within five standard errors."""
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False)
    torch.manual_seed(1)
    target = torch.full((200, 200), 2e-5)
    drawn = adapter.programmed_conductances(hardware, target).double()
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
    with pytest.raises(pp.MissingExtra, match=r"powerplan-crossbar\[aihwkit\]"):
        adapter.rpu_configs(plan, network)


def convolution() -> tuple[torch.nn.Module, tuple[int, ...]]:
    torch.manual_seed(3)
    layers = [
        torch.nn.Conv2d(2, 4, 3, stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 3),
    ]
    return torch.nn.Sequential(*layers), (2, 8, 8)


def assert_aihwkit_agrees(
    torch_module: torch.nn.Module, network: pp.Network, hardware: pp.Hardware, x: np.ndarray, *, draws: int, nmse: float
) -> None:
    """aihwkit's own layers and noise on a plan's configuration give the error that powerplan simulates."""
    inference = pytest.importorskip("aihwkit.inference.utils")
    plan = pp.plan(network, hardware, x, pp.MaxNMSE(nmse))
    analog = adapter.to_analog(torch_module, plan, network).eval()
    torch.manual_seed(2)
    errors = []
    with torch.no_grad():
        for _ in range(draws):
            inference.program_analog_weights(analog, None)
            errors.append(float(((analog(torch.tensor(x, dtype=torch.float32)).numpy() - network(x)) ** 2).mean()))
    simulated = pp.simulate(network, hardware, plan.gains, x, draws=4 * draws)
    error = np.hypot(np.std(errors) / np.sqrt(draws), simulated.mse_standard_error)
    assert error < 0.06 * simulated.mse
    assert abs(np.mean(errors) - simulated.mse) < 5 * error


def constant(value: float) -> Polynomial:
    return Polynomial(coefficients=(value,))


HARDWARE = {
    "read and row noise": pp.Hardware(
        conductance_min=2e-6, programming_noise_std=1e-6, read_noise_std=5e-8, input_noise_std=1e-3
    ),
    "row tiles": pp.Hardware(programming_noise_std=5e-7, read_noise_std=2e-7, array_rows=5, array_columns=8),
    "proportional, stuck": pp.Hardware(
        programming_noise_proportional=0.05, stuck_off_fraction=0.01, device_gain_std=0.05, clip_conductance=False
    ),
    "drift": pp.Hardware(
        programming_noise_std=1e-6,
        drift=PowerLawDrift(exponent_mean=constant(0.01), exponent_std=constant(0.01), reference_time=20.0),
        time=3600.0,
    ),
    "scales of columns": pp.Hardware(programming_noise_std=3e-6, read_noise_std=2e-7, column_scale="least_bias"),
}


@pytest.mark.parametrize("kind", HARDWARE)
def test_aihwkit_simulates_the_planned_error(kind: str) -> None:
    """Every kind of noise that the settings express, on fully-connected layers."""
    torch_module = module()
    network = pp.from_torch(torch_module, input_shape=(12,))
    x = np.random.default_rng(0).uniform(0, 1, (16, 12))
    assert_aihwkit_agrees(torch_module, network, HARDWARE[kind], x, draws=400, nmse=0.05)


@pytest.mark.parametrize("kind", ["read and row noise", "row tiles"])
def test_aihwkit_simulates_the_planned_error_of_a_convolution(kind: str) -> None:
    """One array for all positions, the same devices at each of them, read noise fresh in every read."""
    torch_module, shape = convolution()
    network = pp.from_torch(torch_module, input_shape=shape)
    x = np.random.default_rng(0).uniform(0, 1, (8, *shape))
    assert_aihwkit_agrees(torch_module, network, HARDWARE[kind], x, draws=400, nmse=0.05)


@pytest.mark.slow
def test_aihwkit_simulates_the_planned_error_of_the_mnist_network(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("aihwkit.inference.utils")
    example: Example = request.getfixturevalue("mnist_example")  # trained only where it is needed
    network, x = example.network, example.inputs[:8]
    layers: list[torch.nn.Module] = []
    for node in network.crossbars:
        weight, bias = (torch.tensor(node.op.tensors()[name], dtype=torch.float32) for name in ("weight", "bias"))
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, torch.nn.ReLU()]
    stacked = torch.nn.Sequential(*layers[:-1])
    assert_aihwkit_agrees(stacked, network, HARDWARE["read and row noise"], x, draws=50, nmse=0.05)


def test_read_noise_of_several_row_tiles_adds_up() -> None:
    """The partial sums of T tiles are added, each with read noise of its own: √T times that of one array."""
    network = pp.from_torch(module(), input_shape=(12,))
    gains = pp.Gains(conductance=(1e-6, 1e-6), voltage=(0.1, 0.1))
    whole, tiled = (
        adapter.layer_settings(network, pp.Hardware(read_noise_std=1e-8, array_rows=rows), gains) for rows in (None, 5)
    )
    for one, many, tiles in zip(whole, tiled, (3, 4), strict=True):
        assert many.out_noise == pytest.approx(np.sqrt(tiles) * one.out_noise)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (torch.nn.Conv2d(2, 4, 3, groups=2), (2, 5, 5), "groups"),
        (torch.nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), (2, 5, 5), "padding_mode"),
        (torch.nn.Conv1d(2, 4, 3), (2, 5), "Linear or Conv2d"),
    ],
)
def test_convolutions_that_aihwkit_does_not_have_are_refused(
    layer: torch.nn.Module, shape: tuple[int, ...], message: str
) -> None:
    torch_module = torch.nn.Sequential(layer)
    network = pp.from_torch(torch_module, input_shape=shape)
    with pytest.raises(pp.InvalidInput, match=message):
        adapter._match(torch_module, network)


def test_one_array_per_position_and_drift_compensation_are_refused() -> None:
    torch_module, shape = convolution()
    network = pp.from_torch(torch_module, input_shape=shape)
    gains = pp.Gains(conductance=(1e-6, 1e-6), voltage=(0.1, 0.1))
    drift = PowerLawDrift(exponent_mean=constant(0.05), reference_time=20.0)
    with pytest.raises(pp.InvalidInput, match="16 positions"):
        adapter.layer_settings(network, pp.Hardware(mapping="unrolled"), gains)
    still = pp.Hardware(drift=drift, drift_compensation=True)
    assert adapter.layer_settings(network, still, gains)  # nothing to compensate yet
    with pytest.raises(pp.InvalidInput, match=r"hardware\.drift_compensation"):
        adapter.layer_settings(network, still.replace(time=3600.0), gains)


def test_layers_are_matched_by_their_weights(
    planned: tuple[torch.nn.Module, pp.Network, np.ndarray, pp.Plan],
) -> None:
    torch_module, network, _, _ = planned
    assert set(adapter._match(torch_module, network)) == {"0", "2"}
    torch.manual_seed(9)
    other = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5))
    with pytest.raises(pp.InvalidInput, match="weights of a layer of the network"):
        adapter._match(other, network)


def normalised(layers: list[torch.nn.Module]) -> torch.nn.Module:
    """Layers in a row, their BatchNorms with statistics as after training."""
    torch.manual_seed(4)
    made = torch.nn.Sequential(*layers)
    for part in made.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (part.running_mean, -0.3, 0.3),
                (part.running_var, 0.5, 2.0),
                (part.weight.data, 0.5, 2.0),
                (part.bias.data, -0.3, 0.3),
            ):
                assert tensor is not None
                tensor.uniform_(low, high)
    return made


def behind() -> torch.nn.Module:
    """BatchNorms behind layers, with and without biases; in training, as they are left by it."""
    return normalised(
        [
            torch.nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(64, 6),
            torch.nn.BatchNorm1d(6),
            torch.nn.ReLU(),
            torch.nn.Linear(6, 3),
        ]
    ).train()


def in_front() -> torch.nn.Module:
    """BatchNorms in front of layers: one is folded, the one before a convolution that pads with zeros stays."""
    return normalised(
        [
            torch.nn.Conv2d(2, 4, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.BatchNorm2d(4),
            torch.nn.Conv2d(4, 2, 3, stride=2, padding=1),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.BatchNorm1d(32),
            torch.nn.Linear(32, 3),
        ]
    )


@pytest.mark.parametrize(("make", "kept"), [(behind, 0), (in_front, 1)])
def test_batch_norms_are_folded_as_the_import_folds_them(make: Callable[[], torch.nn.Module], kept: int) -> None:
    given = make()
    network = pp.from_torch(given, input_shape=(2, 8, 8))
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    made = adapter.folded(given, network.input_shape)
    assert sum(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in made.modules()) == kept
    assert len(adapter._match(made, network)) == len(network.crossbars)
    x = np.random.default_rng(0).normal(size=(5, 2, 8, 8))
    with torch.no_grad():
        np.testing.assert_allclose(made(torch.tensor(x, dtype=torch.float32)).numpy(), network(x), rtol=0, atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in given.state_dict().items())


@pytest.mark.parametrize("make", [behind, in_front])
def test_aihwkit_simulates_the_planned_error_with_batch_norms(make: Callable[[], torch.nn.Module]) -> None:
    torch_module = make()
    network = pp.from_torch(torch_module, input_shape=(2, 8, 8))
    x = np.random.default_rng(0).uniform(0, 1, (8, 2, 8, 8))
    assert_aihwkit_agrees(torch_module, network, HARDWARE["read and row noise"], x, draws=800, nmse=0.05)


class Twice(torch.nn.Module):
    """One layer called twice, with another BatchNorm behind it each time: both stay digital."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        self.norms = normalised([torch.nn.BatchNorm1d(4), torch.nn.BatchNorm1d(4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for norm in self.norms:  # type: ignore[attr-defined]
            x = norm(self.layer(x)).relu()
        return x


class NormTwice(torch.nn.Module):
    """One BatchNorm called twice, of which only the first call can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        (self.norm,) = normalised([torch.nn.BatchNorm1d(4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.norm(self.layer(x)).relu())
        return y


def test_a_layer_that_is_called_twice_is_one_array_whose_norms_stay() -> None:
    module = Twice().eval()
    assert pp.from_torch(module, (4,)).layer_names == ("layer",)
    x = torch.randn(3, 4)
    assert torch.allclose(adapter.folded(module, (4,))(x), module(x), atol=1e-6)


def test_a_norm_that_is_folded_in_one_of_two_calls_is_refused() -> None:
    with pytest.raises(pp.InvalidInput, match="fold into one layer each"):
        adapter.folded(NormTwice(), (4,))
