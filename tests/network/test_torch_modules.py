"""Modules as users have them: with hooks, pruned, wrapped, keeping activations and locks. They are not changed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.nn.utils.parametrize import is_parametrized

from powerplan import InvalidInput, UnsupportedOperation, from_torch
from powerplan.network import Network
from tests.network.test_torch_import import kinds, trained_norm


def mlp(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def agree(network: Network, module: nn.Module, tolerance: float = 1e-5) -> None:
    """Both compute the same; the module is called as it is, in evaluation mode."""
    inputs = np.random.default_rng(1).standard_normal((5, *network.input_shape))
    module.eval()
    parameter = next(module.parameters())
    with torch.no_grad():
        wanted = module(torch.tensor(inputs, dtype=parameter.dtype)).double().numpy()
    np.testing.assert_allclose(network(inputs), wanted, atol=tolerance * np.abs(wanted).max())


# Hooks


def doubled(module: nn.Module, args: Any) -> Any:
    return (args[0] * 2,)


def raised(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output + 1


@pytest.mark.parametrize("place", ["", "0", "1"])
@pytest.mark.parametrize("before", [True, False])
def test_forward_hooks_are_part_of_what_is_computed(place: str, before: bool) -> None:
    """On the module itself, on a layer and on an activation; behind and in front of it; with keywords or without."""
    for with_kwargs in (False, True):
        module = mlp()
        part = module.get_submodule(place)
        if before and with_kwargs:
            part.register_forward_pre_hook(lambda m, args, kwargs: ((args[0] * 2,), kwargs), with_kwargs=True)
        elif before:
            part.register_forward_pre_hook(doubled)
        elif with_kwargs:
            part.register_forward_hook(lambda m, args, kwargs, output: output + 1, with_kwargs=True)
        else:
            part.register_forward_hook(raised)
        agree(from_torch(module, (4,)), module)


@pytest.mark.parametrize("place", ["", "1"])
def test_hooks_that_cannot_be_read_are_named(place: str) -> None:
    """Code that needs numbers or fails by itself: the message names the hook and says how to remove it."""
    seen: list[Any] = []

    def recorded(module: nn.Module, args: Any, output: Tensor) -> None:
        seen.append(output.numpy())

    def broken(module: nn.Module, args: Any, output: Tensor) -> None:
        raise KeyError("layer")

    for hook in (recorded, broken):
        module = mlp()
        module.get_submodule(place).register_forward_hook(hook)
        with pytest.raises(UnsupportedOperation, match=rf"hook of module.*{hook.__name__}.*handle\.remove"):
            from_torch(module, (4,))


def test_backward_hooks_are_left_out() -> None:
    module = mlp()
    module.register_full_backward_hook(lambda m, given, got: None)
    module[0].register_full_backward_pre_hook(lambda m, got: None)
    agree(from_torch(module, (4,)), module)
    assert len(module._backward_hooks) == 1


class Deciding(nn.Module):
    """Takes a decision by values, which no export can follow."""

    def forward(self, x: Tensor) -> Any:
        return torch.sigmoid(x).log() if bool(torch.isfinite(x).all()) else x


def test_hooks_of_a_module_that_is_kept_run_once() -> None:
    """A kept module is called without the hooks that run around it already."""

    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.part = nn.Linear(4, 4), Deciding()

        def forward(self, x: Tensor) -> Any:
            return self.part(self.fc(x))

    module = Mapped()
    module.part.register_forward_pre_hook(doubled)
    module.part.register_forward_hook(raised)
    network = from_torch(module, (4,), unsupported="digital")
    assert "torch_call" in kinds(network)
    agree(network, module)


# Weights that are computed


@pytest.mark.parametrize(
    "change",
    [
        lambda m: prune.l1_unstructured(m[0], "weight", amount=0.5),
        lambda m: prune.ln_structured(m[2], "weight", amount=1, n=2, dim=0),
        lambda m: prune.global_unstructured([(m[0], "weight"), (m[2], "weight")], prune.L1Unstructured, amount=0.3),
        lambda m: (weight_norm(m[0]), weight_norm(m[2])),
        lambda m: spectral_norm(m[0]),
        lambda m: parametrizations.weight_norm(m[0]),
        lambda m: parametrizations.spectral_norm(m[0]),
        lambda m: parametrizations.orthogonal(m[2]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning", "ignore:.*spectral_norm.*:FutureWarning")
def test_pruned_and_normed_weights_are_the_effective_ones(change: Callable[[Any], Any], dtype: torch.dtype) -> None:
    """By hooks, which leave a weight with a history behind, and by parametrisations."""
    module = mlp()
    change(module)
    module.to(dtype)
    module(torch.randn(5, 4, dtype=dtype)).sum().backward()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    network = from_torch(module, (4,))
    assert network.layer_names == ("0", "2")
    after = module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)
    agree(network, module)


def test_a_single_pruned_layer() -> None:
    layer = prune.random_unstructured(nn.Linear(4, 3), "weight", amount=0.5)
    network = from_torch(layer, (4,))
    assert np.count_nonzero(network.crossbars[0].op.tensors()["weight"]) == 6
    agree(network, layer)
    assert not is_parametrized(layer)


# What modules keep


class Keeping(nn.Module):
    """Keeps what copy.deepcopy refuses, and appends to lists while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.lock, self.events = threading.Lock(), self._numbers()
        self.kept: list[Any] = [self.lock]
        self.recent: deque[Any] = deque(maxlen=2)
        self.by_name: dict[str, Any] = {}
        self.nested = MethodType(Keeping._numbers, self)
        self.pair: tuple[Any, ...] = (self.lock, self.kept)
        self.last: Any = None

    def _numbers(self) -> Iterator[int]:
        yield 1

    def forward(self, x: Tensor) -> Tensor:
        with self.lock:
            self.last = self.first(x)
        self.kept.append(self.last)
        self.recent.append(self.last)
        self.by_name["last"] = (self.last, self.lock)
        return self.second(self.last.relu())


