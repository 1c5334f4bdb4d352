"""Fields of the hardware and of its parts: what values each takes, and what errors it causes, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from powerplan.checks import Checker, list_of
from powerplan.hardware.plain import part_of
from powerplan.settings import Kind, Number

#: beyond any unit: larger numbers could not be squared in every precision
_LARGEST = 1e30


@dataclass(frozen=True)
class ByMeasurements:
    """The default of a field that depends on whether measurements say what devices hold."""

    without: Any
    measured: Any

    def of(self, measurements: object) -> Any:
        """The default beside these measurements, or None."""
        return self.without if measurements is None else self.measured

    def __str__(self) -> str:
        return f"{self.without}; {self.measured} with measurements"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A list of numbers of one kind; a tuple."""

    least: int = 1
    most: int
    each: Number
    advice: str = "Give a list of numbers."

    @property
    def unit(self) -> str:
        return self.each.unit

    @property
    def allowed(self) -> str:
        return f"{self.least} to {self.most} numbers"

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        entries = list_of(check, name, value, self.least, self.most, self.advice)
        before = len(check.violations)
        numbers = tuple(self.each.checked(check, f"{name}[{k}]", entry) for k, entry in enumerate(entries or ()))
        return value if entries is None or len(check.violations) > before else numbers


@dataclass(frozen=True)
class Part:
    """A value with fields of its own, built from itself or from plain values; its violations are noted under it."""

    build: Callable[[Any], Any]
    allowed: ClassVar[str] = ""

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        with part_of(check, name):
            return self.build(value)
        return value


def takes(kind: Kind, default: Any = None, errors: str = "") -> Any:
    """A field that takes values of a kind, or None where that is its default.

    Args:
        errors: names the field where errors are told apart, if it causes any.
    """
    return field(default=default, metadata={**of(kind), **({"errors": errors} if errors else {})})


def of(kind: Kind) -> dict[str, Kind]:
    """Metadata of a field that takes values of a kind and has no default."""
    return {"kind": kind}


def check_fields(value: Any, check: Checker) -> None:
    """Note what fields do not take; the others become plain numbers."""
    entries = {each.name: getattr(value, each.name) for each in fields(value)}
    for name, entry in check_values(entries, type(value), check).items():
        object.__setattr__(value, name, entry)


def check_values(entries: Mapping[str, Any], owner: type, check: Checker) -> dict[str, Any]:
    """Note what the fields of these names of a dataclass do not take; what they then hold."""
    checked = {}
    for each in fields(owner):
        if each.name not in entries:
            continue
        kind, entry = each.metadata.get("kind"), entries[each.name]
        if kind is not None and not (entry is None and each.default is None):
            checked[each.name] = kind.checked(check, each.name, entry)
        if isinstance(entry, int | float) and _LARGEST < entry < math.inf:
            check.fail(each.name, entry, f"at most {_LARGEST:g}", "Check its unit.")
    return checked
