"""What the crossbar technology is: conductance range, noise, voltage limit, read-out.

A device programmed to a target conductance G holds a random conductance. Its programming noise has variance

    s²(G) = programming_noise_std² + (programming_noise_proportional · G)² + max(0, Σ_k a_k (G/reference)^k)²

and, if ``clip_conductance``, the device holds max(0, N(G, s²)): its mean and variance are those of the
clipped Gaussian. Devices are independent and are programmed once, then read many times.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from powerplan.checks import Checker, nearest, unknown_keys
from powerplan.errors import InvalidInput

#: how the positions of a convolution, or the tokens of a sequence, meet the arrays
MAPPINGS = ("shared", "unrolled")

#: beyond any unit: larger numbers could not be squared in every precision
_LARGEST = 1e30
#: rows or columns of a crossbar
_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A crossbar technology, in SI units. Immutable; refuses nonsense when built.

    Attributes:
        conductance_min: smallest conductance of a device [S], >= 0 and < conductance_max.
        conductance_max: largest conductance of a device [S], > 0.
        programming_noise_std: constant part of the programming noise, standard deviation [S], >= 0.
        programming_noise_proportional: part proportional to the target conductance, as a fraction, >= 0.
        programming_noise_polynomial: coefficients (a0, a1, ...) [S] of a standard deviation
            Σ a_k (G/reference)^k, not below 0. The variances of the three parts add.
        programming_noise_reference: reference conductance of the polynomial [S]; None = conductance_max.
        clip_conductance: a device cannot go below 0 S; its moments are those of the clipped Gaussian.
        read_noise_std: noise of each column current, fresh in every read, standard deviation [A], >= 0.
        input_noise_std: noise of each row voltage, fresh in every read, standard deviation [V], >= 0.
        voltage_max: largest magnitude of a row voltage [V], > 0.
        feedback_resistance: feedback of the transimpedance amplifiers (TIA) [ohm], > 0;
            None = TIA power not counted.
        read_time: duration of one read [s], > 0, turns power into energy.
        array_rows: rows of one physical crossbar, in devices, >= 1; None = as many as a layer needs.
        array_columns: columns of one physical crossbar, in devices, >= 1; None = as many as a layer needs.
        mapping: "shared": one array serves every position of a convolution, or every token, in turn;
            "unrolled": one array per position.
        column_gain_std: relative gain error common to all devices of one physical column of an array,
            standard deviation, a fraction >= 0; drawn once, static over reads. The two columns of a
            differential pair are independent.

    Raises:
        InvalidInput: listing every violated field.
    """

    conductance_min: float = 0.0
    conductance_max: float = 100e-6
    programming_noise_std: float = 2e-6
    programming_noise_proportional: float = 0.0
    programming_noise_polynomial: tuple[float, ...] | None = None
    programming_noise_reference: float | None = None
    clip_conductance: bool = True
    read_noise_std: float = 0.0
    input_noise_std: float = 0.0
    voltage_max: float = 0.2
    feedback_resistance: float | None = None
    read_time: float = 100e-9
    array_rows: int | None = None
    array_columns: int | None = None
    mapping: str = "shared"
    column_gain_std: float = 0.0

    def __post_init__(self) -> None:
        check = Checker("hardware.")
        range_good = check.number("conductance_min", self.conductance_min, at_least=0, unit="S")
        range_good &= check.number("conductance_max", self.conductance_max, above=0, unit="S")
        if range_good and not self.conductance_min < self.conductance_max:
            check.fail(
                "conductance_min",
                self.conductance_min,
                f"less than conductance_max = {self.conductance_max:g} S",
                "Lower conductance_min or raise conductance_max.",
            )
        check.number("programming_noise_std", self.programming_noise_std, at_least=0, unit="S")
        check.number("programming_noise_proportional", self.programming_noise_proportional, at_least=0)
        if self.programming_noise_polynomial is not None:
            self._check_polynomial(check)
        if self.programming_noise_reference is not None:
            check.number("programming_noise_reference", self.programming_noise_reference, above=0, unit="S")
        if not isinstance(self.clip_conductance, bool):
            check.fail("clip_conductance", self.clip_conductance, "True or False", "Give a boolean.")
        check.number("read_noise_std", self.read_noise_std, at_least=0, unit="A")
        check.number("input_noise_std", self.input_noise_std, at_least=0, unit="V")
        check.number("voltage_max", self.voltage_max, above=0, unit="V")
        if self.feedback_resistance is not None:
            check.number("feedback_resistance", self.feedback_resistance, above=0, unit="ohm")
        check.number("read_time", self.read_time, above=0, unit="s")
        for name in ("array_rows", "array_columns"):
            self._check_count(check, name)
        if self.mapping not in MAPPINGS:
            check.fail(
                "mapping",
                self.mapping,
                "one of " + ", ".join(map(repr, MAPPINGS)),
                nearest(str(self.mapping), MAPPINGS),
            )
        check.number("column_gain_std", self.column_gain_std, at_least=0)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and _LARGEST < value < math.inf:
                check.fail(field.name, value, f"at most {_LARGEST:g}", "Check its unit.")
        check.done()
        for field in fields(self):  # plain floats, whatever kind of number was given
            value = getattr(self, field.name)
            if value is not None and str(field.type).startswith("float"):
                object.__setattr__(self, field.name, float(value))

    def _check_count(self, check: Checker, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 1 <= value <= _MOST or value % 1:
            check.fail(name, value, f"a whole number from 1 to {_MOST}, or None", "Give the size in devices.")
        else:
            object.__setattr__(self, name, int(value))

    def _check_polynomial(self, check: Checker) -> None:
        try:
            coefficients = tuple(self.programming_noise_polynomial)  # type: ignore[arg-type]
        except TypeError:
            coefficients = ()
        if not 1 <= len(coefficients) <= 16:
            check.fail(
                "programming_noise_polynomial",
                self.programming_noise_polynomial,
                "1 to 16 coefficients [S], or None",
                "List a0, a1, ... of the published standard deviation.",
            )
            return
        good = [check.number(f"programming_noise_polynomial[{k}]", a, unit="S") for k, a in enumerate(coefficients)]
        if all(good):
            object.__setattr__(self, "programming_noise_polynomial", tuple(float(a) for a in coefficients))

    @property
    def polynomial_reference(self) -> float:
        """Reference conductance of the noise polynomial [S]."""
        return self.programming_noise_reference or self.conductance_max

    @property
    def has_constant_programming_noise(self) -> bool:
        """True if the programming noise does not depend on the target conductance."""
        return not self.programming_noise_proportional and not any(self.programming_noise_polynomial or ())

    @property
    def has_programming_noise(self) -> bool:
        """True if programmed devices differ from their targets."""
        return bool(self.programming_noise_std) or not self.has_constant_programming_noise

    @property
    def shifts_mean(self) -> bool:
        """True if a device holds another conductance on average than its target."""
        return self.clip_conductance and self.has_programming_noise

    @property
    def is_noiseless(self) -> bool:
        """True if no noise of any kind is described."""
        return not (self.has_programming_noise or self.read_noise_std or self.input_noise_std or self.column_gain_std)

    def replace(self, **changes: Any) -> Hardware:
        """A copy with some fields changed, validated again."""
        check = Checker("hardware.")
        unknown_keys(check, changes, [f.name for f in fields(self)])
        check.done()
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values (for JSON and TOML)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Hardware:
        """Build from plain values; unknown keys are refused with the nearest valid name.

        Raises:
            InvalidInput: unknown keys, or values out of range.
        """
        check = Checker("hardware.")
        if not isinstance(values, Mapping):
            raise InvalidInput.of("hardware", values, "a mapping of field names to values", "Give a dict.")
        unknown_keys(check, values, [f.name for f in fields(cls)])
        check.done()
        return cls(**values)

    @classmethod
    def from_toml(cls, path: str | Path) -> Hardware:
        """Read a TOML file: the fields at top level, or in a table ``[hardware]``.

        Raises:
            InvalidInput: the file cannot be read or parsed, unknown keys, values out of range.
        """
        from powerplan.hardware.toml import read_hardware

        return read_hardware(path)
