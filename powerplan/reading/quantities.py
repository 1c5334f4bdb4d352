"""Quantities as people write them: ``2e-6``, ``2uS``, ``0.2 V``, ``5 mW``, ``1h``, ``1%``."""

from __future__ import annotations

import re
from collections.abc import Callable

_PREFIXES = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6,
    "G": 1e9,
}  # fmt: skip
_TIMES = {"min": 60.0, "h": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0}
_NUMBER = re.compile(
    r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?:nan|inf|infinity))\s*(.*?)\s*", re.I
)


def parse_quantity(text: str, unit: str) -> float:
    """A number in SI units; ``unit`` is its unit, "" for a fraction (which may be given in %).

    A bare number is in SI units. With the unit written out an SI prefix (f p n u m k M G) is understood, and for times
    also min, h and d.

    Raises:
        ValueError: not a number, or another unit; the message is a sentence that says what was expected.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not {described(unit)}.")
    number, suffix = float(match[1]), match[2]
    if not suffix:
        return number
    if not unit and suffix == "%":
        return number / 100
    if unit.endswith("2") and suffix.endswith(unit) and suffix[: -len(unit)] in _PREFIXES:  # squares: um2
        return number * _PREFIXES[suffix[: -len(unit)]] ** 2
    if unit and suffix.endswith(unit) and suffix[: -len(unit)] in _PREFIXES:
        # dividing by a power of ten that is exact rounds once: 2uS is the same double as 2e-6
        scale = _PREFIXES[suffix[: -len(unit)]]
        return number / round(1 / scale) if scale < 1 else number * scale
    if unit == "s" and suffix in _TIMES:
        return number * _TIMES[suffix]
    if unit and suffix in _PREFIXES:
        minutes = f" or '{match[1]}min'" if unit + suffix == "sm" else ""
        raise ValueError(f"The unit of {text!r} is missing: write '{match[1]}{suffix}{unit}'{minutes}.")
    raise ValueError(f"The unit of {text!r} is {suffix!r} instead of {unit or '%'!r}.")


def number_of(text: str, unit: str, refuse: Callable[[str, str], None]) -> float | str:
    """The number that a text means, or the text itself, refused with what is allowed and an advice."""
    try:
        return parse_quantity(text, unit)
    except ValueError as error:
        refuse(described(unit), str(error))
        return text


def described(unit: str) -> str:
    """What :func:`parse_quantity` understands, in words with an example."""
    example = "'0.01' or '1%'" if not unit else "'3600' or '1h'" if unit == "s" else f"'2e-6' or '2u{unit}'"
    return f"a number{f' [{unit}]' if unit else ''}, such as {example}"
