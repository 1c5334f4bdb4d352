"""A node of an ONNX graph as the rules see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from powerplan.network.torch_import.value import Refused, Value


@dataclass(frozen=True, kw_only=True)
class Call:
    """An operator with its attributes.

    Attributes:
        op_type: name of the operator.
        attributes: plain values and arrays by name.
        opset: version of the operators.
        batch: size of the batch that shapes in the model are written for; networks are read with a batch of one.
        single: the model is declared for a batch of one.
        outputs: number of outputs that the node names.
    """

    op_type: str
    attributes: Mapping[str, Any]
    opset: int
    batch: int = 1
    single: bool = False
    outputs: int = 1

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attributes.get(name, default)

    def only(self, name: str, *allowed: Any) -> None:
        """Refuse an attribute with another value than these, the first of which is the default."""
        setting = self.get(name, allowed[0])
        if setting not in allowed:
            raise Refused(f"{name}={setting!r} is not supported, only {' or '.join(map(repr, allowed))}")

    def numbers(self, name: str, content: Any) -> tuple[int, ...] | None:
        """Whole numbers that older opsets have as an attribute and newer ones as an input; None = not given."""
        if content is None:
            content = self.get(name)
        return None if content is None else wholes(content)


def wholes(content: Any) -> tuple[int, ...]:
    """A constant input as whole numbers."""
    if isinstance(content, Value):
        raise Refused("sizes and axes that depend on the values of the network's input are not supported")
    return tuple(int(n) for n in np.asarray(content).reshape(-1))


def number(content: Any) -> float | None:
    """A constant input as one number; None = not given."""
    if content is None:
        return None
    if isinstance(content, Value) or np.size(content) != 1:
        raise Refused("one constant number is supported here")
    return float(np.asarray(content).reshape(-1)[0])
