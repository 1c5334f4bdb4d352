"""Readings of single devices, or published moments, as levels: mean and spread of what was programmed alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware.measured.table import Table

#: targets that are equal but for rounding, as a share of the largest
_SAME_TARGET = 1e-6
#: times that are one reading of an array, which takes a while: each at most so many times the one before
_SAME_TIME = 1.3
#: the least share of targets with enough readings, for them to be levels
_REPEATED = 0.5
#: bins of targets that do not repeat: at most so many, of at least so many readings
_BINS, _PER_BIN = 32, 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """What devices hold a time after programming, by what they were programmed to.

    Attributes:
        time: [s].
        target, mean, std: (L,) [S], by rising target.
        count: (L,) readings of each; 0 where moments were given.
        mean_standard_error, std_standard_error: (L,) [S]; NaN where moments were given.
    """

    time: float
    target: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    count: np.ndarray
    mean_standard_error: np.ndarray
    std_standard_error: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """Single devices at a time, (N,) each [S]: what they were programmed to and what they hold."""

    time: float
    target: np.ndarray
    measured: np.ndarray


def levels_of(table: Table, least_readings: int) -> tuple[tuple[Levels, ...], tuple[Readings, ...], tuple[str, ...]]:
    """The levels at each time, the readings behind them (none of moments), and what to know of them.

    Raises:
        InvalidInput: fewer than two levels at a time, or levels whose target nothing tells.
    """
    values = table.values
    times, notes = _times(values.get("time", np.zeros(1)))
    times = np.broadcast_to(times, next(iter(values.values())).shape)
    targets, more = _targets(table, times)
    notes += more
    every, readings, few = [], [], []
    for time in np.unique(times):
        here = times == time
        if "mean" in values:
            levels = _pooled(float(time), targets[here], values["mean"][here], values["std"][here])
        else:
            readings.append(Readings(time=float(time), target=targets[here], measured=values["measured"][here]))
            levels, said, left_out = _of_readings(readings[-1], least_readings)
            notes += said
            few += [f"{left_out} at {time:g} s"] if left_out else []
        if len(levels.target) < 2:
            raise InvalidInput.of(
                "measurements",
                f"{len(levels.target)} level at {time:g} s",
                f"at least 2 levels, of at least {least_readings} readings each, at every time",
                "Measure more levels, or more devices, or leave this time out.",
            )
        every.append(levels)
    if few:
        notes.append(f"levels of fewer than {least_readings} readings left out: {', '.join(few)}")
    return tuple(every), tuple(readings), tuple(notes)


def _times(times: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Times of one reading of an array brought to their median."""
    distinct = np.unique(times)
    starts = [0] + [i for i in range(1, len(distinct)) if distinct[i] > _SAME_TIME * distinct[i - 1]]
    if len(starts) == len(distinct):
        return times, []
    edges = distinct[starts]
    group = np.searchsorted(edges, times, side="right") - 1
    centres = np.array([np.median(times[group == k]) for k in range(len(edges))])
    return centres[group], [f"{len(distinct)} times of reading brought to {len(edges)}, the median of each"]


def _targets(table: Table, times: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """What the device of each row was programmed to [S]."""
    values = table.values
    if "target" in values:
        return _merged(values["target"]), []
    if "level" not in values:
        return _merged(values["programmed"]), []
    names, level = np.unique(values["level"], return_inverse=True)
    of, first = values.get("programmed"), np.ones(len(times), dtype=bool)
    said = "what was read just after programming"
    if of is None:
        of, first = values.get("measured", values.get("mean")), times == times.min()
        said = f"what was read first, at {times.min():g} s"
    assert of is not None
    known = np.bincount(level[first], minlength=len(names))
    if not known.all():
        raise InvalidInput.of(
            "measurements",
            f"level {names[int(np.argmin(known))]}",
            f"levels that were all read at the first time, {times.min():g} s",
            "Add a column with the target, or what was read just after programming (programmed).",
        )
    means = np.bincount(level[first], weights=of[first], minlength=len(names)) / known
    return means[level], [f"the target of each of {len(names)} levels is the mean of {said}"]


def _merged(targets: np.ndarray) -> np.ndarray:
    """Targets that are equal but for rounding made one."""
    order = np.argsort(targets, kind="stable")
    jumps = np.diff(targets[order]) > _SAME_TARGET * np.abs(targets).max()
    group = np.empty(len(targets), dtype=int)
    group[order] = np.concatenate(([0], np.cumsum(jumps)))
    lowest = targets[order][np.concatenate(([True], jumps))]  # equal targets are their own mean, to the last digit
    means: np.ndarray = lowest + np.bincount(group, weights=targets - lowest[group]) / np.bincount(group)
    return means[group]


def _of_readings(readings: Readings, least: int) -> tuple[Levels, list[str], int]:
    """Moments of every level of at least so many readings, what to know of them, and how many levels had fewer."""
    groups, notes = _groups(readings, least)
    rows = []
    for members in groups:
        if len(members) < least:
            continue
        target, measured = readings.target[members], readings.measured[members]
        centre = target[0] + (target - target[0]).mean()  # of equal targets their own value, to the last digit
        apart, error = target - centre, measured - target
        # targets of one bin differ: what errors owe to that is no spread
        slope = float(apart @ error) / float(apart @ apart) if apart.any() else 0.0
        rest = error - error.mean() - slope * apart
        spread = float(np.sqrt(rest @ rest / (len(members) - 1 - int(apart.any()))))
        rows.append((centre, measured.mean(), spread, len(members), _kurtosis(rest)))
    target, mean, std, count, kurtosis = np.array(rows).T if rows else np.zeros((5, 0))
    levels = Levels(
        time=readings.time,
        target=target,
        mean=mean,
        std=std,
        count=count.astype(int),
        mean_standard_error=std / np.sqrt(count),
        std_standard_error=std * np.sqrt((kurtosis - 1) / count) / 2,  # of Var s² = σ⁴ (κ − 1)/n
    )
    return levels, notes, len(groups) - len(rows)


def _kurtosis(rest: np.ndarray) -> float:
    """E x⁴ / (E x²)² of readings about their mean, at least that of Gaussian ones, which few readings fall short of."""
    square = float(rest @ rest) / len(rest)
    return max(3.0, float(np.mean(rest**4)) / square**2) if square > 0 else 3.0


def _groups(readings: Readings, least: int) -> tuple[list[np.ndarray], list[str]]:
    """Indices of the readings of each level, by rising target; targets that do not repeat are gathered in bins."""
    order = np.argsort(readings.target, kind="stable")
    edges = np.flatnonzero(np.diff(readings.target[order])) + 1
    levels = np.split(order, edges)
    if sum(len(level) >= least for level in levels) >= _REPEATED * len(levels):
        return levels, []
    bins = min(_BINS, len(order) // _PER_BIN)
    if bins < 2:
        return levels, []
    said = f"{len(levels)} different targets at {readings.time:g} s gathered in {bins} bins of equally many readings"
    return np.array_split(order, bins), [said]


def _pooled(time: float, target: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Levels:
    """Moments that were given; those of one target are pooled with equal weights."""
    levels, group = np.unique(target, return_inverse=True)
    count = np.bincount(group)
    means = np.bincount(group, weights=mean) / count
    stds = np.sqrt(np.bincount(group, weights=std**2 + (mean - means[group]) ** 2) / count)
    unknown = np.full(len(levels), np.nan)
    return Levels(
        time=time,
        target=levels,
        mean=means,
        std=stds,
        count=np.zeros(len(levels), dtype=int),
        mean_standard_error=unknown,
        std_standard_error=unknown,
    )
