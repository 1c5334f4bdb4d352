"""A torch function or module kept as a digital operation, where powerplan has no model of it."""

from __future__ import annotations

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
from powerplan.network.slopes import slope_explains
from powerplan.network.torch_import.copying import copied, with_floats
from powerplan.network.torch_import.value import MASKED, Refused


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
        part: where the output is in what the call returns, as indices; () = it returns nothing else.
        masked: entries of the output (*shape) that are minus infinity whatever the inputs; values of a network are
            finite, and the number in their place is as good in a softmax. None = no entry.
    """

    type: ClassVar[str] = "torch_call"
    portable: ClassVar[bool] = False

    label: str
    target: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    shape: Shape
    part: tuple[int, ...] = ()
    masked: Tensor | None = None

    @property
    def arity(self) -> int:  # type: ignore[override]
        return len(self.inputs)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if inputs != self.inputs:
            raise InvalidInput.of("torch_call", inputs, f"inputs of shape {self.inputs}", "Import the module again.")
        return self.shape

    def attributes(self) -> dict[str, Any]:
        return {"label": self.label, "part": list(self.part)}

    def tensors(self) -> dict[str, np.ndarray]:
        """The weights and constants of the call, so that networks with different ones have different digests."""
        state = dict(self.target.state_dict()) if isinstance(self.target, nn.Module) else {}
        state |= {f"argument{i}": t for i, t in enumerate(_tensors((self.args, dict(self.kwargs))))}
        return {k: t.detach().double().numpy() for k, t in state.items() if isinstance(t, Tensor)}

    @cached_property
    def slope_explains(self) -> bool:
        """Whether the call changes as its derivative says on a few random lines, in double precision."""
        return slope_explains(self, self.inputs)

    def __call__(self, *values: Tensor) -> Tensor:
        """The output (B, *shape) for values (B, *input shape), in their precision."""
        like = values[0]
        target = self._module(like) if isinstance(self.target, nn.Module) else self.target
        args, kwargs = filled((self.args, dict(self.kwargs)), values, like)
        output = target(*args, **kwargs)
        for index in self.part:
            output = output[index]
        assert isinstance(output, Tensor)
        output = output.to(like.dtype)
        return output if self.masked is None else output.masked_fill(self.masked.to(output.device), MASKED)

    def _module(self, like: Tensor) -> nn.Module:
        key = (like.dtype, str(like.device))
        if key not in self._modules:
            assert isinstance(self.target, nn.Module)
            self._modules[key] = with_floats(copied(self.target), like.dtype).to(like.device)
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


@dataclass(frozen=True, kw_only=True)
class Output:
    """A tensor that a kept call returns, without the batch axis, the first one; as :class:`TorchCall`."""

    shape: Shape
    masked: Tensor | None = None


def sampled_outputs(
    target: Callable[..., Any], args: Any, kwargs: Any, shapes: tuple[Shape, ...], dtype: torch.dtype
) -> Any:
    """What a call returns, tried on random inputs: an :class:`Output` for every tensor of floats, else None, in tuples.

    Args:
        args, kwargs: with a :class:`Slot` for every input.
        shapes: of the inputs, without batch.

    Raises:
        Refused: the call fails, mixes the inputs of a batch, is random, or returns no such tensor.
    """
    generator = torch.Generator().manual_seed(0)
    values = tuple(torch.randn((3, *shape), generator=generator, dtype=dtype) for shape in shapes)
    try:
        whole, single = (
            target(*filled(args, part, part[0]), **filled(kwargs, part, part[0]))
            for part in (values, tuple(v[1:2] for v in values))
        )
    except Exception as error:  # torch's or the module's own code runs
        raise Refused(f"it fails on a batch of random inputs: {error}") from error
    outputs = _outputs(whole, single)
    if not _any_output(outputs):
        raise Refused("it returns no tensor of floats whose first axis is the batch")
    return outputs


def _outputs(whole: Any, single: Any) -> Any:
    """Outputs in what was returned for a batch of three and for the one in its middle alone."""
    if isinstance(whole, tuple | list):
        return like_tuple(whole, [_outputs(w, s) for w, s in zip(whole, single, strict=True)])
    if not isinstance(whole, Tensor) or not whole.is_floating_point() or whole.dim() < 2:
        return None
    if whole.shape != (3, *single.shape[1:]) or len(single) != 1:
        return None
    # a root or a logarithm gives NaN for some of these inputs, alike in both
    if not torch.allclose(whole[1:2], single, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise Refused("it mixes the inputs of a batch, or is random")
    masked = whole.isneginf().all(0)
    return Output(shape=tuple(whole.shape[1:]), masked=masked if masked.any() else None)


def like_tuple(like: Any, items: list[Any]) -> tuple[Any, ...]:
    """Items in a tuple with the names that another one has."""
    if not isinstance(like, tuple) or type(like) is tuple:
        return tuple(items)
    named: tuple[Any, ...] = type(like)(*items) if hasattr(like, "_fields") else type(like)(items)
    return named


def _any_output(outputs: Any) -> bool:
    return any(map(_any_output, outputs)) if isinstance(outputs, tuple) else outputs is not None


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
