"""The gains an amplifier or a converter can be set to.

A gain that has steps may only take the values of its :class:`Steps`; a gain without steps is continuous.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from powerplan.checks import Checker, choice, frozen_array, real_array, unknown_keys
from powerplan.errors import InvalidInput

#: most steps of one gain
MOST_STEPS = 10_000
SPACINGS = ("linear", "geometric")
#: a step this far (relatively) above a limit still counts as within it
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """The values a gain can take.

    Attributes:
        values: increasing values > 0, (n,): gains [S per unit weight or V per unit activation], or fractions of
            each gain's own largest value if ``relative``.
        relative: the values are fractions in (0, 1] of the largest gain that the hardware's limits allow.

    Raises:
        InvalidInput: no values, more than :data:`MOST_STEPS`, values that are not > 0 and finite, or fractions above 1.
    """

    values: np.ndarray
    relative: bool = False

    def __post_init__(self) -> None:
        check = Checker("steps.")
        values: Any = self.values
        if isinstance(values, Iterable) and not (isinstance(values, str | bytes) or hasattr(values, "__array__")):
            values = list(values)
        array = real_array(check, "values", values, ndim=1)
        if array is not None and not 1 <= array.size <= MOST_STEPS:
            check.fail("values", f"{array.size} values", f"1 to {MOST_STEPS} values", "List the gains there are.")
        elif array is not None and not (array > 0).all():
            check.fail("values", array.min(), "values > 0", "A gain of zero switches the layer off; leave it out.")
        elif array is not None and self.relative and array.max() > 1 + _ROUNDING:
            check.fail("values", array.max(), "fractions in (0, 1]", "Give fractions of the largest gain.")
        check.flag("relative", self.relative)
        check.done()
        assert array is not None
        object.__setattr__(self, "values", frozen_array(np.unique(array), np.float64))

    @classmethod
    def linear(cls, low: float, high: float, step: float) -> Steps:
        """low, low + step, ... up to high: an offset, a step and a range, all in the unit of the gain, > 0."""
        check = Checker("steps.")
        _range(check, low, high)
        if check.number("step", step, above=0) and not check.violations:
            _few(check, "step", step, (high - low) / step)
        check.done()
        count = math.floor((high - low) / step * (1 + _ROUNDING)) + 1
        return cls(values=low + step * np.arange(count))

    @classmethod
    def geometric(cls, low: float, high: float, *, ratio: float | None = None, decibel: float | None = None) -> Steps:
        """low, low·r, low·r², ... up to high, as a programmable-gain amplifier has.

        Args:
            low, high: in the unit of the gain, > 0.
            ratio: r > 1 between neighbouring steps; or
            decibel: the same as 20·log10(r), > 0 (6.02 dB doubles the gain).
        """
        check = Checker("steps.")
        _range(check, low, high)
        if (ratio is None) == (decibel is None):
            check.fail("ratio", ratio, "exactly one of ratio and decibel", "Give ratio=2, or decibel=6.02.")
        elif ratio is not None:
            check.number("ratio", ratio, above=1)
        else:
            check.number("decibel", decibel, above=0)
        check.done()
        log_ratio = math.log(ratio) if ratio is not None else math.log(10) * float(decibel or 0) / 20
        span = math.log(high / low)
        _few(check, "ratio" if ratio is not None else "decibel", ratio or decibel, span / log_ratio)
        check.done()
        count = math.floor(span / log_ratio + _ROUNDING) + 1
        return cls(values=low * np.exp(log_ratio * np.arange(count)))

    @classmethod
    def over_range(cls, count: int, *, spacing: str = "linear", smallest: float = 0.01) -> Steps:
        """``count`` steps over each gain's own range, the largest at its limit.

        Args:
            count: 1 to :data:`MOST_STEPS`.
            spacing: "linear": k/count of the largest gain for k = 1..count (a converter's codes);
                "geometric": from ``smallest`` to 1 times the largest gain in equal ratios.
            smallest: the smallest step of a geometric spacing as a fraction of the largest, in (0, 1).
        """
        check = Checker("steps.")
        if check.number("count", count, at_least=1, at_most=MOST_STEPS) and int(count) != count:
            check.fail("count", count, "a whole number", "Give the number of steps.")
        check.number("smallest", smallest, above=0, at_most=1)
        check.done()
        choice("steps.spacing", spacing, SPACINGS)
        codes = np.arange(1, int(count) + 1)
        if spacing == "linear" or count == 1:
            return cls(values=codes / count, relative=True)
        return cls(values=np.geomspace(smallest, 1.0, int(count)), relative=True)

    def of(self, largest: float) -> np.ndarray:
        """The steps of a gain [its unit] whose limit is ``largest``; those beyond it are left out."""
        values = self.values * largest if self.relative else self.values
        return np.minimum(values[values <= largest * (1 + _ROUNDING)], largest)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"values": self.values.tolist(), "relative": self.relative}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Steps:
        """Inverse of :meth:`to_dict`.

        Raises:
            InvalidInput: unknown or missing keys, and all that the class refuses.
        """
        if not isinstance(values, Mapping):
            raise InvalidInput.of("steps", values, "a mapping with values and relative", "Give a dict.")
        check = Checker("steps.")
        unknown_keys(check, values, ("values", "relative"))
        check.done()
        return cls(values=values.get("values", ()), relative=values.get("relative", False))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Steps):
            return NotImplemented
        return self.relative == other.relative and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.relative, self.values.tobytes()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{v:.4g}" for v in self.values[:4]) + (", ..." if len(self.values) > 4 else "")
        return f"Steps({len(self.values)} values: {shown}{'; relative' if self.relative else ''})"


def _range(check: Checker, low: object, high: object) -> None:
    good = check.number("low", low, above=0) and check.number("high", high, above=0)
    if good and not low <= high:  # type: ignore[operator]
        check.fail("low", low, f"at most high = {high}", "Swap the two.")


def _few(check: Checker, field: str, value: object, count: float) -> None:
    if count > MOST_STEPS - 1:
        check.fail(field, value, f"at most {MOST_STEPS} steps in the range", "Widen the step or narrow the range.")


#: one list for all layers, or one per layer (None: that layer's gain is continuous)
StepsGiven = Steps | Sequence[Steps | None] | None


def steps_to_dict(**by_kind: StepsGiven) -> dict[str, Any]:
    """Steps as plain values by name, those that were given."""
    values: dict[str, Any] = {}
    for name, steps in by_kind.items():
        if isinstance(steps, Steps):
            values[name] = steps.to_dict()
        elif steps is not None:
            values[name] = [each and each.to_dict() for each in steps]
    return values


def steps_from_dict(value: Any) -> StepsGiven:
    """Inverse of :func:`steps_to_dict` for one name."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        return Steps.from_dict(value)
    return [each and Steps.from_dict(each) for each in value]
