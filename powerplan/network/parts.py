"""A network taken apart into plain values and arrays, for files and the wire.

``to_parts`` gives (structure, tensors). The structure is JSON-able::

    {"input_shape": [4], "output": "linear1",
     "nodes": [{"name": "linear1", "type": "linear", "inputs": ["input"],
                "attributes": {}, "tensors": {"weight": "0.weight", "bias": "0.bias"}}]}

where a node's ``tensors`` maps the operation's own names to keys of the tensors dict. A node that reads an array of
another name than its own has ``"array"``, the name; tensors are with the first of the nodes that read an array, those
of others with the same type and attributes are empty. ``from_parts`` is its inverse, and strict: it trusts nothing it
is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.checks import Checker, unknown_keys
from powerplan.errors import InvalidInput, show
from powerplan.network.node import Node, as_shape
from powerplan.network.ops import Op, build_op

if TYPE_CHECKING:
    from powerplan.network.graph import Network

_TOP = ("input_shape", "output", "nodes")
_NODE = ("name", "type", "inputs", "attributes", "tensors")


def to_parts(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Structure (plain values) and tensors (read-only arrays by key) of a network.

    Raises:
        InvalidInput: an operation that exists in this process only.
    """
    check_portable(network)
    nodes: list[dict[str, Any]] = []
    tensors: dict[str, np.ndarray] = {}
    for i, (node, own) in enumerate(zip(network.nodes, own_tensors(network), strict=True)):
        keys = {name: f"{i}.{name}" for name in own}
        tensors |= {keys[name]: array for name, array in own.items()}
        nodes.append(
            {
                "name": node.name,
                "type": node.op.type,
                "inputs": list(node.inputs),
                "attributes": node.op.attributes(),
                "tensors": keys,
                **({} if node.array is None else {"array": node.array}),
            }
        )
    return {"input_shape": list(network.input_shape), "output": network.output, "nodes": nodes}, tensors


def own_tensors(network: Network) -> list[Mapping[str, np.ndarray]]:
    """The tensors of every node, empty where an earlier one reads the same array by the same operation."""
    first: dict[str, Node] = {}
    tensors: list[Mapping[str, np.ndarray]] = []
    for node in network.nodes:
        same = first.setdefault(node.array_name, node)
        tensors.append({} if same is not node and same.op is node.op else node.op.tensors())
    return tensors


def check_portable(network: Network) -> None:
    """Refuse a network with operations that neither a file nor a message can hold."""
    check = Checker("network.")
    for node in network.nodes:
        if not node.op.portable:
            check.fail(
                f"nodes[{node.name!r}]",
                f"{node.op.type} {node.op.attributes()}",
                "operations of powerplan in what goes to a file or over the wire",
                "It was kept by unsupported='digital': use the network in this process, or replace it in the module.",
            )
    check.done()


def network_fields(structure: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of the network with this structure and these float32 or float64 tensors.

    Raises:
        InvalidInput: as :func:`powerplan.network.from_parts`, but for what the network as a whole refuses.
    """
    check = Checker()
    if not _has_keys(check, "", structure, _TOP):
        check.done()
    if as_shape(structure["input_shape"]) is None:
        check.fail("input_shape", structure["input_shape"], "a list of positive integers", "Give one input's shape.")
    if not isinstance(structure["output"], str):
        check.fail("output", structure["output"], "the name of a node", "Name the output node.")
    unused, by_array = dict(tensors), dict[str, tuple[object, Op]]()
    nodes: list[Node] = []
    if isinstance(structure["nodes"], list | tuple):
        nodes = [
            node
            for i, entry in enumerate(structure["nodes"])
            if (node := _node(check, f"nodes[{i}]", entry, unused, by_array))
        ]
    else:
        check.fail("nodes", structure["nodes"], "a list of nodes", "Give a list.")
    for key in unused:
        check.fail(f"tensors[{show(key)}]", key, "tensors that a node names", "Remove it, or name it in its node.")
    check.done()
    return {"input_shape": tuple(structure["input_shape"]), "nodes": tuple(nodes), "output": structure["output"]}


def _node(
    check: Checker,
    path: str,
    entry: object,
    unused: dict[str, np.ndarray],
    by_array: dict[str, tuple[object, Op]],
) -> Node | None:
    """One node; takes its tensors out of ``unused``, or without any the operation of an earlier read of its array, if
    type and attributes are the same. None if a violation was noted."""
    before = len(check.violations)
    if not _has_keys(check, path, entry, _NODE, optional=("array",)):
        return None
    assert isinstance(entry, Mapping)
    _check_kinds(check, path, entry)
    if len(check.violations) > before:
        return None
    array = entry.get("array")
    arrays = _arrays(check, path, entry["tensors"], unused)
    if len(check.violations) > before:
        return None
    head = (entry["type"], entry["attributes"])
    if array is not None and not arrays and array in by_array and by_array[array][0] == head:
        return Node(name=entry["name"], op=by_array[array][1], inputs=tuple(entry["inputs"]), array=array)
    try:
        op = build_op(entry["type"], entry["attributes"], arrays)
    except InvalidInput as error:
        check.nested(path, error)
        return None
    # An operation takes attributes and tensors alike as arguments: each must have come by its own way.
    if not set(entry["attributes"]) <= set(op.attributes()) or set(arrays) != set(op.tensors()):
        check.fail(
            path,
            sorted([*entry["attributes"], *arrays]),
            f"attributes {sorted(op.attributes())} and tensors {sorted(op.tensors())}",
            "Move each to its own mapping.",
        )
        return None
    by_array.setdefault(entry["name"] if array is None else array, (head, op))
    return Node(name=entry["name"], op=op, inputs=tuple(entry["inputs"]), array=array)


def _check_kinds(check: Checker, path: str, entry: Mapping[str, Any]) -> None:
    """Note what of a node's entries is not of its kind."""
    for key in ("name", "type", "array"):
        if not isinstance(entry.get(key, ""), str):
            check.fail(f"{path}.{key}", entry[key], "a string", "Give a name.")
    if not _strings(entry["inputs"]):
        check.fail(f"{path}.inputs", entry["inputs"], "a list of node names", "Name what the node reads.")
    for key in ("attributes", "tensors"):
        if not isinstance(entry[key], Mapping) or not _strings(list(entry[key])):
            check.fail(f"{path}.{key}", entry[key], "a mapping with string keys", "Give {} if there are none.")


def _arrays(
    check: Checker, path: str, keys: Mapping[str, object], unused: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """A node's tensors by name, taken out of ``unused``; violations are noted."""
    arrays = {}
    for name, key in keys.items():
        array = unused.pop(key, None) if isinstance(key, str) else None
        if array is None:
            check.fail(f"{path}.tensors.{name}", key, "a tensor that is present and used once", "Add the tensor.")
        elif not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
            check.fail(f"{path}.tensors.{name}", array, "a float32 or float64 array", "Convert it.")
        else:
            arrays[name] = array
    return arrays


def _has_keys(
    check: Checker, path: str, entries: object, wanted: tuple[str, ...], optional: tuple[str, ...] = ()
) -> bool:
    if not isinstance(entries, Mapping):
        check.fail(path or "structure", entries, "a mapping with the keys " + ", ".join(wanted), "Describe it so.")
        return False
    keys = Checker(f"{check.prefix}{path}." if path else check.prefix)
    unknown_keys(keys, entries, (*wanted, *optional))
    for key in wanted:
        if key not in entries:
            keys.fail(key, "nothing", "present", f"Add {key!r}.")
    check.violations += keys.violations
    return not keys.violations


def _strings(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
