"""Checks shared by every public value: they collect violations, so that one error lists them all."""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from powerplan.arrays import NotNumbers, plain_array
from powerplan.errors import InvalidInput, Violation, show

#: classes are below this: they go over the wire in 32 bits
_MOST_CLASSES = 2**31


class Checker:
    """Collects violations; :meth:`done` raises one :class:`InvalidInput` with all of them.

    Args:
        prefix: put before every field name, for example ``"hardware."``.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.violations: list[Violation] = []

    def fail(self, field: str, value: object, allowed: str, advice: str) -> None:
        """Note one violation."""
        self.violations.append(Violation(field=self.prefix + field, value=show(value), allowed=allowed, advice=advice))

    def number(
        self,
        field: str,
        value: object,
        *,
        above: float | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        below: float | None = None,
        unit: str = "",
        advice: str = "",
    ) -> bool:
        """Note a violation unless ``value`` is a finite real number within the bounds; True if it is."""
        x = finite_number(value)
        good = x is not None
        if x is not None:
            good = (
                (above is None or x > above)
                and (at_least is None or x >= at_least)
                and (at_most is None or x <= at_most)
                and (below is None or x < below)
            )
        if not good:
            wanted = number_words(above=above, at_least=at_least, at_most=at_most, below=below, unit=unit)
            self.fail(field, value, wanted, advice or f"Give {field} as {wanted}.")
        return good

    def whole(self, field: str, value: object, *, at_least: int, at_most: int | None = None, advice: str = "") -> bool:
        """Note a violation unless ``value`` is an integer within the bounds; True if it is."""
        good = isinstance(value, int | np.integer) and not isinstance(value, bool)
        good = good and value >= at_least and (at_most is None or value <= at_most)  # type: ignore[operator]
        if not good:
            wanted = whole_words(at_least, at_most)
            self.fail(field, value, wanted, advice or f"Give {field} as {wanted}.")
        return good

    def flag(self, field: str, value: object) -> None:
        """Note a violation unless ``value`` is True or False."""
        if not isinstance(value, bool):
            self.fail(field, value, "True or False", "Give a boolean.")

    def choice(self, field: str, value: object, allowed: Iterable[str]) -> None:
        """Note a violation unless ``value`` is one of the allowed names."""
        names = list(allowed)
        if value not in names:
            self.fail(field, value, choice_words(names), nearest(str(value), names))

    def nested(self, field: str, error: InvalidInput) -> None:
        """Note every violation of an error raised by a part, under the part's own path."""
        self.violations += [replace(v, field=f"{self.prefix}{field}.{v.field}") for v in error.violations]

    def refused(self, *names: str) -> bool:
        """Whether there are violations of any of these fields, or of what is in them."""
        places = [re.split(r"[.\[]", v.field.removeprefix(self.prefix), maxsplit=1)[0] for v in self.violations]
        return any(name in places for name in names)

    def done(self) -> None:
        """Raise one error with every violation noted, if there is any."""
        if self.violations:
            raise InvalidInput(*self.violations)


