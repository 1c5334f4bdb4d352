"""Fields of the hardware: what values each takes, and what errors it causes, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from powerplan.checks import Checker, list_of
from powerplan.settings import Kind

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
    """A short list of finite numbers; a tuple."""

    most: int
    unit: str
    advice: str

    @property
    def allowed(self) -> str:
        return f"1 to {self.most} numbers"

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        entries = list_of(check, name, value, 1, self.most, self.advice)
        good = [check.number(f"{name}[{k}]", entry, unit=self.unit) for k, entry in enumerate(entries or ())]
        return value if entries is None or not all(good) else tuple(map(float, entries))


def takes(kind: Kind, default: Any = None, errors: str = "") -> Any:
    """A field that takes values of a kind, or None where that is its default.

    Args:
        errors: names the field where errors are told apart, if it causes any.
    """
    return field(default=default, metadata={"kind": kind, **({"errors": errors} if errors else {})})


def check_fields(value: Any, check: Checker) -> None:
    """Note what fields do not take; the others become plain numbers."""
    for each in fields(value):
        kind, entry = each.metadata.get("kind"), getattr(value, each.name)
        if kind is not None and not (entry is None and each.default is None):
            object.__setattr__(value, each.name, kind.checked(check, each.name, entry))
        if isinstance(entry, int | float) and _LARGEST < entry < math.inf:
            check.fail(each.name, entry, f"at most {_LARGEST:g}", "Check its unit.")
