"""torch.export of a module: its graph of ATen operations, and what went wrong in the words of its modules and hooks."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils import _pytree as pytree

from powerplan.errors import InvalidInput, UnsupportedOperation
from powerplan.network.torch_import.copying import FORWARD_HOOKS

#: names of torch's errors for code that decides by numbers that it does not have while a module is exported
_DECISIONS = (
    "GuardOnDataDependentSymNode",
    "UserError",
    "DataDependentOutputException",
    "PendingUnbackedSymbolNotFound",
)
#: and what its other errors say of that
_NUMBERS = ("cannot be converted to Scalar", "data pointer", ".numpy() is not supported")
CONTROL_FLOW = "control flow or numbers that depend on values; take the decision outside of the module"


def exported(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.export.ExportedProgram:
    """The program of a module in evaluation mode, in ATen operations.

    Raises:
        UnsupportedOperation: the module or a hook fails, or decides by values; the innermost one is named.
    """
    # torch prints the graph up to a decision by values on stderr
    with _watched(module), _masks_as_given(), quiet(), redirect_stderr(io.StringIO()):
        try:
            return torch.export.export(module, args, dict(kwargs), strict=False)
        except InvalidInput:
            raise
        except Exception as error:  # the module's own code runs
            raise failure("", module, error, args) from error


def unread(program: torch.export.ExportedProgram, kwargs: Mapping[str, Any]) -> list[str]:
    """The tensors among the keyword arguments of an exported program that none of its operations reads."""
    readers = {node.name: len(node.users) for node in program.graph.nodes if node.op == "placeholder"}
    keys = [key for key, x in kwargs.items() for _ in pytree.tree_leaves(x)]
    given = program.graph_signature.user_inputs
    named = zip(keys, given[len(given) - len(keys) :], strict=True)
    return [key for key, name in named if isinstance(name, str) and readers.get(name) == 0]


def decomposed(program: torch.export.ExportedProgram, kept: frozenset[str]) -> torch.export.ExportedProgram:
    """The same program in Core ATen, without changes in place; operations of these names are left whole."""
    table = torch.export.default_decompositions()
    for operation in [op for op in table if op.name().partition("::")[2].partition(".")[0] in kept]:
        del table[operation]
    with quiet():
        core: torch.export.ExportedProgram = program.run_decompositions(table)
    return core


def is_functional(program: torch.export.ExportedProgram) -> bool:
    """False if an operation changes what another name stands for too, such as a slice of a value."""
    for node in program.graph.nodes:
        if node.op != "call_function" or not _changes(node):
            continue
        changed = node.args[0]
        shared = any(_is_view(reader) for reader in changed.users if not _changes(reader))
        if shared or changed.op != "call_function" or _is_view(changed):
            return False
    return True


def precisions(program: torch.export.ExportedProgram) -> set[torch.dtype]:
    """Of the tensors that a program computes."""
    found = (getattr(node.meta.get("val"), "dtype", None) for node in program.graph.nodes if node.op == "call_function")
    return {dtype for dtype in found if dtype is not None}


def operation_name(node: torch.fx.Node) -> str:
    """Name of an ATen operation without its overload."""
    target: Any = node.target
    return str(getattr(getattr(target, "overloadpacket", target), "__name__", target))


def _changes(node: torch.fx.Node) -> bool:
    """True for operations in place."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def _is_view(node: torch.fx.Node) -> bool:
    """True if an operation's result may share its memory with what it reads."""
    returns = getattr(getattr(node.target, "_schema", None), "returns", None)
    if returns is None:  # an operation of operations, or a part of several results
        return True
    shares = any(part.alias_info is not None and not part.alias_info.is_write for part in returns)
    return shares or operation_name(node).endswith("dropout")  # it is nothing here


@contextmanager
def _masks_as_given() -> Iterator[None]:
    """While this lasts torch's transformers do not ask whether a mask is causal: export does not know its numbers."""
    transformer: Any = nn.modules.transformer
    before = transformer._detect_is_causal_mask
    transformer._detect_is_causal_mask = lambda mask, is_causal=None, size=None: bool(is_causal)
    try:
        yield
    finally:
        transformer._detect_is_causal_mask = before


