"""What a plan must reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from powerplan.checks import Checker, class_array, nearest, unknown_keys
from powerplan.errors import InvalidInput, Violation
from powerplan.plausibility import Plausible

_RATE = Plausible(unit="", high=0.25, why="a network that errs more often is of little use", mistakes=(0.01,))
#: what is plausible for targets that have a scale of their own, by their names
_PLAUSIBLE = {
    "max_nmse": Plausible(
        unit="", low=1e-14, high=0.5, why="an output that is always 0 has an NMSE of 100 %", mistakes=(0.01,)
    ),
    "max_accuracy_drop": _RATE,
    "max_flip_rate": _RATE,
    "max_power": Plausible(
        unit="W", low=1e-12, high=1e3, why="the power of one inference on one chip", mistakes=(1e-3, 1e-6, 1e3)
    ),
}


def is_plausible(target: Target, value: float) -> bool:
    """Whether a target of this kind with this bound would be believed; any bound of a target without a scale is."""
    limits = _PLAUSIBLE.get(target_name(target))
    return limits is None or not limits.doubt("", value)


class _Target:
    """A bound on one number, the first field of its class."""

    value: Any

    def doubts(self) -> tuple[Violation, ...]:
        """Whether the bound is beyond the plausible, most likely a number in %; planning warns of it."""
        name = target_name(self)  # type: ignore[arg-type]
        limits = _PLAUSIBLE.get(name)
        return () if limits is None else limits.doubt(f"target.{name}", self.value)

    def with_value(self, value: float) -> Self:
        """The same target with another bound."""
        return replace(self, **{fields(self)[0].name: value})  # type: ignore[arg-type,type-var]


@dataclass(frozen=True)
class _Bound(_Target):
    value: float

    def __post_init__(self) -> None:
        check = Checker("target.")
        if check.number(type(self).__name__, self.value, above=0):
            object.__setattr__(self, "value", float(self.value))
        check.done()


class MaxMSE(_Bound):
    """Least power such that the mean squared error of the outputs is at most ``value`` (> 0)."""


class MaxNMSE(_Bound):
    """Least power such that MSE / mean y*² is at most ``value`` (> 0; 0.01 is 1 %)."""


class MaxOutputMSE(_Bound):
    """Least power such that the mean squared error of every single output is at most ``value`` (> 0)."""


class MaxPower(_Bound):
    """Least mean squared error such that the power of one inference is at most ``value`` [W] (> 0)."""


@dataclass(frozen=True)
class _Fraction(_Target):
    fraction: float

    def __post_init__(self) -> None:
        check = Checker("target.")
        name = type(self).__name__
        if check.number(name, self.fraction, above=0, advice="Give a fraction: 0.01 is 1 %.") and self.fraction >= 1:
            check.fail(name, self.fraction, "a number > 0 and < 1", "Give a fraction: 0.01 is 1 %.")
        check.done()
        object.__setattr__(self, "fraction", float(self.fraction))

    @property
    def value(self) -> float:
        """The fraction."""
        return self.fraction


class MaxFlipRate(_Fraction):
    """Least power such that at most ``fraction`` (0 to 1) of the outputs change class: no labels needed.

    The class is the largest output (with one output: its sign), expected over devices and inputs.
    """


@dataclass(frozen=True)
class MaxAccuracyDrop(_Fraction):
    """Least power such that the expected accuracy on the calibration inputs falls by at most ``fraction``.

    The drop is absolute (0.01 is one percentage point), from the accuracy of the ideal network on the same inputs.

    Attributes:
        fraction: 0 to 1, below the ideal accuracy.
        labels: one class per calibration input, from 0.
    """

    labels: tuple[int, ...]

    def __init__(self, fraction: float, labels: npt.ArrayLike) -> None:
        object.__setattr__(self, "fraction", fraction)
        object.__setattr__(self, "labels", _label_tuple(labels))
        self.__post_init__()

    def __repr__(self) -> str:
        return f"MaxAccuracyDrop(fraction={self.fraction!r}, {len(self.labels)} labels)"


#: targets on classes
ClassTarget = MaxAccuracyDrop | MaxFlipRate
Target = MaxMSE | MaxNMSE | MaxOutputMSE | MaxAccuracyDrop | MaxFlipRate | MaxPower

#: targets by name, for files, the command line and the wire
TARGETS: dict[str, type[Target]] = {
    "max_mse": MaxMSE,
    "max_nmse": MaxNMSE,
    "max_output_mse": MaxOutputMSE,
    "max_accuracy_drop": MaxAccuracyDrop,
    "max_flip_rate": MaxFlipRate,
    "max_power": MaxPower,
}


#: names of the targets on classes, whose plans are verified and calibrated unless told otherwise
VERIFIED = frozenset(name for name, kind in TARGETS.items() if issubclass(kind, _Fraction))


def target_name(target: Target) -> str:
    """The name of a target's kind in :data:`TARGETS`."""
    return next(name for name, kind in TARGETS.items() if isinstance(target, kind))


def build_target(name: str, value: float, labels: Sequence[int] | np.ndarray | None = None) -> Target:
    """The target of a kind in :data:`TARGETS`.

    Args:
        labels: for "max_accuracy_drop", which needs them; the other kinds ignore them.

    Raises:
        InvalidInput: unknown name, value out of range, no labels where they are needed.
    """
    if name not in TARGETS:
        raise InvalidInput.of("target", name, "one of " + ", ".join(TARGETS), nearest(name, TARGETS))
    kind = TARGETS[name]
    if not issubclass(kind, MaxAccuracyDrop):
        return kind(value)
    if labels is None:
        raise InvalidInput.of(
            "target.labels", None, "one class per calibration input", "Give labels, or use MaxFlipRate without them."
        )
    return kind(value, labels)


def target_to_dict(target: Target) -> dict[str, Any]:
    """A target as plain JSON values."""
    values: dict[str, Any] = {"kind": target_name(target), "value": target.value}
    return {**values, "labels": list(target.labels)} if isinstance(target, MaxAccuracyDrop) else values


def target_from_dict(values: Mapping[str, Any]) -> Target:
    """Inverse of :func:`target_to_dict`.

    Raises:
        InvalidInput: unknown keys or kind, or values that the target refuses.
        KeyError: no kind or value.
    """
    check = Checker("target.")
    unknown_keys(check, values, ("kind", "value", "labels"))
    check.done()
    return build_target(values["kind"], values["value"], values.get("labels"))


def _label_tuple(labels: npt.ArrayLike) -> tuple[int, ...]:
    """Labels as integers >= 0; whether they fit the inputs is seen when planning."""
    check, allowed = Checker("target."), "one class >= 0 per calibration input"
    array = class_array(check, "labels", labels, allowed)
    if array is not None and not array.size:
        check.fail("labels", array, allowed, "Give one class per calibration input.")
    check.done()
    assert array is not None
    return tuple(array.tolist())
