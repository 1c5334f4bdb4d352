"""Reading of an exported module: every ATen operation that depends on the input becomes nodes of a network.

What does not depend on the input is computed, in the module's own precision. Modules are exported with a batch of an
unusual size, so that the batch is told from other axes.

Why: docs/decisions/networks.md [0341].
"""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.export.graph_signature import InputKind

from powerplan.checks import Checker
from powerplan.errors import InvalidInput
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import Embedding, Op, Shape
from powerplan.network.refusals import NO_MODEL, refusal
from powerplan.network.torch_import.exporting import CONTROL_FLOW, failure, field_of, is_layer, operation_name
from powerplan.network.torch_import.keeping import NAME as KEPT, kept_module
from powerplan.network.torch_import.rules import RULES
from powerplan.network.torch_import.rules.refused import REFUSED
from powerplan.network.torch_import.torch_call import Slot, TorchCall, sampled_outputs
from powerplan.network.torch_import.value import Refused, Value

#: size of the batch that modules are exported with
BATCH = 13
#: operations that leave a value as it is, but for how it is stored
SAME = frozenset(
    """
    contiguous clone detach alias lift_fresh lift_fresh_copy positive requires_grad _to_copy to type_as float double
    half bfloat16 resolve_conj resolve_neg
    """.split()  # noqa: SIM905
)
#: operations that read nothing of a tensor but its shape
LIKE = frozenset(
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty".split()  # noqa: SIM905
)
#: operations that only check
_CHECKS = ("_assert", "sym_constrain", "_functional_assert")
#: keywords that say how a result is stored
_STORAGE = ("dtype", "device", "layout", "pin_memory", "memory_format")
#: operations that need the numbers themselves
_DECISIONS = ("item", "_local_scalar_dense", "nonzero", "masked_select", "is_nonzero")
#: errors of a rule that was called with arguments it does not know, or whose arguments do not fit
_MISFITS = (Refused, TypeError, ValueError, RuntimeError, LookupError, AttributeError, StopIteration)


