"""Networks read from torch modules compute what the modules compute, or are refused with a reason."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from powerplan import InvalidInput, UnsupportedOperation, from_torch
from powerplan.network import ACTIVATIONS, Activation, Flatten, Linear, Network, Scale

ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "hard_tanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
    "elu": lambda: nn.ELU(0.7),
    "selu": nn.SELU,
    "mish": nn.Mish,
    "softsign": nn.Softsign,
    "relu6": nn.ReLU6,
}


class Function(nn.Module):
    """A linear layer followed by a function, so that any call can stand in a module."""

    def __init__(self, function: Callable[..., Any], width: int = 5) -> None:
        super().__init__()
        self.fc = nn.Linear(4, width)
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self.fc(x))


def trained_norm(width: int, seed: int = 0) -> nn.BatchNorm1d:
    norm, generator = nn.BatchNorm1d(width), torch.Generator().manual_seed(seed)
    for tensor, low in ((norm.running_mean, -1.0), (norm.running_var, 0.5), (norm.weight, 0.5), (norm.bias, -1.0)):
        assert isinstance(tensor, torch.Tensor)
        tensor.data = torch.rand(width, generator=generator) * 2 + low
    return norm


def agree(network: Network, module: nn.Module, *, seed: int = 1, tolerance: float = 1e-5) -> None:
    """Assert that both compute the same, in evaluation mode and double precision."""
    inputs = torch.randn((7, *network.input_shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        wanted = copy.deepcopy(module).eval().double()(inputs).numpy()
    np.testing.assert_allclose(network(inputs.numpy()), wanted, atol=tolerance * np.abs(wanted).max())


def kinds(network: Network) -> list[str]:
    return [n.op.kind if isinstance(n.op, Activation) else n.op.type for n in network.nodes]


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_random_mlps_agree_with_torch(data: st.DataObject, seed: int) -> None:
    """Any mix of linear layers, activations, batch norms, dropout and nesting computes what torch computes."""
    torch.manual_seed(seed)
    widths = data.draw(st.lists(st.integers(1, 8), min_size=2, max_size=5))
    modules: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        block: list[nn.Module] = [nn.Linear(n_in, n_out, bias=data.draw(st.booleans()))]
        for extra in data.draw(st.lists(st.sampled_from([*ACTIVATION_MODULES, "norm", "dropout"]), max_size=3)):
            if extra == "norm":
                block.append(trained_norm(n_out, seed))
            else:
                block.append(nn.Dropout(0.5) if extra == "dropout" else ACTIVATION_MODULES[extra]())
        modules += [nn.Sequential(*block)] if data.draw(st.booleans()) else block
    module = nn.Sequential(*modules)
    network = from_torch(module, (widths[0],))
    agree(network, module)
    assert len(network.crossbars) == len(widths) - 1


@pytest.mark.slow
def test_every_activation_has_a_module() -> None:
    """Each supported activation is reached from the torch module of that name, with its parameters."""
    for kind in ACTIVATIONS:
        network = from_torch(nn.Sequential(nn.Linear(3, 3), ACTIVATION_MODULES[kind]()), (3,))
        assert kinds(network) == (["linear"] if kind == "identity" else ["linear", kind])
    leaky = from_torch(nn.Sequential(nn.Linear(3, 3), nn.LeakyReLU(0.2)), (3,)).nodes[1].op
    assert leaky == Activation(kind="leaky_relu", parameters={"negative_slope": 0.2})
    six = from_torch(nn.Sequential(nn.Linear(3, 3), nn.ReLU6()), (3,)).nodes[1].op
    assert six == Activation(kind="hard_tanh", parameters={"low": 0.0, "high": 6.0})


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("relu", F.relu),
        ("relu", torch.relu),
        ("relu", lambda x: x.relu()),
        ("relu", lambda x: x.relu_()),
        ("relu", lambda x: F.relu(x, inplace=True)),
        ("relu", lambda x: x.clamp(min=0)),
        ("leaky_relu", lambda x: F.leaky_relu(x, 0.3)),
        ("tanh", torch.tanh),
        ("tanh", lambda x: x.tanh()),
        ("sigmoid", torch.sigmoid),
        ("sigmoid", lambda x: x.sigmoid()),
        ("softplus", F.softplus),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("silu", F.silu),
        ("hard_tanh", lambda x: F.hardtanh(x, -2, 0.5)),
        ("hard_tanh", F.relu6),
        ("hard_tanh", lambda x: torch.clamp(x, -0.1, 0.1)),
    ],
)
def test_functions_and_methods(kind: str, function: Callable[..., Any]) -> None:
    """Functions of torch, of torch.nn.functional and tensor methods mean the same as the modules."""
    module = Function(function)
    network = from_torch(module, (4,))
    assert kinds(network) == ["linear", kind]
    agree(network, module)


@pytest.mark.parametrize(
    "flatten",
    [
        torch.nn.Flatten().forward,
        lambda x: torch.flatten(x, 1),
        lambda x: x.flatten(1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.view(x.shape[0], 12),
        lambda x: x.reshape(-1, 12),
        lambda x: x.reshape((-1, 3 * 4)),
        lambda x: x.view(x.size(0), x.size(1) * x.shape[2]),
    ],
)
def test_flattening(flatten: Callable[..., Any]) -> None:
    """Every common way to flatten all axes but the batch becomes one Flatten."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(12, 2)

        def forward(self, x: torch.Tensor) -> Any:
            return self.fc(flatten(x))

    module = Flat()
    network = from_torch(module, (3, 4))
    assert isinstance(network.nodes[0].op, Flatten)
    agree(network, module)


