"""Local geometric programs with several constraints.

minimise log Σ_t exp(log P_t + σ_t·δ)   s.t.   log Σ_m exp(log F_rm/D_r + τ_rm·δ) ≤ 0 for every r,   lower ≤ δ ≤ upper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from powerplan.allocation.local import Compiled, LogTerms, posynomial
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
        sums = (objective, *constraints)
        self._check(sums, lower, upper)
        answer = self._compiled.solve(tuple(posynomial(b, a) for b, a in sums), lower, upper)
        step = None if answer.value is None else np.clip(answer.value, lower, upper)
        return JointStep(x=step, solver_words=answer.words)

    @cached_property
    def _compiled(self) -> Compiled:
        return Compiled.of(self.gains, (self.objective_terms, *self.constraint_terms))

    def _check(self, sums: Sequence[LogTerms], lower: np.ndarray, upper: np.ndarray) -> None:
        check = Checker("joint_program.")
        counts = (self.objective_terms, *self.constraint_terms)
        if len(sums) != len(counts):
            check.fail("constraints", len(sums) - 1, f"{len(counts) - 1} constraints", "Give the terms of each.")
        for i, (count, (logs, exponents)) in enumerate(zip(counts, sums, strict=False)):
            name = "objective" if i == 0 else f"constraints[{i - 1}]"
            if logs.shape != (count,) or exponents.shape != (count, self.gains):
                check.fail(name, logs, f"shapes ({count},) and ({count}, {self.gains})", "Give every term.")
            elif np.isnan(logs).any() or (logs == np.inf).any() or (logs == -np.inf).all():
                check.fail(name, logs, "logs finite or -inf, not all -inf", "Check the terms: NaN, inf or all 0.")
            elif not np.isfinite(exponents[logs > -np.inf]).all():
                check.fail(name, exponents, "finite numbers", "The terms have no gradient here.")
        for name, limit in (("lower", lower), ("upper", upper)):
            if limit.shape != (self.gains,) or not np.isfinite(limit).all():
                check.fail(name, limit, f"({self.gains},) finite numbers", "Give one limit per gain.")
        check.done()
