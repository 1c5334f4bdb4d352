"""The cheapest gains on given steps, with a proven bound: outer approximation by branch and bound.

With x = log gains, f = log objective and h_k = log(constraint_k / bound_k), all convex in x (a geometric program),
every visited point y gives planes that lie below f and h everywhere. The master problem

    min t   s.t.   f(y) + ∇f(y)·(x − y) ≤ t,   h_k(y) + ∇h_k(y)·(x − y) ≤ 0   for all visited y,   x on the steps

is a mixed-integer linear program (solved by HiGHS, branch and bound over the linearised relaxation): its optimum
bounds the objective of every choice of steps from below. Its solution is evaluated by the full predictor, becomes
the incumbent if it is feasible and better, and adds its own planes; no choice is visited twice. When the master has
nothing cheaper left, the incumbent is optimal.

f and h of the full predictor are convex only as far as it is a geometric program. Every visited point is therefore
checked against every plane; a plane found above the predictor is lowered to it, and the largest such correction is
reported (``convexity_violation``). A bound with a correction of 0 is proven under convexity; otherwise it is the bound
of the corrected planes: it holds at every visited point.

For very many gains (columns) a Lagrangian rounding of the continuous optimum stands alone, bounded by that optimum.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from powerplan.errors import SolverFailed

#: log objective below which two plans count as equally good; above the tolerances of the linear solver
TIE = 5e-6
#: most gains with steps for which optimality is proven; more are rounded and bounded by the continuous optimum
MOST_SEARCHED = 64
#: a plane this far above a visited point counts as a violation of convexity
_ROUNDING = 1e-8
_MOST_MASTERS = 2000
#: scipy's status of an infeasible program
_INFEASIBLE = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """The predictor at x: log objective, log(constraint / bound) (m,), and their gradients (n,), (m, n)."""

    x: np.ndarray
    objective: float
    excess: np.ndarray
    gradient: np.ndarray
    slopes: np.ndarray

    @property
    def is_feasible(self) -> bool:
        """True if every constraint is met."""
        return bool((self.excess <= 0).all())


@dataclass(frozen=True, kw_only=True, eq=False)
class StepSearch:
    """A problem on steps.

    Attributes:
        levels: per gain its log steps in increasing order, or None for a continuous gain.
        lower, upper: limits of x (n,).
        point: the predictor with gradients at x.
        excess: log(constraint / bound) (m,) at x, without gradients.
        complete: the best point with the stepped gains held at x: evaluates x where every gain has steps; otherwise it
            optimises the continuous ones, or makes the constraint as small as it can where they cannot meet it.
        stop_at: ``time.monotonic()`` value after which the best point so far is returned.
        progress: called with the number of choices visited.
    """

    levels: tuple[np.ndarray | None, ...]
    lower: np.ndarray
    upper: np.ndarray
    point: Callable[[np.ndarray], Point]
    excess: Callable[[np.ndarray], np.ndarray]
    complete: Callable[[np.ndarray], Point]
    stop_at: float | None = None
    progress: Callable[[int], None] | None = None

    @property
    def stepped(self) -> tuple[int, ...]:
        """The gains with steps."""
        return tuple(i for i, steps in enumerate(self.levels) if steps is not None)

    @property
    def late(self) -> bool:
        """True once the deadline has passed."""
        return self.stop_at is not None and time.monotonic() > self.stop_at


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The best point on the steps (None if none meets the constraints) and what bounds it.

    Attributes:
        bound: lower bound on the log objective of every choice of steps; inf if there is no feasible one.
        method: "branch_and_bound" or "rounding".
        nodes: nodes of the branch and bound trees.
        visited: choices of steps evaluated by the full predictor.
        convexity_violation: largest correction of a plane (in log); 0 if all points visited were convex.
        late: the deadline ended the search.
    """

    best: Point | None
    bound: float
    method: str
    nodes: int
    visited: int
    convexity_violation: float
    late: bool


def search(problem: StepSearch, relaxed: Point, duals: np.ndarray, bound: float) -> Found:
    """The best choice of steps.

    Args:
        relaxed: the continuous optimum.
        duals: (m,) multipliers of its constraints, d objective / d log bound, >= 0.
        bound: lower bound on the log objective of the continuous problem.
    """
    rounded = round_to_steps(problem, relaxed, duals)
    if len(problem.stepped) > MOST_SEARCHED:
        best = rounded if rounded is not None and rounded.is_feasible else None
        return Found(
            best=best,
            bound=bound,
            method="rounding",
            nodes=0,
            visited=1,
            convexity_violation=0.0,
            late=problem.late,
        )
    return _Approximation(problem, relaxed, bound).run(rounded)


