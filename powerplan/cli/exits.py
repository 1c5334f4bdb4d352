"""Exit codes: what a script can learn without reading the output (documented in docs/cli.md)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from powerplan.planning import Plan


class Exit(enum.IntEnum):
    """How a command ended."""

    OK = 0
    INTERNAL = 1
    BAD_INPUT = 2
    INFEASIBLE = 3
    LIMIT = 4
    VERIFICATION = 5
    FAILED_POINTS = 6
    UNREACHABLE = 7
    INTERRUPTED = 130


EXIT_HELP = """\b
Exit codes:
    0  done
    1  internal error
    2  bad input or usage
    3  infeasible target
    4  deadline or iteration limit
    5  the simulation misses the target by more than its error
    6  points of a study failed
    7  the planning server cannot be reached
  130  interrupted
"""


def plan_exit(plan: Plan) -> Exit:
    """The exit code of a plan: its outcome first, then its verification.

    The verification misses the target if the simulated quantity exceeds the bound by more than 1.96
    standard errors, its 95 % confidence interval.
    """
    from powerplan.planning import Outcome
    from powerplan.planning.verify.verify import misses_target

    if plan.termination.outcome is Outcome.INFEASIBLE:
        return Exit.INFEASIBLE
    if not plan.termination.outcome.is_settled:
        return Exit.LIMIT
    return Exit.VERIFICATION if misses_target(plan) else Exit.OK
