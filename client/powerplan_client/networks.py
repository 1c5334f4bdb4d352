"""Networks as a caller gives them, and the message made of each."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from powerplan_client._generated import v1 as pb
from powerplan_client.compat import dataclass
from powerplan_client.engine import engine_module
from powerplan_client.errors import invalid
from powerplan_client.packing import Packer
from powerplan_client.values import naming, numbers_of

INPUT = "input"
#: bits of every slice of the weights, of all layers or by layer
Slices = Union[Sequence[int], Mapping[str, Sequence[int]]]
_ONCE = "the network has slices; allowed: the bits of all slices of a layer at once, as (2, 2, 2, 2)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operation: its unique name, its type, the nodes it reads, its plain values and its tensors.

    Layers that name the same ``array`` read the same devices, at the same gains; those behind the first that have its
    type and attributes need no tensors. None = an array of its own, with the node's name.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)
    array: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained network as a graph of operations; what the operations mean is the server's to know.

    Attributes:
        input_shape: shape of one input, without the batch axis.
        nodes: the operations.
        output: name of the output node; "" = the last.
        weight_slices: bits of every slice of the weights, or a table of them by layers; None = whole weights. See
            :meth:`with_weight_slices`.
        shared_converters: the slices of a layer are converted one after the other, by the converters of one.
    """

    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    output: str = ""
    weight_slices: Slices | None = None
    shared_converters: bool = False

    def with_weight_slices(self, bits: Slices, *, shared_converters: bool = False) -> Network:
        """The same network with weights sliced over several devices, as the option ``weight_slices`` of a call does.

        Args:
            bits: of every slice, from the most significant: (4, 4); of some layers only: {"linear1": (4, 4)}. Slice k
                of layer "linear1" is the layer "linear1.slicek".
            shared_converters: the slices of a layer are converted one after the other, by the converters of one.

        Raises:
            InvalidRequest: a network with slices.
        """
        if self.weight_slices is not None:
            raise invalid("weight_slices", _ONCE)
        return replace(self, weight_slices=bits, shared_converters=shared_converters)

    @classmethod
    def mlp(
        cls,
        weights: Sequence[npt.ArrayLike],
        biases: Sequence[npt.ArrayLike | None] | None = None,
        activation: str | Sequence[str] = "relu",
    ) -> Network:
        """A fully-connected network.

        Args:
            weights: one (n_out, n_in) array per layer.
            biases: one (n_out,) array or None per layer; None = no biases.
            activation: after every layer but the last: one name, or one per hidden layer.

        Raises:
            InvalidRequest: no layers, or lists of different lengths.
        """
        with naming("weights"):
            arrays = [_floats(f"weights[{i}]", weight, axes=2) for i, weight in enumerate(weights)]
        if not arrays:
            raise invalid("weights", "allowed: at least one (n_out, n_in) array")
        with naming("biases"):
            entries = [None] * len(arrays) if biases is None else list(biases)
            bias_arrays = [None if b is None else _floats(f"biases[{i}]", b, axes=1) for i, b in enumerate(entries)]
        with naming("activation"):
            kinds = [activation] * (len(arrays) - 1) if isinstance(activation, str) else list(activation)
        if len(bias_arrays) != len(arrays) or len(kinds) != len(arrays) - 1:
            raise invalid(
                "biases" if len(bias_arrays) != len(arrays) else "activation",
                f"allowed: one entry for {len(arrays)} layers",
            )
        nodes: list[Node] = []
        source = INPUT
        for i, (weight, bias) in enumerate(zip(arrays, bias_arrays), start=1):
            tensors = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
            nodes.append(Node(name=f"linear{i}", type="linear", inputs=(source,), tensors=tensors))
            if i < len(arrays):
                kind = kinds[i - 1]
                nodes.append(
                    Node(name=f"{kind}{i}", type="activation", inputs=(f"linear{i}",), attributes={"kind": kind})
                )
            source = nodes[-1].name
        return cls(input_shape=(arrays[0].shape[1],), nodes=tuple(nodes))


