"""Networks on the wire: a graph with its tensors, a saved network file or an ONNX model."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from powerplan.errors import InvalidInput, Violation
from powerplan.network import Network, Node, Op, build_op
from powerplan.network.ops.described import descriptions
from powerplan.network.parts import own_tensors
from powerplan_client._generated import v1 as pb
from powerplan_server.wire.attributes import map_from_proto
from powerplan_server.wire.errors import FeatureUnavailable
from powerplan_server.wire.reading import Reader, printable
from powerplan_server.wire.tensors import array_from_proto, content_of, tensor_elements

#: field of the message by argument of Network.with_analog
PLACEMENTS = {"analog": "analog_layers", "digital": "digital_layers"}
#: most parts of such a choice
_MOST_PLACED = 100


def network_from_proto(reader: Reader, message: pb.Network) -> Network | None:
    """The network of a message, or noted violations and None.

    Sizes are checked against the limits first, then every node is built, then the graph, then its layers are placed.
    """
    before = reader.count
    for field in PLACEMENTS.values():
        _check_placement(reader.at(field), getattr(message, field))
    network = _source(reader, message)
    if network is None or reader.count > before:
        return None
    network = network.with_separate_reads() if message.separate_reads else network
    chosen = {name: list(getattr(message, field)) or None for name, field in PLACEMENTS.items()}
    if any(chosen.values()):
        network = reader.take(partial(network.with_analog, **chosen), rename=lambda name: PLACEMENTS.get(name, name))
    sliced = message.weight_slices or message.sliced_layers
    return _sliced(reader, message, network) if sliced and network is not None else network


def _sliced(reader: Reader, message: pb.Network, network: Network) -> Network | None:
    """The network with its weights in slices, which take as much memory as so many networks."""
    before, bits = reader.count, list(message.weight_slices)
    place = reader.at("sliced_layers")
    by_layers = {each.layers: list(each.bits) for each in message.sliced_layers}
    _check_placement(place, [each.layers for each in message.sliced_layers])
    if bits and by_layers:
        place.fail(len(message.sliced_layers), "none where weight_slices are of all layers", "Give one of the two.")
    if len(by_layers) < len(message.sliced_layers):
        place.fail([each.layers for each in message.sliced_layers], "every choice once", "Leave out the second.")
    elements = sum(array.size for own in own_tensors(network) for array in own.values())
    most = max([len(bits), *map(len, by_layers.values())])
    if reader.count > before or not _fits(reader, len(network.nodes), elements * most):
        return None
    return reader.take(
        partial(network.with_weight_slices, by_layers or bits, shared_converters=message.shared_converters),
        rename=_place_in_slices(list(by_layers)),
    )


def _place_in_slices(choices: Sequence[str]) -> Callable[[str], str]:
    """Turns a field of the engine's weight_slices into its path in the message."""
    paths = {f"weight_slices[{choice!r}]": f"sliced_layers[{i}].bits" for i, choice in enumerate(choices)}
    whole = {"weight_slices": "sliced_layers"} if choices else {}
    return lambda field: {**paths, **whole}.get(field, field)


def _check_placement(reader: Reader, parts: Sequence[str]) -> None:
    if len(parts) > _MOST_PLACED:
        reader.too_large(f"{len(parts):,} choices", _MOST_PLACED, "choices")
        return
    for i, part in enumerate(parts):
        printable(reader.item(i), part)


def _source(reader: Reader, message: pb.Network) -> Network | None:
    match message.WhichOneof("source"):
        case "graph":
            return _graph(reader.at("graph"), message.graph)
        case "saved_network":
            return _saved(reader.at("saved_network"), message.saved_network)
        case "onnx":
            return _onnx(reader.at("onnx"), message.onnx)
        case _:
            reader.fail("nothing", "graph, saved_network or onnx", "Describe the network.")
    return None


