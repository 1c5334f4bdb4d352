"""Published curves: how a property of a device depends on its target conductance G.

Every curve is a function of u = G / reference and gives its value in the unit of the property it describes:
siemens for a standard deviation, none for a drift exponent or for a relative noise.

    polynomial    Σ_k a_k u^k
    logarithm     clip(a ln u + b, low, high)
    power         clip(a u^p, low, high)
    saturating    A (1 − exp(−u/B))
    table         measured points, straight lines between them, nothing outside them
    piecewise     another curve between each two breaks

Why: docs/decisions/devices.md [0100].
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from powerplan.checks import Checker
from powerplan.errors import InvalidInput
from powerplan.hardware.fields import Numbers, check_fields, of, takes
from powerplan.hardware.plain import Typed, from_plain, part_of
from powerplan.settings import Number

#: entries of a table, at most
MAX_POINTS = 4096
_MAX_COEFFICIENTS = 16
_MAX_PIECES = 16
#: beyond any unit: larger numbers could not be squared in every precision
_LARGEST = 1e30
_ANY, _POSITIVE = Number(at_least=-_LARGEST, at_most=_LARGEST), Number(above=0, at_most=_LARGEST)


@dataclass(frozen=True, kw_only=True)
class Curve(Typed):
    """What every curve has.

    Attributes:
        reference: conductance [S] that u = 1 stands for, > 0; None = the hardware's conductance_max.
    """

    reference: float | None = takes(Number(above=0, at_most=_LARGEST, unit="S"))

    def __post_init__(self) -> None:
        check = Checker()
        check_fields(self, check)
        self._check(check)
        check.done()

    def _check(self, check: Checker) -> None:
        """Note what the fields demand of each other."""

    def domain(self) -> tuple[float, float]:
        """Smallest and largest u it is defined at."""
        return 0.0, math.inf

    def _increasing(self, check: Checker, name: str) -> None:
        values = getattr(self, name)
        if not check.violations and (values[0] < 0 or any(a >= b for a, b in itertools.pairwise(values))):
            check.fail(name, values, "numbers >= 0, each larger than the one before", "Sort them.")


@dataclass(frozen=True, kw_only=True)
class Polynomial(Curve):
    """Σ_k a_k u^k.

    Attributes:
        coefficients: a_0, a_1, ..., 1 to 16 of them.
    """

    type: ClassVar[str] = "polynomial"
    coefficients: tuple[float, ...] = field(metadata=of(Numbers(most=_MAX_COEFFICIENTS, each=_ANY)))


@dataclass(frozen=True, kw_only=True)
class Logarithm(Curve):
    """clip(slope · ln u + offset, low, high).

    Attributes:
        slope, offset: any finite numbers.
        low, high: limits, low <= high; at u = 0 the curve is at one of them.
    """

    type: ClassVar[str] = "logarithm"
    slope: float = field(metadata=of(_ANY))
    offset: float = field(metadata=of(_ANY))
    low: float = field(metadata=of(_ANY))
    high: float = field(metadata=of(_ANY))

    def _check(self, check: Checker) -> None:
        _limits(self, check)

    def inside(self) -> tuple[float, float]:
        """The u between which no limit is reached; only for a slope that is not 0."""
        ends = ((limit - self.offset) / self.slope for limit in (self.low, self.high))
        low, high = sorted(_exp(end) for end in ends)
        return low, high


@dataclass(frozen=True, kw_only=True)
class Power(Curve):
    """clip(coefficient · u^exponent, low, high).

    Attributes:
        coefficient: > 0.
        exponent: any finite number [1]; a negative one needs ``high``, which is then the value at u = 0.
        low, high: limits, low <= high; high None = no upper limit.
    """

    type: ClassVar[str] = "power"
    coefficient: float = field(metadata=of(_POSITIVE))
    exponent: float = field(metadata=of(_ANY))
    low: float = takes(_ANY, 0.0)
    high: float | None = takes(_ANY)

    def _check(self, check: Checker) -> None:
        if self.high is not None:
            _limits(self, check)
        elif not check.violations and self.exponent < 0:
            check.fail("high", None, "a number, because the exponent is negative", "Give the value at u = 0.")
        if not check.violations and 0 < self.exponent < 1 and not self.low:
            check.fail(
                "low",
                self.low,
                "above 0 for an exponent between 0 and 1",
                "Give a small one: the slope at 0 is infinite.",
            )

    def inside(self) -> tuple[float, float]:
        """The u between which no limit is reached; only for an exponent that is not 0."""
        ends = [
            _exp(math.log(limit / self.coefficient) / self.exponent) if limit else missing
            for limit, missing in ((self.low, 0.0), (self.high, math.inf))
        ]
        if self.exponent < 0 and not self.low:
            ends[0] = math.inf
        low, high = sorted(ends)
        return low, high


@dataclass(frozen=True, kw_only=True)
class Saturating(Curve):
    """amplitude · (1 − exp(−u / scale)).

    Attributes:
        amplitude: the value at large u.
        scale: u at which 63 % of it is reached [1], > 0.
    """

    type: ClassVar[str] = "saturating"
    amplitude: float = field(metadata=of(_ANY))
    scale: float = field(metadata=of(_POSITIVE))


@dataclass(frozen=True, kw_only=True)
class Table(Curve):
    """Measured points with straight lines between them. Not defined outside the points.

    Attributes:
        points: u of the points [1], increasing, >= 0, 2 to 4096 of them.
        values: at the points.
    """

    type: ClassVar[str] = "table"
    points: tuple[float, ...] = field(metadata=of(Numbers(least=2, most=MAX_POINTS, each=_ANY)))
    values: tuple[float, ...] = field(metadata=of(Numbers(least=2, most=MAX_POINTS, each=_ANY)))

    def _check(self, check: Checker) -> None:
        self._increasing(check, "points")
        if not check.violations and len(self.points) != len(self.values):
            check.fail("values", self.values, f"{len(self.points)} numbers, one per point", "Give one value per point.")

    def domain(self) -> tuple[float, float]:
        """From the first point to the last."""
        return self.points[0], self.points[-1]


@dataclass(frozen=True, kw_only=True)
class Piecewise(Curve):
    """Another curve between each two breaks: pieces[k] holds from breaks[k−1] up to, not including, breaks[k].

    Attributes:
        breaks: u at which the next piece begins [1], increasing, 1 to 15 of them.
        pieces: one more curve than breaks, without references of their own.
    """

    type: ClassVar[str] = "piecewise"
    breaks: tuple[float, ...] = field(metadata=of(Numbers(most=_MAX_PIECES - 1, each=_ANY)))
    pieces: tuple[Curve, ...]

    def _check(self, check: Checker) -> None:
        self._increasing(check, "breaks")
        breaks = () if check.violations else self.breaks
        if not isinstance(self.pieces, Iterable) or isinstance(self.pieces, str):
            check.fail("pieces", self.pieces, "curves", "Give a list of curves.")
            return
        listed = list(itertools.islice(self.pieces, _MAX_PIECES + 1))
        if breaks and len(listed) != len(breaks) + 1:
            check.fail("pieces", listed, f"{len(breaks) + 1} curves, one more than breaks", "Give one per interval.")
        pieces = []
        for k, piece in enumerate(listed):
            with part_of(check, f"pieces[{k}]"):
                # looked at before it is built: pieces within pieces could go on without end
                nested = isinstance(piece, Piecewise) or (isinstance(piece, Mapping) and "pieces" in piece)
                curve = None if nested else as_curve(piece)
                if curve is None or curve.reference is not None:
                    allowed = "a curve without a reference and without pieces"
                    raise InvalidInput.of("", type(piece).__name__, allowed, "Put reference and pieces on the whole.")
                pieces.append(curve)
        self._set("pieces", tuple(pieces))
        edges = (0.0, *breaks, math.inf)
        if not check.violations:
            for k, (curve, low, high) in enumerate(zip(pieces, edges, edges[1:], strict=False)):
                if k not in (0, len(pieces) - 1) and not (curve.domain()[0] <= low and high <= curve.domain()[1]):
                    check.fail(f"pieces[{k}]", curve, f"defined from {low:g} to {high:g}", "Add points.")

    def domain(self) -> tuple[float, float]:
        """That of its pieces together."""
        return self.pieces[0].domain()[0], self.pieces[-1].domain()[1]


#: every kind of curve by its type name
CURVES: dict[str, type[Curve]] = {
    kind.type: kind for kind in (Polynomial, Logarithm, Power, Saturating, Table, Piecewise)
}


def as_curve(value: Any) -> Curve:
    """A curve: itself, a mapping of its fields with "type", or a number for a constant.

    Raises:
        InvalidInput: anything else.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return Polynomial(coefficients=(value,))  # type: ignore[arg-type]
    curve: Curve = from_plain(value, CURVES, "a number or a curve")
    return curve


def check_domain(check: Checker, field: str, curve: Curve, low: float, high: float) -> None:
    """Note a violation if the curve is not defined on the conductances [S] from ``low`` to ``high``."""
    reference = curve.reference or high
    first, last = (edge * reference for edge in curve.domain())
    slack = 1e-9 * high  # the edges are meant to be equal, and went through a division
    if low < first - slack or high > last + slack:
        check.fail(
            field,
            curve,
            f"defined from conductance_min = {low:g} S to conductance_max = {high:g} S "
            f"(it is from {first:g} to {last:g} S)",
            "Measure the missing targets, or narrow conductance_min and conductance_max: nothing is extrapolated.",
        )


def _exp(x: float) -> float:
    """e^x within what single precision holds."""
    return math.exp(min(max(x, -80.0), 80.0))


def _limits(curve: Logarithm | Power, check: Checker) -> None:
    if not check.violations and curve.high is not None and curve.low > curve.high:
        check.fail("low", curve.low, f"at most high = {curve.high:g}", "Swap low and high.")
