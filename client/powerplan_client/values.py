"""Checks of plain values that a caller gives: whatever is wrong with one becomes an InvalidRequest that names it."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from powerplan_client.arrays import NotNumbers, plain_array
from powerplan_client.errors import InvalidRequest, PlannerError, invalid

#: 31 years; gRPC's clock ends in 2262, and a deadline beyond it would be over at once
LONGEST_SECONDS = 1e9


def seconds(field: str, value: Any) -> float | None:
    """A length of time > 0 in seconds; None = no limit, which an infinite one is too.

    Raises:
        InvalidRequest: anything else.
    """
    if value is None:
        return None
    number: Any = value
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not number > 0:
        raise wrong(field, value, "a number of seconds > 0; None or math.inf for no limit")
    return None if number == math.inf else float(min(number, LONGEST_SECONDS))


def flag(field: str, value: Any) -> bool:
    """True or False; None is False."""
    if value is None or isinstance(value, bool) or type(value).__name__ == "bool":  # numpy's as well
        return bool(value)
    raise wrong(field, value, "True or False")


def number(field: str, value: Any, allowed: str) -> float:
    """A real number, as ``allowed`` says; whether it is within its bounds is the server's to say."""
    try:
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            return float(value)
    except OverflowError:
        pass
    raise wrong(field, value, allowed)


def whole(field: str, value: Any, *, at_least: int, at_most: int = 2**63 - 1) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not at_least <= int(value) <= at_most:
        raise wrong(field, value, f"a whole number from {at_least} to {at_most}")
    return int(value)


def numbers_of(field: str, value: Any, *, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """The numbers of an array-like, as :func:`powerplan_client.arrays.plain_array`; ``axes``: how many it may have."""
    try:
        array = plain_array(value)
    except NotNumbers as error:
        raise invalid(field, f"got {error}; allowed: an array of real numbers. {error.advice}") from error
    if axes is not None and array.ndim not in axes:
        allowed = " or ".join(map(str, axes))
        raise invalid(field, f"got an array of shape {array.shape}; allowed: {allowed} axes. Reshape it.")
    return array


def classes(field: str, labels: Any) -> list[int]:
    """Labels as whole numbers; whether they fit the inputs is the server's to say."""
    array = numbers_of(field, labels, axes=(1,))
    for label in array.tolist():
        if not math.isfinite(label) or label != int(label):
            raise wrong(field, label, "one whole number per calibration input, the number of its class")
    return [int(label) for label in array.tolist()]


def text(field: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise wrong(field, value, "a text that is not empty")
    return value


def function(field: str, value: Any) -> None:
    """Refuse what cannot be called; None is left out."""
    if value is not None and not callable(value):
        raise wrong(field, value, "a function")


def known(options: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse an option that the call does not have: left alone it would silently do nothing."""
    names = sorted(allowed)
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"allowed: {', '.join(names)}"
            raise invalid(name, f"no such option; {hint}")


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Whatever conversion fails within is the fault of the value of that name."""
    try:
        yield
    except PlannerError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise invalid(field, f"cannot be used: {error}") from error


def wrong(field: str, value: Any, allowed: str) -> InvalidRequest:
    """The error for a value of a field."""
    return invalid(field, f"got {value!r:.80}; allowed: {allowed}")