def _graph(reader: Reader, graph: pb.NetworkGraph) -> Network | None:
    before = reader.count
    shape = tuple(graph.input_shape[:17])
    if not shape or len(shape) > 16 or min(shape) < 1:
        reader.at("input_shape").fail(shape, "1 to 16 positive integers", "Give the shape of one input.")
    elif math.prod(shape) > reader.limits.max_network_elements:
        reader.at("input_shape").too_large(math.prod(shape), reader.limits.max_network_elements, "elements")
    if len(graph.nodes) > reader.limits.max_nodes:
        reader.at("nodes").too_large(f"{len(graph.nodes):,} nodes", reader.limits.max_nodes, "nodes")
        return None
    elements = sum(tensor_elements(tensor) for node in graph.nodes for tensor in node.tensors.values())
    if elements > reader.limits.max_network_elements:
        reader.at("nodes").too_large(f"{elements:,} tensor elements", reader.limits.max_network_elements, "elements")
    if graph.output:
        printable(reader.at("output"), graph.output)
    if reader.count > before:
        return None
    by_array: dict[str, tuple[object, Op]] = {}
    nodes = [_node(reader.at("nodes").item(i), node, by_array) for i, node in enumerate(graph.nodes)]
    if reader.count > before:
        return None
    return reader.take(
        lambda: Network(input_shape=shape, nodes=tuple(n for n in nodes if n is not None), output=graph.output),
        rename=_place_in_graph(graph),
    )


def placed_in(message: pb.Network, violation: Violation) -> Violation:
    """A violation that the engine found in the network of a message, such as one of "network.nodes['fc']", at its place
    there: the graph's node, or what the network is read from, with the engine's name of the place."""
    source = message.WhichOneof("source") or "graph"
    inner = _place_in_graph(message.graph)(violation.field) if source == "graph" else ""
    if inner.split("[")[0].split(".")[0] in pb.NetworkGraph.DESCRIPTOR.fields_by_name and "'" not in inner:
        return replace(violation, field=f"network.graph.{inner}")
    return replace(violation, field=f"network.{source}", allowed=f"{violation.allowed} ({violation.field})")


def _place_in_graph(graph: pb.NetworkGraph) -> Callable[[str], str]:
    """Turns a field such as "network.nodes['fc'].linear.weight", which names a node, into its path in the message."""

    def rename(field: str) -> str:
        field = field.removeprefix("network").removeprefix(".")
        for i, node in enumerate(graph.nodes):
            if field == (named := f"nodes[{node.name!r}]"):
                return f"nodes[{i}]"
            if field.startswith(f"{named}."):
                inner = field.removeprefix(f"{named}.")
                return f"nodes[{i}]" if inner == "op" else f"nodes[{i}].{_place_in_node(node)(inner)}"
        return field

    return rename


def _node(reader: Reader, message: pb.NetworkNode, by_array: dict[str, tuple[object, Op]]) -> Node | None:
    """A node; without tensors it takes the operation of an earlier one with its array, type and attributes."""
    before = reader.count
    printable(reader.at("name"), message.name)
    printable(reader.at("type"), message.type)
    array = message.array if message.HasField("array") else None
    if array is not None:
        printable(reader.at("array"), array)
    for i, name in enumerate(message.inputs[:100]):
        printable(reader.at("inputs").item(i), name)
    for field in ("attributes", "tensors"):
        for key in getattr(message, field):
            printable(reader.at(field), key)
    attributes = map_from_proto(reader.at("attributes"), message.attributes)
    limit = reader.limits.max_network_elements
    arrays: dict[str, np.ndarray | None] = {
        name: array_from_proto(reader.at("tensors").key(name), message.tensors[name], max_elements=limit)
        for name in sorted(message.tensors)
    }
    if reader.count > before:
        return None
    head = (message.type, attributes)
    known, op = by_array.get(array or ""), None
    if known is not None and not arrays and known[0] == head:
        op = known[1]
    else:
        op = reader.take(lambda: _build(message.type, attributes, arrays), rename=_place_in_node(message))
    if op is None:
        return None
    by_array.setdefault(message.name if array is None else array, (head, op))
    return Node(name=message.name, op=op, inputs=tuple(message.inputs), array=array)