def test_flattening_a_flat_value_is_nothing() -> None:
    assert kinds(from_torch(nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(3, 2)), (4,))) == ["linear"] * 2


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        (lambda: [nn.Linear(4, 5), trained_norm(5), nn.ReLU()], ["linear", "relu"]),
        (lambda: [trained_norm(4), nn.Linear(4, 5)], ["linear"]),
        (lambda: [nn.Linear(4, 5), nn.ReLU(), trained_norm(5), nn.Linear(5, 3)], ["linear", "relu", "linear"]),
        (lambda: [nn.Linear(4, 5), trained_norm(5), trained_norm(5, 1), nn.Tanh()], ["linear", "tanh"]),
        (lambda: [nn.Linear(4, 5), nn.ReLU(), trained_norm(5)], ["linear", "relu", "scale"]),
        (lambda: [nn.Linear(4, 5), nn.ReLU(), trained_norm(5), nn.Tanh()], ["linear", "relu", "scale", "tanh"]),
    ],
)
def test_batch_norm_is_folded_where_it_can_be(layers: Callable[[], list[nn.Module]], wanted: list[str]) -> None:
    """Into the linear layer before it, else into the one behind it, else it stays a digital scale; exactly."""
    module = nn.Sequential(*layers())
    network = from_torch(module, (4,))
    assert kinds(network) == wanted
    agree(network, module, tolerance=1e-6)


def test_batch_norm_behind_a_layer_used_twice_is_not_folded_into_it() -> None:
    """Folding may not change what another reader of the layer sees."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Linear(4, 4), trained_norm(4)

        def forward(self, x: torch.Tensor) -> Any:
            return self.first(self.norm(self.first(x)))

    module = Twice()
    network = from_torch(module, (4,))
    assert network.layer_names == ("first",)
    assert kinds(network) == ["linear", "scale", "linear"]
    agree(network, module)
    separate = from_torch(module, (4,), reads="separate")
    assert separate.layer_names == ("first", "first_1")
    agree(separate, module)
    first, second = (node.op for node in separate.crossbars)
    assert isinstance(first, Linear)
    assert isinstance(second, Linear)
    assert not np.array_equal(first.weight, second.weight)


def test_constants_are_folded_like_batch_norms() -> None:
    """Normalisation by constants, products with constant matrices and offsets are linear operations."""

    class Affine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.offset = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = ((x - 0.13) / 0.31) @ (self.weight * 2) + self.offset
            return 1 - F.linear(torch.tanh(-z), self.weight, None)

    module = Affine()
    network = from_torch(module, (4,))
    assert kinds(network) == ["linear", "tanh", "linear"]
    agree(network, module)


def test_scale_of_an_image_stays_in_front_of_the_flatten() -> None:
    module = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(12, 3))
    module[0].running_mean = torch.tensor([0.5, -1.0])
    module[0].running_var = torch.tensor([4.0, 0.25])
    network = from_torch(module, (2, 3, 2))
    assert isinstance(network.nodes[0].op, Scale)
    agree(network, module)


def test_names_are_module_paths() -> None:
    """Crossbar layers carry the path of their module, functions the path of their caller."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(self.fc(x))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.input = nn.Linear(4, 4)
            self.blocks = nn.ModuleList([Block(), Block()])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.input(x)
            for block in self.blocks:
                x = block(x)
            return x

    network = from_torch(Model(), (4,))
    assert network.layer_names == ("input_1", "blocks.0.fc", "blocks.1.fc")  # "input" names the network's input
    assert network.nodes[2].name == "blocks.0.relu"
    assert from_torch(nn.Linear(4, 2), (4,)).layer_names == ("linear",)


