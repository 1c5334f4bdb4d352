"""What an operation of a network is, and how files and the wire rebuild one.

An operation is a frozen value: its attributes (plain values), its tensors (read-only arrays) and the shape it
makes of its input shapes; numpy only. What it *computes* is torch code elsewhere, keyed by its class:

- the ideal value of a digital operation in :mod:`powerplan.network.digital`,
- the arrays of a crossbar operation in :mod:`powerplan.network.array_maps`,
- the Gaussian moments of a digital operation in :mod:`powerplan.moments.rules`.

To add one: subclass :class:`Op`, decorate it with :func:`register`, and give it rules there.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, ClassVar, TypeVar

import numpy as np

from powerplan.checks import Checker, nearest, unknown_keys
from powerplan.errors import InvalidInput, UnsupportedOperation

Shape = tuple[int, ...]

#: largest number of elements of a value, and of a list of sizes: beyond, it is a mistake
MOST_ELEMENTS = 1 << 34


class Op(ABC):
    """One operation of a network."""

    type: ClassVar[str]
    #: number of inputs the operation takes; None = two or more
    arity: ClassVar[int | None] = 1
    #: True if the operation is computed on a crossbar
    is_crossbar: ClassVar[bool] = False
    #: True if attributes and tensors rebuild the operation, in a file or on another machine
    portable: ClassVar[bool] = True

    @abstractmethod
    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        """Shape (without batch) made of the input shapes; raises InvalidInput if they do not fit."""

    def attributes(self) -> dict[str, Any]:
        """Plain values that describe the operation, for files and the wire."""
        return {}

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays that describe the operation, for files and the wire."""
        return {}

    @property
    def slope_explains(self) -> bool:
        """False where the derivative does not say how the value changes: at jumps, above all."""
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy (between processes, say) is built anew: checked, and with read-only arrays, which plain copies lose.
        return build_op, (self.type, self.attributes(), self.tensors())


_OPS: dict[str, type[Op]] = {}
_OpType = TypeVar("_OpType", bound=type[Op])


def register(cls: _OpType) -> _OpType:
    """Make an operation known by its ``type`` name, so that files and the wire can rebuild it."""
    _OPS[cls.type] = cls
    return cls


def operations() -> dict[str, type[Op]]:
    """All known operations by type name, sorted."""
    return dict(sorted(_OPS.items()))


def operation_types() -> tuple[str, ...]:
    """Names of all known operations, sorted."""
    return tuple(sorted(_OPS))


def build_op(type: str, attributes: Mapping[str, Any], tensors: Mapping[str, Any]) -> Op:
    """Rebuild an operation from its type name, attributes and tensors.

    Raises:
        UnsupportedOperation: unknown type, with the list of supported ones.
        InvalidInput: attributes or tensors that do not fit.
    """
    cls = _OPS.get(type) if isinstance(type, str) else None
    if cls is None:
        raise UnsupportedOperation.of(
            "type", type, "one of " + ", ".join(operation_types()), nearest(str(type), operation_types())
        )
    arguments = {**attributes, **tensors}
    known = {part.name: part.default for part in fields(cls)}  # type: ignore[arg-type]
    check = Checker(f"{type}.")
    unknown_keys(check, arguments, known)
    for name, default in known.items():
        if default is MISSING and name not in arguments:
            check.fail(name, "nothing", f"a value; {type} has no default for it", "Give it.")
    check.done()
    try:
        return cls(**arguments)
    except TypeError as error:
        raise InvalidInput.of(type, sorted(arguments), "attributes and tensors that fit", str(error)) from error


def whole(value: object) -> int | None:
    """A whole number (no boolean) as an int, or None if it is not one."""
    if isinstance(value, bool):
        return None
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            return int(value)  # JSON and the wire know one kind of number
        return None
    return number


def check_whole(
    check: Checker, field: str, value: object, *, at_least: int | None = None, at_most: int | None = MOST_ELEMENTS
) -> int:
    """A whole number within bounds, or a noted violation and 0."""
    number = whole(value)
    low = at_least is None or (number is not None and number >= at_least)
    if number is None or not low or (at_most is not None and abs(number) > at_most):
        wanted = "a whole number" + (f" >= {at_least}" if at_least is not None else "")
        check.fail(field, value, wanted, f"Give {field} as {wanted}.")
        return 0
    return number


def check_wholes(
    check: Checker, field: str, value: object, *, length: int | None = None, at_least: int | None = None
) -> tuple[int, ...] | None:
    """A list of whole numbers as a tuple, or a noted violation and None."""
    items = list(value) if isinstance(value, tuple | list | np.ndarray) else None
    wanted = ("whole numbers" if length is None else f"{length} whole numbers") + (
        f" >= {at_least}" if at_least is not None else ""
    )
    numbers = None if items is None or len(items) > 64 else [whole(item) for item in items]
    good = numbers is not None and (length is None or len(numbers) == length)
    if good:
        assert numbers is not None
        good = all(n is not None and abs(n) <= MOST_ELEMENTS and (at_least is None or n >= at_least) for n in numbers)
    if not good:
        check.fail(field, value, wanted, f"Give {field} as a list of {wanted}.")
        return None
    assert numbers is not None
    return tuple(n for n in numbers if n is not None)


def check_axis(check: Checker, field: str, value: object) -> int:
    """An axis number of a value without its batch axis; negative ones count from the end."""
    return check_whole(check, field, value, at_least=-64, at_most=63)


def resolve_axis(field: str, axis: int, shape: Shape) -> int:
    """The axis counted from the front; raises InvalidInput if the shape does not have it."""
    if not -len(shape) <= axis < len(shape):
        raise InvalidInput.of(
            field, axis, f"an axis of its input, which has shape {shape}", "Count without the batch axis."
        )
    return axis % len(shape)


def fail_shape(field: str, shapes: object, allowed: str, advice: str = "Fix the graph.") -> InvalidInput:
    """The error for input shapes that an operation cannot take."""
    return InvalidInput.of(field, shapes, allowed, advice)
