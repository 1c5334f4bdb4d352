"""How many draws verify a plan whose target is on classes, where the caller does not say.

The standard error of a simulated rate falls with the draws N as s/√N, s its spread between draws. All inputs of a draw
share its devices, so s is far above that of independent inputs; a pilot of few draws estimates it.

Why: docs/decisions/targets.md [0232].
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from powerplan.hardware import Gains, Hardware
from powerplan.hardware.tiling import read_positions
from powerplan.montecarlo import simulate
from powerplan.network import CrossbarOp, Network
from powerplan.planning import policy
from powerplan.planning.targets import Target


def enough_draws(
    network: Network,
    hardwares: Sequence[Hardware],
    gains: Gains,
    inputs: np.ndarray,
    target: Target,
    *,
    seed: int,
    stop_at: float | None,
) -> int:
    """Draws in which the simulated rate is known to 0.1 percentage points and 5 % of the target in every corner; or the
    part of the chips that meet it to 0.5 percentage points.

    Fewer where a verification would take too long; 0 where that leaves less than the pilot.

    Args:
        hardwares: of all corners.
        gains: of the plan to verify.
        seed: of the pilot.
        stop_at: ``time.monotonic()`` value before which the plan should be done.
    """
    work = sum(draw_work(network, each, len(inputs)) for each in hardwares)
    most = min(policy.MOST_DRAWS, int(policy.VERIFICATION_WORK / work))
    started = time.monotonic()
    pilot_ends = started + policy.FEWEST_DRAWS * work / policy.WORK_PER_SECOND
    if most < policy.FEWEST_DRAWS or (stop_at is not None and pilot_ends > stop_at):
        return 0
    spread = 0.0
    for hardware in hardwares:
        pilot = simulate(network, hardware, gains, inputs, draws=policy.FEWEST_DRAWS, seed=seed, wires="fast")
        spread = max(spread, target.spread(pilot))
    if stop_at is not None:
        now = time.monotonic()
        most = min(
            most,
            int(policy.VERIFICATION_SHARE * (stop_at - now) * policy.FEWEST_DRAWS / max(now - started, policy.INSTANT)),
        )
    if target.chips is None:
        goal = min(policy.RATE_ERROR, policy.RELATIVE_ERROR * target.value)
    else:
        spread, goal = math.sqrt(target.chips * (1 - target.chips)), policy.YIELD_ERROR
    needed = max(policy.FEWEST_DRAWS, math.ceil((spread / goal) ** 2))
    return min(needed, most) if most >= policy.FEWEST_DRAWS else 0


def draw_work(network: Network, hardware: Hardware, batch: int) -> float:
    """Multiplications of one draw, roughly: every weight is programmed once and read for every input."""
    total = 0.0
    for nodes in network.reads.values():
        op = nodes[0].op
        assert isinstance(op, CrossbarOp)
        reads = read_positions(network, nodes)
        copies = reads if hardware.mapping == "unrolled" else 1
        total += op.n_out * op.n_in * (reads * batch + policy.PROGRAMMING_WORK * copies)
    return total
