"""Reading of a torch module: its ``forward`` runs on a stand-in for the input, and every call becomes a node.

The stand-in is a tensor without content: it knows its shape, precision and device, as code may ask for these, and
hands every torch call that touches it to the rules. What does not depend on the input is computed as always.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from powerplan.checks import Checker
from powerplan.errors import InvalidInput, UnsupportedOperation
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import Embedding, Op, Shape
from powerplan.network.refusals import NO_MODEL, refusal
from powerplan.network.torch_import.copying import FORWARD_HOOKS
from powerplan.network.torch_import.rules import RULES
from powerplan.network.torch_import.torch_call import Slot, TorchCall, like_tuple, sampled_outputs
from powerplan.network.torch_import.value import Refused, Value

#: questions about a tensor that its shape, precision and device answer
_QUESTIONS = frozenset(
    """
    shape dtype device ndim is_cuda is_cpu is_mps is_sparse is_nested is_quantized is_leaf is_meta layout requires_grad
    grad_fn itemsize nbytes names size dim ndimension numel nelement __len__ get_device is_floating_point is_complex
    element_size is_same_size is_tensor zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty
    new_tensor result_type
    """.split()  # noqa: SIM905
)
#: calls that need the numbers themselves
_DECISIONS = ("__bool__", "item", "__float__", "__int__", "__index__", "tolist", "numpy", "__array__", "__contains__")
#: errors of a rule that was called with arguments it does not know, or whose arguments do not fit
_MISFITS = (Refused, TypeError, ValueError, RuntimeError, LookupError, AttributeError, StopIteration)


class Traced(torch.Tensor):
    """The stand-in for a tensor that depends on the network's input."""

    value: Value
    reader: Reader

    @classmethod
    def of(cls, value: Value, reader: Reader) -> Traced:
        """The stand-in for a value; one number takes the place of all its entries."""
        content = torch.zeros((), dtype=reader.dtype).expand(value.torch_shape)
        traced: Traced = torch.Tensor._make_subclass(cls, content)
        traced.value, traced.reader = value, reader
        return traced

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        keywords = dict(kwargs or {})
        name = str(getattr(func, "__name__", func))
        if name == "__get__":  # a property
            name = str(func.__self__.__name__)
        if name in _QUESTIONS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **keywords)
        return next(_traced((args, keywords))).reader.call(func, name, args, keywords)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Traced({self.value.name!r}, shape={self.value.torch_shape})"

    def __format__(self, format_spec: str) -> str:
        return repr(self)


