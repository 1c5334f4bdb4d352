"""Copies of torch modules for reading, whatever they keep: the modules themselves are not touched."""

from __future__ import annotations

import collections
import copy
import types
from typing import Any

import torch
from torch import nn

from powerplan.errors import InvalidInput, UnsupportedOperation

#: what wraps a module without changing what it computes: torch.compile's class and others; where they keep the module
_WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
_HALVES = (torch.float16, torch.bfloat16)
#: hooks that are part of what a module computes, and those that are not
FORWARD_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")


def unwrapped(module: Any) -> Any:
    """The module in what torch.compile, DataParallel and DistributedDataParallel make of it.

    Raises:
        UnsupportedOperation: the wrapper has forward hooks of its own, which would be lost.
    """
    while isinstance(module, nn.Module) and type(module).__name__ in _WRAPPERS:
        if any(vars(module)[hooks] for hooks in FORWARD_HOOKS):
            raise UnsupportedOperation.of(
                "module",
                f"a hook on a {type(module).__name__}",
                "hooks on the module that it wraps",
                "Register the hook there: the wrapper is left out.",
            )
        module = getattr(module, _WRAPPERS[type(module).__name__])
    return module


def evaluation_copy(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that needs no gradients, half precision as float32, nothing wrapped or compiled.

    Forward hooks are copied too: they are part of what a module computes. The weights of torch's own layers, which only
    read them, are the module's, as parameters of the copy. Tensors with a history (a kept activation,
    the weight that an old weight norm or pruning leaves behind) are copied without it. What cannot be copied (a lock,
    a generator, an open file) is shared with the original.

    Raises:
        InvalidInput: the module's own code fails.
    """
    try:
        plain = unwrapped(module)
        same: nn.Module = _copied(plain, _shared_weights(plain)).eval().requires_grad_(False)
    except UnsupportedOperation:
        raise
    except Exception as error:  # the module's own code runs
        raise InvalidInput.of(
            "module",
            type(module).__name__,
            "a module that has a copy in evaluation mode",
            f"It fails: {type(error).__name__}: {error}.",
        ) from error
    for part in list(same.modules()):
        for name, child in part.named_children():
            part._modules[name] = unwrapped(child)
    for part in same.modules():
        part._compiled_call_impl = None
        config: Any = getattr(part, "config", None)
        if getattr(config, "use_cache", False):  # a cache of keys and values is no output
            config.use_cache = False
        for hooks in _BACKWARD_HOOKS:
            getattr(part, hooks, {}).clear()
    return with_floats(same, torch.float32, _HALVES)


def _shared_weights(module: Any) -> dict[int, Any]:
    """Parameters with the same memory for those of torch's layers, by the ids of these."""
    shared: dict[int, Any] = {}
    for part in module.modules() if isinstance(module, nn.Module) else ():
        reads_only = type(part).forward.__module__.startswith("torch.") and getattr(part, "max_norm", None) is None
        for weight in part.parameters(recurse=False) if reads_only else ():
            if type(weight) is nn.Parameter and not nn.parameter.is_lazy(weight):
                shared[id(weight)] = nn.Parameter(weight.detach(), requires_grad=False)
    return shared


def with_floats(module: nn.Module, dtype: torch.dtype, of: tuple[torch.dtype, ...] = ()) -> nn.Module:
    """The same module, its floats in another precision; also those in tensors that are attributes only.

    Args:
        of: precisions to change; () = all.
    """

    def converted(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(dtype) if (tensor.dtype in of if of else tensor.is_floating_point()) else tensor

    module._apply(converted)  # type: ignore[no-untyped-call]
    for part in module.modules():
        for name, attribute in vars(part).items():
            if isinstance(attribute, torch.Tensor):
                vars(part)[name] = converted(attribute)
    return module


def copied(module: nn.Module) -> nn.Module:
    """A deep copy of a module; what has no copy is shared."""
    same: nn.Module = _copied(module, {})
    return same


def _copied(x: Any, memo: dict[int, Any]) -> Any:
    """A deep copy; where that fails the parts are copied one by one, and what has no copy is shared."""
    if id(x) in memo:
        return memo[id(x)]
    attempt = dict(memo)
    try:
        same = copy.deepcopy(x, attempt)
    except Exception:  # the attributes' own code runs
        return _copied_by_parts(x, memo)
    memo.update(attempt)
    return same


def _copied_by_parts(x: Any, memo: dict[int, Any]) -> Any:
    same: Any = x
    if isinstance(x, torch.Tensor):  # with a history
        same = x.detach().clone()
    elif isinstance(x, types.MethodType):
        same = types.MethodType(x.__func__, _copied(x.__self__, memo))
    elif isinstance(x, tuple):
        parts = [_copied(item, memo) for item in x]
        same = type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
    elif isinstance(x, dict):
        memo[id(x)] = same = copy.copy(x)
        same.update({key: _copied(value, memo) for key, value in x.items()})
    elif isinstance(x, list | collections.deque):
        memo[id(x)] = same = copy.copy(x)
        items = [_copied(item, memo) for item in x]
        same.clear()
        same.extend(items)
    elif isinstance(x, nn.Module) or _is_plain(x):
        memo[id(x)] = same = object.__new__(type(x))
        vars(same).update({key: _copied(value, memo) for key, value in vars(x).items()})
    memo[id(x)] = same
    return same


def _is_plain(x: Any) -> bool:
    """True for objects that are nothing else than their attributes."""
    own = [getattr(type(x), name) is getattr(object, name) for name in ("__new__", "__reduce__", "__reduce_ex__")]
    return hasattr(x, "__dict__") and all(own)
