"""Measurements of a technology: what was read, in words, and the hardware that it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.measured.measured import Measured
from powerplan.shown import view

_MICRO = 1e6


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements(Measured):
    """What a table of measurements says of devices; ``print`` it for a report."""

    def hardware(self, **changes: Any) -> Hardware:
        """Hardware of these devices: the range that was measured, at the last time of reading, unless changed.

        Raises:
            InvalidInput: fields out of range, or a range beyond what was measured.
        """
        return Hardware.from_dict({**self.fields, **changes})

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
    return Measurements.read(path, columns=columns, degree=degree, least_readings=least_readings)