class Reader:
    """Takes the operations of a program in order and gathers the nodes.

    Args:
        program: exported with a batch of :data:`BATCH`.
        module: that it was exported from.
        input_shape: without the batch axis.
        argument: name of the program's input that is the network's input; the others are constants.
        constants: by name, those others.
        dtype: precision of the module.
    """

    batch_size = BATCH

    def __init__(
        self,
        program: torch.export.ExportedProgram,
        module: nn.Module,
        input_shape: Shape,
        constants: Mapping[str, Any],
        dtype: torch.dtype,
    ) -> None:
        self.program, self.module, self.dtype = program, module, dtype
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {INPUT: input_shape}
        self.noisy: set[str] = set()
        #: what a crossbar node's array holds: the tensors of the module, or the layer, that the operation has
        self.weights: dict[str, Hashable] = {}
        self._stored = {t.untyped_storage().data_ptr() for t in [*module.parameters(), *module.buffers()]}
        self._constants = constants
        self._aliases: dict[str, list[str]] = {}  # names of the same value, which is changed in place
        self._name = ""  # for the next node
        self._weight: Hashable = ""

    def read(self) -> list[Any]:
        """What the program returns, flat: Values and constants."""
        values: dict[str, Any] = self._inputs()
        for node in self.program.graph.nodes:
            if node.op == "call_function":
                values[node.name] = self._result(node, values)
                self._renew(node, values)
            elif node.op == "get_attr":
                values[node.name] = operator.attrgetter(str(node.target))(self.program.graph_module)
            elif node.op == "output":
                return list(_filled(node.args[0], values))
        raise AssertionError("a graph without output")

    def add(self, op: Op, sources: tuple[str, ...], name: str) -> str:
        """A new node; see :class:`powerplan.network.torch_import.value.Builder`."""
        if isinstance(op, Embedding) and self.noisy.intersection(sources):
            raise Refused("an embedding must look up the network's input, or what is computed of it without noise")
        shape = op.output_shape(tuple(self.shapes[source] for source in sources))
        wanted = ".".join(part for part in (self._name, name) if part)
        unique, count = wanted, 0
        while unique in self.nodes or unique == INPUT:
            count += 1
            unique = f"{wanted}_{count}"
        self.nodes[unique], self.shapes[unique] = Node(name=unique, op=op, inputs=sources), shape
        if op.is_crossbar or self.noisy.intersection(sources):
            self.noisy.add(unique)
        if op.is_crossbar and self._weight:
            self.weights[unique] = self._weight
        return unique

    def _inputs(self) -> dict[str, Any]:
        """What the program's placeholders stand for."""
        values: dict[str, Any] = {}
        for spec in self.program.graph_signature.input_specs:
            name = spec.arg.name
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
                stored = self.program.state_dict if spec.target in self.program.state_dict else self.program.constants
                values[name] = stored[spec.target]
            elif spec.kind == InputKind.CONSTANT_TENSOR:
                values[name] = self.program.constants[spec.target]
            elif name in self._constants:
                values[name] = self._constants[name]
            else:
                placeholder = next(node for node in self.program.graph.nodes if node.name == name)
                kind = _kind(placeholder.meta["val"])
                values[name] = Value(INPUT, self.shapes[INPUT], self, kind=kind)
        return values

    def _result(self, node: torch.fx.Node, values: dict[str, Any]) -> Any:
        if node.target is operator.getitem:
            results, part = (_filled(x, values) for x in node.args)
            return results[part]
        name, target = operation_name(node), cast(Any, node.target)
        if target._schema.is_mutable and name.endswith("_"):
            name = name[:-1]
        if name.startswith(_CHECKS):
            return None
        args, kwargs = _filled(node.args, values), _filled(node.kwargs, values)
        if name in LIKE and isinstance(args[0], Value):
            meta = cast(torch.fx.Node, node.args[0]).meta["val"]
            args = (torch.zeros((), dtype=meta.dtype).expand(meta.shape), *args[1:])
        if not any(True for _ in _values((args, kwargs))):
            if torch.Tag.nondeterministic_seeded in target.tags:
                raise self._refused(node, name, Refused("it is random"))
            return self._computed(node, target, args, kwargs)
        self._name = self._name_of(node, name)
        self._weight = self._weights_of((args, kwargs)) or self._layer(node)
        try:
            result = self._ruled(node, name, args, kwargs)
        except InvalidInput as error:
            check = Checker()
            check.nested(field_of(self._path(node)), error)
            raise type(error)(*check.violations) from error
        except _MISFITS as error:
            raise self._refused(node, name, error) from error
        return _with_kinds(result, node.meta.get("val"))

    def _computed(self, node: torch.fx.Node, target: Any, args: Any, kwargs: Any) -> Any:
        """What an operation makes of constants."""
        try:
            return target(*args, **kwargs)
        except Exception as error:  # shapes that export does not look at
            path = self._path(node)
            raise failure(path, self.module.get_submodule(path), error) from error

    def _renew(self, node: torch.fx.Node, values: dict[str, Any]) -> None:
        """What is changed in place has the new value by all its names."""
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False):
            changed: Any = node.args[0]
            names = self._aliases.setdefault(changed.name, [changed.name])
            names.append(node.name)
            self._aliases[node.name] = names
            values.update(dict.fromkeys(names, values[node.name]))

    def _ruled(self, node: torch.fx.Node, name: str, args: Any, kwargs: Any) -> Any:
        if name == KEPT:
            return self._kept(args[0], args[1])
        if name in SAME:
            return self._as_stored(node, args[0])
        if name in _DECISIONS:
            raise Refused(CONTROL_FLOW)
        if name not in RULES:
            raise Refused(REFUSED.get(name, NO_MODEL))
        kwargs = {
            k: v for k, v in kwargs.items() if k not in ("dtype", "device", "layout", "pin_memory", "memory_format")
        }
        return RULES[name](*args, **kwargs)

    def _kept(self, number: int, inputs: list[Any]) -> tuple[Any, ...]:
        """The results of a module that is kept as it is, one node each."""
        kept = kept_module(number)
        self._name = kept.path
        values = [x.leading() for x in inputs if isinstance(x, Value)]
        slots = iter(range(len(values)))
        args, kwargs = kept.arguments([Slot(index=next(slots)) if isinstance(x, Value) else x for x in inputs])
        shapes = tuple(v.shape for v in values)
        label = f"{type(kept.module).__name__} {kept.path}"
        call = partial(TorchCall, label=label, target=kept.module, args=args, kwargs=kwargs, inputs=shapes)
        results: list[Any] = []

        def gather(found: Any, part: tuple[int, ...]) -> None:
            if isinstance(found, tuple):
                for i, item in enumerate(found):
                    gather(item, (*part, i))
            else:
                op = None if found is None else call(shape=found.shape, part=part, masked=found.masked)
                results.append(None if op is None else values[0].apply(op, *values[1:]))

        gather(sampled_outputs(kept.module, args, kwargs, shapes, self.dtype), ())
        return tuple(results)

    def _as_stored(self, node: torch.fx.Node, x: Value) -> Value:
        """A value stored in another way; numbers are cut to whole ones, and compared with zero for truth values."""
        kind = _kind(node.meta["val"])
        if kind == x.kind or kind == "f" or (x.name == INPUT and kind == "i") or x.kind == "b":
            return x
        result: Value = RULES["trunc"](x) if kind == "i" else RULES["ne"](x, 0)
        return result

    def _refused(self, node: torch.fx.Node, name: str, error: Exception) -> InvalidInput:
        path = self._path(node)
        module = self.module.get_submodule(path)
        what = f"{type(module).__name__} ({name})" if is_layer(module) else name
        why = str(error) or type(error).__name__
        refused = refusal(field_of(path), what, why, "Replace it.", name=name, known=RULES)
        refused.operation, refused.path = name, path  # type: ignore[attr-defined]
        return refused

    def _name_of(self, node: torch.fx.Node, name: str) -> str:
        """The name of what an operation becomes: the path of its layer, or of the module that calls it and its own."""
        path = self._path(node)
        # a convolution that pads by a call of its own is named by its path, its padding is not
        if path and is_layer(self.module.get_submodule(path)) and name != "pad":
            return path
        return ".".join(part for part in (path, name.strip("_")) if part)

    def _weights_of(self, x: Any) -> Hashable:
        """The tensors of the module that an operation takes, by where they are stored; nothing if it takes none."""
        places = {t.untyped_storage().data_ptr() for t in _tensors(x) if t.dim() > 1}
        return tuple(sorted(places & self._stored))

    def _layer(self, node: torch.fx.Node) -> str:
        path = self._path(node)
        return path if is_layer(self.module.get_submodule(path)) else ""

    @staticmethod
    def _path(node: torch.fx.Node) -> str:
        stack = node.meta.get("nn_module_stack") or {}
        path = str(next(reversed(stack.values()))[0]) if stack else ""
        return path.partition("@")[0]


