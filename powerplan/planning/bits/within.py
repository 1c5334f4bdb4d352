"""What is chosen of every layer within a limit of energy, at the least error.

The least energy falls as the error may be larger, so that the choice of least error within a limit is that of least
energy at the error where this is the limit: looked for along the frontier, from choice to choice.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

from powerplan.planning import policy
from powerplan.planning.bits.choose import cheapest, choose
from powerplan.planning.bits.chosen import Chosen
from powerplan.planning.session import Options, Session
from powerplan.planning.targets import MaxMSE, Target


def choose_within(session: Session, target: Target, options: Options) -> Chosen | None:
    """The options of least error within the session's ``max_energy``; the cheapest where none is within it, None where
    none was found in time."""
    limit = session.settings.max_energy
    assert limit is not None
    free = replace(session, settings=replace(session.settings, max_energy=None, objective=None))
    best: Chosen | None = None
    coarsest = cheapest(free)
    if coarsest.score >= limit:
        return coarsest

    def energy(error: float) -> float:
        """By how much (log) the least energy at an error (log) is beyond the limit; inf where that is out of reach."""
        nonlocal best
        chosen = choose(free, MaxMSE(math.exp(error), chips=target.chips), options, or_least=False)
        beyond = math.inf if chosen is None else math.log(chosen.score / limit)
        if beyond <= 0:
            best = chosen
        return beyond

    step = math.log(policy.ERROR_FACTOR)
    at = math.log(policy.FIRST_NMSE * session.predictor.signal_power)
    tried = {at: energy(at)}
    while len(tried) < policy.ERRORS_TRIED and (min(tried.values()) > 0 or max(tried.values()) <= 0):
        at += step if min(tried.values()) > 0 else -step
        tried[at] = energy(at)
    while best is not None and len(tried) < policy.ERRORS_TRIED:
        low = max(error for error, beyond in tried.items() if beyond > 0)
        high = min(error for error, beyond in tried.items() if beyond <= 0)
        if high - low <= policy.SAME_ERROR or tried[high] >= -policy.SAME_ENERGY:
            break
        share = tried[low] / (tried[low] - tried[high]) if math.isfinite(tried[low]) else 0.5
        at = low + (high - low) * min(max(share, policy.LEAST_SHARE), 1 - policy.LEAST_SHARE)
        tried[at] = energy(at)
    late = options.stop_at is not None and time.monotonic() > options.stop_at
    return coarsest if best is None and not late else best
