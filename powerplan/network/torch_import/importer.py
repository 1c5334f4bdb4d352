"""Networks from torch modules, compared with the modules themselves.

Why: docs/decisions/networks.md [0031, 0170].
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from powerplan.checks import Checker, choice
from powerplan.errors import InvalidInput, UnsupportedOperation, Violation, show
from powerplan.network.analog import Choice
from powerplan.network.comparison import difference, outputs, random_inputs, same_but_rounding
from powerplan.network.graph import Network
from powerplan.network.node import as_shape
from powerplan.network.ops import Shape
from powerplan.network.reads import READS
from powerplan.network.slopes import op_slope_explains
from powerplan.network.torch_import.copying import copied, evaluation_copy, unwrapped
from powerplan.network.torch_import.exporting import field_of, is_layer
from powerplan.network.torch_import.source import Source
from powerplan.network.torch_import.torch_call import TorchCall

#: largest difference to the module, relative to its largest output, by the precision it is run in
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-7}
#: of modules in double precision that compute parts in single precision, as norms of transformers do
_TOLERANCE_INSIDE = 1e-5


def from_torch(
    module: nn.Module,
    input_shape: Shape,
    *,
    analog: Choice = None,
    digital: Choice = None,
    unsupported: str = "error",
    reads: str = "shared",
    input_name: str = "",
    constants: Mapping[str, Any] | None = None,
    output: str = "",
) -> Network:
    """The network computed by a torch module in evaluation mode.

    The module itself is not touched: not its mode, parameters, gradients or buffers. A copy of it goes through
    ``torch.export``, and every operation of ATen that depends on the input becomes operations of the network; forward
    hooks are part of what it computes. What cannot be copied (a lock, an open file) is shared with the copy. Layers
    are named by module path, functions by the path of the module that calls them and their name. Dropout vanishes.
    Batch norms and constant factors and offsets are folded into a linear layer or convolution before or behind them
    where that is exact, else they stay a digital ``Scale``. A module called several times becomes one array
    that several nodes read, as do modules that share a weight. float16 and bfloat16 weights become float32.

    Args:
        module: a module on the CPU, whose inputs and outputs have the batch as their first axis; an output (B,) is
            (B, 1) in the network. Inputs are numbers, or whole ones for modules that look up token indices.
        input_shape: shape of one input, without the batch axis.
        analog: linear layers and convolutions that run on crossbars, the others being computed digitally; None = all.
            As in :meth:`Network.with_analog`.
        digital: layers among these that are computed digitally after all.
        unsupported: what to do with a part that cannot be exported: "error", or "digital" = keep the module it is in as
            a digital torch operation. Such a network is for this process only: it can neither be saved nor sent.
        reads: of what is called several times: "shared" = of one array, the same devices at the same gains;
            "separate" = of an array each, as in hardware that computes all calls at once.
        input_name: name of the argument of ``forward`` that takes the input; "" = the first.
        constants: other arguments of ``forward`` by name, the same for every input: a padding mask (1, length), say.
        output: of several outputs the one that the network computes, by its key ("logits") or number ("0"); "" = the
            only one.

    Raises:
        UnsupportedOperation: an operation that powerplan has no model for, with the reason and the nearest names that
            are supported; control flow that depends on values.
        InvalidInput: not a module, a wrong shape, several inputs or outputs, parameters not on the CPU or not
            initialised, NaN weights, quantised modules; or the network does not compute what the module computes on
            random inputs.
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
    _check_detectors(module)
    _check_arguments(module, input_name, constants or {})
    own = evaluation_copy(module)
    own = _wrapped(own) if is_layer(own) else own
    source = Source(own, shape, input_name, dict(constants or {}), output, reads, keep=unsupported == "digital")
    with torch.no_grad(), _uncompiled(), np.errstate(all="ignore"):  # what overflows is refused as infinite
        try:
            network = _checked(source)
        except UnsupportedOperation as error:
            if constants and hasattr(error, "fails"):
                raise _with_constants(error, constants) from error.__cause__
            kept = _kept(source) if not source.keep and hasattr(error, "path") else None
            if kept is None:
                raise
            raise _with_offer(error, kept) from error.__cause__
    return network if analog is None and digital is None else network.with_analog(analog, digital)


def _checked(source: Source) -> Network:
    """The network of a module, compared with it."""
    network = source.network()
    _self_check(network, source)
    return network


def _kept(source: Source) -> Network | None:
    """The network of a module whose refused parts are kept as they are; None if it cannot be imported so."""
    try:
        return _checked(replace(source, module=copied(source.module), keep=True))
    except InvalidInput:
        return None