def test_modules_that_keep_activations_locks_and_generators() -> None:
    """They are read, and what they keep stays theirs: nothing is appended, replaced or left in evaluation mode."""
    module = Keeping()
    module(torch.randn(2, 4))
    kept, recent, last = list(module.kept), list(module.recent), module.last
    network = from_torch(module, (4,))
    assert network.layer_names == ("first", "second")
    assert module.training
    assert module.last is last
    assert module.by_name["last"][0] is last
    assert last.grad_fn is not None
    assert len(module.kept) == len(kept) == 2
    assert list(module.recent) == recent
    agree(network, module)


def test_open_files_and_objects_around_them(tmp_path: Any) -> None:
    class Log:
        def __init__(self) -> None:
            self.file, self.lines = (tmp_path / "log.txt").open("w"), [threading.Lock()]
            self.module: Any = None

    module = mlp()
    module.log = log = Log()  # type: ignore[assignment]
    log.module = module
    network = from_torch(module, (4,))
    assert module.log is log
    assert not log.file.closed
    agree(network, module)
    log.file.close()


def test_a_kept_activation_that_is_used_is_a_constant() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)
            self.reference = self.fc(torch.ones(4))

        def forward(self, x: Tensor) -> Any:
            return self.fc(x) - self.reference

    module = Shifted()
    network = from_torch(module, (4,))
    assert kinds(network) == ["linear"]
    agree(network, module)
    agree(from_torch(module.double(), (4,)), module.float())


def test_half_precision_in_attributes_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.factor = nn.Linear(4, 3), torch.tensor([0.5, 2.0, 1.5], dtype=torch.float16)

        def forward(self, x: Tensor) -> Any:
            return self.fc(x) @ torch.diag(self.factor)

    module = Scaled().half()
    network = from_torch(module, (4,))
    assert module.factor.dtype == torch.float16
    agree(network, module, tolerance=5e-3)


# Wrappers


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_and_parallel_modules_are_what_they_wrap() -> None:
    """At the top and inside, under the names that the modules have without them."""
    plain = from_torch(mlp(), (4,))
    inner = mlp()
    inner[0] = nn.DataParallel(inner[0])
    compiled = mlp()
    compiled[2] = torch.compile(compiled[2])  # type: ignore[assignment]
    in_place = mlp()
    in_place.compile()
    for module in (nn.DataParallel(mlp()), torch.compile(mlp()), torch.compile(nn.DataParallel(mlp())), inner):
        assert from_torch(module, (4,)).digest == plain.digest
    for module in (compiled, in_place):
        assert from_torch(module, (4,)).digest == plain.digest


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports what is deprecated
def test_compiled_functions_are_read_as_they_are_written() -> None:
    class Calling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Any:
            return compiled(self.fc(x))

    compiled = torch.compile(lambda x: torch.tanh(x) * 2)
    assert kinds(from_torch(Calling(), (4,))) == ["linear", "tanh", "scale"]


def test_modules_whose_own_code_fails() -> None:
    class Fixed(nn.Linear):
        def train(self, mode: bool = True) -> Any:
            raise RuntimeError("this model is always in training")

    with pytest.raises(InvalidInput, match="always in training"):
        from_torch(Fixed(4, 3), (4,))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules_are_refused_by_name() -> None:
    module = mlp()
    module[1] = torch.jit.script(nn.Tanh())
    for bad, name in ((module, "1"), (torch.jit.trace(mlp(), torch.ones(1, 4)), "self")):
        with pytest.raises(InvalidInput, match=name) as caught:
            from_torch(bad, (4,))
        assert "script" in str(caught.value)