class Reader:
    """Runs a module once and gathers its nodes.

    Args:
        module: in evaluation mode, on the CPU; its modules' ``forward`` is wrapped while it is read.
        input_shape: without the batch axis.
        dtype: of the stand-ins.
        keep_unsupported: what has no rule becomes a :class:`TorchCall` instead of an error.
    """

    def __init__(self, module: nn.Module, input_shape: Shape, dtype: torch.dtype, *, keep_unsupported: bool) -> None:
        self.module, self.dtype, self.keep_unsupported = module, dtype, keep_unsupported
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {INPUT: input_shape}
        self._stack = [("", module)]  # hooks of the module itself run before its forward
        self._forwards: dict[str, Any] = {}  # of the modules that have one of their own, by path
        self._name = ""  # for the next node
        #: what a crossbar node's array holds: the tensors of the module, or the layer, that the call has
        self.weights: dict[str, Hashable] = {}
        self._stored = {t.untyped_storage().data_ptr() for t in [*module.parameters(), *module.buffers()]}
        self._weight: Hashable = ""

    def read(self) -> Any:
        """What the module returns: a Value, or whatever else."""
        start = Traced.of(Value(INPUT, self.shapes[INPUT], self), self)
        with self._watched():
            return _values(_run("", self.module, self.module, (start,), {}))

    # Making nodes

    def add(self, op: Op, sources: tuple[str, ...], name: str) -> str:
        """A new node; see :class:`powerplan.network.torch_import.value.Builder`."""
        if isinstance(op, Embedding) and sources != (INPUT,):
            raise Refused("an embedding must look up the network's input")
        shape = op.output_shape(tuple(self.shapes[source] for source in sources))
        wanted = ".".join(part for part in (self._name, name) if part)
        unique, count = wanted, 0
        while unique in self.nodes or unique == INPUT:
            count += 1
            unique = f"{wanted}_{count}"
        self.nodes[unique], self.shapes[unique] = Node(name=unique, op=op, inputs=sources), shape
        if op.is_crossbar and self._weight:
            self.weights[unique] = self._weight
        return unique

    # Calls

    def call(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a torch call with stand-ins among its arguments."""
        in_place = kwargs.get("inplace") is True or (name.endswith("_") and not name.endswith("__"))
        plain = name.rstrip("_") if in_place and name not in RULES else name
        if name.startswith("__i") and name.endswith("__"):  # an operator such as +=
            in_place, plain = True, name[3:-2]
        path, module = self._stack[-1]
        whole = is_layer(module)
        # a convolution that pads by a call of its own is named by its path, its padding is not
        named = whole and path and plain != "pad"
        self._name = path if named else ".".join(p for p in (path, plain.strip("_")) if p)
        self._weight = self._weights_of(args, kwargs) or (path if whole else "")
        what = f"{type(module).__name__} ({name})" if whole else name
        field = _field(path)
        rule = RULES.get(plain)
        try:
            if name in _DECISIONS:
                raise Refused("control flow or numbers that depend on values; take the decision outside of the module")
            if rule is None:
                raise Refused(NO_MODEL)
            result = rule(*_values(args), **_values(kwargs))
        except InvalidInput as error:
            check = Checker()
            check.nested(field, error)
            raise type(error)(*check.violations) from error
        except _MISFITS as error:
            reason = error
            if self.keep_unsupported and not whole and not in_place and name not in _DECISIONS:
                try:
                    return self._kept(name, func, args, kwargs)
                except Refused as refused:
                    reason = refused
            remedy = "" if self.keep_unsupported else ", or keep it with unsupported='digital'"
            why = str(reason) or type(reason).__name__
            raise refusal(field, what, why, f"Replace it{remedy}.", name=name, known=RULES) from error
        if in_place:
            target = args[0]
            if not isinstance(target, Traced) or result.shape != target.value.shape:
                raise UnsupportedOperation.of(
                    field, what, "in-place calls that keep the shape", "Assign the result instead."
                )
            target.value = result
            return target
        return _stand_ins(result, self)

    def _weights_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        """The tensors of the module that a call takes, by where they are stored; nothing if it takes none."""
        tensors = (x for x in _tensors((args, kwargs)) if not isinstance(x, Traced))
        places = {x.untyped_storage().data_ptr() for x in tensors if x.dim() > 1}
        return tuple(sorted(places & self._stored))

    def _kept(self, label: str, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a call that is kept as it is: one node per output, None for outputs that cannot be one."""
        values = [t.value.leading() for t in _traced((args, kwargs))]
        slots = iter(range(len(values)))
        args, kwargs = _mapped(args, slots), _mapped(kwargs, slots)
        shapes = tuple(v.shape for v in values)
        call = partial(TorchCall, label=label, target=target, args=args, kwargs=kwargs, inputs=shapes)

        def outputs(value: Any, part: tuple[int, ...]) -> Any:
            if isinstance(value, tuple):
                return like_tuple(value, [outputs(f, (*part, i)) for i, f in enumerate(value)])
            if value is None:
                return None
            return Traced.of(
                values[0].apply(call(shape=value.shape, part=part, masked=value.masked), *values[1:]), self
            )

        return outputs(sampled_outputs(target, args, kwargs, shapes, self.dtype), ())

    # Modules

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """While this lasts, every module's ``forward`` and hooks tell where the calls come from."""
        parts = list(self.module.named_modules())
        self._forwards = {path: part.__dict__["forward"] for path, part in parts if "forward" in part.__dict__}
        hooks = [(table, dict(table)) for _, part in parts for table in _hooks(part)]
        for path, part in parts:
            part.__dict__["forward"] = partial(self._enter, path, part, part.forward)
            for table in _hooks(part):
                table.update({key: partial(_run_hook, path, hook) for key, hook in table.items()})
        try:
            yield
        finally:
            for path, part in parts:
                self._leave(path, part)
            for table, before in hooks:
                table.update(before)

    def _leave(self, path: str, module: nn.Module) -> None:
        """Put a module's own ``forward`` back."""
        del module.__dict__["forward"]
        if path in self._forwards:
            module.__dict__["forward"] = self._forwards[path]

    def _enter(self, path: str, module: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        stand_ins = list(_traced((args, kwargs)))
        before = dict(self.nodes), dict(self.shapes), [t.value for t in stand_ins]
        self._stack.append((path, module))
        try:
            return _run(path, module, forward, args, kwargs)
        except UnsupportedOperation as error:
            if not self.keep_unsupported or not path or not stand_ins:
                raise
            self.nodes, self.shapes = before[0], before[1]
            for stand_in, before_call in zip(stand_ins, before[2], strict=True):
                stand_in.value = before_call
            self._name = path
            try:
                return self._kept(f"{type(module).__name__} {path}", self._without_hooks(path, module), args, kwargs)
            except Refused:
                raise error from None
        finally:
            self._stack.pop()

    def _without_hooks(self, path: str, module: nn.Module) -> nn.Module:
        """A module whose own hooks run around it already."""
        if not any(_hooks(module)):
            return module
        bare = copy.copy(module)
        self._leave(path, bare)
        for name in FORWARD_HOOKS:
            bare.__dict__[name] = type(bare.__dict__[name])()
        return bare


def _run(path: str, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What the module's ``forward`` returns; what it raises as an error that names the module."""
    try:
        return forward(*args, **kwargs)
    except InvalidInput:
        raise
    except Exception as error:  # the module's own code runs
        raise UnsupportedOperation.of(
            _field(path),
            type(module).__name__,
            "a forward that takes one tensor and runs for a batch of one",
            f"It fails: {type(error).__name__}: {error}.",
        ) from error


def _run_hook(path: str, hook: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a hook returns; what it raises as an error that names the hook."""
    try:
        return hook(*args, **kwargs)
    except Exception as error:  # the hook's own code runs
        if isinstance(error, InvalidInput):
            wrong = error.violations[0]
            reason = f"{wrong.value}: {wrong.reason or wrong.advice}".rstrip(".")
        else:
            reason = f"{type(error).__name__}: {error}"
        raise UnsupportedOperation.of(
            f"hook of {_field(path)}",
            getattr(hook, "__qualname__", type(hook).__name__),
            "hooks that compute with operations that powerplan has",
            f"Remove it (its handle.remove()), or make it part of forward: {reason}.",
        ) from error


def _hooks(module: nn.Module) -> list[dict[Any, Any]]:
    """The tables of hooks that run with a module's ``forward``."""
    return [module.__dict__[name] for name in FORWARD_HOOKS]


def _field(path: str) -> str:
    return f"module {path!r}" if path else "module.forward"


def is_layer(module: nn.Module) -> bool:
    """True for modules without parts whose ``forward`` is torch's own: they are one thing to a user."""
    hidden = (nn.modules.linear.NonDynamicallyQuantizableLinear, ParametrizationList)
    parts = [p for n, p in module.named_children() if n != "parametrizations" and not isinstance(p, hidden)]
    return str(type(module).forward.__module__).startswith("torch.") and not parts


def _traced(x: Any) -> Iterator[Traced]:
    """The stand-ins in nested arguments, in order."""
    if isinstance(x, Traced):
        yield x
    elif isinstance(x, Mapping):
        for item in x.values():
            yield from _traced(item)
    elif isinstance(x, tuple | list):
        for item in x:
            yield from _traced(item)
    elif isinstance(x, slice):
        yield from _traced((x.start, x.stop, x.step))


def _tensors(x: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested arguments."""
    if isinstance(x, torch.Tensor):
        yield x
    elif isinstance(x, Mapping | tuple | list):
        for item in x.values() if isinstance(x, Mapping) else x:
            yield from _tensors(item)


def _values(x: Any) -> Any:
    """Nested arguments with values in place of the stand-ins."""
    if isinstance(x, Traced):
        return x.value
    if isinstance(x, Mapping):
        return {k: _values(v) for k, v in x.items()}
    if isinstance(x, tuple | list) and not isinstance(x, torch.Size):
        return [_values(v) for v in x] if isinstance(x, list) else tuple(_values(v) for v in x)
    return x


def _stand_ins(x: Any, reader: Reader) -> Any:
    """Results of a rule with stand-ins in place of the values."""
    if isinstance(x, Value):
        return Traced.of(x, reader)
    return tuple(_stand_ins(v, reader) for v in x) if isinstance(x, tuple) else x


def _mapped(x: Any, slots: Iterator[int]) -> Any:
    """Nested arguments with slots in place of the stand-ins, numbered in the order of ``_traced``."""
    if isinstance(x, Traced):
        return Slot(index=next(slots))
    if isinstance(x, Mapping):
        return {k: _mapped(v, slots) for k, v in x.items()}
    if isinstance(x, tuple | list) and not isinstance(x, torch.Size):
        return type(x)(_mapped(v, slots) for v in x)
    return x.detach().clone() if isinstance(x, torch.Tensor) else x
