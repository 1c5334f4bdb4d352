"""plan and frontier: from a network, a hardware and a target to gains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from powerplan.checks import Checker, check_kinds
from powerplan.hardware import Hardware
from powerplan.network import Network
from powerplan.planning.iterate import OnStep, unheard
from powerplan.planning.plan_value import Plan
from powerplan.planning.run import plan_target
from powerplan.planning.session import Options, Session
from powerplan.planning.settings import PlanSettings, Progress
from powerplan.planning.targets import TARGETS, Target
from powerplan.plausibility import corners_of, question, unasked
from powerplan.settings import takes

if TYPE_CHECKING:
    from powerplan.planning.keywords import PlanOptions


@takes(PlanSettings)
def plan(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    target: Target,
    *,
    progress: Progress | None = None,
    on_step: OnStep | None = None,
    **settings: Unpack[PlanOptions],
) -> Plan:
    """The gains that meet a target at least power.

    Args:
        inputs: calibration batch (B, *input_shape).
        target: what is bounded while the power is least: MaxMSE, MaxNMSE, MaxOutputMSE, MaxAccuracyDrop or
            MaxFlipRate; or MaxPower (least MSE).
        {settings}
        progress: called with a description and the fraction done.
        on_step: called with an :class:`Iterate` (iteration, objective, bound) at every step of the optimisation.

    Returns:
        a Plan, also where the target cannot be reached; ``termination.outcome`` is then INFEASIBLE and the plan
        holds the gains of the lowest reachable error.

    Raises:
        InvalidInput: inputs or settings that do not fit, naming the field.
        SolverFailed: a solver stopped without an answer.

    Warns:
        PlausibilityWarning: a number of hardware, target or answer is most likely in another unit.
        LimitWarning: the inputs drive rows beyond ``hardware.voltage_max``.
    """
    (planned,) = frontier(network, hardware, inputs, targets=(target,), progress=progress, on_step=on_step, **settings)
    return planned


@takes(PlanSettings)
def frontier(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    *,
    targets: Sequence[Target],
    progress: Progress | None = None,
    on_point: Callable[[int, Plan], None] | None = None,
    on_step: OnStep | None = None,
    **settings: Unpack[PlanOptions],
) -> tuple[Plan, ...]:
    """One plan per target on the same network, hardware and inputs.

    Args:
        targets: at least one; kinds may be mixed.
        progress: called with a description and the fraction of all points done.
        on_point: called with (index, plan) as each plan is done.
        on_step: as in :func:`plan`.

    The other arguments and the errors are those of :func:`plan`. The deadline is for each plan; making the network
    ready counts to the first.
    """
    begun = time.monotonic()
    targets = _check_targets(targets)
    asked = PlanSettings(**settings)
    asked.check_verification(targets)
    check_kinds(network=(network, Network), hardware=(hardware, Hardware))
    question(hardware, *corners_of(asked.corners), *targets)
    session = Session.of(network, hardware, inputs, asked)
    plans: list[Plan] = []

    def report(what: str, done: float) -> None:
        if progress:
            progress(what, (len(plans) + done) / len(targets))

    for target in targets:
        started = time.monotonic() if plans else begun
        stop_at = None if asked.deadline is None else started + asked.deadline
        with unasked():  # what simulations on the way would ask
            plans.append(
                plan_target(session, target, Options(stop_at=stop_at, progress=report, on_step=on_step or unheard))
            )
        question(*plans[-1].predictions)
        if on_point:
            on_point(len(plans) - 1, plans[-1])
    return tuple(plans)


def _check_targets(targets: Sequence[Target]) -> tuple[Target, ...]:
    check = Checker()
    try:
        listed = tuple(targets)
    except TypeError:
        listed = ()
    if not listed:
        check.fail("targets", targets, "at least one target", "Give a list such as [MaxNMSE(0.01), MaxNMSE(0.1)].")
    for target in listed:
        if not isinstance(target, Target):
            kinds = ", ".join(f"{kind.__name__}(...)" for kind in TARGETS.values())
            check.fail("target", target, f"one of {kinds}", "Wrap the number in a target.")
    check.done()
    return listed
