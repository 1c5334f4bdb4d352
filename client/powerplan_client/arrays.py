"""Array-likes of any library as plain numpy arrays of real numbers, or the reason why they are none.

numpy takes too little (tensors with gradients or on a GPU) and too much: it drops the mask of a masked array and the
unit of a quantity without a word, and makes objects of text and dates. Only numpy is imported here; the other
libraries are known by what their arrays can do.

Written by scripts/generate_client.py. Do not edit.

Why: docs/decisions/files.md [0270].
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

#: lists within lists, at most: older numpy has no arrays with more axes
_DEEPEST = 32
#: numpy's kinds that are no real numbers
_KINDS = {
    "c": ("complex numbers", "Give their real part, if that is what is meant."),
    "U": ("text", "Convert it to floats."),
    "S": ("text", "Convert it to floats."),
    "T": ("text", "Convert it to floats."),
    "M": ("dates", "Convert them to floats."),
    "m": ("durations", "Convert them to floats."),
    "V": ("a structured array", "Give one field of it."),
}


class NotNumbers(Exception):
    """An array-like that cannot become an array of real numbers.

    Its text says what was given, as "got ..." continues; ``advice`` says what to do next; ``place`` is where in nested
    lists it is.
    """

    def __init__(self, reason: str, advice: str, place: tuple[int, ...] = ()) -> None:
        super().__init__(reason, advice, place)
        self.reason, self.advice, self.place = reason, advice, place

    def __str__(self) -> str:
        where = "".join(f"[{i}]" for i in self.place)
        return f"entry {where}: {self.reason}" if where else self.reason

    __repr__ = __str__


def plain_array(value: Any) -> np.ndarray:
    """The real numbers of an array-like: an array of floats, integers or booleans of any size and byte order.

    Takes numpy arrays, numbers, lists of any of these, torch tensors (gradients are left behind, tensors on other
    devices are fetched, bfloat16 and smaller floats become float32), and whatever else numpy can read. What is
    returned may be a view.

    Raises:
        NotNumbers: masked entries, units, text, dates, None, complex numbers; sparse, quantised and empty-of-data
            tensors; lists of different lengths; anything that its own library refuses to convert.
    """
    return _converted(value, _DEEPEST)


def _converted(value: Any, depth: int) -> np.ndarray:
    value, kind = _unmasked(value), type(value).__name__
    try:
        if all(hasattr(value, name) for name in ("detach", "cpu", "numpy")):
            array = _of_tensor(value)
        elif isinstance(value, (list, tuple)):
            array = _of_items(value, depth)
        else:
            array = np.asarray(value)
            if array.dtype.kind == "O":
                array = _of_items(array.tolist(), depth) if array.ndim else _of_object(array.item())
    except NotNumbers:
        raise
    except Exception as error:  # the code of another library runs
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NotNumbers(f"a {kind} that does not convert: {reason}", "Make it a numpy array.") from error
    return _real(array)


def _unmasked(value: Any) -> Any:
    """The value without an empty mask; refuses what numpy would drop a mask or unit of, or take as objects."""
    kind = type(value).__name__
    if isinstance(value, np.ma.MaskedArray):
        masked = int(np.ma.getmaskarray(value).sum())
        if masked:
            raise NotNumbers(
                f"a masked array, {masked} of its {value.size} entries masked",
                "What is under a mask is no value: leave these entries out, or .filled() them.",
            )
        value = value.data
    if isinstance(value, (str, bytes)):
        raise NotNumbers(f"text, {value[:40]!r}", "Convert it to floats.")
    if hasattr(type(value), "unit") or hasattr(type(value), "units"):
        raise NotNumbers(f"a {kind}, which has a unit", "Give plain numbers in the unit that is asked for.")
    if hasattr(value, "nnz") and hasattr(value, "toarray"):
        raise NotNumbers(f"a sparse {kind}", "Give its .toarray().")
    return value


def _real(array: np.ndarray) -> np.ndarray:
    """The array, if its numbers are real; numbers that only an extension of numpy knows as float32."""
    if array.dtype.isbuiltin == 2 and "float" in array.dtype.name:  # bfloat16 and float8 of ml_dtypes
        return array.astype(np.float32)
    if array.dtype.kind in "fiub":
        return array
    what, advice = _KINDS.get(array.dtype.kind, (f"an array of {array.dtype}", "Convert it to floats."))
    raise NotNumbers(f"{what}, {array.dtype} of shape {array.shape}", advice)


def _of_items(items: Sequence[Any], depth: int) -> np.ndarray:
    """A list, entry by entry where numpy alone could drop something."""
    if all(issubclass(kind, int | float | np.number | np.bool_) for kind in set(map(type, items))):
        array = np.asarray(items)
        return array if array.dtype != object else array.astype(np.float64)  # whole numbers beyond 64 bits
    if not depth:
        raise NotNumbers(f"lists nested deeper than {_DEEPEST}", "Give an array.")
    parts = []
    for i, item in enumerate(items):
        try:
            parts.append(_converted(item, depth - 1))
        except NotNumbers as error:
            raise NotNumbers(error.reason, error.advice, (i, *error.place)) from error
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        shown = ", ".join(map(str, sorted(shapes)[:3]))
        raise NotNumbers(f"a ragged list, entries of shapes {shown}", "Give all of them the same shape.")
    return np.stack(parts)


def _of_object(value: Any) -> np.ndarray:
    """A number of another kind than numpy's, such as a fraction."""
    if isinstance(value, (numbers.Real, Decimal)):
        return np.asarray(float(value))
    raise NotNumbers("None" if value is None else f"a {type(value).__name__}", "Give an array of numbers.")


def _of_tensor(value: Any) -> np.ndarray:
    """A torch tensor, wherever it is and whatever it remembers."""
    kind = type(value).__name__
    if kind.startswith("Uninitialized"):
        raise NotNumbers("a parameter that is not initialised", "Run its module once on an input.")
    for flag, what, advice in (
        ("is_meta", "without data (on the meta device)", "Load the weights first."),
        ("is_quantized", "that is quantised", "Give its .dequantize()."),
        ("is_nested", "that is nested", "Give tensors of one shape."),
    ):
        if getattr(value, flag, False):
            raise NotNumbers(f"a {kind} {what}", advice)
    layout = str(getattr(value, "layout", "torch.strided"))
    if layout != "torch.strided":
        raise NotNumbers(f"a {kind} of layout {layout}", "Give its .to_dense().")
    plain = value.detach().cpu()
    for lazy in ("resolve_conj", "resolve_neg"):  # views that torch has not computed yet
        plain = getattr(plain, lazy, lambda same=plain: same)()
    try:
        return np.asarray(plain.numpy())
    except TypeError:  # a precision that numpy does not have
        return np.asarray(plain.float().numpy())
