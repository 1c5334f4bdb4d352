"""Networks from ONNX models."""

from __future__ import annotations

import os

import numpy as np
import torch

from powerplan.checks import choice
from powerplan.errors import InvalidInput
from powerplan.network.analog import Choice
from powerplan.network.folding import fold_scales, leading_to
from powerplan.network.fusing import fused
from powerplan.network.graph import Network
from powerplan.network.node import as_shape
from powerplan.network.onnx_import.checking import Read, check_import
from powerplan.network.onnx_import.model import Model, read_model
from powerplan.network.onnx_import.reader import Reader
from powerplan.network.ops import Shape
from powerplan.network.reads import READS, shared_arrays
from powerplan.network.torch_import.value import with_axis


def from_onnx(
    source: str | os.PathLike[str] | bytes,
    *,
    input_shape: Shape | None = None,
    analog: Choice = None,
    digital: Choice = None,
    reads: str = "shared",
    output: str = "",
) -> Network:
    """The network computed by an ONNX model of floating-point operations.

    No code of the model is run: the file is parsed within limits and every node becomes operations of the network.
    What does not depend on the input (the arithmetic of shapes) is computed. The first axis of the input and of the
    output is the batch. A layer is named by its weight ("layer1.conv.weight" is that of "layer1.conv"), any other
    node by its own name, with dots for slashes. Dropout vanishes; batch norms and constant factors and offsets are
    folded into a linear layer or convolution where that is exact, as by :func:`powerplan.from_torch`. float16 and
    bfloat16 weights become float32.

    Args:
        source: path of the model, or its bytes. Weights in files of their own are read from the folder of the model
            only, and not for bytes.
        input_shape: shape of one input, without the batch axis; needed if the model leaves it open.
        analog: linear layers and convolutions that run on crossbars, the others being computed digitally; None = all.
            As in :meth:`Network.with_analog`.
        digital: layers among these that are computed digitally after all.
        reads: of nodes with one weight tensor: "shared" = of one array, the same devices at the same gains;
            "separate" = of an array each.
        output: name of the value that the network computes, an output of the model or of a node; what it does not
            depend on is not read. "" = the only output, or the only one of floating-point numbers.

    Raises:
        UnsupportedOperation: an operator, opset or domain that powerplan has no model for, with the supported ones;
            steps of quantisation that follow every input; control flow.
        CorruptFile: not an ONNX model, damaged, with tensors larger or smaller than declared, with cycles or missing
            weights, or with weights outside of its folder.
        InvalidInput: several inputs, several outputs of which none is named, an open shape, NaN weights.
        MissingExtra: the onnx package is not installed.
    """
    choice("reads", reads, READS)
    return network_of(read_model(source, output), input_shape=input_shape, analog=analog, digital=digital, reads=reads)


def network_of(
    model: Model,
    *,
    input_shape: Shape | None = None,
    analog: Choice = None,
    digital: Choice = None,
    reads: str = "shared",
    native: bool = True,
) -> Network:
    """The network of a model that was read; see :func:`from_onnx`.

    Args:
        native: whether onnxruntime may run the model for comparison; not for models of strangers.
    """
    shape = _input_shape(model, input_shape)
    with torch.no_grad(), np.errstate(all="ignore"):  # what overflows is refused as infinite
        read = _read(model, shape, reads)
        check_import(model, read, lambda other: _read(other, shape, reads), native=native)
    network = read.network
    return network if analog is None and digital is None else network.with_analog(analog, digital)


def _read(model: Model, shape: Shape, reads: str) -> Read:
    reader = Reader(model, shape)
    output = with_axis(reader.read())
    needed = leading_to(output.name, reader.nodes)
    whole = fused(needed, output.name, reader.shapes)
    nodes, name = fold_scales(shared_arrays(whole, reader.weights if reads == "shared" else {}), output.name)
    return Read(
        network=Network(input_shape=shape, nodes=tuple(nodes), output=name if nodes else ""),
        unfolded=Network(input_shape=shape, nodes=tuple(needed), output=output.name if needed else ""),
        values=reader.values,
    )


def _input_shape(model: Model, chosen: Shape | None) -> Shape:
    """Shape of one input: that of the model, with what it leaves open taken from the argument."""
    declared = model.input_shape
    if chosen is None:
        if declared is None or None in declared:
            raise InvalidInput.of(
                "input_shape",
                declared if declared is None else tuple("?" if n is None else n for n in declared),
                "sizes of all axes behind the batch",
                f"The model leaves them open: give input_shape, the shape of one {model.input!r} without the batch.",
            )
        chosen = tuple(n for n in declared if n is not None)
    shape = as_shape(chosen)
    if shape is None:
        raise InvalidInput.of("input_shape", chosen, "a tuple of positive integers", "Leave out the batch axis.")
    if declared is not None and (
        len(declared) != len(shape) or any(d not in (None, n) for d, n in zip(declared, shape, strict=True))
    ):
        wanted = tuple("?" if n is None else n for n in declared)
        raise InvalidInput.of("input_shape", shape, f"the shape that the model declares, {wanted}", "Leave it out.")
    return shape
