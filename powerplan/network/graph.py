"""A network: a frozen directed acyclic graph of operations."""

from __future__ import annotations

import graphlib
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np

from powerplan.checks import Checker, check_inputs, frozen_array, real_array
from powerplan.errors import InvalidInput
from powerplan.labels import layer_labels
from powerplan.network.analog import Choice, with_analog
from powerplan.network.node import INPUT, Node, as_shape
from powerplan.network.ops import MOST_ELEMENTS, Activation, Linear, Op, Shape, SliceSum
from powerplan.network.parts import network_fields
from powerplan.network.reads import joined, layer_of, reads_of
from powerplan.network.storage import load_network, save_network
from powerplan.network.weight_slices import with_weight_slices
from powerplan.shown import Shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Network(Shown):
    """A trained network as a graph of operations with one input and one output.

    Attributes:
        input_shape: shape of one input, without the batch axis.
        nodes: the operations, in an order in which each comes after what it reads (sorted when built).
        output: name of the node whose value is the network's output; "" = the last node.

    Raises:
        InvalidInput: no crossbar layer, duplicate or unknown names, a cycle, shapes that do not fit.
    """

    input_shape: Shape
    nodes: tuple[Node, ...]
    output: str = ""

    def __post_init__(self) -> None:
        check = Checker("network.")
        shape = as_shape(self.input_shape)
        if shape is None:
            check.fail("input_shape", self.input_shape, "positive integers", "Give the shape of one input.")
        if not isinstance(self.nodes, tuple | list) or not all(isinstance(node, Node) for node in self.nodes):
            check.fail("nodes", self.nodes, "a tuple of nodes", "Build each with Node(name=, op=, inputs=).")
        elif not self.nodes:
            check.fail("nodes", self.nodes, "at least one crossbar layer", "Add a linear layer.")
        if not isinstance(self.output, str):
            check.fail("output", self.output, "the name of a node", "Name the output node.")
        check.done()
        object.__setattr__(self, "input_shape", shape)
        nodes = joined(_sorted(tuple(self.nodes)))
        object.__setattr__(self, "nodes", nodes)
        names = {node.name for node in nodes}
        if not self.output:
            object.__setattr__(self, "output", self.nodes[-1].name)
        if self.output not in names:
            raise InvalidInput.of("network.output", self.output, "the name of a node", "Name the output node.")
        _check_used(nodes, self.output)
        self.shapes  # noqa: B018  (raises if the shapes do not fit)
        if not self.crossbars:
            raise InvalidInput.of("network.nodes", len(nodes), "at least one crossbar layer", "Add a linear layer.")

    @classmethod
    def mlp(
        cls,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray | None] | None = None,
        activation: str | Sequence[str] = "relu",
    ) -> Network:
        """A fully-connected network.

        Args:
            weights: one (n_out, n_in) array per layer.
            biases: one (n_out,) array or None per layer; None = no biases.
            activation: name of the activation after every layer but the last, or one name per hidden layer.

        Raises:
            InvalidInput: no layers, shapes that do not fit, NaN or infinite entries, unknown activation.
        """
        weights = _listed("weights", weights)
        if not weights:
            raise InvalidInput.of("weights", weights, "at least one (n_out, n_in) array", "Give the layers' weights.")
        bias_arrays = [None] * len(weights) if biases is None else _listed("biases", biases)
        if len(bias_arrays) != len(weights):
            raise InvalidInput.of(
                "biases", len(bias_arrays), f"one entry per layer, {len(weights)}", "Use None for a layer without bias."
            )
        hidden = len(weights) - 1
        kinds = [activation] * hidden if isinstance(activation, str) else _listed("activation", activation)
        if len(kinds) != hidden:
            raise InvalidInput.of(
                "activation", kinds, f"a name, or one per hidden layer ({hidden})", "The last layer has no activation."
            )
        if isinstance(activation, str):
            Activation(kind=activation)  # an unknown name is refused even if there is no hidden layer
        check = Checker()
        arrays = [
            (
                real_array(check, f"weights[{i}]", weight, ndim=2),
                None if bias is None else real_array(check, f"biases[{i}]", bias, ndim=1),
            )
            for i, (weight, bias) in enumerate(zip(weights, bias_arrays, strict=True))
        ]
        check.done()
        nodes: list[Node] = []
        source = INPUT
        for i, (weight, bias) in enumerate(arrays):
            assert weight is not None
            op: Op = Linear(weight=weight, bias=bias)
            nodes.append(Node(name=f"linear{i + 1}", op=op, inputs=(source,)))
            source = nodes[-1].name
            if i < hidden:
                op = Activation(kind=kinds[i])
                nodes.append(Node(name=f"{kinds[i]}{i + 1}", op=op, inputs=(source,)))
                source = nodes[-1].name
        first = nodes[0].op
        assert isinstance(first, Linear)
        return cls(input_shape=(first.n_in,), nodes=tuple(nodes))

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every node's value (without batch), and of "input"."""
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        for node in self.nodes:
            check = Checker("network.")
            try:
                shape = node.op.output_shape(tuple(shapes[name] for name in node.inputs))
                if math.prod(shape) > MOST_ELEMENTS:
                    raise InvalidInput.of("op", shape, f"values of at most {MOST_ELEMENTS} entries", "Check the sizes.")
                shapes[node.name] = shape
            except InvalidInput as error:
                check.nested(f"nodes[{node.name!r}]", error)
            check.done()
        return shapes

    @property
    def output_shape(self) -> Shape:
        """Shape of one output, without the batch axis."""
        return self.shapes[self.output]

    @property
    def size(self) -> dict[str, Any]:
        """Plain values for summaries: "weights" (on crossbars, biases aside), "input_shape" and "output_shape"."""
        tensors = (node.op.tensors() for node in self.crossbars)
        return {
            "weights": sum(int(some["weight"].size) for some in tensors if "weight" in some),
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
        }

    @cached_property
    def last_readers(self) -> dict[str, tuple[str, ...]]:
        """For every node the values that nothing reads after it: they can be dropped."""
        last = {name: node.name for node in self.nodes for name in node.inputs}
        dropped: dict[str, tuple[str, ...]] = {}
        for name, reader in last.items():
            dropped[reader] = (*dropped.get(reader, ()), name)
        return dropped

    @cached_property
    def noisy(self) -> frozenset[str]:
        """Names of the nodes whose value depends on a crossbar."""
        noisy: set[str] = set()
        for node in self.nodes:
            if node.op.is_crossbar or noisy.intersection(node.inputs):
                noisy.add(node.name)
        return frozenset(noisy)

    @cached_property
    def reads(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that read every array, by its name, in order; arrays in the order of their first reads."""
        return reads_of(self.nodes)

    @property
    def crossbars(self) -> tuple[Node, ...]:
        """The first read of every array, in order: layer i of gains and results is that of ``crossbars[i]``."""
        return tuple(nodes[0] for nodes in self.reads.values())

    @property
    def read_names(self) -> tuple[str, ...]:
        """Names of the nodes that read arrays, in order."""
        return tuple(node.name for node in self.nodes if node.op.is_crossbar)

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the arrays, which are the crossbar layers, in order; of an array with one read mostly the node's."""
        return tuple(self.reads)

    @property
    def layer_kinds(self) -> tuple[str, ...]:
        """Kinds of the crossbar layers, as torch calls them: "Linear", "Conv2d"."""
        return tuple(op.kind for node in self.crossbars if (op := layer_of(node)) is not None)

    @property
    def layer_labels(self) -> tuple[str, ...]:
        """The crossbar layers as tables and figures call them: names, with the kind where a name is only a number."""
        return layer_labels(self.layer_names, self.layer_kinds)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network's content (structure, attributes, tensors), in hexadecimal."""
        sha = hashlib.sha256()
        for node in self.nodes:
            head = [node.name, node.op.type, node.inputs, node.op.attributes(), list(node.op.tensors())]
            head += [] if node.array is None else [node.array]
            sha.update(json.dumps(head, sort_keys=True).encode())
            for array in node.op.tensors().values():
                sha.update(f"{array.dtype.str}{array.shape}".encode())
                sha.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).data)
        sha.update(json.dumps([self.input_shape, self.output]).encode())
        return sha.hexdigest()

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Ideal (noise-free, float64) outputs (B, *output_shape) for inputs (B, *input_shape)."""
        from powerplan.network.forward import ideal_values

        values = ideal_values(self, check_inputs(inputs, self.input_shape), keep=(self.output,))
        return frozen_array(values[self.output].numpy())

    def with_analog(self, analog: Choice = None, digital: Choice = None) -> Network:
        """The same network with other linear layers and convolutions on crossbars; the rest of them are digital.

        Args:
            analog: layers to put on crossbars, all others become digital; None = those that are there now.
            digital: layers among these to compute digitally, without noise.

        A choice is a type ("linear", "conv", "conv_transpose", or torch's "Conv2d", nn.Conv2d), a name, a module path
        (all layers inside) or a pattern with ``*``, a number (0 = the first layer, -1 = the last; as text where no
        layer is named so), several of these, or a function of a layer's name and operation that says if it is taken.

        Raises:
            InvalidInput: a part of a choice that takes no layer, or no layer left on a crossbar.
        """
        return with_analog(self, analog, digital)

    def with_separate_reads(self) -> Network:
        """The same network with an array of its own for every read, as in hardware that makes all reads at once."""
        return replace(self, nodes=tuple(replace(node, array=None) for node in self.nodes))

    def with_weight_slices(
        self,
        bits: Sequence[int] | Mapping[str, Sequence[int]],
        layers: Choice = None,
        *,
        shared_converters: bool = False,
    ) -> Network:
        """The same network with weights sliced over several devices: every slice is an array, and layer, of its own.

        Slice k of layer "fc1" is "fc1.slice1", the most significant, and so on; the name of the layer is that of the
        digital sum. See :mod:`powerplan.network.weight_slices`.

        Args:
            bits: of every slice, from the most significant, 1 to 16 slices of 1 to 16 bits: (4, 4), or unequal
                (2, 3, 3). The last holds what is left without rounding. Or a table of them by a choice of layers,
                {"fc1": (4, 4), "fc2": (2, 6)}; other layers stay as they are.
            layers: to slice, a choice as in :meth:`with_analog`; None = all crossbar layers, or those of the table.
            shared_converters: the slices of a layer are converted one after the other, by the converters of one.

        Raises:
            InvalidInput: bits out of range, a layer that is a slice already, or a part of a choice that takes no layer,
                or one that another takes.
        """
        return with_weight_slices(self, bits, layers, shared_converters=shared_converters)

    @cached_property
    def weight_slices(self) -> tuple[tuple[tuple[str, ...], bool], ...]:
        """The crossbar layers that are slices of one, and whether they share converters."""
        arrays = {node.name: node.array_name for node in self.nodes if node.op.is_crossbar}
        groups = {
            tuple(arrays[name] for name in node.inputs if name in arrays): node.op.shared_converters
            for node in self.nodes
            if isinstance(node.op, SliceSum)
        }
        return tuple(groups.items())

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the network to a ``.npz`` file (arrays and JSON, no pickle)."""
        save_network(self, file)

    @classmethod
    def load(cls, file: str | os.PathLike[str] | BinaryIO) -> Network:
        """Read a network written by :meth:`save`.

        Raises:
            CorruptFile: truncated, damaged, foreign or of a newer format version.
        """
        return load_network(file, from_parts)

    def __repr__(self) -> str:
        widths = "-".join(
            [str(n) for n in self.input_shape] + ["x".join(map(str, self.shapes[n.name])) for n in self.crossbars]
        )
        return f"Network({widths}, {len(self.crossbars)} crossbar layers)"


def from_parts(structure: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Network:
    """The network with this structure and these float32 or float64 tensors (:mod:`powerplan.network.parts`).

    Raises:
        InvalidInput: unknown or missing keys, values of a wrong kind, tensors that are missing, left over or used
            twice, and all that :class:`Network` and its operations refuse. Every violation is listed by its path.
    """
    return Network(**network_fields(structure, tensors))


def _listed(field: str, values: Any) -> list[Any]:
    """The values as a list, one entry per layer."""
    try:
        return list(values)
    except TypeError:
        raise InvalidInput.of(field, values, "a list with one entry per layer", f"Put {field} in a list.") from None


def _fits(inputs: int, arity: int | None) -> bool:
    return inputs >= 2 if arity is None else inputs == arity


def _sorted(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Nodes in topological order, the given order kept where it already is one."""
    by_name = _by_name(nodes)
    seen = {INPUT}
    for node in nodes:
        if not seen.issuperset(node.inputs):
            break
        seen.add(node.name)
    else:
        return nodes
    sorter = graphlib.TopologicalSorter({n.name: [i for i in n.inputs if i != INPUT] for n in nodes})
    try:
        return tuple(by_name[name] for name in sorter.static_order())
    except graphlib.CycleError as error:
        raise InvalidInput.of(
            "network.nodes", " -> ".join(error.args[1]), "a graph without cycles", "Unroll the recurrence."
        ) from error


def _by_name(nodes: tuple[Node, ...]) -> dict[str, Node]:
    """Nodes by name, each checked by itself and for what it reads."""
    check = Checker("network.")
    by_name: dict[str, Node] = {}
    for i, node in enumerate(nodes):
        if not isinstance(node.name, str) or not node.name or node.name == INPUT:
            check.fail(f"nodes[{i}].name", node.name, f"a non-empty string other than {INPUT!r}", "Rename it.")
        elif node.name in by_name:
            check.fail(f"nodes[{i}].name", node.name, "a name used once", "Rename one of the two.")
        else:
            by_name[node.name] = node
        if node.array is not None and not (isinstance(node.array, str) and node.array and node.array != INPUT):
            check.fail(f"nodes[{i}].array", node.array, "None or a non-empty string", "Name the array.")
        if not isinstance(node.op, Op):
            check.fail(f"nodes[{i}].op", node.op, "an operation", "Use one of powerplan.network, for example Linear.")
        elif not isinstance(node.inputs, tuple) or not _fits(len(node.inputs), node.op.arity):
            wanted = "two or more names" if node.op.arity is None else f"{node.op.arity} names"
            check.fail(f"nodes[{i}].inputs", node.inputs, f"{wanted} for {node.op.type}", "Fix the graph.")
    for i, node in enumerate(nodes):
        for name in node.inputs if isinstance(node.inputs, tuple) else ():
            if not isinstance(name, str) or (name != INPUT and name not in by_name):
                check.fail(f"nodes[{i}].inputs", name, "names of other nodes or 'input'", "Remove the dangling edge.")
    check.done()
    return by_name


def _check_used(nodes: tuple[Node, ...], output: str) -> None:
    """Refuse nodes that do not lead to the output: they would draw power for nothing."""
    needed = {output}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    unused = [node.name for node in nodes if node.name not in needed]
    if unused:
        raise InvalidInput.of(
            "network.nodes", unused, "nodes that lead to the output", "Remove them, or name the right output."
        )
