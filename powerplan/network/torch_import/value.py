"""What stands for a tensor that depends on the network's input while a module is read.

A torch tensor has a batch axis, a node of a network has none. Models are read with a batch of B, and a value remembers
which axis is the batch: p, so that with a node's shape S

    torch shape = (S_0 … S_{p−1}, B, S_p …),   or (S_0 … B·S_p …) if the batch is merged with axis p (by a reshape).

Only the node's shape and its entries in row-major order make up the network; where the batch axis lies is layout.

Why: docs/decisions/networks.md [0171].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from powerplan.arrays import NotNumbers, plain_array
from powerplan.checks import frozen_array
from powerplan.network.node import Node
from powerplan.network.ops import Add, Constant, Op, Reshape, Shape

#: what stands for minus infinity in a mask: exp of it is zero in any precision
MASKED = -1e30


class Refused(Exception):
    """A call that no operation of powerplan stands for; the message says why."""


class Builder(Protocol):
    """Where new nodes go."""

    nodes: dict[str, Node]
    shapes: dict[str, Shape]
    dtype: torch.dtype
    batch_size: int

    def add(self, op: Op, sources: tuple[str, ...], name: str) -> str:
        """A new node that applies an operation to others; its name. ``name`` is added to that of the caller."""


@dataclass(frozen=True)
class Value:
    """The value of a node of the network, as torch code sees it.

    Attributes:
        name: of the node.
        shape: of the node's value, S.
        builder: makes the nodes.
        batch: p, the torch axis that is the batch.
        merged: the batch is merged with axis p of S.
        kind: "f" for numbers, "i" for whole ones, "b" for truth values, which are 0 and 1 in a network.
    """

    name: str
    shape: Shape
    builder: Builder
    batch: int = 0
    merged: bool = False
    kind: str = "f"

    @property
    def torch_shape(self) -> Shape:
        """Shape as torch code sees it."""
        before, after = self.shape[: self.batch], self.shape[self.batch :]
        if self.merged:
            return (*before, self.builder.batch_size * after[0], *after[1:])
        return (*before, self.builder.batch_size, *after)

    def apply(
        self,
        op: Op,
        *others: Value,
        batch: int | None = None,
        merged: bool | None = None,
        name: str = "",
    ) -> Value:
        """The value of a new node that applies an operation to this one (and others); same layout if none is given.

        Args:
            name: added to the node's name, for rules that make several nodes.
        """
        node = self.builder.add(op, tuple(v.name for v in (self, *others)), name)
        return replace(
            self,
            name=node,
            shape=self.builder.shapes[node],
            kind="f",
            batch=self.batch if batch is None else batch,
            merged=self.merged if merged is None else merged,
        )

    def constant(self, array: np.ndarray, name: str = "constant") -> Value:
        """A constant of the node's kind of shape (no batch axis) as a value of the same layout."""
        node = self.builder.add(Constant(value=array), (), name)
        return replace(self, name=node, shape=self.builder.shapes[node])

    def torch_axis(self, dim: Any) -> int:
        """A torch axis counted from the front."""
        axes = len(self.torch_shape)
        if isinstance(dim, bool) or not isinstance(dim, int) or not -axes <= dim < axes:
            raise Refused(f"dim={dim!r} is no axis of a tensor with {axes} axes")
        return dim % axes

    def axis(self, dim: Any) -> int:
        """The node's axis of a torch axis; the batch axis is refused."""
        axis = self.torch_axis(dim)
        if axis == self.batch:
            raise Refused("it works along the batch axis: the inputs of a batch must not mix")
        return axis if self.merged or axis < self.batch else axis - 1

    def leading(self) -> Value:
        """This value, if its batch axis is the first and not merged; else refused."""
        if self.batch or self.merged:
            raise Refused(f"the batch axis of its input must be the first, not axis {self.batch} or merged with it")
        return self

    def place(self, array: np.ndarray) -> np.ndarray:
        """A constant that torch broadcasts against this value, as it broadcasts against the node's value."""
        axes = len(self.torch_shape)
        if array.ndim > axes:
            raise Refused(f"a constant of shape {array.shape} has more axes than the value, {self.torch_shape}")
        full = array.reshape((1,) * (axes - array.ndim) + array.shape)
        before, size, after = full.shape[: self.batch], full.shape[self.batch], full.shape[self.batch + 1 :]
        count = self.builder.batch_size if size > 1 else 1  # a constant may have been made for the whole batch
        parts = full.reshape(*before, count, size // count, *after) if size % count == 0 else full
        first: np.ndarray = parts.take(0, self.batch)
        if size % count or not (size == count or self.merged) or (parts != np.expand_dims(first, self.batch)).any():
            raise Refused(f"a constant of shape {array.shape} differs along the batch axis")
        return first if self.merged else first.reshape((*before, *after))


def value(x: object) -> Value:
    """An argument that must depend on the network's input."""
    if not isinstance(x, Value):
        raise Refused("the argument that depends on the network's input is in an unexpected place")
    return x


def array(x: object) -> np.ndarray:
    """An argument that must not depend on the network's input, as an array."""
    if isinstance(x, Value):
        raise Refused("only one argument may depend on the network's input")
    try:
        plain = plain_array(x)
    except NotNumbers as error:
        raise Refused(f"a constant is {error}") from error
    return plain.astype(np.float32) if plain.dtype == np.float16 else plain


def weights(x: object) -> np.ndarray:
    """Weights as an array that operations keep as it is: one for all that take the same tensor."""
    if not isinstance(x, torch.Tensor):
        return array(x)
    if not hasattr(x, _FROZEN):
        setattr(x, _FROZEN, frozen_array(array(x)))
    frozen: np.ndarray = getattr(x, _FROZEN)
    return frozen


#: attribute of a tensor of a program that was taken as weights
_FROZEN = "_frozen_array"


def with_axis(x: Value) -> Value:
    """A value, one number per input with an axis of its own: outputs of networks have one."""
    return x if x.shape else x.apply(Reshape(shape=(1,)))


def joined(op: Op, *values: Value, name: str = "") -> Value:
    """An elementwise operation on several values whose batch axes must meet when torch broadcasts them."""
    axes = max(len(v.torch_shape) for v in values)
    if len({(axes - len(v.torch_shape) + v.batch, v.merged) for v in values}) > 1:
        raise Refused("the batch axes of its inputs do not meet")
    first = values[0]
    return first.apply(op, *values[1:], batch=axes - len(first.torch_shape) + first.batch, name=name)


def grown(x: Value, shape: Shape) -> Value:
    """A value broadcast to a larger shape of the same layout."""
    return x if shape == x.shape else x.apply(Add(), x.constant(np.zeros(shape), "zeros"))
