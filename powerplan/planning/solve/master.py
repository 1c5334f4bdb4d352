"""The master problem of an outer approximation: a mixed-integer linear program over planes and steps.

Its variables are those of the planes' relaxation, x (n) and the terms, and one binary for every step that is still
worth a look: each gain takes one of its steps, and no choice that was tried is taken again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from powerplan.errors import SolverFailed
from powerplan.planning import policy
from powerplan.planning.solve.native_output import stdout_to_stderr

#: scipy's status of a program stopped by a limit, and of an infeasible one
_LIMIT, INFEASIBLE = 1, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What the solver says.

    Attributes:
        chosen: x (n,) on steps; None where none was found.
        bound: on the sum of the objective's terms, from below; None where it has none.
        nodes: looked at.
    """

    chosen: np.ndarray | None
    bound: float | None
    nodes: int
    is_infeasible: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Master:
    """One program.

    Attributes:
        rows, highs: A v ≤ b of planes, bounds and incumbent over v = (x, terms).
        objective_terms: number of the terms that are the objective, which come first.
        lower, upper: limits of x (n,).
        window: the steps of every gain, by its place in x.
        tried: x that were visited.
    """

    rows: sparse.csr_matrix
    highs: np.ndarray
    objective_terms: int
    lower: np.ndarray
    upper: np.ndarray
    window: Mapping[int, np.ndarray]
    tried: Sequence[np.ndarray]

    def solve(self, *, gap: float, most_nodes: int, time_left: float | None) -> Answer:
        """The best choice to within a relative gap, in so many nodes and seconds.

        Raises:
            SolverFailed: there is none, for another reason than a limit.
        """
        n, fixed, size = len(self.lower), self.rows.shape[1], int(self._starts[-1])
        cost = np.zeros(size)
        cost[n : n + self.objective_terms] = 1.0
        options = {"mip_rel_gap": gap, "node_limit": most_nodes}
        if time_left is not None:
            options["time_limit"] = time_left
        with stdout_to_stderr():
            answer = optimize.milp(
                cost,
                integrality=np.concatenate([np.zeros(fixed), np.ones(size - fixed)]),
                bounds=optimize.Bounds(
                    np.concatenate([self.lower, np.full(fixed - n, -np.inf), np.zeros(size - fixed)]),
                    np.concatenate([self.upper, np.full(fixed - n, np.inf), np.ones(size - fixed)]),
                ),
                constraints=self._constraints(size),
                options=options,
            )
        if answer.x is None and answer.status not in (_LIMIT, INFEASIBLE):
            raise SolverFailed(f"Branch and bound over the steps: {answer.message}")
        dual = getattr(answer, "mip_dual_bound", None)
        return Answer(
            chosen=None if answer.x is None else self._on_steps(answer.x),
            bound=None if dual is None or not np.isfinite(dual) else float(dual),
            nodes=int(getattr(answer, "mip_node_count", None) or 0) + 1,
            is_infeasible=answer.status == INFEASIBLE,
        )

    @property
    def _starts(self) -> np.ndarray:
        """Where the binaries of every gain begin, and their end."""
        counts = [len(steps) for steps in self.window.values()]
        return np.concatenate([[0], np.cumsum(counts)]).astype(int) + int(self.rows.shape[1])

    def _constraints(self, size: int) -> optimize.LinearConstraint:
        """Planes, one step for every gain, and no choice that was tried."""
        starts, gains = self._starts, len(self.window)
        link = sparse.lil_matrix((2 * gains, size))
        for k, (i, steps) in enumerate(self.window.items()):
            link[2 * k, starts[k] : starts[k + 1]] = 1.0
            link[2 * k + 1, starts[k] : starts[k + 1]] = steps
            link[2 * k + 1, i] = -1.0
        exact = np.tile([1.0, 0.0], gains)
        tried = [hit for x in self.tried if (hit := self._in_window(x)) is not None]
        seen = sparse.lil_matrix((len(tried), size))
        for row, indices in enumerate(tried):
            seen[row, starts[:-1] + indices] = 1.0
        wide = sparse.hstack([self.rows, sparse.csr_matrix((self.rows.shape[0], size - self.rows.shape[1]))])
        return optimize.LinearConstraint(
            sparse.vstack([wide, link.tocsr(), seen.tocsr()], format="csr"),
            np.concatenate([np.full(len(self.highs), -np.inf), exact, np.full(len(tried), -np.inf)]),
            np.concatenate([self.highs, exact, np.full(len(tried), gains - 1.0)]),
        )

    def _in_window(self, x: np.ndarray) -> np.ndarray | None:
        """Which step of its window each gain takes at a tried x; None if one lies outside."""
        nearest = [int(np.abs(steps - x[i]).argmin()) for i, steps in self.window.items()]
        gaps = [abs(steps[k] - x[i]) for (i, steps), k in zip(self.window.items(), nearest, strict=True)]
        return np.array(nearest) if max(gaps) < policy.SAME_STEP else None

    def _on_steps(self, answer: np.ndarray) -> np.ndarray:
        """x (n,) of an answer, every gain on its step."""
        x, starts = np.clip(answer[: len(self.lower)], self.lower, self.upper), self._starts
        for k, (i, steps) in enumerate(self.window.items()):
            x[i] = steps[int(answer[starts[k] : starts[k + 1]].argmax())]
        return np.asarray(x)