def _build(type: str, attributes: dict[str, Any], arrays: dict[str, Any]) -> Op:
    try:
        op = build_op(type, attributes, arrays)
    except InvalidInput:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput.of(
            "attributes", sorted(attributes), f"attributes and tensors of {type}", f"They do not fit: {error}."
        ) from error
    # An operation takes both as arguments: each must have come by its own way.
    if not set(attributes) <= set(op.attributes()) or set(arrays) != set(op.tensors()):
        raise InvalidInput.of(
            "attributes",
            sorted([*attributes, *arrays]),
            f"attributes {sorted(op.attributes())} and tensors {sorted(op.tensors())}",
            "Move each to its own map.",
        )
    return op


def _place_in_node(message: pb.NetworkNode) -> Callable[[str], str]:
    """Turns a field such as "linear.weight" into its path in the node's message."""

    def rename(field: str) -> str:
        path = field.removeprefix(f"{message.type}.")
        name = re.split(r"[.\[]", path, maxsplit=1)[0]
        parts = {p.name: p.form for each in descriptions() if each.type == message.type for p in each.parts}
        if name in message.tensors or parts.get(name) == "tensor":
            place = f'tensors["{name}"]'
        elif name in message.attributes or name in parts:
            place = f'attributes["{name}"]'
        else:
            return field
        return place + path[len(name) :]

    return rename


def _saved(reader: Reader, message: pb.FileContent) -> Network | None:
    content = content_of(reader, message, at_most=reader.limits.max_file_bytes)
    if content is None:
        return None
    try:
        if isinstance(content, Path):
            with content.open("rb") as stream:
                network = Network.load(stream)
        else:
            network = Network.load(io.BytesIO(content))
    except InvalidInput as error:
        _note_file(reader, message, error)
        return None
    elements = sum(array.size for own in own_tensors(network) for array in own.values())
    return network if _fits(reader, len(network.nodes), elements) else None


def onnx_available() -> bool:
    """True if ONNX models can be read here."""
    return find_spec("onnx") is not None


def _onnx(reader: Reader, message: pb.FileContent) -> Network | None:
    """The network of an ONNX model, which is parsed and measured before anything is built of it."""
    if not onnx_available():
        reader.fail(
            "an ONNX model",
            "graph or saved_network",
            "This server cannot read ONNX; send the network as a graph.",
            FeatureUnavailable,
        )
        return None
    content = content_of(reader, message, at_most=reader.limits.max_file_bytes)
    if content is None:
        return None
    from powerplan.network.onnx_import import network_of, read_model

    try:
        # as bytes: a model has no folder here, and may name no other files
        model = read_model(content.read_bytes() if isinstance(content, Path) else bytes(content))
        if not _fits(reader, len(model.nodes), model.elements):
            return None
        network = network_of(model, native=False)
    except InvalidInput as error:
        _note_file(reader, message, error)
        return None
    elements = sum(array.size for own in own_tensors(network) for array in own.values())
    return network if _fits(reader, len(network.nodes), elements) else None


def _note_file(reader: Reader, message: pb.FileContent, error: InvalidInput) -> None:
    """Violations inside a file, at the field that holds the file."""
    inner = [replace(v, allowed=f"{v.allowed} ({v.field})") for v in error.violations]
    reader.at(message.WhichOneof("content") or "data").note(type(error)(*inner), rename=lambda _: "")


def _fits(reader: Reader, nodes: int, elements: int) -> bool:
    """True if a network of a file is within the limits, else a noted violation."""
    if nodes > reader.limits.max_nodes:
        reader.too_large(f"{nodes:,} nodes", reader.limits.max_nodes, "nodes")
    elif elements > reader.limits.max_network_elements:
        reader.too_large(f"{elements:,} tensor elements", reader.limits.max_network_elements, "elements")
    else:
        return True
    return False