@dataclass(frozen=True)
class Onnx:
    """The bytes of an ONNX model; needs the server feature "onnx"."""

    content: bytes


#: what is accepted as a network; besides, the engine's Network and torch modules
NetworkLike = Union[Network, Sequence[npt.ArrayLike], str, os.PathLike[str], Onnx, Any]


def network_message(
    value: NetworkLike, packer: Packer | None = None, options: Mapping[str, Any] | None = None
) -> pb.Network:
    """The message for a network, with the layers on crossbars that the options ``analog`` and ``digital`` choose.

    Args:
        value: a Network; a list of (n_out, n_in) weights (ReLU between them); the path of a saved network (.npz)
            or of an ONNX model (.onnx); :class:`Onnx`; a network of the engine; a torch module (needs the engine).
        packer: turns arrays and files into messages; None = all of them inline.
        options: of the call: ``input_shape`` of one input, for a torch module; ``analog``, ``digital`` and ``reads``;
            ``weight_slices``, bits of every slice of the weights or a table of them by layers, and
            ``shared_converters``.

    Raises:
        InvalidRequest: none of these, or a file that cannot be read.
        FeatureUnavailable: a torch module without the engine.
    """
    options = options or {}
    if isinstance(value, Network) and value.weight_slices is not None:
        if options.get("weight_slices"):
            raise invalid("weight_slices", _ONCE)
        own = {"weight_slices": value.weight_slices, "shared_converters": value.shared_converters}
        options = {**options, **own}
    message = _message(value, packer or Packer(), options.get("input_shape"))
    message.analog_layers.extend(_layers("analog", options.get("analog")))
    message.digital_layers.extend(_layers("digital", options.get("digital")))
    reads = options.get("reads", "shared")
    if reads not in ("shared", "separate"):
        raise invalid("reads", f"got {reads!r}; allowed: 'shared' or 'separate'")
    message.separate_reads = reads == "separate"
    slices = options.get("weight_slices") or ()
    with naming("weight_slices"):
        if isinstance(slices, Mapping):
            message.sliced_layers.extend(pb.SlicedLayers(layers=str(k), bits=bits) for k, bits in slices.items())
        else:
            message.weight_slices.extend(slices)
    message.shared_converters = bool(options.get("shared_converters", False))
    return message


def _layers(field: str, choice: Any) -> list[str]:
    """Layers as text: one type, name, pattern or number, or several."""
    parts = [] if choice is None else [choice] if isinstance(choice, (str, int)) else choice
    if callable(parts) or not isinstance(parts, Iterable):
        allowed = "types, names, patterns or numbers of layers; a function needs the engine's Network.with_analog"
        raise invalid(field, f"got {choice!r}; allowed: {allowed}")
    return [str(part) for part in parts]


def _message(value: NetworkLike, packer: Packer, input_shape: Sequence[int] | None) -> pb.Network:
    if isinstance(value, Network):
        return _graph(value, packer)
    if isinstance(value, Onnx):
        return pb.Network(onnx=packer.file(value.content))
    if isinstance(value, (str, os.PathLike)):
        return _file(Path(value), packer)
    if _is_torch_module(value):
        return _graph(_of_engine(_import_torch(value, input_shape)), packer)
    if hasattr(value, "nodes") and hasattr(value, "input_shape"):
        return _graph(_of_engine(value), packer)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return _graph(Network.mlp(value), packer)
    raise invalid(
        "network",
        f"got {type(value).__name__}; allowed: a Network, a list of weights, the path of a saved network, Onnx(bytes) "
        "or a torch module",
    )


def _graph(network: Network, packer: Packer) -> pb.Network:
    graph = pb.NetworkGraph(input_shape=network.input_shape, output=network.output)
    for node in network.nodes:
        message = graph.nodes.add(
            name=node.name,
            type=node.type,
            inputs=node.inputs,
            attributes=attribute_messages(node.attributes),
            array=node.array,
        )
        for name, array in node.tensors.items():
            message.tensors[name].CopyFrom(packer.array(numbers_of(f"network.nodes[{node.name!r}].{name}", array)))
    return pb.Network(graph=graph)


