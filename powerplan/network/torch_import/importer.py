"""Networks from torch modules, compared with the modules themselves.

Why: docs/decisions/networks.md [0031, 0170].
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from powerplan.checks import Checker, choice
from powerplan.errors import InvalidInput, show
from powerplan.network.analog import Choice
from powerplan.network.comparison import difference, outputs, random_inputs, same_but_rounding
from powerplan.network.folding import fold_scales
from powerplan.network.graph import Network
from powerplan.network.node import Node, as_shape
from powerplan.network.ops import Shape
from powerplan.network.reads import READS, shared_arrays
from powerplan.network.torch_import.copying import copied as copied_module, evaluation_copy, unwrapped, with_floats
from powerplan.network.torch_import.reader import Reader, is_layer
from powerplan.network.torch_import.value import Value

#: largest difference to the module, relative to its largest output, by the precision it is run in
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-7}


def from_torch(
    module: nn.Module,
    input_shape: Shape,
    *,
    analog: Choice = None,
    digital: Choice = None,
    unsupported: str = "error",
    reads: str = "shared",
) -> Network:
    """The network computed by a torch module in evaluation mode.

    The module itself is not touched: not its mode, parameters, gradients or buffers. A copy of it is run once on a
    stand-in for an input and every call becomes an operation; forward hooks are part of what it computes. What cannot
    be copied (a lock, an open file) is shared with the copy. Layers are named by module path, functions by the path
    of the module that calls them and their name. Dropout vanishes. Batch norms and constant factors and offsets are
    folded into a linear layer or convolution before or behind them where that is exact, else they stay a digital
    ``Scale``. A module called several times becomes one array that several nodes read, as do modules that share a
    weight. float16 and bfloat16 weights become float32.

    Args:
        module: a module with one tensor as input, (B, *input_shape), and one as output, on the CPU.
        input_shape: shape of one input, without the batch axis.
        analog: linear layers and convolutions that run on crossbars, the others being computed digitally; None = all.
            As in :meth:`Network.with_analog`.
        digital: layers among these that are computed digitally after all.
        unsupported: what to do with an operation that powerplan has no model of: "error", or "digital" = keep it as a
            digital torch operation. Such a network is for this process only: it can neither be saved nor sent.
        reads: of what is called several times: "shared" = of one array, the same devices at the same gains;
            "separate" = of an array each, as in hardware that computes all calls at once.

    Raises:
        UnsupportedOperation: a module or function that powerplan has no model for, with the reason and the nearest
            names that are supported.
        InvalidInput: not a module, a wrong shape, several inputs or outputs, control flow that depends on values,
            parameters not on the CPU or not initialised, NaN weights, quantised modules; or the network does not
            compute what the module computes on random inputs.
    """
    module = unwrapped(module)
    check = Checker()
    if not isinstance(module, nn.Module):
        check.fail("module", module, "a torch.nn.Module", "Give the model object itself.")
    shape = as_shape(input_shape)
    if shape is None:
        check.fail("input_shape", input_shape, "a tuple of positive integers", "Leave out the batch axis.")
    check.done()
    assert shape is not None
    choice("unsupported", unsupported, ("error", "digital"))
    choice("reads", reads, READS)
    _check_tensors(module)
    copied = evaluation_copy(module)
    copied = _wrapped(copied) if is_layer(copied) else copied
    with torch.no_grad(), _uncompiled(), np.errstate(all="ignore"):  # what overflows is refused as infinite
        network = _read(copied, shape, keep=unsupported == "digital", reads=reads)
        _self_check(network, copied, keep=unsupported == "digital", reads=reads)
    return network if analog is None and digital is None else network.with_analog(analog, digital)


def _read(module: nn.Module, shape: Shape, *, keep: bool, reads: str) -> Network:
    """The network of a module that is in evaluation mode.

    Args:
        keep: what has no model is kept as a torch operation.
        reads: "shared" or "separate".
    """
    reader = Reader(module, shape, _precision(module), keep_unsupported=keep)
    output = _output(reader.read())
    used = leading_to(output.name, reader.nodes)
    nodes, name = fold_scales(shared_arrays(used, reader.weights if reads == "shared" else {}), output.name)
    return Network(input_shape=shape, nodes=tuple(nodes), output=name if nodes else "")


def _uncompiled() -> AbstractContextManager[Any]:
    """While this lasts, functions that torch.compile compiled run as they were written."""
    stance = getattr(torch.compiler, "set_stance", None)  # since torch 2.6
    # nothing was compiled before this is imported, which takes seconds
    return stance("force_eager") if stance is not None and "torch._dynamo" in sys.modules else nullcontext()


def _check_tensors(module: nn.Module) -> None:
    check = Checker("module.")
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            advice = "What is scripted or traced cannot be followed: give the module it was made from."
            check.fail(name or "self", f"a {type(part).__name__}", "modules that are not scripted", advice)
            check.done()  # its parts are scripted too
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if nn.parameter.is_lazy(tensor):
            check.fail(name, "an uninitialised parameter", "initialised weights", "Run the module once on an input.")
        elif tensor.is_meta:
            check.fail(name, "a tensor without data (on the meta device)", "weights", "Load the weights first.")
        elif tensor.device.type != "cpu":
            check.fail(name, f"a tensor on {tensor.device}", "tensors on the CPU", "Call module.to('cpu') first.")
        elif tensor.is_quantized or tensor.is_complex() or tensor.layout != torch.strided:
            check.fail(name, f"a {tensor.dtype} tensor", "dense real tensors", "Give the float model.")
    for name, part in module.named_modules():
        if ".quantized" in type(part).__module__:
            check.fail(name or "self", type(part).__name__, "modules in floating point", "Give the float model.")
    check.done()


def _wrapped(module: nn.Module) -> nn.Module:
    """A single module inside another, so that it has a name."""
    outer = nn.Sequential()
    outer.add_module(type(module).__name__.lower(), module)
    return outer.eval()


def _precision(module: nn.Module) -> torch.dtype:
    return next((t.dtype for t in module.parameters() if t.is_floating_point()), torch.float32)


def _output(result: Any) -> Value:
    if isinstance(result, Value) and not (result.batch or result.merged):
        return result
    if isinstance(result, Value):
        what = f"a tensor of shape {result.torch_shape} whose first axis is not the batch"
    else:
        size = f" of {len(result)}" if isinstance(result, tuple | list | dict) else ""
        what = f"a {type(result).__name__}{size}"
    raise InvalidInput.of(
        "module.forward",
        what,
        "one tensor (batch, ...) that depends on the input, as output",
        "Wrap the module so that it returns one tensor.",
    )


def leading_to(output: str, nodes: Mapping[str, Node]) -> list[Node]:
    """The nodes whose values the output depends on, in order."""
    needed = {output}
    for node in reversed(list(nodes.values())):
        if node.name in needed:
            needed.update(node.inputs)
    return [node for node in nodes.values() if node.name in needed]


def _self_check(network: Network, module: nn.Module, *, keep: bool, reads: str) -> None:
    """Refuse a network that does not compute what the module computes on a few random inputs."""
    dtype = _precision(module)
    inputs = random_inputs(network, dtype)
    wanted_from = f"{type(module).__name__} on random inputs {tuple(inputs.shape)}"
    computed, wanted = outputs(network, inputs, dtype), _run(module, inputs, wanted_from)
    apart = difference(computed, wanted)
    if apart <= _TOLERANCE.get(dtype, 1e-4):
        return
    if math.isfinite(apart) and dtype == torch.float32 and _is_rounding(network, module, keep=keep, reads=reads):
        return
    what = (
        f"outputs that differ by {apart:.3g} of the largest"
        if wanted.shape == computed.shape
        else f"outputs of shape {wanted.shape}, not {computed.shape}"
    )
    raise InvalidInput.of(
        "module",
        show(f"{wanted_from}: {what}", 200),
        "the outputs of the network read from it",
        "It does what a single run does not show: in-place changes of slices, randomness or state, decisions that "
        "depend on the size of a batch, scripted functions. Remove that.",
    )


def _is_rounding(network: Network, module: nn.Module, *, keep: bool, reads: str) -> bool:
    """True if the network is that of the module in double precision, its arrays rounded.

    Outputs of deep float32 modules do not tell: their layers multiply the rounding of the first ones, a hundred layers
    to more than any fixed tolerance. In double precision the module is compared as strictly as any other.
    """
    try:
        double = with_floats(copied_module(module), torch.float64)
        exact = _read(double, network.input_shape, keep=keep, reads=reads)
        inputs = random_inputs(exact, torch.float64)
        apart = difference(outputs(exact, inputs, torch.float64), _run(double, inputs, "module"))
    except InvalidInput:  # a module that computes in float32 only
        return False
    return apart <= _TOLERANCE[torch.float64] and same_but_rounding(network, exact)


def _run(module: nn.Module, inputs: torch.Tensor, wanted_from: str) -> np.ndarray:
    try:
        result: np.ndarray = module(inputs.clone()).detach().double().numpy()
    except Exception as error:  # the module's own code runs
        raise InvalidInput.of("module", wanted_from, "a module that runs", f"It fails: {error}.") from error
    return result