def number_words(
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> str:
    """A finite number within bounds, in words."""
    bounds = (("> ", above), (">= ", at_least), ("<= ", at_most), ("< ", below))
    said = " and ".join(f"{sign}{bound:g}" for sign, bound in bounds if bound is not None)
    return " ".join(part for part in ("a finite number", said, f"[{unit}]" if unit else "") if part)


def whole_words(at_least: int, at_most: int | None = None) -> str:
    """An integer within bounds, in words."""
    return f"an integer >= {at_least}" if at_most is None else f"an integer from {at_least} to {at_most:,}"


def choice_words(names: Iterable[str]) -> str:
    """One of some names, in words."""
    return "one of " + ", ".join(map(repr, names))


def finite_number(value: object) -> float | None:
    """``value`` as a float if it is a finite real number (booleans are not), else None."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        x = float(value)
    except OverflowError:
        return None
    return x if math.isfinite(x) else None


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Advice for an unknown name: the nearest valid one, if one is near."""
    match = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f"Did you mean {match[0]!r}?" if match else "Use one of the allowed names."


def unknown_keys(check: Checker, keys: Iterable[str], allowed: Iterable[str]) -> None:
    """Note a violation for every key that is not allowed, with the nearest valid name."""
    names = list(allowed)
    for key in keys:
        if key not in names:
            check.fail(str(key), str(key), "one of " + ", ".join(names), nearest(str(key), names))


def choice(field: str, value: object, allowed: Iterable[str]) -> str:
    """``value`` if it is one of the allowed names, else an error with the nearest one."""
    names = list(allowed)
    if isinstance(value, str) and value in names:
        return value
    raise InvalidInput.of(field, value, choice_words(names), nearest(str(value), names))


def check_kinds(**kinds: tuple[object, type]) -> None:
    """Refuse arguments that are not of their type, each by its name."""
    check = Checker()
    for field, (value, kind) in kinds.items():
        if not isinstance(value, kind):
            check.fail(field, value, f"{kind.__module__.partition('.')[0]}.{kind.__name__}", "Check their order.")
    check.done()


def frozen_array(value: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> np.ndarray:
    """A read-only, contiguous copy of an array; the array itself if it is one that nobody can change."""
    if is_frozen(value) and dtype in (None, value.dtype):
        return value
    array = np.array(value, dtype=dtype, order="C", copy=True)
    array.setflags(write=False)
    return array


def is_frozen(value: object) -> TypeGuard[np.ndarray]:
    """Whether a value is a contiguous array that holds its own numbers and is read-only."""
    if type(value) is not np.ndarray:
        return False
    return value.flags.owndata and value.flags.c_contiguous and not value.flags.writeable


def without_zeros(peaks: np.ndarray) -> np.ndarray:
    """Peaks >= 0 to divide by, float64 and read-only: what is 0 as the largest of all, or 1."""
    return frozen_array(np.where(peaks == 0, peaks.max() or 1.0, peaks), np.float64)


def number_array(check: Checker, field: str, value: object, wanted: str) -> np.ndarray | None:
    """The real numbers of an array-like, as :func:`powerplan.arrays.plain_array`, or a noted violation and None."""
    try:
        return plain_array(value)
    except NotNumbers as error:
        check.fail(field, error, wanted, error.advice)
        return None


def real_array(check: Checker, field: str, value: object, *, ndim: int | None = None) -> np.ndarray | None:
    """A read-only finite float array (float32 kept, all else float64), or a noted violation and None."""
    wanted = "a finite real array" + ("" if ndim is None else f" with {ndim} axes")
    raw = number_array(check, field, value, wanted)
    if raw is None:
        return None
    single = raw.dtype.kind == "f" and raw.dtype.itemsize == 4 and raw.dtype.isnative
    with np.errstate(over="ignore"):  # what overflows is refused as infinite
        array = frozen_array(raw, np.float32 if single else np.float64)
    if ndim is not None and array.ndim != ndim:
        check.fail(field, array, wanted, f"It has {array.ndim} axes; reshape it.")
        return None
    if not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        check.fail(field, array, wanted, f"{bad} of its {array.size} entries are NaN or infinite; remove them.")
        return None
    return array


def list_of(check: Checker, field: str, value: Any, least: int, most: int, advice: str) -> tuple[Any, ...] | None:
    """The entries of a short list of numbers, to be checked one by one, or a noted violation and None."""
    wanted = f"{least} to {most} numbers"
    if hasattr(value, "__array__"):
        array = number_array(check, field, value, wanted)
        if array is None:
            return None
        value = array.tolist()  # one number, if it has no axis
    try:
        entries = () if isinstance(value, str) else tuple(value)
    except TypeError:
        entries = ()
    if not least <= len(entries) <= most:
        check.fail(field, value, wanted, advice)
        return None
    return entries


def class_array(check: Checker, field: str, value: object, wanted: str) -> np.ndarray | None:
    """Classes, one per input, as an (n,) array of int64 >= 0, or a noted violation and None."""
    array = number_array(check, field, value, wanted)
    if array is None:
        return None
    if array.ndim != 1:
        hint = "; if its rows are one-hot, give their argmax" if array.ndim == 2 else ""
        check.fail(field, array, wanted, f"It has {array.ndim} axes: give one class per input{hint}.")
        return None
    wrong = array[~((array >= 0) & (array < _MOST_CLASSES) & (array == np.floor(array)))]
    if wrong.size:
        check.fail(field, wrong[0].item(), wanted, "Number the classes from 0, in the order of the outputs.")
        return None
    return array.astype(np.int64)


def check_inputs(inputs: object, input_shape: tuple[int, ...]) -> np.ndarray:
    """Calibration inputs as a finite (B, *input_shape) array, B >= 1.

    Raises:
        InvalidInput: wrong shape, empty batch, NaN or infinite entries.
    """
    check = Checker()
    array = real_array(check, "inputs", inputs)
    if array is not None and (array.ndim != len(input_shape) + 1 or array.shape[1:] != tuple(input_shape)):
        check.fail(
            "inputs",
            array,
            f"shape (B, {', '.join(map(str, input_shape))})",
            "The first axis is the batch; the rest must be the network's input_shape.",
        )
    elif array is not None and array.shape[0] == 0:
        check.fail("inputs", array, "at least one input", "Give a calibration batch of typical inputs.")
    check.done()
    assert array is not None
    return array
