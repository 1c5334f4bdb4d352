"""Modules that cannot be exported, kept as they are: in a program they are one operation, in a network a torch call.

They are called once with real numbers, to learn what they return; while the program is made, an operation of that
signature stands in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from powerplan.network.torch_import.copying import FORWARD_HOOKS, copied, with_floats

NAME = "kept"


@dataclass(frozen=True)
class Kept:
    """A module and how it is called.

    Attributes:
        path: in the module that is imported.
        module: without its hooks, which run around it.
        structure: of its arguments and keyword arguments.
        leaves: those, None in place of tensors.
        returned: structure of what it returns, and for every leaf its shape and precision, or the leaf itself.
    """

    path: str
    module: nn.Module
    structure: Any
    leaves: list[Any]
    returned: tuple[Any, list[Any]]

    def arguments(self, inputs: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments and keyword arguments with these inputs in place of the tensors."""
        remaining = iter(inputs)
        leaves = [next(remaining) if leaf is None else leaf for leaf in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        return args, kwargs


#: kept modules of this process, by the number that stands for them in a program
_KEPT: dict[int, Kept] = {}
_LIBRARY = torch.library.Library("powerplan", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define(f"{NAME}(int number, Tensor[] inputs) -> Tensor[]")  # type: ignore[no-untyped-call]


def _run(number: int, inputs: list[Tensor]) -> list[Tensor]:
    kept = _KEPT[number]
    args, kwargs = kept.arguments(inputs)
    dtype = next((x.dtype for x in inputs if x.is_floating_point()), torch.float32)
    result = with_floats(copied(kept.module), dtype)(*args, **kwargs)
    return [x.clone() for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]


def _shaped(number: int, inputs: list[Tensor]) -> list[Tensor]:
    sizes = [leaf for leaf in _KEPT[number].returned[1] if isinstance(leaf, _Size)]
    return [inputs[0].new_empty(size.shape, dtype=size.dtype) for size in sizes]


@dataclass(frozen=True)
class _Size:
    shape: tuple[int, ...]
    dtype: torch.dtype


_LIBRARY.impl(NAME, _run, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
torch.library.register_fake(f"powerplan::{NAME}", _shaped, lib=_LIBRARY)


def kept_module(number: int) -> Kept:
    """The kept module of a number."""
    return _KEPT[number]


def keep(module: nn.Module, path: str, call: Callable[[], object]) -> None:
    """Put one operation in the place of the part at a path (in place).

    Args:
        call: runs the module on real inputs, once.
    """
    part = module.get_submodule(path)
    seen: list[tuple[Any, Any, Any]] = []
    own = part.forward

    def recorded(*args: Any, **kwargs: Any) -> Any:
        result = own(*args, **kwargs)
        seen.append((args, kwargs, result))
        return result

    before = part.__dict__.get("forward")
    part.__dict__["forward"] = recorded
    try:
        call()
    finally:
        del part.__dict__["forward"]
        if before is not None:
            part.__dict__["forward"] = before
    args, kwargs, result = seen[0]
    leaves, structure = pytree.tree_flatten((args, kwargs))
    returned, shape = pytree.tree_flatten(result)
    bare = copied(part)
    for name in FORWARD_HOOKS:
        bare.__dict__[name] = type(bare.__dict__[name])()
    number = len(_KEPT)
    _KEPT[number] = Kept(
        path=path,
        module=bare,
        structure=structure,
        leaves=[None if isinstance(x, Tensor) else x for x in leaves],
        returned=(shape, [_Size(tuple(x.shape), x.dtype) if isinstance(x, Tensor) else x for x in returned]),
    )

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        inputs = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = iter(torch.ops.powerplan.kept(number, inputs))
        sizes = _KEPT[number].returned[1]
        return pytree.tree_unflatten([next(outputs) if isinstance(s, _Size) else s for s in sizes], shape)

    part.__dict__["forward"] = stand_in
