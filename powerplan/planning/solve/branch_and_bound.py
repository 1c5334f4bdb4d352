"""The cheapest gains on given steps, with a proven bound: outer approximation by branch and bound.

Objective and constraints are sums of terms, convex in x = log gains (a geometric program: every term is close to a
monomial). Every visited point y then gives a plane below each term F everywhere, F(y) + ∇F(y)·(x − y), and the
master problem

    min Σ_m t_m   s.t.   planes of objective term m ≤ t_m,   planes of constraint term m ≤ z_m,
                         Σ_m z_m ≤ bound of each constraint,   x on the steps

is a mixed-integer linear program (solved by HiGHS, branch and bound over the linearised relaxation): its optimum
bounds the objective of every choice of steps from below. Its solution is evaluated by the full predictor, becomes
the incumbent if it is feasible and better, and adds its own planes; no choice is visited twice. When the master has
nothing cheaper left, the incumbent is optimal.

A first pass lays planes under the logarithms of the sums, one term each; where that does not close the gap, a second
one lays them under every single term: these combine freely, so that few points suffice.

The full predictor is convex only as far as it is a geometric program. Every visited point is therefore checked against
every plane: a plane found above the predictor is lowered to it, the largest such correction v is reported
(``convexity_violation``), constraints are loosened to 1 + v and the bound is lowered by v. The bound is proven if sums
(first pass) or terms (second pass) are convex, and otherwise if they are nowhere further from it than at the visited
points.

Where more gains than terms have steps (columns), planes cannot tell the gains of a term apart: up to a dozen gains the
first pass is made alone; beyond, a Lagrangian rounding of the continuous optimum stands alone, bounded by that optimum.

Why: docs/decisions/many-gains.md [0130, 0250].
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from scipy import optimize, sparse

from powerplan.planning import policy
from powerplan.planning.iterate import Iterate
from powerplan.planning.solve.master import INFEASIBLE, Master
from powerplan.planning.solve.planes import Planes
from powerplan.planning.solve.rounding import round_to_steps
from powerplan.planning.solve.step_search import Choice, SearchResult, StepSearch


def search(problem: StepSearch, relaxed: Choice, duals: np.ndarray, bound: float) -> SearchResult:
    """The best choice of steps.

    Args:
        relaxed: the continuous optimum.
        duals: (m,) multipliers of its constraints, −d log objective / d log bound, >= 0.
        bound: lower bound on the objective of the continuous problem.
    """
    rounded = round_to_steps(problem, relaxed, duals)
    terms = len(relaxed.cost.terms) + sum(len(c.terms) for c in relaxed.constraints)
    by_term = len(problem.stepped) <= min(terms, policy.MOST_SEARCHED)
    if not by_term and len(problem.stepped) > policy.FEW_SEARCHED:
        return SearchResult(
            best=rounded,
            bound=bound,
            method="rounding",
            nodes=0,
            visited=1,
            convexity_violation=0.0,
            late=problem.late,
        )
    first = _Approximation(problem, relaxed, bound, by_term=False, most_nodes=policy.FIRST_NODES).run(rounded)
    if (
        not by_term
        or first.best is None
        or first.late
        or first.best.objective <= first.bound * (1 + policy.ACCEPTED_GAP)
    ):
        return first
    second = _Approximation(problem, relaxed, bound, by_term=True, most_nodes=policy.MOST_NODES).run(first.best)
    assert second.best is not None
    better = second.bound >= first.bound
    return replace(
        second if better else first,
        best=second.best,
        nodes=first.nodes + second.nodes,
        visited=first.visited + second.visited,
        late=second.late,
    )


class _Approximation:
    """The outer approximation of one problem: planes, incumbent and bound.

    The variables of its programs are x (n), the terms of the objective over the continuous optimum, the terms of every
    constraint over its bound, and for the master one binary per step.
    """

    def __init__(self, problem: StepSearch, relaxed: Choice, bound: float, *, by_term: bool, most_nodes: int) -> None:
        self.problem, self.bound, self.most_nodes = problem, bound, most_nodes
        self.cost = Planes(relaxed.cost, relaxed.objective, by_term)
        self.sums = [self.cost, *(Planes(c, 1.0, by_term) for c in relaxed.constraints)]
        choices = math.prod(float(len(np.asarray(problem.levels[i]))) for i in problem.stepped)
        self.accepted = policy.TIE if choices <= policy.MOST_EXACT else policy.ACCEPTED_GAP
        self.best: Choice | None = None
        self.nodes = 0
        self.tried: list[np.ndarray] = []
        self.window = {i: np.asarray(problem.levels[i]) for i in problem.stepped}  # steps still worth a look
        self._learn(relaxed)
        if by_term and not problem.late:
            self._probe(relaxed.x)

    def run(self, start: Choice | None) -> SearchResult:
        if start is not None:
            self._visit(start)
        while not self.problem.late and self.nodes < self.most_nodes:
            best = None if self.best is None else self.best.objective
            bound = self.bound if np.isfinite(self.bound) else None
            self.problem.on_step(Iterate(iteration=len(self.tried), objective=best, bound=bound))
            if self.best is not None and self.best.objective <= self.bound * (1 + self.accepted):
                break
            chosen = self._master()
            if chosen is None:
                break
            self._visit(self.problem.complete(chosen))
        return SearchResult(
            best=self.best,
            bound=self.bound,
            method="branch_and_bound",
            nodes=self.nodes,
            visited=len(self.tried),
            convexity_violation=max(planes.violation for planes in self.sums),
            late=self.problem.late,
        )

    def _learn(self, point: Choice) -> None:
        for planes, values in zip(self.sums, (point.cost, *point.constraints), strict=True):
            planes.add(point.x, values)

    def _probe(self, x: np.ndarray) -> None:
        """Planes at the steps next to the continuous optimum."""
        for offset in range(-policy.PROBED_STEPS, policy.PROBED_STEPS):
            near = x.copy()
            for i, steps in self.window.items():
                near[i] = steps[np.clip(np.searchsorted(steps, x[i]) + offset, 0, len(steps) - 1)]
            self._learn(self.problem.point(near))

    def _visit(self, point: Choice) -> None:
        self._learn(point)
        self.tried.append(point.x)
        if point.is_feasible and (self.best is None or point.objective < self.best.objective):
            self.best = point

    def _exhausted(self) -> None:
        """Nothing better than the incumbent is left."""
        self.bound = np.inf if self.best is None else max(self.bound, self._floor(self.best.objective))

    def _floor(self, objective: float) -> float:
        """An objective found by the planes, less their error and the solver's."""
        return self.cost.total(self.cost.measure(objective) - self.cost.violation) * (1 - policy.TIE)

    @property
    def _top(self) -> float:
        """What the objective's terms of a choice worth visiting sum to at most."""
        return np.inf if self.best is None else self.cost.measure(self.best.objective * (1 - policy.TIE))

    def _relaxation(self) -> tuple[sparse.csr_matrix, np.ndarray]:
        """Rows and right-hand sides (A v ≤ b) of planes, bounds and incumbent over v = (x, terms)."""
        n, count = len(self.problem.levels), sum(planes.offsets.shape[1] for planes in self.sums)
        rows, highs, first = [], [], n
        for planes in self.sums:
            laid, terms = planes.offsets.shape
            picks = np.tile(np.eye(terms), (laid, 1))
            block = sparse.lil_matrix((laid * terms + 1, n + count))
            block[:-1, :n] = planes.slopes.reshape(-1, n)
            block[:-1, first : first + terms] = -picks
            block[-1, first : first + terms] = 1.0
            rows.append(block.tocsr())
            most = self._top if planes is self.cost else 1 + planes.violation
            highs.append(np.append(-planes.offsets.reshape(-1), most))
            first += terms
        return sparse.vstack(rows, format="csr"), np.concatenate(highs)

    def _narrow(self, rows: sparse.csr_matrix, highs: np.ndarray) -> bool:
        """Drop the steps that no point better than the incumbent can have; False if a gain has none left.

        The range of each gain over the relaxed master (a linear program) with the objective below the incumbent.
        """
        problem, n = self.problem, len(self.problem.levels)
        if self.best is None or sum(map(len, self.window.values())) <= policy.FEW_STEPS * len(self.window):
            return True
        bounds = [*zip(problem.lower, problem.upper, strict=True), *[(None, None)] * (rows.shape[1] - n)]
        for i in problem.stepped:
            for sign in (1.0, -1.0):
                if problem.late:
                    return True
                answer = optimize.linprog(sign * np.eye(1, rows.shape[1], i)[0], A_ub=rows, b_ub=highs, bounds=bounds)
                if answer.status == INFEASIBLE:
                    return False
                if answer.status == 0:
                    edge = float(answer.fun) - policy.RANGE_SLACK
                    self.window[i] = self.window[i][sign * self.window[i] >= edge]
            if not len(self.window[i]):
                return False
        return True

    def _master(self) -> np.ndarray | None:
        """A choice of steps that may beat the incumbent; None if there is none left, or a limit is reached."""
        problem = self.problem
        rows, highs = self._relaxation()
        if not self._narrow(rows, highs):
            self._exhausted()
            return None
        master = Master(
            rows=rows,
            highs=highs,
            objective_terms=self.cost.offsets.shape[1],
            lower=problem.lower,
            upper=problem.upper,
            window=self.window,
            tried=self.tried,
        )
        time_left = None if problem.stop_at is None else max(problem.stop_at - time.monotonic(), 0.01)
        answer = master.solve(gap=0.1 * self.accepted, most_nodes=self.most_nodes - self.nodes, time_left=time_left)
        self.nodes += answer.nodes
        if answer.is_infeasible:
            self._exhausted()
            return None
        if answer.bound is not None:
            reached = np.inf if self.best is None else self.best.objective
            self.bound = max(self.bound, min(self._floor(self.cost.total(answer.bound)), reached))
        return answer.chosen