def round_to_steps(problem: StepSearch, relaxed: Point, duals: np.ndarray) -> Point | None:
    """Lagrangian rounding of a continuous optimum; None if no multiplier gives a feasible choice.

    Near the optimum objective and constraints are sums over the gains of g_i e^{aδ_i}/a: each gain takes the step that
    minimises its own share of objective + μ·duals·constraints, and μ is the smallest for which the predictor meets the
    constraints. Two rounds: the second linearises at the first's answer.
    """
    best: Point | None = None
    here = relaxed
    for _ in range(3):
        moved = _rounded_once(problem, here, duals)
        if moved is None or (best is not None and moved.objective >= best.objective):
            break
        best = here = moved
        if problem.late:
            break
    return best


def _rounded_once(problem: StepSearch, here: Point, duals: np.ndarray) -> Point | None:
    pull = duals @ here.slopes if duals.any() else here.slopes.sum(0)
    stepped = np.array(problem.stepped)
    most = max(len(problem.levels[i]) for i in stepped)  # type: ignore[arg-type]
    steps = np.array([np.pad(problem.levels[i], (0, most - len(problem.levels[i])), mode="edge") for i in stepped])  # type: ignore[arg-type]
    shift = steps - here.x[stepped, None]
    cost = _grown(here.gradient[stepped, None], shift)
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
        done = problem.complete(corner)
        return done if done.is_feasible else None
    for _ in range(40):
        middle = (low + high) / 2
        if problem.excess(choice(middle)).max() <= 0:
            high = middle
        else:
            low = middle
        if problem.late or np.array_equal(choice(low), choice(high)):
            break
    done = problem.complete(choice(high))
    return done if done.is_feasible else None