def test_subclass_and_parametrised_linear() -> None:
    """A subclass that inherits forward is a linear layer, and a parametrised weight is the effective one."""

    class Mine(nn.Linear):
        pass

    module = nn.Sequential(Mine(4, 5), nn.ReLU(), weight_norm(nn.Linear(5, 3)))
    network = from_torch(module, (4,))
    assert network.layer_names == ("0", "2")
    agree(network, module)


def test_the_module_is_left_alone() -> None:
    """Mode, parameters, gradients, running statistics and the global generator are as they were."""
    module = nn.Sequential(nn.Linear(4, 5), trained_norm(5), nn.Dropout(0.9), nn.ReLU(), nn.Linear(5, 2)).train()
    module(torch.randn(6, 4)).sum().backward()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    generator = torch.get_rng_state()
    agree(from_torch(module, (4,)), module)
    assert all(m.training for m in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    for was, parameter in zip(gradients, module.parameters(), strict=True):
        assert parameter.requires_grad
        assert parameter.grad is not None
        assert torch.equal(was, parameter.grad)
    assert torch.equal(generator, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weight_types(dtype: torch.dtype) -> None:
    """Half precision becomes float32 exactly, float32 and float64 are kept."""
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).to(dtype)
    op = from_torch(module, (4,)).crossbars[0].op
    assert isinstance(op, Linear)
    assert op.weight.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    np.testing.assert_array_equal(op.weight, next(module.parameters()).detach().double().numpy())


def refuse(module: Any, shape: Any = (4,), error: type[InvalidInput] = UnsupportedOperation) -> str:
    with pytest.raises(error) as caught:
        from_torch(module, shape)
    return str(caught.value)


@pytest.mark.slow
def test_unsupported_module_is_named_with_the_reason_and_the_nearest_names() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvalsh(x @ x.mT)

    message = refuse(nn.Sequential(nn.Linear(4, 4), nn.Sequential(Spectrum())), (3, 4))
    assert "'1.0'" in message
    assert "'_linalg_eigh' (there is no model of this operation)" in message
    assert "Replace it" in message
    assert len(message) < 300
    assert "the nearest names are median" in refuse(Function(lambda x: torch.nanmedian(x, 1).values))


@pytest.mark.slow
def test_unsupported_calls_are_named() -> None:
    assert "batch" in refuse(Function(lambda x: torch.cumsum(x, 0)))
    assert "batch" in refuse(Function(lambda x: x[[1, 0]]))
    assert "batch" in refuse(Function(lambda x: x[:2]))
    assert "batch" in refuse(Function(lambda x: x.mean()))
    assert "batch" in refuse(Function(lambda x: x @ x.t()))
    assert "first axis is not the batch" in refuse(Function(lambda x: x.t()), error=InvalidInput)
    assert "dropout" in refuse(Function(F.dropout))
    assert "batch" in refuse(Function(lambda x: F.batch_norm(x, None, None, training=True)))
    assert "randn_like" in refuse(Function(lambda x: x + torch.randn_like(x)))
    assert "rand' (it is random)" in refuse(Function(lambda x: x * torch.rand(5)))
    assert "running statistics" in refuse(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)))


@pytest.mark.slow
def test_control_flow_on_values_is_refused() -> None:
    assert "control flow" in refuse(Function(lambda x: x.relu() if x.sum() > 0 else x.tanh()))
    assert "control flow" in refuse(Function(lambda x: {}[x.item()]))
    assert "KeyError" in refuse(Function(lambda x: {}["key"]))


