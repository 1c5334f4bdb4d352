"""Which layers of a network are on crossbars and which are computed digitally."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from powerplan.checks import nearest
from powerplan.errors import InvalidInput
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp, DigitalLayer
from powerplan.network.reads import layer_of

if TYPE_CHECKING:
    from powerplan.network.graph import Network

#: what names layers: a type (its name, or torch's class), a name or pattern, a number, several of them, or a function
#: of name and operation
Choice = str | int | type | Iterable[str | int | type] | Callable[[str, CrossbarOp], bool] | None

#: a number as text, for commands and files; a layer of that name goes first
_NUMBER = re.compile(r"-?[0-9]{1,9}")


def with_analog(network: Network, analog: Choice = None, digital: Choice = None) -> Network:
    """The same network with other layers on crossbars; see :meth:`Network.with_analog`."""
    chosen = set(network.layer_names) if analog is None else chosen_layers(network, "analog", analog)
    chosen -= set() if digital is None else chosen_layers(network, "digital", digital)
    if not chosen:
        raise InvalidInput.of(
            "digital", digital, "a choice that leaves at least one layer on a crossbar", "Choose fewer digital layers."
        )
    return replace(network, nodes=tuple(_placed(node, node.array_name in chosen) for node in network.nodes))


def _placed(node: Node, on_crossbar: bool) -> Node:
    op = layer_of(node)
    if op is None or on_crossbar == node.op.is_crossbar:
        return node
    return replace(node, op=op if on_crossbar else DigitalLayer.of(op))


def chosen_layers(network: Network, field: str, choice: Choice) -> set[str]:
    """Names of the layers that a choice takes; every part of it must take at least one."""
    layers = list({node.array_name: op for node in network.nodes if (op := layer_of(node)) is not None}.items())
    if callable(choice) and not isinstance(choice, type):
        return {name for name, op in layers if choice(name, op)}
    parts = [choice] if isinstance(choice, str | int | type) else choice
    if not isinstance(parts, Iterable) or isinstance(parts, bytes):
        raise InvalidInput.of(
            field, choice, "types, names, patterns or numbers of layers, or a function", "Give a list of names."
        )
    return {name for part in parts for name in _matching(field, part, layers)}


def _matching(field: str, part: object, layers: list[tuple[str, CrossbarOp]]) -> set[str]:
    names = [name for name, _ in layers]
    part = part.__name__ if isinstance(part, type) else part  # torch's classes have the names of types
    if isinstance(part, str):
        matching = {name for name, op in layers if part.lower() in _types(op) or _matches(name, part)}
        if matching:
            return matching
    number = int(part) if isinstance(part, str) and _NUMBER.fullmatch(part) else part
    if isinstance(number, int) and not isinstance(number, bool) and -len(names) <= number < len(names):
        return {names[number]}
    allowed = f"a type of layer, a name, a module path or pattern, or a number below {len(names)}"
    raise InvalidInput.of(field, part, f"{allowed}; the layers are {', '.join(names)}", nearest(str(part), names))


def _types(op: CrossbarOp) -> tuple[str, ...]:
    """Names of a layer's type, in powerplan and in torch: "conv", "conv2d"."""
    plain = op.type.replace("_", "")
    return op.type, plain, f"{plain}{op.weight.ndim - 2}d"


def _matches(name: str, pattern: str) -> bool:
    """A pattern (* ? [...]) takes the layers of that name and, as a module path, all inside that module."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
