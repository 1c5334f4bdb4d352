"""Voltages fitted to the levels of the rows' converters.

With free voltages a plan is made on rounding averaged over gains, which is smooth. Where values without noise are
converted, in the first layers of a network, equal values round alike and the error ripples with the voltage. From the
averaged optimum on, each of these voltages is searched over the band of the average with the exact prediction, by the
Lagrangian

    log objective + Σ_r λ_r log(constraint_r/bound_r),

λ the duals of the averaged plan: it values what error a voltage saves at the price of the other gains. The best few,
and the voltage there was, are then *completed*, the other gains shifted until the worst exact constraint is tight, and
the cheapest of them is kept. So the target is met by the exact prediction.

Values that come from converters ripple as well: they lie on a lattice (:mod:`powerplan.moments.conversion.lattice`),
whose levels the next converter rounds alike, and the error jumps with its voltage. A shift of all gains can end at such
a jump, below the target; conductance gains, which move no level of a converter whose range follows the signal, are then
lowered alone.

Why: docs/decisions/read-out.md [0234, 0252].
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from powerplan.moments.conversion.staircase import BAND
from powerplan.planning import policy
from powerplan.planning.problem.problem import Problem, scale_onto


def fitted_to_levels(
    problem: Problem, averaged: np.ndarray, duals: np.ndarray, *, search: bool, stop_at: float | None
) -> np.ndarray | None:
    """The θ near the averaged plan that meets the exact constraints at the least objective found; None if none does.

    Args:
        problem: with the exact prediction.
        averaged: θ (n,) of the plan on averaged rounding.
        duals: (R,) λ of its constraints.
        search: look for better voltages; else all gains are only shifted.
        stop_at: ``time.monotonic()`` value after which no further voltage is searched.
    """
    fitted, best = None, averaged
    rippling = _rippling(problem) if search else []
    for i in rippling:
        if stop_at is not None and time.monotonic() > stop_at:
            break
        searched = _searched(problem, best, i, rippling, duals)
        if searched is not None:
            fitted = best = searched
    return _completed(problem, averaged) if fitted is None else fitted


def _completed(problem: Problem, theta: np.ndarray, fixed: np.ndarray | None = None) -> np.ndarray | None:
    """θ shifted onto the worst constraint, but for the entries held; None if no shift meets it.

    Where the shift ends at a jump below the bound, the conductance gains are lowered alone.
    """
    fixed = np.zeros(len(theta), dtype=bool) if fixed is None else fixed
    lower, upper = np.where(fixed, theta, problem.lower), np.where(fixed, theta, problem.upper)
    met = scale_onto(replace(problem, lower=lower, upper=upper), theta, first=0.0)
    moves = fixed | _voltages(problem)
    if met is None or moves.all() or problem.excess(met) >= -problem.accuracy:
        return met
    cheap = np.where(moves, met, problem.cheapest)
    alone = replace(problem, lower=np.minimum(met, cheap), upper=np.maximum(met, cheap))
    tight = scale_onto(alone, met, first=0.0)
    return met if tight is None or problem.objective(tight) > problem.objective(met) else tight


def _voltages(problem: Problem) -> np.ndarray:
    """Which entries of θ are voltages, (n,)."""
    layout = problem.terms.layout
    return np.array([entry.quantity == "voltage" for entry in layout.entries(range(layout.count))])


def _rippling(problem: Problem) -> list[int]:
    """The entries of θ that are the voltage of a layer whose inputs are converted without noise."""
    terms = problem.terms
    if not any(predictor.hardware.dac_bits for predictor in terms.predictors):
        return []
    network = terms.predictors[0].network
    exact = {
        i
        for i, nodes in enumerate(network.reads.values())
        if any(node.inputs[0] not in network.noisy for node in nodes)
    }
    return [
        i
        for i, entry in enumerate(terms.layout.entries(range(terms.layout.count)))
        if entry.quantity == "voltage" and entry.row is None and exact.intersection(entry.layers)
    ]


def _searched(
    problem: Problem, theta: np.ndarray, i: int, rippling: Sequence[int], duals: np.ndarray
) -> np.ndarray | None:
    """θ with the voltage i that costs least once completed by the gains that do not ripple; None if none can be."""
    step = BAND / policy.VOLTAGES_TRIED
    tried = [_at(theta, i, theta[i] + step * k) for k in range(-policy.VOLTAGES_TRIED, policy.VOLTAGES_TRIED + 1)]
    tried = [x for x in tried if problem.lower[i] <= x[i] <= problem.upper[i]]
    merits = []
    for x in tried:
        objective, *constraints = problem.terms.values(x)
        merits.append(np.log(objective.total) + duals @ problem.excesses_of(constraints))
    fixed = np.zeros(len(theta), dtype=bool)
    fixed[list(rippling)] = True
    if fixed.all():
        return _alone(problem, [theta, *tried], i, step)
    best = np.argsort(merits, kind="stable")[: policy.MOST_COMPLETED]
    completed = [_completed(problem, x, fixed) for x in (theta, *(tried[k] for k in best))]
    return min((x for x in completed if x is not None), key=problem.objective, default=None)


def _alone(problem: Problem, tried: Sequence[np.ndarray], i: int, step: float) -> np.ndarray | None:
    """The cheapest feasible voltage where no other gain completes it, clear of the jumps of the exact error."""
    feasible = [x for x in tried if problem.excess(x) <= 0]
    if not feasible:
        return None
    cheapest = min(feasible, key=problem.objective)
    ends = [
        _at(cheapest, i, float(np.clip(cheapest[i] + d, problem.lower[i], problem.upper[i]))) for d in (-step, step)
    ]
    tight = scale_onto(replace(problem, lower=ends[0], upper=ends[1]), cheapest, first=0.0)
    if tight is None:
        return cheapest
    clear = tight + np.sign(cheapest - tight) * np.minimum(policy.CLEAR_OF_JUMP, np.abs(cheapest - tight))
    return clear if problem.excess(clear) <= 0 else cheapest


def _at(theta: np.ndarray, i: int, value: float) -> np.ndarray:
    moved = theta.copy()
    moved[i] = value
    return moved