def _grown(slope: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What a share of slope g becomes after a shift δ: rising shares grow as e^δ, falling ones as e^{−2δ}."""
    with np.errstate(over="ignore"):
        return np.where(slope > 0, slope * np.expm1(shift), slope * -np.expm1(-2 * shift) / 2)


class _Planes:
    """Planes under one convex function: value v, slope a and anchor y of each, v + a·(x − y)."""

    def __init__(self, size: int) -> None:
        self.offsets = np.zeros(0)  # v − a·y
        self.slopes = np.zeros((0, size))
        self.points = np.zeros((0, size))
        self.values = np.zeros(0)
        self.violation = 0.0

    def add(self, x: np.ndarray, value: float, slope: np.ndarray) -> None:
        """Add the plane at x; planes above a known point are lowered to it."""
        above = self.offsets + self.slopes @ x - value
        self._note(above)
        self.offsets = self.offsets - np.where(above > _ROUNDING, above, 0.0)
        offset = value - float(slope @ x)
        excess = float(np.max(offset + self.points @ slope - self.values, initial=0.0))
        self._note(np.array([excess]))
        self.offsets = np.append(self.offsets, offset - (excess if excess > _ROUNDING else 0.0))
        self.slopes = np.vstack([self.slopes, slope])
        self.points = np.vstack([self.points, x])
        self.values = np.append(self.values, value)

    def _note(self, above: np.ndarray) -> None:
        worst = float(np.max(above, initial=0.0))
        if worst > _ROUNDING:
            self.violation = max(self.violation, worst)


class _Approximation:
    """The outer approximation of one problem: planes, incumbent and bound."""

    def __init__(self, problem: StepSearch, relaxed: Point, bound: float) -> None:
        self.problem = problem
        self.origin = relaxed.objective  # the master's numbers stay near zero
        self.objective = _Planes(len(relaxed.x))
        self.constraints = [_Planes(len(relaxed.x)) for _ in relaxed.excess]
        self.bound = bound
        self.best: Point | None = None
        self.nodes = 0
        self.tried: list[tuple[int, ...]] = []
        self._learn(relaxed)

    def run(self, start: Point | None) -> Found:
        if start is not None:
            self._visit(start)
        while not self.problem.late and len(self.tried) < _MOST_MASTERS:
            if self.problem.progress:
                self.problem.progress(len(self.tried))
            chosen = self._master()
            if chosen is None:
                break
            self._visit(self.problem.complete(chosen))
        if self.problem.late or len(self.tried) >= _MOST_MASTERS:
            return self._found(late=True)
        # nothing cheaper is left
        self.bound = np.inf if self.best is None else max(self.bound, self.best.objective - TIE)
        return self._found(late=False)

    def _found(self, *, late: bool) -> Found:
        violation = max([self.objective.violation, *(c.violation for c in self.constraints)])
        return Found(
            best=self.best,
            bound=self.bound,
            method="branch_and_bound",
            nodes=self.nodes,
            visited=len(self.tried),
            convexity_violation=violation,
            late=late,
        )

    def _learn(self, point: Point) -> None:
        self.objective.add(point.x, point.objective - self.origin, point.gradient)
        for planes, excess, slope in zip(self.constraints, point.excess, point.slopes, strict=True):
            planes.add(point.x, float(excess), slope)

    def _visit(self, point: Point) -> None:
        self._learn(point)
        self.tried.append(self._indices(point.x))
        if point.is_feasible and (self.best is None or point.objective < self.best.objective):
            self.best = point

    def _indices(self, x: np.ndarray) -> tuple[int, ...]:
        return tuple(int(np.abs(self.problem.levels[i] - x[i]).argmin()) for i in self.problem.stepped)  # type: ignore[operator]

    def _master(self) -> np.ndarray | None:
        """A choice of steps that may beat the incumbent; None if there is none left."""
        problem = self.problem
        n = len(problem.levels)
        counts = [len(problem.levels[i]) for i in problem.stepped]  # type: ignore[arg-type]
        starts = 1 + n + np.concatenate([[0], np.cumsum(counts)]).astype(int)
        size = int(starts[-1])
        top = np.inf if self.best is None else self.best.objective - self.origin - TIE
        rows: list[sparse.csr_matrix | np.ndarray] = []
        highs: list[np.ndarray] = []
        lows: list[np.ndarray] = []

        def plane_rows(planes: _Planes, with_t: bool) -> None:
            block = np.zeros((len(planes.offsets), size))
            block[:, 1 : 1 + n] = planes.slopes
            block[:, 0] = -1.0 if with_t else 0.0
            rows.append(sparse.csr_matrix(block))
            highs.append(-planes.offsets)
            lows.append(np.full(len(planes.offsets), -np.inf))

        plane_rows(self.objective, True)
        for planes in self.constraints:
            plane_rows(planes, False)
        link = sparse.lil_matrix((2 * len(counts), size))
        for k, i in enumerate(problem.stepped):
            link[2 * k, starts[k] : starts[k + 1]] = 1.0
            link[2 * k + 1, starts[k] : starts[k + 1]] = problem.levels[i]
            link[2 * k + 1, 1 + i] = -1.0
        exact = np.tile([1.0, 0.0], len(counts))
        rows.append(link.tocsr())
        highs.append(exact)
        lows.append(exact)
        seen = sparse.lil_matrix((len(self.tried), size))
        for row, indices in enumerate(self.tried):
            for k, index in enumerate(indices):
                seen[row, starts[k] + index] = 1.0
        rows.append(seen.tocsr())
        highs.append(np.full(len(self.tried), len(counts) - 1.0))
        lows.append(np.full(len(self.tried), -np.inf))

        integrality = np.concatenate([np.zeros(1 + n), np.ones(size - 1 - n)])
        lower = np.concatenate([[self.bound - self.origin], problem.lower, np.zeros(size - 1 - n)])
        upper = np.concatenate([[top], problem.upper, np.ones(size - 1 - n)])
        if lower[0] > upper[0]:
            return None
        options: dict[str, float] = {"mip_rel_gap": 0.0}
        if problem.stop_at is not None:
            options["time_limit"] = max(problem.stop_at - time.monotonic(), 0.01)
        answer = optimize.milp(
            np.eye(1, size)[0],
            integrality=integrality,
            bounds=optimize.Bounds(lower, upper),
            constraints=optimize.LinearConstraint(sparse.vstack(rows), np.concatenate(lows), np.concatenate(highs)),
            options=options,
        )
        self.nodes += int(getattr(answer, "mip_node_count", None) or 0) + 1
        dual = getattr(answer, "mip_dual_bound", None)
        if dual is not None and np.isfinite(dual):
            reached = np.inf if self.best is None else self.best.objective
            self.bound = max(self.bound, min(float(dual) + self.origin - TIE, reached))
        if answer.status == _INFEASIBLE:
            return None
        if answer.x is None:
            if problem.late:
                return None
            raise SolverFailed(f"Branch and bound over the steps: {answer.message}")
        x = np.clip(answer.x[1 : 1 + n], problem.lower, problem.upper)
        for k, i in enumerate(problem.stepped):
            x[i] = problem.levels[i][int(answer.x[starts[k] : starts[k + 1]].argmax())]  # type: ignore[index]
        return np.asarray(x)