@contextmanager
def quiet() -> Iterator[None]:
    """While this lasts torch reports by errors only."""
    loggers = [logging.getLogger(name) for name in ("torch.fx", "torch.export", "torch._export", "torch._dynamo")]
    loggers += [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("torch.")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def is_layer(module: nn.Module) -> bool:
    """True for modules without parts whose ``forward`` is torch's own: they are one thing to a user."""
    hidden = (nn.modules.linear.NonDynamicallyQuantizableLinear, ParametrizationList)
    parts = [p for n, p in module.named_children() if n != "parametrizations" and not isinstance(p, hidden)]
    return str(type(module).forward.__module__).startswith("torch.") and not parts


def field_of(path: str) -> str:
    """A module's place in errors."""
    return f"module {path!r}" if path else "module.forward"


@contextmanager
def _watched(module: nn.Module) -> Iterator[None]:
    """While this lasts, errors of a module's ``forward`` and of hooks name where they come from."""
    parts = list(module.named_modules())
    forwards = {path: part.__dict__["forward"] for path, part in parts if "forward" in part.__dict__}
    hooks = [(table, dict(table)) for _, part in parts for table in _hooks(part)]
    for path, part in parts:
        if path:
            part.__dict__["forward"] = partial(_run, path, part, part.forward)
        for table in _hooks(part):
            table.update({key: partial(_run_hook, path, hook) for key, hook in table.items()})
    try:
        yield
    finally:
        for path, part in parts:
            part.__dict__.pop("forward", None)
            if path in forwards:
                part.__dict__["forward"] = forwards[path]
        for table, before in hooks:
            table.update(before)


def _run(path: str, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return forward(*args, **kwargs)
    except InvalidInput:
        raise
    except Exception as error:  # the module's own code runs
        raise failure(path, module, error, args) from error


def failure(path: str, module: nn.Module, error: Exception, args: tuple[Any, ...] = ()) -> UnsupportedOperation:
    """The error for a module whose forward fails, or decides by values."""
    if type(error).__name__ in _DECISIONS or any(part in str(error) for part in _NUMBERS):
        refused = UnsupportedOperation.of(
            field_of(path), type(module).__name__, "a forward without decisions by values", f"It has {CONTROL_FLOW}."
        )
    else:
        refused = UnsupportedOperation.of(
            field_of(path),
            f"{type(module).__name__} on {_shapes(args)}" if args else type(module).__name__,
            "a forward that runs on its input",
            f"It fails: {type(error).__name__}: {' '.join(str(error).split())[:400].rstrip('.')}.",
        )
        refused.fails = True  # type: ignore[attr-defined]
    assert isinstance(refused, UnsupportedOperation)
    refused.path = path  # type: ignore[attr-defined]
    return refused


def _shapes(args: tuple[Any, ...]) -> str:
    """Shapes of tensors, without batch."""
    shapes = [str(tuple(x.shape[1:])) if isinstance(x, torch.Tensor) else type(x).__name__ for x in args]
    return f"inputs of shape {', '.join(shapes)}"


def _run_hook(path: str, hook: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a hook returns; what it raises as an error that names the hook."""
    try:
        return hook(*args, **kwargs)
    except Exception as error:  # the hook's own code runs
        reason = CONTROL_FLOW if type(error).__name__ in _DECISIONS else f"{type(error).__name__}: {error}"
        raise UnsupportedOperation.of(
            f"hook of {field_of(path)}",
            getattr(hook, "__qualname__", type(hook).__name__),
            "hooks that compute with operations that powerplan has",
            f"Remove it (its handle.remove()), or make it part of forward: {reason}.",
        ) from error


def _hooks(module: nn.Module) -> list[dict[Any, Any]]:
    """The tables of hooks that run with a module's ``forward``."""
    return [module.__dict__[name] for name in FORWARD_HOOKS]