def _of_engine(network: Any) -> Network:
    """The same network without the engine's classes."""
    here = [node.name for node in network.nodes if not getattr(node.op, "portable", True)]
    if here:
        raise invalid("network", f"{here} are torch operations, which no message can hold; replace them in the module")
    nodes: list[Node] = []
    first: dict[str, Any] = {}
    for node in network.nodes:
        again = first.setdefault(node.array_name, node) is not node and first[node.array_name].op is node.op
        nodes.append(
            Node(
                name=node.name,
                type=node.op.type,
                inputs=tuple(node.inputs),
                attributes=node.op.attributes(),
                tensors={} if again else node.op.tensors(),
                array=node.array,
            )
        )
    return Network(input_shape=tuple(network.input_shape), nodes=tuple(nodes), output=network.output)


def _file(path: Path, packer: Packer) -> pb.Network:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise invalid("network", f"{path} cannot be read: {error.strerror}") from error
    if path.suffix.lower() == ".onnx":
        return pb.Network(onnx=packer.file(content))
    return pb.Network(saved_network=packer.file(content))


def _is_torch_module(value: Any) -> bool:
    """Whether ``value`` is a torch module, without importing torch."""
    return any(kind.__module__ == "torch.nn.modules.module" for kind in type(value).__mro__)


def _import_torch(module: Any, input_shape: Sequence[int] | None) -> Any:
    if input_shape is None:
        raise invalid("input_shape", "a torch module needs the shape of one input, for example (1, 28, 28)")
    advice = "Run: pip install powerplan-crossbar, or give the weights as arrays."
    engine = engine_module("powerplan", f"A torch module is read by the engine, which is not installed. {advice}")
    try:
        return engine.from_torch(module, input_shape=tuple(input_shape))
    except engine.PowerplanError as error:
        raise invalid("network", str(error)) from error


def attribute_message(value: Any) -> pb.AttributeValue:
    """A plain value as a message; arrays become lists, whole numbers beyond 64 bits floats."""
    if value is None:
        return pb.AttributeValue(null_value=0)  # type: ignore[arg-type]
    if isinstance(value, (bool, np.bool_)):
        return pb.AttributeValue(boolean_value=bool(value))
    if isinstance(value, (int, np.integer)) and -(2**63) <= int(value) < 2**63:
        return pb.AttributeValue(integer_value=int(value))
    if isinstance(value, numbers.Real):
        return pb.AttributeValue(number_value=float(value))
    if isinstance(value, str):
        return pb.AttributeValue(text_value=value)
    if isinstance(value, Mapping):
        return pb.AttributeValue(map_value=pb.AttributeMap(entries=attribute_messages(value)))
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(items, Sequence):
        return pb.AttributeValue(list_value=pb.AttributeList(values=[attribute_message(item) for item in items]))
    if isinstance(value, np.ndarray):
        return attribute_message(items)
    raise invalid("attributes", f"got {type(value).__name__}; allowed: plain values, lists and mappings")


def attribute_messages(values: Mapping[Any, Any]) -> dict[str, pb.AttributeValue]:
    """Plain values by name as messages."""
    return {str(name): attribute_message(value) for name, value in values.items()}


def attribute_value(message: pb.AttributeValue) -> Any:
    """The plain value of a message."""
    kind = message.WhichOneof("kind")
    if kind == "list_value":
        return [attribute_value(item) for item in message.list_value.values]
    if kind == "map_value":
        return {name: attribute_value(item) for name, item in message.map_value.entries.items()}
    return None if kind in (None, "null_value") else getattr(message, kind)


def _floats(field: str, value: npt.ArrayLike, *, axes: int) -> np.ndarray:
    array = numbers_of(field, value, axes=(axes,))
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
