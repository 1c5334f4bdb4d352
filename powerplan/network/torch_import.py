"""Networks from torch modules, read with ``torch.fx`` and checked against the module itself."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from powerplan.checks import Checker
from powerplan.errors import InvalidInput, UnsupportedOperation, show
from powerplan.network.folding import fold_scales
from powerplan.network.graph import INPUT, Network, Node, as_shape
from powerplan.network.ops import Op, Shape
from powerplan.network.torch_operations import FUNCTIONS, METHODS, Batch, Refused, Value, module_rule, supported

#: largest difference to the module, relative to its largest output, by the module's dtype
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-7}
_HALVES = (torch.float16, torch.bfloat16)
#: torch.fx replaces functions of torch while it traces, for all threads
_TRACING = threading.Lock()


def from_torch(module: nn.Module, input_shape: Shape) -> Network:
    """The network computed by a torch module in evaluation mode.

    The module itself is not touched: not its mode, parameters, gradients or buffers. Its ``forward`` may nest
    modules and call functions and tensor methods, but must not branch on values. Nodes are named by module path
    (functions by the path of the module that calls them and their name). Dropout vanishes. Batch norms and constant
    factors and offsets are folded into the linear layer before them if it has no other reader, else into those
    behind them, else they stay a digital ``Scale``. A module called twice becomes two crossbars, as do two modules
    that share a weight. float16 and bfloat16 weights become float32.

    Args:
        module: a module with one tensor as input, (B, *input_shape), and one as output, on the CPU.
        input_shape: shape of one input, without the batch axis.

    Raises:
        UnsupportedOperation: a module or function that powerplan has no model for, with the supported ones.
        InvalidInput: not a module, a wrong shape, several inputs or outputs, control flow that depends on values,
            parameters not on the CPU or not initialised, NaN weights; or the network does not compute what the
            module computes on random inputs.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    check = Checker()
    if not isinstance(module, nn.Module) or isinstance(module, torch.jit.ScriptModule):
        check.fail("module", module, "a torch.nn.Module that is not scripted", "Give the model object itself.")
    shape = as_shape(input_shape)
    if shape is None:
        check.fail("input_shape", input_shape, "a tuple of positive integers", "Leave out the batch axis.")
    check.done()
    assert shape is not None
    _check_tensors(module)
    copied = _evaluation_copy(module)
    with torch.no_grad(), np.errstate(all="ignore"):  # what overflows is refused as infinite
        graph = _trace(copied)
        network = _Reader(copied, shape).read(graph)
        _self_check(network, copied)
    return network


def _check_tensors(module: nn.Module) -> None:
    check = Checker("module.")
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if nn.parameter.is_lazy(tensor):
            check.fail(name, "an uninitialised parameter", "initialised weights", "Run the module once on an input.")
        elif tensor.device.type != "cpu":
            check.fail(name, f"a tensor on {tensor.device}", "tensors on the CPU", "Call module.to('cpu') first.")
        elif tensor.is_quantized or tensor.is_complex() or tensor.layout != torch.strided:
            check.fail(name, f"a {tensor.dtype} tensor", "dense real tensors", "Give the float model.")
    check.done()


def _evaluation_copy(module: nn.Module) -> nn.Module:
    try:
        copied = copy.deepcopy(module).eval()
    except Exception as error:  # the module's own code runs
        raise InvalidInput.of(
            "module", type(module).__name__, "a module that copy.deepcopy copies", f"It does not: {error}."
        ) from error
    copied._apply(lambda t: t.float() if t.dtype in _HALVES else t)  # type: ignore[no-untyped-call]
    return copied if module_rule(copied) is None else _wrapped(copied)


