"""Lagrangian rounding of a continuous optimum to steps."""

from __future__ import annotations

import numpy as np

from powerplan.planning.solve.step_search import Choice, StepSearch


def round_to_steps(problem: StepSearch, relaxed: Choice, duals: np.ndarray) -> Choice | None:
    """Lagrangian rounding of a continuous optimum; None if no multiplier gives a feasible choice.

    Near the optimum objective and constraints are sums over the gains of g_i e^{aδ_i}/a: each gain takes the step that
    minimises its own share of objective + μ·duals·constraints, and μ is the smallest for which the predictor meets the
    constraints. Two rounds: the second linearises at the first's answer.
    """
    best: Choice | None = None
    here = relaxed
    for _ in range(3):
        moved = _rounded_once(problem, here, duals)
        if moved is None or (best is not None and moved.objective >= best.objective):
            break
        best = here = moved
        if problem.late:
            break
    return best


def _rounded_once(problem: StepSearch, here: Choice, duals: np.ndarray) -> Choice | None:
    slopes = np.stack([c.log_gradient for c in here.constraints])
    pull = duals @ slopes if duals.any() else slopes.sum(0)
    stepped = np.array(problem.stepped)
    most = max(len(problem.levels[i]) for i in stepped)
    steps = np.array([np.pad(problem.levels[i], (0, most - len(problem.levels[i])), mode="edge") for i in stepped])
    shift = steps - here.x[stepped, None]
    cost = _grown(here.cost.log_gradient[stepped, None], shift)
    gain = _grown(pull[stepped, None], shift)

    def choice(log_multiplier: float) -> np.ndarray:
        x = here.x.copy()
        picked = np.argmin(cost + np.exp(log_multiplier) * gain, axis=1)
        x[stepped] = np.take_along_axis(steps, picked[:, None], axis=1)[:, 0]
        return x

    low, high = -8.0, 8.0
    if problem.excess(choice(high)).max() > 0:
        corner = here.x.copy()
        corner[stepped] = np.where(pull[stepped] <= 0, steps[:, -1], steps[:, 0])
        completed = problem.complete(corner)
        return completed if completed.is_feasible else None
    for _ in range(40):
        middle = (low + high) / 2
        if problem.excess(choice(middle)).max() <= 0:
            high = middle
        else:
            low = middle
        if problem.late or np.array_equal(choice(low), choice(high)):
            break
    completed = problem.complete(choice(high))
    return completed if completed.is_feasible else None


def _grown(slope: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What a share of slope g becomes after a shift δ: rising shares grow as e^δ, falling ones as e^{−2δ}."""
    with np.errstate(over="ignore"):
        return np.asarray(np.where(slope > 0, slope * np.expm1(shift), slope * -np.expm1(-2 * shift) / 2))
