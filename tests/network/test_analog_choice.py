"""Which layers are on crossbars: by type, name, pattern, number or function; the rest is digital and exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_modules import LeNet5, UNet, agree, trained

import powerplan as pp
from powerplan import InvalidInput, from_torch
from powerplan.moments.rules import linearize
from powerplan.network import ConvTranspose, DigitalLayer, Network, build_op
from powerplan.network.digital import digital

UNET = from_torch(trained(UNet()), (1, 8, 8))
NAMES = ("down1", "down2", "up", "out")


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"analog": "conv"}, ("down1", "down2", "out")),
        ({"analog": "conv_transpose"}, ("up",)),
        ({"analog": "ConvTranspose2d"}, ("up",)),
        ({"digital": "Conv2d"}, ("up",)),
        ({"analog": nn.ConvTranspose2d}, ("up",)),
        ({"digital": [nn.Conv2d]}, ("up",)),
        ({"analog": ["down*", "up"]}, ("down1", "down2", "up")),
        ({"digital": [0, -1]}, ("down2", "up")),
        ({"digital": "down1"}, ("down2", "up", "out")),
        ({"analog": "conv", "digital": "*2"}, ("down1", "out")),
        ({"analog": lambda name, op: name == "out" or isinstance(op, ConvTranspose)}, ("up", "out")),
        ({"analog": 1}, ("down2",)),
        ({}, NAMES),
    ],
)
def test_choices(choice: dict[str, Any], wanted: tuple[str, ...]) -> None:
    """The ideal network computes the same whatever is analog, and the choice can be taken back."""
    network = UNET.with_analog(**choice)
    assert network.layer_names == wanted
    assert sum(isinstance(node.op, DigitalLayer) for node in network.nodes) == len(NAMES) - len(wanted)
    inputs = np.random.default_rng(0).standard_normal((2, 1, 8, 8))
    np.testing.assert_allclose(network(inputs), UNET(inputs), atol=1e-12)
    assert network.with_analog("*").digest == UNET.digest


def test_module_paths_take_all_layers_inside() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(2))

        def forward(self, x: torch.Tensor) -> Any:
            return self.blocks[1](self.blocks[0](x))

    module = trained(Model())
    network = from_torch(module, (4,), digital="blocks.0")
    assert network.layer_names == ("blocks.1.0", "blocks.1.2")
    agree(network, module)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"analog": "conv1d"}, "the layers are down1, down2, up, out"),
        ({"digital": ["down1", "donw2"]}, "Did you mean 'down2'"),
        ({"digital": "*"}, "at least one layer on a crossbar"),
        ({"analog": []}, "at least one layer on a crossbar"),
        ({"analog": 4}, "below 4"),
        ({"analog": 1.5}, "List|list"),
        ({"analog": [None]}, "allowed"),
        ({"digital": True}, "allowed"),
    ],
)
def test_choices_that_take_nothing_are_refused(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        UNET.with_analog(**choice)


def test_digital_layers_go_through_files(tmp_path: Path) -> None:
    network = UNET.with_analog(digital=["down1", "up"])
    network.save(tmp_path / "network.npz")
    again = Network.load(tmp_path / "network.npz")
    assert again.digest == network.digest
    assert again.layer_names == ("down2", "out")
    assert again.with_analog("*").digest == UNET.digest


def test_digital_layers_of_nonsense_are_refused() -> None:
    weight = np.ones((2, 3))
    for attributes in (
        {"operation": "embedding"},
        {"operation": "linear", "parameters": {"stride": 2}},
        {"operation": "linear", "parameters": 3},
        {"operation": "conv"},
    ):
        with pytest.raises(InvalidInput):
            build_op("digital_layer", attributes, {"weight": weight})


@pytest.mark.slow
def test_digital_layers_draw_no_power_and_add_no_noise() -> None:
    """All error comes from the layers on crossbars; prediction and simulation agree (standard error about 2 %)."""
    module = trained(LeNet5())
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False)
    inputs = np.random.default_rng(0).standard_normal((3, 1, 28, 28))
    network = from_torch(module, (1, 28, 28), digital=[0, -1])
    assert network.layer_names == ("3", "7", "9")
    gains = pp.Gains.uniform(network, hardware, conductance=10e-6, voltage=0.05)
    predicted = pp.predict(network, hardware, gains, inputs)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=400, seed=1)
    assert predicted.mse == pytest.approx(simulated.mse, abs=4 * simulated.mse_standard_error + 0.03 * simulated.mse)
    assert len(predicted.power_by_layer) == 3


@pytest.mark.parametrize("name", NAMES)
def test_moments_of_digital_layers_are_exact(name: str) -> None:
    """Mean A x + b, variance A² Var x and the transpose of A, for the matrix A of the whole layer."""
    node = next(node for node in UNET.with_analog(digital=name, analog="*").nodes if node.name == name)
    shape = UNET.shapes[node.inputs[0]]
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn((1, *shape), generator=generator, dtype=torch.float64)
    variance = torch.rand((1, *shape), generator=generator, dtype=torch.float64)
    rule = linearize(node.op, [mean], [variance])
    offset = digital(node.op, torch.zeros_like(mean))
    size = mean.numel()
    units = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    matrix = (digital(node.op, units) - offset).reshape(size, -1).T
    torch.testing.assert_close(rule.mean.flatten(), matrix @ mean.flatten() + offset.flatten())
    torch.testing.assert_close(rule.variance.flatten(), matrix**2 @ variance.flatten())
    adjoint = torch.randn((1, 2, *offset.shape[1:]), generator=generator, dtype=torch.float64)
    (pulled,) = rule.pull(adjoint)
    torch.testing.assert_close(pulled.flatten(2), adjoint.flatten(2) @ matrix)
    torch.testing.assert_close(rule.push(units[None, :3]).flatten(2), matrix.T[None, :3])