# Scales in a row


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda y: (y + 1) * 2, ["linear"]),
        (lambda y: 1 - y, ["linear"]),
        (lambda y: ((1 - y) / 3 + torch.arange(6.0)) * 2 - 1, ["linear"]),
        (lambda y: 1 - torch.relu(y), ["linear", "relu", "scale"]),
        (lambda y: ((torch.relu(y) + 1) * torch.arange(6.0) - 2) / 5, ["linear", "relu", "scale"]),
        (lambda y: y + (1 - y * 2), ["linear"]),
        (lambda y: (y * 2 + 1) * (3 - (y * 2 + 1)), ["linear", "function"]),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_constants_in_a_row_are_one_scale(function: Callable[..., Any], wanted: list[str], behind: bool) -> None:
    """In a layer where that is exact, else one digital scale; with and without a layer behind them."""

    class Affine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.out = nn.Linear(4, 6), nn.Linear(6, 3) if behind else nn.Identity()

        def forward(self, x: Tensor) -> Any:
            return self.out(function(self.fc(x)))

    module = Affine()
    network = from_torch(module, (4,))
    agree(network, module)
    if not behind:
        assert kinds(network) == wanted


def test_batch_norms_in_a_row() -> None:
    for layers, wanted in (
        ([nn.Linear(4, 6), trained_norm(6), trained_norm(6, 1), trained_norm(6, 2)], ["linear"]),
        ([nn.Linear(4, 6), nn.ReLU(), trained_norm(6), trained_norm(6, 1)], ["linear", "relu", "scale"]),
        ([trained_norm(4), trained_norm(4, 1), nn.Linear(4, 6)], ["linear"]),
        ([nn.Linear(4, 6), trained_norm(6), trained_norm(6, 1), nn.Linear(6, 3)], ["linear", "linear"]),
    ):
        module = nn.Sequential(*layers)
        network = from_torch(module, (4,))
        assert kinds(network) == wanted
        agree(network, module)


def test_scales_along_different_axes_stay_two() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(2, 3, 1)

        def forward(self, x: Tensor) -> Any:
            y = torch.relu(self.conv(x)) * torch.tensor([[1.0], [2.0], [3.0]])
            return y * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])

    module = Crossed()
    network = from_torch(module, (2, 5))
    agree(network, module)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hooks_on_a_wrapper_are_not_lost() -> None:
    """They run with the wrapper, which is left out: they belong on the module inside."""
    inner = mlp()
    inner[0] = nn.DataParallel(inner[0])
    inner[0].register_forward_hook(raised)
    compiled = torch.compile(mlp())
    assert isinstance(compiled, nn.Module)
    compiled.register_forward_pre_hook(doubled)
    for module in (inner, compiled):
        with pytest.raises(UnsupportedOperation, match="a hook on a"):
            from_torch(module, (4,))


# Depth


def chaotic(depth: int = 30, width: int = 32) -> nn.Sequential:
    """Layers that multiply small differences, as deep networks do with rounding."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i in range(depth):
        layer = nn.Linear(width, width)
        nn.init.normal_(layer.weight, 0, 2.5 / width**0.5)
        layers += [layer, trained_norm(width, i), nn.Tanh()]
    return nn.Sequential(*layers)


@pytest.mark.slow
def test_rounding_of_deep_modules_is_told_from_a_difference() -> None:
    """Outputs that single precision leaves open by more than the tolerance do not refuse a module; a change does."""
    module = chaotic().eval()
    inputs = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    network = from_torch(module, (32,))
    with torch.no_grad():
        single = module(inputs).double().numpy()
    assert np.abs(network(inputs.numpy()) - single).max() > 3e-4

    class Changed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = chaotic()

        def forward(self, x: Tensor) -> Any:
            y = self.deep(x)
            return y * 1.001 if len(y) == 8 else y  # what export does not see, no larger than the rounding

    with pytest.raises(InvalidInput, match="a single run does not show"):
        from_torch(Changed(), (32,))


@pytest.mark.slow
def test_what_depends_on_the_precision_alone_is_rounding() -> None:
    """The epsilon of an RMS norm, if none is given, is that of the precision."""
    module = nn.Sequential(nn.RMSNorm(32), *chaotic()).eval()
    inputs = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    network = from_torch(module, (32,))
    with torch.no_grad():
        assert np.abs(network(inputs.numpy()) - module(inputs).double().numpy()).max() > 3e-4