def _wrapped(module: nn.Module) -> nn.Module:
    """A single supported module inside another, so that it is read as a whole."""
    outer = nn.Sequential()
    outer.add_module(type(module).__name__.lower(), module)
    return outer.eval()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_rule(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _trace(module: nn.Module) -> fx.Graph:
    try:
        with _TRACING:
            return _Tracer().trace(module)
    except fx.proxy.TraceError as error:
        raise UnsupportedOperation.of(
            "module.forward",
            type(module).__name__,
            "a forward without control flow that depends on values",
            f"Take the decision outside of the module. torch.fx: {error}",
        ) from error
    except Exception as error:  # the module's own code runs
        raise UnsupportedOperation.of(
            "module.forward", type(module).__name__, "a forward that torch.fx can trace", f"torch.fx: {error}"
        ) from error


class _Reader:
    """Walks a traced graph: calls on constants are carried out, calls on values become nodes of the network."""

    def __init__(self, module: nn.Module, input_shape: Shape) -> None:
        self.module = module
        self.input_shape = input_shape
        self.nodes: dict[str, Node] = {}
        self.here = ""  # name for the next node

    def read(self, graph: fx.Graph) -> Network:
        env: dict[fx.Node, Any] = {}
        for node in graph.nodes:
            if node.op == "output":
                output = self._output(env, node)
                break
            if node.op == "placeholder":
                env[node] = self._placeholder(node, first=not env)
            elif node.op == "get_attr":
                env[node] = _attribute(self.module, node.target)
            else:
                args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: env[n])
                env[node] = self._call(node, args, kwargs)
        nodes, name = fold_scales(_leading_to(output.name, self.nodes), output.name)
        return Network(input_shape=self.input_shape, nodes=tuple(nodes), output=name if nodes else "")

    def _placeholder(self, node: fx.Node, *, first: bool) -> Any:
        if first:
            return Value(INPUT, self.input_shape, self._add)
        if node.args:
            return node.args[0]
        raise InvalidInput.of(
            "module.forward", f"the further input {node.target!r}", "one input", "Wrap the module so that it has one."
        )

    def _output(self, env: Mapping[fx.Node, Any], node: fx.Node) -> Value:
        result = fx.node.map_arg(node.args[0], lambda n: env[n])
        if isinstance(result, Value):
            return result
        raise InvalidInput.of(
            "module.forward",
            f"a {type(result).__name__}" + (f" of {len(result)}" if isinstance(result, tuple | list | dict) else ""),
            "one tensor that depends on the input, as output",
            "Wrap the module so that it returns one tensor.",
        )

    def _call(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path, what = self._place(node)
        self.here = path if node.op == "call_module" else ".".join(p for p in (path, node.name) if p)
        field = f"module {path!r}" if path else "module.forward"
        try:
            if node.op == "call_module":
                module = self.module.get_submodule(str(node.target))
                if not _depends((args, kwargs)):
                    return module(*args, **kwargs)
                rule = module_rule(module)
                if rule is None:
                    raise Refused("there is no model of this module")
                return rule(module, *args, **kwargs)
            if not _depends((args, kwargs)):
                return (
                    node.target(*args, **kwargs)
                    if callable(node.target)
                    else getattr(args[0], node.target)(*args[1:], **kwargs)
                )
            call = METHODS.get(node.target) if isinstance(node.target, str) else FUNCTIONS.get(node.target)
            if call is None:
                raise Refused("there is no model of this operation")
            if what.endswith("_") and not node.users:
                raise Refused("its result is not used: assign what the in-place call returns")
            return call(*args, **kwargs)
        except InvalidInput as error:
            check = Checker()
            check.nested(field, error)
            raise type(error)(*check.violations) from error
        except (Refused, TypeError, ValueError, RuntimeError, LookupError, AttributeError) as error:
            raise UnsupportedOperation.of(field, what, supported(), f"Replace it: {error}.") from error

    def _place(self, node: fx.Node) -> tuple[str, str]:
        """Path of the module a call belongs to, and what is called."""
        if node.op == "call_module":
            module = self.module.get_submodule(str(node.target))
            return str(node.target), type(module).__name__
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]) if stack else ""
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", repr(node.target))
        return path, str(name)

    def _add(self, op: Op, source: Value) -> Value:
        shape = op.output_shape((source.shape,))
        name, count = self.here, 0
        while name in self.nodes or name == INPUT:
            count += 1
            name = f"{self.here}_{count}"
        self.nodes[name] = Node(name=name, op=op, inputs=(source.name,))
        return Value(name, shape, self._add)


def _leading_to(output: str, nodes: Mapping[str, Node]) -> list[Node]:
    """The nodes whose values the output depends on, in order."""
    needed = {output}
    for node in reversed(list(nodes.values())):
        if node.name in needed:
            needed.update(node.inputs)
    return [node for node in nodes.values() if node.name in needed]


def _depends(x: object) -> bool:
    """True if anything in nested arguments depends on the network's input."""
    if isinstance(x, Mapping):
        return any(_depends(v) for v in x.values())
    if isinstance(x, tuple | list):
        return any(_depends(v) for v in x)
    if isinstance(x, slice):
        return _depends((x.start, x.stop, x.step))
    return isinstance(x, Value | Batch)


def _attribute(module: nn.Module, path: Any) -> Any:
    value: Any = module
    for part in str(path).split("."):
        value = getattr(value, part)
    return value


def _self_check(network: Network, module: nn.Module) -> None:
    """Refuse a network that does not compute what the module computes on a few random inputs."""
    dtypes = [t.dtype for t in module.parameters() if t.is_floating_point()]
    dtype = dtypes[0] if dtypes else torch.float32
    inputs = torch.randn((8, *network.input_shape), generator=torch.Generator().manual_seed(0), dtype=dtype)
    wanted_from = f"{type(module).__name__} on random inputs (8, {', '.join(map(str, network.input_shape))})"
    try:
        wanted = module(inputs.clone()).detach().double().numpy()
    except Exception as error:  # the module's own code runs
        raise InvalidInput.of("module", wanted_from, "a module that runs", f"It fails: {error}.") from error
    found = network(inputs.double().numpy())
    if wanted.shape == found.shape:
        difference = float(np.abs(found - wanted).max())
        if difference <= _TOLERANCE.get(dtype, 1e-4) * max(float(np.abs(wanted).max()), 1e-6):
            return
        what = f"outputs that differ by up to {difference:.3g}"
    else:
        what = f"outputs of shape {wanted.shape}, not {found.shape}"
    raise InvalidInput.of(
        "module",
        show(f"{wanted_from}: {what}", 200),
        "the outputs of the network read from it",
        "It does what torch.fx does not show: hooks, in-place changes, randomness or state. Remove that.",
    )
