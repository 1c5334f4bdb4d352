"""Measurements of a technology: what was read, in words, and the hardware that it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from powerplan.checks import Checker
from powerplan.hardware.aging import Snapshot
from powerplan.hardware.curves import Curve, Polynomial, Table
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.measured.levels import Levels, Readings, levels_of
from powerplan.hardware.measured.table import read_table
from powerplan.settings import Whole
from powerplan.shown import view

_DEGREE = Whole(at_least=1, at_most=8, advice="A low degree follows the levels without their noise.")
_READINGS = Whole(at_least=3, at_most=2**31, advice="A spread needs a few.")
_MICRO = 1e6


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
class Measurements:
    """What a table of measurements says of devices; ``print`` it for a report.

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

    def hardware(self, **changes: Any) -> Hardware:
        """Hardware of these devices: the range that was measured, at the last time of reading, unless changed.

        Raises:
            InvalidInput: fields out of range, or a range beyond what was measured.
        """
        low, high = self.conductances
        fields = {"conductance_min": low, "conductance_max": high, "time": self.times[-1]}
        return Hardware.from_dict({**fields, "measurements": self.snapshots(), **changes})

    def plot(self, file: str | os.PathLike[str] | None = None) -> Any:
        """Figure of what was measured and of the curves through it, at each time (matplotlib, extra ``plot``)."""
        return view("plot_measurements")(self, file=file)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        low, high = (_MICRO * edge for edge in self.conductances)
        times = ", ".join(f"{time:g}" for time in self.times)
        yield f"{self.source}: devices of {low:.4g} to {high:.4g} uS, read at {times} s"
        yield from (f"    {note}" for note in self.notes)
        yield f"    {'time [s]':>10} {'levels':>7} {'readings':>9} {'mean - target [uS]':>24} {'spread [uS]':>20}"
        for levels in self.levels:
            shift = _MICRO * (levels.mean - levels.target)
            spread = _MICRO * levels.std
            readings = str(int(levels.count.sum())) if levels.count.any() else "-"
            yield (
                f"    {levels.time:>10g} {len(levels.target):>7} {readings:>9} "
                f"{f'{shift.min():+.3g} to {shift.max():+.3g}':>24} {f'{spread.min():.3g} to {spread.max():.3g}':>20}"
            )
        yield from self._of_fits()

    def _of_fits(self) -> Iterator[str]:
        if self.degree is None:
            yield "    mean and spread on straight lines from level to level"
            return
        yield f"    mean and spread by polynomials of degree {self.degree}; largest residuals:"
        for levels in self.levels:
            parts = []
            for name, fit in (("mean", self.mean_fit(levels)), ("spread", self.std_fit(levels))):
                worst = int(np.argmax(np.abs(fit.residuals)))
                off = fit.in_standard_errors[worst]
                errors = "" if np.isnan(off) else f" ({abs(off):.1f} standard errors)"
                parts.append(
                    f"{name} {_MICRO * fit.residuals[worst]:+.2g} uS at {_MICRO * levels.target[worst]:.3g} uS{errors}"
                )
            yield f"    {levels.time:>10g} s: {'; '.join(parts)}"


def read_measurements(
    path: str | Path,
    *,
    columns: str | Sequence[str] | None = None,
    degree: int | None = None,
    least_readings: int = 3,
) -> Measurements:
    """What a table of measurements says of devices.

    The table is text (.csv, .tsv, .txt), packed with gzip or not, in any order of rows, with repeats, comments (#) and
    gaps. Its columns are known by their names, which may have a unit in brackets:

    - ``target``: what the device was programmed to [S]; or ``level``, a number or name of it, or with a unit
      (``level [1.25 uS]``) a number of steps; or ``programmed``, what was read just after programming.
    - ``measured`` or ``resistance``, of a single device; or ``mean`` and ``std`` of many.
    - ``time`` after programming [s], 0 if there is none.

    Args:
        path: the file.
        columns: names of all columns in order, "-" for one to leave out; in place of those of the header.
        degree: of polynomials through means and spreads, 1 to 8; None = straight lines from level to level.
        least_readings: of a level, at least 3, at a time; levels of fewer are left out there.

    Raises:
        InvalidInput: no such file, columns that do not say what is needed, missing units, fewer than two levels.
        CorruptFile: a cell that is no number, rows of different lengths, no rows.
    """
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
    return Measurements(
        source=str(path), levels=levels, readings=readings, notes=("; ".join(counted), *notes), degree=degree
    )
