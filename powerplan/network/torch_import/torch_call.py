"""A torch function or module kept as a digital operation, where powerplan has no model of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from powerplan.errors import InvalidInput
from powerplan.network.digital import digital
from powerplan.network.ops import Op, Shape


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Stands in the arguments of a kept call for the value of an input."""

    index: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchCall(Op):
    """A call of torch, digital and exact. Its moments are first-order; it exists in this process only.

    Attributes:
        label: what is called, for people.
        target: function or module.
        args, kwargs: of the call, with a :class:`Slot` for every input; all else is constant.
        inputs, shape: shapes of the inputs and of the output, without batch.
        part: number of the output where the call returns several; None = it returns one.
    """

    type: ClassVar[str] = "torch_call"
    portable: ClassVar[bool] = False

    label: str
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    shape: Shape
    part: int | None = None

    @property
    def arity(self) -> int:  # type: ignore[override]
        return len(self.inputs)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if inputs != self.inputs:
            raise InvalidInput.of("torch_call", inputs, f"inputs of shape {self.inputs}", "Import the module again.")
        return self.shape

    def attributes(self) -> dict[str, Any]:
        return {"label": self.label, "part": self.part}

    def tensors(self) -> dict[str, np.ndarray]:
        """The weights and constants of the call, so that networks with different ones have different digests."""
        state = dict(self.target.state_dict()) if isinstance(self.target, nn.Module) else {}
        state |= {f"argument{i}": t for i, t in enumerate(_tensors((self.args, dict(self.kwargs))))}
        return {k: t.detach().double().numpy() for k, t in state.items() if isinstance(t, Tensor)}

    def __call__(self, *values: Tensor) -> Tensor:
        """The output (B, *shape) for values (B, *input shape), in their precision."""
        like = values[0]
        target = self._module(like) if isinstance(self.target, nn.Module) else self.target
        args, kwargs = filled((self.args, dict(self.kwargs)), values, like)
        result = target(*args, **kwargs)
        found = result if self.part is None else result[self.part]
        assert isinstance(found, Tensor)
        return found.to(like.dtype)

    def _module(self, like: Tensor) -> nn.Module:
        key = (like.dtype, str(like.device))
        if key not in self._modules:
            assert isinstance(self.target, nn.Module)
            self._modules[key] = copy.deepcopy(self.target).to(like.device, like.dtype)
        return self._modules[key]

    @cached_property
    def _modules(self) -> dict[tuple[torch.dtype, str], nn.Module]:
        return {}

    def __reduce__(self) -> NoReturn:
        raise InvalidInput.of(
            "network",
            f"the torch call {self.label!r}, kept by unsupported='digital'",
            "operations of powerplan in what goes to a file or to another process",
            "Use this network in the process that imported it, or replace the call in the module.",
        )


@digital.register
def _(op: TorchCall, *values: Tensor) -> Tensor:
    return op(*values)


def filled(x: Any, values: tuple[Tensor, ...], like: Tensor) -> Any:
    """Nested arguments with values in their slots and constant tensors in the precision of a value."""
    if isinstance(x, Slot):
        return values[x.index]
    if isinstance(x, Tensor):
        return x.to(like.device, like.dtype if x.is_floating_point() else x.dtype)
    if isinstance(x, Mapping):
        return {k: filled(v, values, like) for k, v in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(filled(v, values, like) for v in x)
    return x


def _tensors(x: Any) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, Mapping):
        return [t for v in x.values() for t in _tensors(v)]
    return [t for v in x for t in _tensors(v)] if isinstance(x, tuple | list) else []
