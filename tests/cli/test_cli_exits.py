"""Exit codes from the outcome and the verification of a plan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from powerplan.cli.exits import Exit, plan_exit
from powerplan.planning import MaxNMSE, MaxPower, Outcome


def ended(outcome: Outcome, ratio: float | None = None, target: Any = None) -> Any:
    """What the exit code is decided by; the simulated MSE has a relative standard error of 1 %, power of 0.1 %."""
    check = None
    if ratio is not None:
        check = SimpleNamespace(ratio=ratio, ratio_standard_error=0.001 if isinstance(target, MaxPower) else 0.01)
    return SimpleNamespace(
        termination=SimpleNamespace(outcome=outcome),
        verifications=() if check is None else (check,),
        target=target or MaxNMSE(0.01),
    )


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        (ended(Outcome.OPTIMAL), Exit.OK),
        (ended(Outcome.OPTIMAL, 0.9), Exit.OK),
        (ended(Outcome.OPTIMAL, 1.019), Exit.OK),
        (ended(Outcome.OPTIMAL, 1.021), Exit.VERIFICATION),
        (ended(Outcome.OPTIMAL, 1.0015, MaxPower(1.0)), Exit.OK),
        (ended(Outcome.OPTIMAL, 1.0025, MaxPower(1.0)), Exit.VERIFICATION),
        (ended(Outcome.INFEASIBLE, 2.0), Exit.INFEASIBLE),
        (ended(Outcome.STALLED), Exit.OK),
        (ended(Outcome.STALLED, 1.021), Exit.VERIFICATION),
        (ended(Outcome.ITERATION_LIMIT), Exit.LIMIT),
        (ended(Outcome.DEADLINE, 2.0), Exit.LIMIT),
    ],
)
def test_exit_code(plan: Any, code: Exit) -> None:
    """The outcome comes first; a verification misses beyond 1.96 standard errors of the bounded quantity."""
    assert plan_exit(plan) is code
