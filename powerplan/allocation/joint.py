"""Local geometric programs with several constraints.

minimise log Σ_t exp(log P_t + σ_t·δ)   s.t.   log Σ_m exp(log F_rm/D_r + τ_rm·δ) ≤ 0 for every r,   lower ≤ δ ≤ upper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from powerplan.allocation.local import Compiled, LogTerms, checked_limits, checked_terms, posynomial
from powerplan.checks import Checker


@dataclass(frozen=True, kw_only=True, eq=False)
class JointStep:
    """A step δ (n,), or None if the solver gave no point, and the solver's words."""

    x: np.ndarray | None
    solver_words: str


@dataclass(frozen=True, kw_only=True)
class JointProgram:
    """A local geometric program of fixed size, compiled when it first solves.

    The step is the interior-point solver's own (accurate to about 1e-8), not refined: the caller checks it.

    Attributes:
        objective_terms: number of terms T >= 1.
        constraint_terms: number of terms of every constraint, each >= 1.
        gains: number of gains n >= 1.
    """

    objective_terms: int
    constraint_terms: tuple[int, ...]
    gains: int

    def solve(
        self, objective: LogTerms, constraints: Sequence[LogTerms], lower: np.ndarray, upper: np.ndarray
    ) -> JointStep:
        """Solve for the step.

        Args:
            objective: terms of the objective; a log of -inf is a term that is zero.
            constraints: terms of every constraint over its bound, likewise.
            lower, upper: (n,) finite limits of the step.

        Raises:
            InvalidInput: wrong shapes, NaN, +inf.
        """
        check = Checker("joint_program.")
        counts, names = self.constraint_terms, [f"constraints[{r}]" for r in range(len(constraints))]
        if len(constraints) != len(counts):
            check.fail("constraints", len(constraints), f"{len(counts)} constraints", "Give the terms of each.")
        check.done()
        sums = [
            checked_terms(check, (f"{name}[0]", f"{name}[1]"), terms, (count, self.gains))
            for name, terms, count in zip(
                ("objective", *names), (objective, *constraints), (self.objective_terms, *counts), strict=True
            )
        ]
        lower, upper = checked_limits(check, lower, upper, self.gains)
        answer = self._compiled.solve(tuple(posynomial(*terms) for terms in sums), lower, upper)
        step = None if answer.value is None else np.clip(answer.value, lower, upper)
        return JointStep(x=step, solver_words=answer.words)

    @cached_property
    def _compiled(self) -> Compiled:
        return Compiled.of(self.gains, (self.objective_terms, *self.constraint_terms))
