"""A target planned for: solved, verified by simulation, and calibrated, as settings and target want it."""

from __future__ import annotations

import time
from dataclasses import replace

from powerplan.planning import policy
from powerplan.planning.bits.choose import choose
from powerplan.planning.bits.chosen import Chosen, with_gap
from powerplan.planning.bits.limits import check_costs, within_limits
from powerplan.planning.bits.within import choose_within
from powerplan.planning.bits.words import naming_the_objective, within_its_gap
from powerplan.planning.plan_value import Plan
from powerplan.planning.session import Options, Session
from powerplan.planning.solve.solve import solve
from powerplan.planning.targets import Target
from powerplan.planning.verify.calibration import calibrated
from powerplan.planning.verify.draws import draw_work, enough_draws
from powerplan.planning.verify.verify import verify


def plan_target(session: Session, target: Target, options: Options) -> Plan:
    """The plan of a session for a target.

    Raises:
        InvalidInput: settings on costs without any, or beside a power budget.
    """
    check_costs(session, target)
    settings, chosen = session.settings, None
    if target.is_budget and settings.max_energy is not None:
        options = replace(options, advise=False)  # changes of the hardware change what everything else takes
    if settings.free_choices:
        session, plan, chosen = _chosen(session, target, options)
    else:
        plan = solve(session, target, _solving(session, target, options))  # no call deeper than it must be
    plan = naming_the_objective(_simulated(session, plan, target, options), settings)
    if settings.free_choices:
        plan = _with_choice(replace(plan, optimize=(*session.optimize, *settings.free_choices)), chosen)
    # gains, where nothing else is free, have the least energy
    least = "energy" if not settings.free_choices else "" if chosen is None else chosen.objective.name
    return within_limits(plan, settings, least)


def _chosen(session: Session, target: Target, options: Options) -> tuple[Session, Plan, Chosen | None]:
    """The session with the options of layers that were chosen, its plan, and what is known of other choices.

    Options are chosen with the corrections that the finest ones have, and once more with those at the plan where that
    takes another amount than was expected of it.
    """
    if target.is_budget:
        chosen = choose_within(session, target, replace(options, stop_at=_half(options.stop_at)))
        own = session.with_fields({} if chosen is None else chosen.fields)
        return own, solve(own, target, _solving(own, target, options)), chosen
    found: list[tuple[float, Session, Plan, Chosen]] = []
    near = None
    for _ in range(policy.CHOSEN_AT_MOST):
        half = replace(options, stop_at=_half(options.stop_at))
        chosen = choose(session, target, half, or_least=True, near=near)
        if chosen is None or any(chosen.fields == known.fields for *_, known in found):
            break
        own = session.with_fields(chosen.fields)
        plan = solve(own, target, _solving(own, target, options))
        value = chosen.value(plan)
        found.append((value, own, plan, chosen))
        if abs(value / chosen.score - 1) <= policy.AS_EXPECTED:
            break
        near = own.for_choices_at(plan.gains, target, half.stop_at)
        options = replace(options, progress=lambda what, part: None)
    if not found:
        own = session.with_fields({})
        return own, solve(own, target, _solving(own, target, options)), None
    return min(found, key=lambda each: each[0])[1:]


def _simulated(session: Session, plan: Plan, target: Target, options: Options) -> Plan:
    """A plan with what was asked of simulation: verified, and calibrated onto its target."""
    draws = _draws(session, plan, options.stop_at) if plan.meets_target else 0
    if not draws:
        return plan
    options.progress("verifying by simulation", policy.SOLVED)
    plan = _verified(session, plan, options.stop_at, draws)
    calibrate = session.settings.calibrate
    if not plan.verifications or not (target.is_verified if calibrate is None else calibrate):
        return plan
    done = policy.SOLVED

    def again(bound: Target, near: Plan) -> Plan:
        nonlocal done
        done += (1 - policy.SOLVED) / (policy.MOST_CALIBRATIONS + 1)
        options.progress("calibrating", done)
        quiet = replace(options, progress=lambda what, part: None)
        return replace(solve(session, bound, quiet, near), target=target)

    def check(plan: Plan, number: int) -> Plan:
        return _verified(session, plan, options.stop_at, draws, calibration=number)

    return calibrated(plan, solve=again, check=check, stop_at=options.stop_at)


def _with_choice(plan: Plan, chosen: Chosen | None) -> Plan:
    """A plan on the options of layers that were chosen, with what another choice could save."""
    if chosen is not None:
        return within_its_gap(with_gap(plan, chosen))
    words = "Bits are the most there may be: no choice was found in time, or within the limits."
    return _late(plan, words) if plan.meets_target else plan


def _half(stop_at: float | None) -> float | None:
    """Half of the time left."""
    now = time.monotonic()
    return None if stop_at is None else now + 0.5 * (stop_at - now)


def _draws(session: Session, plan: Plan, stop_at: float | None) -> int:
    """Draws to verify a plan with."""
    asked = session.settings.draws_for(plan.target)
    if asked is not None:
        return asked
    if not plan.target.is_verified:
        return 0
    return enough_draws(
        session.predictor.network,
        [predictor.hardware for predictor in session.predictors],
        plan.gains,
        session.inputs,
        plan.target,
        seed=session.settings.seed,
        stop_at=stop_at,
    )


def _solving(session: Session, target: Target, options: Options) -> Options:
    """With an end of the optimisation that leaves the time for a verification."""
    draws, stop_at = session.settings.draws_for(target), options.stop_at
    if stop_at is None or draws == 0 or (draws is None and not target.is_verified):
        return options
    work = sum(draw_work(p.network, p.hardware, len(session.inputs)) for p in session.predictors)
    seconds = work * (policy.MOST_DRAWS if draws is None else draws) / policy.WORK_PER_SECOND
    return replace(options, stop_at=stop_at - min(seconds, policy.FOR_VERIFYING * max(stop_at - time.monotonic(), 0.0)))


def _verified(session: Session, plan: Plan, stop_at: float | None, draws: int, *, calibration: int = 0) -> Plan:
    """The plan with its simulation in every corner; as it was where time lacks for two draws of each.

    Args:
        calibration: number of the calibration; each has fresh draws, since it must not verify itself.
    """
    started = time.monotonic()
    checks = []
    for count, predictor in enumerate(session.predictors):
        now, remaining = time.monotonic(), len(session.predictors) - count
        check = verify(
            predictor.network,
            predictor.hardware,
            plan.gains,
            session.inputs,
            plan.target,
            weights=session.weights,
            calibration=session.settings.calibration,
            draws=draws,
            seed=session.settings.seed + calibration,
            calibrated=calibration > 0,
            stop_at=None if stop_at is None else now + (stop_at - now) / remaining,
        )
        if check is None:
            return _late(plan, "Time ran out before the verification.")
        checks.append(check)
    nominal, *others = checks
    corners = tuple(replace(c, verification=v) for c, v in zip(plan.corners, others, strict=True))
    times = {**plan.provenance["seconds"], "verify": time.monotonic() - started}
    provenance = {**plan.provenance, "seconds": times}
    fewest = min(check.draws for check in checks)
    if fewest < draws:
        plan = _late(plan, f"Time ran out after {fewest} of {draws} draws of the verification.")
    return replace(plan, verification=nominal, corners=corners, provenance=provenance)


def _late(plan: Plan, words: str) -> Plan:
    """The plan with what the deadline left out said in its message."""
    return replace(plan, termination=replace(plan.termination, message=f"{plan.termination.message} {words}"))
