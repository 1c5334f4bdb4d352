"""plan and frontier: from a network, a hardware and a target to gains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from powerplan.checks import Checker
from powerplan.hardware import Hardware
from powerplan.hardware.gains import Gain
from powerplan.moments.predict import PredictionOptions
from powerplan.moments.predictor import MEMORY_LIMIT
from powerplan.network import Network
from powerplan.planning.plan_value import Plan
from powerplan.planning.problem.corners import check_corners
from powerplan.planning.session import Options, Progress, Session
from powerplan.planning.solve.on_steps import StepsGiven
from powerplan.planning.targets import TARGETS, ClassTarget, Target
from powerplan.plausibility import corners_of, question, unasked


def plan(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    target: Target,
    *,
    granularity: str = "layer",
    optimize: Sequence[str] = ("conductance",),
    conductance: Sequence[Gain] | None = None,
    voltage: Sequence[float] | None = None,
    verify_draws: int | None = None,
    calibrate: bool | None = None,
    seed: int = 0,
    method: str = "linearized",
    tolerance: float = 1e-8,
    max_iterations: int = 60,
    deadline: float | None = None,
    progress: Progress | None = None,
    corners: Sequence[Hardware] = (),
    output_weights: npt.ArrayLike | None = None,
    conductance_steps: StepsGiven = None,
    voltage_steps: StepsGiven = None,
    dtype: str = "float64",
    device: str = "cpu",
    output_combinations: int | None = None,
    marginal_fields: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> Plan:
    """The gains that meet a target at least power.

    Args:
        inputs: calibration batch (B, *input_shape).
        target: what is bounded while the power is least: MaxMSE, MaxNMSE, MaxOutputMSE, MaxAccuracyDrop or
            MaxFlipRate; or MaxPower (least MSE).
        granularity: "network" (one gain for all layers), "layer", "column" (a conductance gain per output of
            every layer) or "signal" (a voltage gain per row of every layer, with the inverse in its stored weights;
            needs both gains free).
        optimize: the free gains: "conductance", "voltage" (needs read or row noise) or both.
        conductance, voltage: gains to hold where they are not optimised, as in Gains; None = conductances at
            the largest the limits allow, voltages at V_max / max|x| over the batch.
        verify_draws: Monte Carlo draws to verify the plan with; 0 = none. None = none for an error or a power; for
            MaxAccuracyDrop and MaxFlipRate as many as tell the rate to 0.1 percentage points and 5 % of the
            target, 256 to 10 000, within about a minute (a fifth of the time to the deadline) per simulation; none
            where that is not enough for 256.
        calibrate: plan again, at most twice, for the target times predicted/simulated, until the simulation is within
            its standard error of the target (needs a verification). None = for MaxAccuracyDrop and MaxFlipRate.
        seed: of the verification, and of the predictions' combinations and fields.
        method: predictor to plan on.
        tolerance: KKT residual to reach.
        max_iterations: most local geometric programs; with many gains, of ten quasi-Newton steps each.
        deadline: seconds after which the best plan so far is returned: the cheapest gains seen that meet the target,
            else the nearest to it (``outcome`` is DEADLINE, ``plan.meets_target`` says which). Verification is within
            it, with fewer draws if need be. A prediction in progress is not broken off, at least one is made, and the
            predictions that report the plan follow.
        progress: called with a description and the fraction done.
        corners: further hardware (other noise levels, temperatures, times): the same gains meet the target there
            too, within the limits of all; what is minimised is that of ``hardware``.
        output_weights: (K,) >= 0, weights of the outputs' squared errors, scaled to mean 1: the MSE is then the mean
            of weight × squared error (NMSE: over the likewise weighted signal; MaxOutputMSE: of every output with a
            weight > 0). Not with targets on classes.
        conductance_steps, voltage_steps: the values that a free gain can be set to: a :class:`Steps` for all layers, or
            one Steps or None per layer; None = continuous. ``plan.discrete`` then bounds what is lost.
        dtype, device, output_combinations, marginal_fields, memory_limit: of the predictions, as in
            :func:`powerplan.predict`. With "float32" ask for a tolerance of 1e-4 or more.

    Returns:
        a Plan, also where the target cannot be reached; ``termination.outcome`` is then INFEASIBLE and the plan
        holds the gains of the lowest reachable error.

    Raises:
        InvalidInput: inputs or options that do not fit, naming the field.
        SolverFailed: a solver stopped without an answer.

    Warns:
        PlausibilityWarning: a number of hardware, target or answer is most likely in another unit.
        LimitWarning: the inputs drive rows beyond ``hardware.voltage_max``.
    """
    (found,) = frontier(
        network,
        hardware,
        inputs,
        targets=(target,),
        granularity=granularity,
        optimize=optimize,
        conductance=conductance,
        voltage=voltage,
        verify_draws=verify_draws,
        calibrate=calibrate,
        seed=seed,
        method=method,
        tolerance=tolerance,
        max_iterations=max_iterations,
        deadline=deadline,
        progress=progress,
        corners=corners,
        output_weights=output_weights,
        conductance_steps=conductance_steps,
        voltage_steps=voltage_steps,
        dtype=dtype,
        device=device,
        output_combinations=output_combinations,
        marginal_fields=marginal_fields,
        memory_limit=memory_limit,
    )
    return found


def frontier(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    *,
    targets: Sequence[Target],
    granularity: str = "layer",
    optimize: Sequence[str] = ("conductance",),
    conductance: Sequence[Gain] | None = None,
    voltage: Sequence[float] | None = None,
    verify_draws: int | None = None,
    calibrate: bool | None = None,
    seed: int = 0,
    method: str = "linearized",
    tolerance: float = 1e-8,
    max_iterations: int = 60,
    deadline: float | None = None,
    progress: Progress | None = None,
    on_point: Callable[[int, Plan], None] | None = None,
    corners: Sequence[Hardware] = (),
    output_weights: npt.ArrayLike | None = None,
    conductance_steps: StepsGiven = None,
    voltage_steps: StepsGiven = None,
    dtype: str = "float64",
    device: str = "cpu",
    output_combinations: int | None = None,
    marginal_fields: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[Plan, ...]:
    """One plan per target on the same network, hardware and inputs.

    Args:
        targets: at least one; kinds may be mixed.
        deadline: seconds for each plan; making the network ready counts to the first.
        progress: called with a description and the fraction of all points done.
        on_point: called with (index, plan) as each plan is done.

    The other arguments and the errors are those of :func:`plan`.
    """
    begun = time.monotonic()
    targets = _check_targets(targets)
    _check_options(targets, verify_draws, calibrate, tolerance, max_iterations, deadline, seed)
    corners = check_corners(corners)
    question(hardware, *corners_of(corners), *targets)
    session = Session.of(
        network,
        hardware,
        inputs,
        granularity=granularity,
        optimize=optimize,
        conductance=conductance,
        voltage=voltage,
        method=method,
        corners=corners,
        output_weights=output_weights,
        conductance_steps=conductance_steps,
        voltage_steps=voltage_steps,
        prediction=PredictionOptions(
            dtype=dtype,
            device=device,
            output_combinations=output_combinations,
            marginal_fields=marginal_fields,
            seed=seed,
            memory_limit=memory_limit,
        ),
    )
    plans: list[Plan] = []

    def report(what: str, done: float) -> None:
        if progress:
            progress(what, (len(plans) + done) / len(targets))

    for target in targets:
        options = Options(
            verify_draws=verify_draws,
            calibrate=calibrate,
            seed=seed,
            tolerance=tolerance,
            max_iterations=max_iterations,
            stop_at=None if deadline is None else (time.monotonic() if plans else begun) + deadline,
            progress=report,
        )
        with unasked():  # what simulations on the way would ask
            plans.append(session.plan(target, options))
        question(*plans[-1].predictions)
        if on_point:
            on_point(len(plans) - 1, plans[-1])
    return tuple(plans)


def _check_targets(targets: Sequence[Target]) -> tuple[Target, ...]:
    check = Checker()
    try:
        given = tuple(targets)
    except TypeError:
        given = ()
    if not given:
        check.fail("targets", targets, "at least one target", "Give a list such as [MaxNMSE(0.01), MaxNMSE(0.1)].")
    for target in given:
        if not isinstance(target, tuple(TARGETS.values())):
            kinds = ", ".join(f"{kind.__name__}(...)" for kind in TARGETS.values())
            check.fail("target", target, f"one of {kinds}", "Wrap the number in a target.")
    check.done()
    return given


def _check_options(
    targets: Sequence[Target],
    verify_draws: object,
    calibrate: object,
    tolerance: object,
    max_iterations: object,
    deadline: object,
    seed: object,
) -> None:
    check = Checker()
    if verify_draws is not None:
        check.whole("verify_draws", verify_draws, at_least=0, at_most=10_000_000)
    check.number("tolerance", tolerance, above=0, at_most=0.1)
    check.whole("max_iterations", max_iterations, at_least=1, at_most=100_000)
    check.whole("seed", seed, at_least=0)
    if not (calibrate is None or isinstance(calibrate, bool)):
        check.fail("calibrate", calibrate, "True, False or None", "None calibrates plans on classes.")
    if deadline is not None:
        check.number("deadline", deadline, above=0, unit="s")
    check_verification(check, targets, verify_draws, calibrate)
    check.done()


def check_verification(check: Checker, targets: Sequence[Target], verify_draws: object, calibrate: object) -> None:
    """Note too few draws, and calibration without verification."""
    if verify_draws == 1:
        check.fail("verify_draws", verify_draws, "0, or at least 2", "A standard error needs two draws.")
    unverified = verify_draws == 0 or (verify_draws is None and not all(isinstance(t, ClassTarget) for t in targets))
    if calibrate and unverified:
        check.fail("calibrate", calibrate, "only with verify_draws", "Give verify_draws, for example 2000.")