def test_inputs_and_outputs() -> None:
    """Exactly one tensor goes in and one comes out, and it depends on what went in."""

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + y

    assert "'y'" in refuse(Pair(), error=InvalidInput)
    assert "output='0'; there are 0, 1" in refuse(Function(lambda x: (x, x.relu())), error=InvalidInput)
    assert "tuple of 2" in refuse(Function(lambda x: (x, x.relu())), error=InvalidInput)
    assert "one tensor" in refuse(Function(lambda x: torch.ones(3)), error=InvalidInput)
    assert "crossbar" in refuse(nn.Identity(), error=InvalidInput)
    assert "crossbar" in refuse(nn.ReLU(), error=InvalidInput)


def test_a_quantised_module_is_named_once() -> None:
    """Not with each of its parts."""

    class Packed(nn.Module):
        pass

    Packed.__module__ = "torch.ao.nn.quantized.modules.linear"
    outer = Packed()
    outer.parameters_packed = Packed()
    with pytest.raises(InvalidInput) as found:
        from_torch(nn.Sequential(nn.Linear(4, 4), outer), (4,))
    assert [violation.field for violation in found.value.violations] == ["module.1"]


@pytest.mark.parametrize("module", [None, 3, "model.pt", nn.Linear, {"weight": torch.ones(2)}])
def test_what_is_no_module_is_refused(module: object) -> None:
    assert "torch.nn.Module" in refuse(module, error=InvalidInput)


@pytest.mark.parametrize("shape", [(), (0,), (-1, 4), (4.5,), "4", None, 4, (True,), (float("nan"),)])
def test_bad_input_shapes(shape: object) -> None:
    assert "input_shape" in refuse(nn.Linear(4, 2), shape, InvalidInput)


def test_input_shape_that_does_not_fit_names_the_layer() -> None:
    message = refuse(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), (5,), InvalidInput)
    assert "'1'" in message
    assert "(5,)" in message


@pytest.mark.slow
def test_weights_that_are_not_there_or_not_finite() -> None:
    """Meta, lazy, missing, complex and NaN weights are named."""
    assert "Load the weights" in refuse(nn.Linear(4, 2, device="meta"), error=InvalidInput)
    assert "Run the module once" in refuse(nn.LazyLinear(3), error=InvalidInput)
    missing = nn.Sequential(nn.Linear(4, 2))
    missing[0].weight = None  # type: ignore[assignment]
    assert "'0'" in refuse(missing, error=InvalidInput)
    bad = nn.Sequential(nn.Linear(4, 2))
    next(bad.parameters()).data[0, 0] = float("nan")
    assert "NaN" in refuse(bad, error=InvalidInput)
    assert "dense real" in refuse(nn.Linear(4, 2, dtype=torch.complex64), error=InvalidInput)


def test_layers_that_share_a_weight_read_one_array() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    network = from_torch(module, (4,))
    assert len(network.crossbars) == 1
    assert len(network.read_names) == 2
    assert len(from_torch(module, (4,), reads="separate").crossbars) == 2
    agree(network, module)


def test_hooks_are_part_of_what_is_computed() -> None:
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].register_forward_hook(lambda m, args, output: output * 1.01)
    network = from_torch(module, (4,))
    agree(network, module)
    assert kinds(network) == ["linear"]


def test_the_self_check_finds_what_reading_does_not_see() -> None:
    """State and decisions by the size of a batch are invisible to an export, but not to the comparison."""
    calls: list[int] = []

    def stateful(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x * len(calls)

    def by_batch(x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] == 1 else x

    for function in (stateful, by_batch):
        assert "a single run does not show" in refuse(Function(function), error=InvalidInput)


@pytest.mark.slow
def test_changes_in_place_are_followed() -> None:
    """A value changed in place is the new value for every later reader, as in torch."""

    def function(x: torch.Tensor) -> torch.Tensor:
        before = x
        x += 1
        x.mul_(2)
        F.relu(x, inplace=True)
        x[:, :2].tanh_()
        x[:, 3] = 0.25
        return before * 0.5 + x

    module = Function(function)
    agree(from_torch(module, (4,)), module)


def test_module_that_fails_on_its_own_is_reported() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double())
    assert "It fails" in refuse(module, error=InvalidInput)