def _with_offer(error: UnsupportedOperation, kept: Network) -> UnsupportedOperation:
    """The error with the offer to keep the parts that are refused, and what can be done with such a network."""
    noisy = [node.op for node in kept.nodes if node.name in kept.noisy and isinstance(node.op, TorchCall)]
    offer = "Or keep the module it is in, with unsupported='digital': such a network cannot be saved or sent"
    if not all(map(op_slope_explains, noisy)):
        offer += ", and only be simulated: the module jumps, or has no derivative, behind a crossbar"
    offer += "."
    return UnsupportedOperation(*(replace(v, advice=f"{v.advice} {offer}") for v in error.violations))


def _with_constants(error: UnsupportedOperation, constants: Mapping[str, Any]) -> UnsupportedOperation:
    """What fails with constants may fail by them."""
    shapes = ", ".join(
        f"{name} of shape {tuple(np.shape(x))}" if np.ndim(x) else f"{name}={show(x)}" for name, x in constants.items()
    )
    allowed = "arguments that forward runs with, the same for all inputs"
    advice = "Give an array with a batch axis as (1, ...); the others of a batch get the same."
    return UnsupportedOperation(
        *error.violations, Violation(field="constants", value=shapes, allowed=allowed, advice=advice)
    )


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
    within = "\n"  # a module whose parts are of its kind
    for name, part in module.named_modules():
        if ".quantized" in type(part).__module__ and not name.startswith(f"{within}."):
            within = name
            check.fail(name or "self", type(part).__name__, "modules in floating point", "Give the float model.")
    check.done()


def _check_arguments(module: nn.Module, input_name: str, constants: Mapping[str, Any]) -> None:
    parameters = inspect.signature(module.forward).parameters.values()
    if any(p.kind == p.VAR_KEYWORD for p in parameters):  # any name may be one
        return
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    check = Checker()
    if input_name and input_name not in names:
        check.fail("input_name", input_name, f"an argument of forward: {', '.join(names)}", "Name one of these.")
    for name in constants:
        if name not in names or name == (input_name or next(iter(names), "")):
            check.fail("constants", name, "other arguments of forward than the input", f"It has {', '.join(names)}.")
    check.done()


def _check_detectors(module: nn.Module) -> None:
    """Refuse torchvision's detection models by name: export ends somewhere in the middle of them."""
    for name, part in module.named_modules():
        if type(getattr(part, "transform", None)).__name__ == "GeneralizedRCNNTransform":
            raise UnsupportedOperation.of(
                field_of(name),
                f"{type(part).__name__}, a detection model",
                "modules whose outputs have the same shape for every input",
                "It chooses boxes by their values, as many as it finds. Import what it computes before, such as its "
                "'backbone'.",
            )


def _wrapped(module: nn.Module) -> nn.Module:
    """A single module inside another, so that it has a name."""
    outer = nn.Sequential()
    outer.add_module(type(module).__name__.lower(), module)
    return outer.eval()


def _self_check(network: Network, source: Source) -> None:
    """Refuse a network that does not compute what the module computes on a few random inputs, and on one alone."""
    for batch in (None, 1):
        inputs = random_inputs(network, source.dtype, batch)
        wanted_from = f"{type(source.module).__name__} on random inputs {tuple(inputs.shape)}"
        try:
            computed, wanted = outputs(network, inputs, source.dtype), source.run(inputs, wanted_from)
        except InvalidInput:
            if batch == 1:  # there are modules that need more than one
                continue
            raise
        if batch == 1 and wanted.size == computed.size and wanted.ndim < computed.ndim:
            wanted = wanted.reshape(computed.shape)  # torch squeezes a batch of one away
        apart = difference(computed, wanted)
        if apart <= _tolerance(source):
            continue
        if math.isfinite(apart) and source.dtype == torch.float32 and _is_rounding(network, source, batch):
            return
        what = (
            f"outputs that differ by {apart:.3g} of the largest"
            if wanted.shape == computed.shape
            else f"outputs of shape {wanted.shape}, not {computed.shape}"
        )
        rounds = "computes parts in single precision, whose rounding its layers multiply, or "
        raise InvalidInput.of(
            "module",
            show(f"{wanted_from}: {what}", 200),
            "the outputs of the network read from it",
            f"It {rounds if source.rounds_inside else ''}does what a single run does not show: randomness or state, "
            "decisions that depend on the size of a batch. Remove that.",
        )


def _tolerance(source: Source) -> float:
    return _TOLERANCE_INSIDE if source.rounds_inside else _TOLERANCE.get(source.dtype, 1e-4)


def _is_rounding(network: Network, source: Source, batch: int | None) -> bool:
    """True if the network is that of the module in double precision, its arrays rounded.

    Outputs of deep float32 modules do not tell: their layers multiply the rounding of the first ones, a hundred layers
    to more than any fixed tolerance. In double precision the module is compared as strictly as any other.
    """
    double = source.doubled()
    try:
        exact = double.network()
        inputs = random_inputs(exact, torch.float64, batch)
        apart = difference(outputs(exact, inputs, torch.float64), double.run(inputs, "the module in double precision"))
    except InvalidInput:  # a module that computes in float32 only
        return False
    return apart <= _tolerance(double) and same_but_rounding(network, exact)
