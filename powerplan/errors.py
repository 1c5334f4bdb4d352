"""Errors and warnings of powerplan.

One root, :class:`PowerplanError`. Bad values raise :class:`InvalidInput`, which lists *every* violation
found, each with the field, the value, what is allowed and what to do next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: what installers call this package
DISTRIBUTION = "powerplan-crossbar"


class PowerplanError(Exception):
    """Root of every error raised by powerplan on purpose."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One thing wrong with an input.

    ``field`` is a path such as ``hardware.conductance_max`` or ``nodes[2].weight``; ``value`` is what was
    given, shortened for display; ``reason`` says what is wrong with it, where that is not plain; ``allowed`` says what
    is allowed and ``advice`` what to do next.
    """

    field: str
    value: str
    allowed: str
    advice: str
    reason: str = ""

    @property
    def description(self) -> str:
        """All but the field, as a sentence."""
        shown = f"{self.value} ({self.reason})" if self.reason else self.value
        return f"got {shown}; allowed: {self.allowed}. {self.advice}"

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class InvalidInput(PowerplanError, ValueError):
    """An input that cannot be used. ``violations`` lists every one found, ``str()`` shows them all."""

    def __init__(self, *violations: Violation) -> None:
        self.violations = violations
        super().__init__("\n".join(str(v) for v in violations))

    @classmethod
    def of(cls, field: str, value: object, allowed: str, advice: str) -> InvalidInput:
        """The error for a single violation; ``value`` is shortened for display."""
        return cls(Violation(field=field, value=show(value), allowed=allowed, advice=advice))


class UnsupportedOperation(InvalidInput):
    """A module or operation that powerplan has no model for."""


class CorruptFile(InvalidInput):
    """A file that is truncated, damaged or of another format."""


def install_command(extra: str) -> str:
    """What installs an optional part; "powerplan" is another project's package (docs/decisions/house.md)."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


class MissingExtra(PowerplanError, ImportError):
    """An optional dependency is not installed; the message holds the install command."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed. Run: {install_command(extra)}")


class MissingData(PowerplanError, FileNotFoundError):
    """Data that an example needs are not at hand; the message says where to put them."""


class SolverFailed(PowerplanError):
    """An optimiser stopped without an answer; the message holds the solver's own words."""


class ServerUnreachable(PowerplanError):
    """The planning server cannot be reached, or is shutting down."""


class RefusedByServer(PowerplanError):
    """The planning server refuses a request; the message holds its own words."""


class PowerplanWarning(UserWarning):
    """Root of every warning raised by powerplan."""


class LimitWarning(PowerplanWarning):
    """Inputs drive a crossbar beyond a hardware limit (for example rows beyond ``voltage_max``)."""


class UncheckedWarning(PowerplanWarning):
    """An imported model could not be compared with what runs it."""


class RangeWarning(PowerplanWarning):
    """A model is used outside the range it holds in: of what was measured, or of first order in the noise."""


class MeasurementWarning(PowerplanWarning):
    """A table of measurements contradicts itself."""


class PlausibilityWarning(PowerplanWarning):
    """Numbers that can be computed with but are most likely in another unit. ``doubts`` lists every one."""

    def __init__(self, *doubts: Violation) -> None:
        self.doubts = doubts
        super().__init__("\n".join(map(str, doubts)))


def show(value: object, width: int = 160) -> str:
    """``repr`` of a value, its middle cut out beyond ``width`` characters; arrays are shown by dtype and shape."""
    try:
        shape = getattr(value, "shape", None)
        if shape is not None and math.prod(shape) != 1:
            return f"{getattr(value, 'dtype', 'array')} array of shape {tuple(shape)}"
        text = repr(value)
    except Exception:  # the value's own code runs
        text = f"a {type(value).__name__}"
    half = (width - 3) // 2
    return text if len(text) <= width else f"{text[:half]}...{text[-half:]}"
