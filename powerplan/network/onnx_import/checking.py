"""An imported ONNX model is held against a program that runs ONNX, on random inputs.

Single precision leaves the outputs of deep models open. Where they differ by more than its tolerance, the model is read
once more in double precision, as torch modules are; see :mod:`powerplan.network.torch_import`.

Why: docs/decisions/networks.md [0273].
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from powerplan.errors import InvalidInput, UncheckedWarning, show
from powerplan.network.comparison import difference, outputs, random_inputs, same_but_rounding
from powerplan.network.forward import ideal_values
from powerplan.network.graph import Network
from powerplan.network.onnx_import.evaluators import MOST_SECONDS, Evaluator, Reference, Runtime
from powerplan.network.onnx_import.model import Model, label
from powerplan.network.torch_import.value import Value

#: largest difference to the model, relative to its largest output, in single precision; where it rounds to halves; and
#: in double precision, in which evaluators round to single here and there
_TOLERANCE, _TOLERANCE_HALVED, _TOLERANCE_DOUBLED = 1e-4, 2e-2, 1e-5
_HALVES = (10, 16)  # TensorProto.FLOAT16, BFLOAT16


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """A network and where it comes from.

    Attributes:
        network: with scales folded.
        unfolded: the same as it was read.
        values: what every name of the model stands for.
    """

    network: Network
    unfolded: Network
    values: Mapping[str, object]


def check_import(model: Model, read: Read, again: Callable[[Model], Read], *, native: bool) -> None:
    """Refuse a network that does not compute what the model computes; warn where nothing can run the model.

    Args:
        again: reads another model in the same way.
        native: whether a program in machine code may run the model: not for models of strangers.

    Raises:
        InvalidInput: they differ; the first node that does is named.
    """
    reasons = []
    for evaluator in (Runtime(), Reference()) if native else (Reference(),):
        for batch in [model.batch] if model.batch else [2, 1]:
            seconds = evaluator.seconds(read.unfolded, batch)
            if seconds > MOST_SECONDS:
                reasons.append(f"{evaluator.name} would take about {seconds:.0f} s")
                continue
            try:
                apart = _apart(model, read.network, evaluator, batch)
            except Exception as error:  # every evaluator has its own kinds
                reasons.append(f"{evaluator.name}: {' '.join(str(error).split()) or type(error).__name__}")
                continue
            tolerance = _TOLERANCE_HALVED if _halved(model) else _TOLERANCE
            if apart <= tolerance or _is_rounding(model, read, again, batch):
                return
            raise _refusal(model, read, evaluator, batch, apart)
    warnings.warn(
        f"the imported network was not compared with the model: {show('; '.join(reasons), 300)}. Compare them "
        "on a few inputs, or install onnxruntime.",
        UncheckedWarning,
        stacklevel=4,
    )


def _apart(
    model: Model, network: Network, evaluator: Evaluator, batch: int, dtype: torch.dtype = torch.float32
) -> float:
    """The difference between network and model on random inputs; infinite for other shapes."""
    inputs = _inputs(model, network, dtype, batch)
    (wanted,) = evaluator.run(model, inputs, [model.output])
    return difference(outputs(network, torch.as_tensor(inputs), dtype), np.asarray(wanted, dtype=np.float64))


def _inputs(model: Model, network: Network, dtype: torch.dtype, batch: int) -> np.ndarray:
    """Random inputs in the type that the model declares, or in double precision."""
    inputs, kind = random_inputs(network, dtype, batch).numpy(), model.input_type
    if kind.kind == "b":
        return np.asarray(inputs > 0)
    return inputs.astype(np.float64 if kind.kind == "f" and dtype == torch.float64 else kind)


def _halved(model: Model) -> bool:
    """True if nodes of the model compute in half precision."""
    return any(
        (node.op_type == "Cast" and attribute.i in _HALVES) or attribute.t.data_type in _HALVES
        for node in model.nodes
        for attribute in node.attribute
    )


def _is_rounding(model: Model, read: Read, again: Callable[[Model], Read], batch: int) -> bool:
    """True if the network is that of the model in double precision, its arrays rounded."""
    reference = Reference()
    if reference.seconds(read.unfolded, batch) > MOST_SECONDS:
        return False
    double = replace(model, tensors={name: _doubled(array) for name, array in model.tensors.items()})
    try:
        exact = again(double).network
        apart = _apart(double, exact, reference, batch, torch.float64)
    except Exception:  # see above: what cannot run says nothing
        return False
    return apart <= _TOLERANCE_DOUBLED and same_but_rounding(read.network, exact)


def _doubled(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _refusal(model: Model, read: Read, evaluator: Evaluator, batch: int, apart: float) -> InvalidInput:
    """The error for a network that differs from the model, with what differs."""
    if batch > 1 and model.batch is None and _agrees(model, read, evaluator):
        return InvalidInput.of(
            "model",
            f"outputs for {batch} inputs together that are not those for each alone",
            "models that treat the inputs of a batch one by one",
            "A reshape or flatten in it moves the batch: export it with an open batch, or declare a batch of one.",
        )
    how = "outputs of another shape" if math.isinf(apart) else f"outputs that differ by {apart:.3g} of the largest"
    where = _first_difference(model, read, evaluator)
    return InvalidInput.of(
        where or "model",
        how,
        f"what {evaluator.name} computes on random inputs",
        "This is a fault of the import: report it, with the node. Replace the node to go on.",
    )


def _agrees(model: Model, read: Read, evaluator: Evaluator) -> bool:
    try:
        return _apart(model, read.network, evaluator, 1) <= _TOLERANCE
    except Exception:  # see above
        return False


def _first_difference(model: Model, read: Read, evaluator: Evaluator) -> str:
    """The first node whose value is not that of the network, for one input; "" if that is not found."""
    if model.batch not in (None, 1):  # constants in the model are written for that batch
        return ""
    inputs = _inputs(model, read.network, torch.float32, 1)
    known = {node.name for node in read.unfolded.nodes}
    names = [
        (node, name)
        for node in model.nodes
        for name in node.output
        if isinstance(value := read.values.get(name), Value) and value.name in known
    ]
    try:
        wanted = evaluator.run(model, inputs, [name for _, name in names])
    except Exception:  # see above
        return ""
    computed = ideal_values(read.unfolded, inputs, dtype=torch.float32)
    for (node, name), array in zip(names, wanted, strict=True):
        value = read.values[name]
        assert isinstance(value, Value)
        ours = computed[value.name][0].double().numpy()
        same_size = ours.size == np.size(array)
        if not same_size or value.torch_shape != np.shape(array):
            return label(node)
        if difference(ours.reshape(np.shape(array)), np.asarray(array, np.float64)) > _TOLERANCE:
            return label(node)
    return ""
