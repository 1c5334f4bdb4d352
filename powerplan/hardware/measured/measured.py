"""What a table of measurements says of devices: levels at each time, and the curves through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from powerplan.checks import Checker
from powerplan.hardware.aging import Snapshot
from powerplan.hardware.curves import Curve, Polynomial, Table
from powerplan.hardware.measured.levels import Levels, Readings, levels_of
from powerplan.hardware.measured.table import read_table
from powerplan.settings import Whole

_DEGREE = Whole(at_least=1, at_most=8, advice="A low degree follows the levels without their noise.")
_READINGS = Whole(at_least=3, at_most=2**31, advice="A spread needs a few.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A curve through the levels at one time, and what is left of them.

    Attributes:
        curve: of the target.
        residuals: (L,) [S], of the levels less the curve.
        in_standard_errors: (L,) the same over their standard errors; NaN where the number of readings is not known.
    """

    curve: Curve
    residuals: np.ndarray
    in_standard_errors: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Levels of measured devices at each time, and curves through them.

    Attributes:
        source: the file.
        levels: at each time, rising.
        readings: of single devices, at each time; empty where moments were given.
        notes: what was made of the table.
        degree: of the polynomials through means and spreads; None = straight lines from level to level.
    """

    source: str
    levels: tuple[Levels, ...]
    readings: tuple[Readings, ...]
    notes: tuple[str, ...]
    degree: int | None = None

    @property
    def conductances(self) -> tuple[float, float]:
        """The range [S] that was measured at every time."""
        low = max(float(levels.target[0]) for levels in self.levels)
        return max(low, 0.0), min(float(levels.target[-1]) for levels in self.levels)

    @property
    def times(self) -> tuple[float, ...]:
        """When devices were read [s after programming]."""
        return tuple(levels.time for levels in self.levels)

    def mean_fit(self, levels: Levels) -> Fit:
        """The mean as a function of the target, at the time of these levels."""
        return self._fit(levels.target, levels.mean, levels.mean_standard_error)

    def std_fit(self, levels: Levels) -> Fit:
        """The standard deviation as a function of the target, at the time of these levels."""
        return self._fit(levels.target, levels.std, levels.std_standard_error)

    def _fit(self, target: np.ndarray, values: np.ndarray, errors: np.ndarray) -> Fit:
        if self.degree is None:
            return Fit(
                curve=Table(reference=1.0, points=target.tolist(), values=values.tolist()),
                residuals=np.zeros(len(target)),
                in_standard_errors=np.where(np.isnan(errors), np.nan, 0.0),
            )
        reference = self.conductances[1]
        weights = None if np.isnan(errors).any() or not errors.all() else 1 / errors
        degree = min(self.degree, len(target) - 1)
        fitted = np.polynomial.Polynomial.fit(target / reference, values, degree, w=weights).convert()
        residuals = values - fitted(target / reference)
        return Fit(
            curve=Polynomial(reference=reference, coefficients=tuple(map(float, fitted.coef))),
            residuals=residuals,
            in_standard_errors=residuals / np.where(errors > 0, errors, np.nan),
        )

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Mean and spread at each time, as the hardware takes them."""
        return tuple(
            Snapshot(time=levels.time, mean=self.mean_fit(levels).curve, std=self.std_fit(levels).curve)
            for levels in self.levels
        )

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of hardware of these devices: the range that was measured, at the last time of reading."""
        low, high = self.conductances
        return {
            "conductance_min": low,
            "conductance_max": high,
            "time": self.times[-1],
            "measurements": self.snapshots(),
        }

    @classmethod
    def read(
        cls, path: str | Path, *, columns: str | Sequence[str] | None, degree: int | None, least_readings: int
    ) -> Self:
        """See :func:`powerplan.read_measurements`."""
        check = Checker()
        if degree is not None:
            degree = _DEGREE.checked(check, "degree", degree)
        least_readings = _READINGS.checked(check, "least_readings", least_readings)
        check.done()
        table = read_table(path, columns)
        levels, readings, notes = levels_of(table, least_readings)
        counted = [f"{table.rows} rows read"]
        if table.incomplete:
            counted.append(f"{table.incomplete} of them left out for a gap")
        if table.of_no_use:
            counted.append(f"columns not used: {', '.join(table.of_no_use)}")
        return cls(
            source=str(path), levels=levels, readings=readings, notes=("; ".join(counted), *notes), degree=degree
        )
