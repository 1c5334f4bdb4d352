"""Numbers for people: SI prefixes, percentages, a value with its error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_TIMES = (("d", 86400.0), ("h", 3600.0), ("min", 60.0))


def si(value: float | None, unit: str, digits: int = 4) -> str:
    """A value with ``digits`` significant digits and an SI prefix: ``12.34 uS``; "-" for None and NaN.

    The prefix of a square is squared with it: 2e-9 m2 are ``2000 um2``.
    """
    if value is None or math.isnan(value):
        return "-"
    if value == 0 or math.isinf(value):
        return f"{value:g} {unit}"
    rounded = float(f"{value:.{digits - 1}e}")  # first, so that 999.96 becomes 1.000 k and not 1000
    size, prefixed = with_prefix(rounded, unit)
    return f"{significant(rounded / size, digits)} {prefixed}"


def with_prefix(value: float, unit: str) -> tuple[float, str]:
    """The SI prefix that suits a value, not 0: one in the unit with it in the plain unit, and that unit."""
    power = 2 if unit.endswith("2") else 1
    exponent = 3 * math.floor(math.log10(abs(value) * (1 + 1e-12)) / (3 * power))
    exponent = min(max(exponent, min(_PREFIXES)), max(_PREFIXES))
    return 10.0 ** (power * exponent), f"{_PREFIXES[exponent]}{unit}"


def duration(seconds: float) -> str:
    """A time as a person says it: ``10 ms``, ``4 s``, ``27.8 h``, ``1 d``, ``30 d``."""
    for unit, size in _TIMES:
        if seconds == size or seconds >= (2 * size if unit == "d" else size):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds >= 1 or not seconds > 0 else si(seconds, "s", 3)


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """A setting as it can be typed, at most so many digits: ``3.27 uS``, ``0.125``, ``1 d``."""
    if unit == "s" and value >= 1:
        rounded = float(f"{value:.{digits}g}")
        sizes = [(f"{rounded / size:.{digits}g} {name}", size) for name, size in _TIMES if rounded >= size]
        return next((text for text, size in sizes if float(text.split()[0]) * size == rounded), f"{rounded:.15g} s")
    if not unit or not value or not math.isfinite(value):
        return f"{value:.{digits}g} {unit}".rstrip()
    number, _, unit = si(value, unit, digits).partition(" ")
    return f"{float(number):.{digits}g} {unit}"


def significant(value: float | None, digits: int = 4) -> str:
    """A number with ``digits`` significant digits, trailing zeros kept: ``0.01000``, ``1.234e-07``."""
    if value is None or math.isnan(value):
        return "-"
    text = f"{value:#.{digits}g}"
    return text.removesuffix(".")


def percent(fraction: float | None, digits: int = 4) -> str:
    """A fraction in %, ``digits`` significant digits: ``1.000 %``."""
    if fraction is None or math.isnan(fraction):
        return "-"
    return f"{significant(100 * fraction, digits)} %" if fraction else "0 %"


def share(part: float, whole: float) -> str:
    """A part of a whole in % with one decimal; "-" where the whole is not positive."""
    return f"{100 * part / whole:.1f} %" if whole > 0 and math.isfinite(whole) else "-"


def with_error(value: float, error: float, scale: float = 1.0) -> str:
    """``value ± error`` (both times ``scale``) to the error's second digit: ``1.0012 ± 0.0073``."""
    value, error = scale * value, scale * error
    if not (math.isfinite(value) and math.isfinite(error)) or error <= 0:
        return f"{significant(value)} ± {significant(error, 2)}"
    if abs(value) >= 1e-3 and error < 1e4:
        decimals = max(0, 1 - math.floor(math.log10(error)))
        return f"{value:.{decimals}f} ± {error:.{decimals}f}"
    return f"{significant(value)} ± {error:.1e}"


def part_with_error(value: float, error: float) -> str:
    """``94.0 ± 2.1 %`` for a part of a whole; the interval cut where it ends beyond: ``97.0 % (90.9 to 100 %)``."""
    low, high = value - error, value + error
    if not error > 0:
        return f"{100 * value:.2f} %"
    if low >= 0 and high <= 1:
        return f"{with_error(value, error, 100)} %"
    return f"{100 * value:.3g} % ({100 * max(low, 0.0):.3g} to {100 * min(high, 1.0):.3g} %)"


def in_unit(value: float | None, unit: str) -> str:
    """A value in an SI unit with its prefix; in % for the unit "", a fraction; a plain number for "1"."""
    return percent(value) if not unit else significant(value) if unit == "1" else si(value, unit)


def in_unit_with_error(value: float, error: float, unit: str) -> str:
    """``value ± error`` likewise."""
    if unit not in ("", "1"):
        return si_with_error(value, error, unit)
    return with_error(value, error) if unit else f"{with_error(value, error, 100)} %"


def si_with_error(value: float, error: float, unit: str) -> str:
    """``value ± error`` under one SI prefix: ``12.34 ± 0.05 uW``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} ± {error:.2g} {unit}"
    size, prefixed = with_prefix(value, unit)
    return f"{with_error(value, error, 1 / size)} {prefixed}"


def gain_text(gain: float | np.ndarray, unit: str) -> str:
    """A gain; those of columns or rows as ``median (min - max)``."""
    import numpy as np  # not for messages of commands that calculate nothing

    if np.ndim(gain) == 0:
        return si(float(gain), unit)
    values = np.asarray(gain)
    ends = f"{si(float(values.min()), unit, 3)} - {si(float(values.max()), unit, 3)}"
    return f"{si(float(np.median(values)), unit)} ({ends})"


def grouped(count: int) -> str:
    """A count with its thousands apart: ``12 345``."""
    return f"{count:,}".replace(",", "\N{NO-BREAK SPACE}")


def shape_text(shape: Sequence[int]) -> str:
    """``3 × 32 × 32``."""
    return " × ".join(map(str, shape))