def _kind(meta: Any) -> str:
    dtype = getattr(meta, "dtype", torch.float32)
    return "b" if dtype == torch.bool else "f" if dtype.is_floating_point or dtype.is_complex else "i"


def _with_kinds(result: Any, meta: Any) -> Any:
    if isinstance(result, Value):
        return replace(result, kind=_kind(meta))
    if isinstance(result, tuple | list) and isinstance(meta, tuple | list):
        return tuple(_with_kinds(x, m) for x, m in zip(result, meta, strict=False))
    return result


def _filled(x: Any, values: Mapping[str, Any]) -> Any:
    """Nested arguments with values in place of the graph's nodes."""
    if isinstance(x, torch.fx.Node):
        return values[x.name]
    if isinstance(x, Mapping):
        return {k: _filled(v, values) for k, v in x.items()}
    if isinstance(x, tuple | list):
        return [_filled(v, values) for v in x] if isinstance(x, list) else tuple(_filled(v, values) for v in x)
    return x


def _tensors(x: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested arguments."""
    if isinstance(x, torch.Tensor):
        yield x
    elif isinstance(x, Mapping | tuple | list):
        for item in x.values() if isinstance(x, Mapping) else x:
            yield from _tensors(item)


def _values(x: Any) -> Iterator[Value]:
    if isinstance(x, Value):
        yield x
    elif isinstance(x, Mapping):
        for item in x.values():
            yield from _values(item)
    elif isinstance(x, tuple | list):
        for item in x:
            yield from _values(item)
