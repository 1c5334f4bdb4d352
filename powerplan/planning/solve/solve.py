"""A target solved for a session: from a start to the optimum, onto the levels of converters or on steps, to a plan."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial

import numpy as np

from powerplan.hardware import Gains
from powerplan.planning import policy
from powerplan.planning.explain.limits import limit_prices
from powerplan.planning.iterate import Iterate
from powerplan.planning.outcome import Certificate, ConstraintPrice, Outcome, ShadowPrices, Termination
from powerplan.planning.plan_value import Plan
from powerplan.planning.problem.pieces import is_expensive
from powerplan.planning.problem.problem import Problem, lowest_constraint
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.problem.watch import Best, OutOfTime, Watch
from powerplan.planning.session import Options, Session
from powerplan.planning.settings import PlanSettings
from powerplan.planning.solve.attempt import Attempt
from powerplan.planning.solve.coarser_steps import or_coarser
from powerplan.planning.solve.descent import Optimum, descend
from powerplan.planning.solve.ended import ended_plan
from powerplan.planning.solve.guard import refuse_on_guard
from powerplan.planning.solve.on_steps import no_steps, on_steps
from powerplan.planning.solve.plans import infeasible_plan, plan_at, unreachable_plan
from powerplan.planning.solve.point import Point
from powerplan.planning.solve.rounding_fit import fitted_to_levels
from powerplan.planning.solve.scan import Scan, best_of_all, nearest_of_all
from powerplan.planning.solve.starts import baseline_on, near_baseline, start_of
from powerplan.planning.solve.surrogate import plan_on_surrogates, sample_for
from powerplan.planning.targets import Target

#: ends of a descent after which a point seen before may be cheaper
_UNFINISHED = ("deadline", "iteration_limit", "stalled")

_log = logging.getLogger("powerplan.planning")


def solve(session: Session, target: Target, options: Options, near: Plan | None = None) -> Plan:
    """The plan that is predicted to meet a target, looked for from ``near`` on.

    Corrections of marginal variances are held while gains change: those at ``near``; without it those at the
    baseline first, then, unless predictions are expensive, those at the plan they gave.
    """
    if near is not None:
        corrected = session.corrected_at(near.gains, options.stop_at).spread_at(near.gains, target)
        plan = _solve_corrected(corrected, target, options, near=near.baseline_gains, start=near.gains)
        return _with_settled_spread(corrected, plan, options, session.settings)
    if not session.has_samples and not session.needs_spread(target):
        return _solve_corrected(session, target, options)
    started = time.monotonic()
    watch = Watch(options.stop_at)
    closely = session.settings
    if options.stop_at is None and not is_expensive(session.predictor):
        roughly = replace(closely, tolerance=max(closely.tolerance, policy.ROUGH_RESIDUAL))
        session = replace(session, settings=roughly)  # until samples and spread are about those of the plan
    wanted = requirement(target, session.predictors, session.weights)
    about = near_baseline(session, wanted, watch.part(policy.FIRST_LOOK))
    about_or_largest = session.free.gains(session.free.upper) if about is None else about
    held = session.corrected_at(about_or_largest, options.stop_at)
    held = held.spread_at(about_or_largest, target, tilted=False)  # the plan may be far away
    plan = _solve_corrected(held, target, _half_of(options, 0.0), near=about)
    again = plan.termination.outcome not in (Outcome.INFEASIBLE, Outcome.DEADLINE)
    spent = time.monotonic() - started
    if again and not is_expensive(session.predictor) and not watch.ends_before(policy.ANOTHER_PLAN * spent):
        corrected = session.corrected_at(plan.gains, options.stop_at)
        corrected = corrected.spread_at(plan.gains, target, plan=plan)
        if not session.needs_spread(target):
            corrected = replace(corrected, settings=closely)
        second = _solve_corrected(corrected, target, _half_of(options, 0.5), near=plan.baseline_gains, start=plan.gains)
        if second.meets_target or second.termination.outcome is Outcome.INFEASIBLE:
            plan, held = second, corrected
    plan = _with_settled_spread(held, plan, options, closely)
    seconds = time.monotonic() - started
    return replace(
        plan,
        termination=replace(plan.termination, seconds=seconds),
        provenance={**plan.provenance, "seconds": {**plan.provenance["seconds"], "optimise": seconds}},
    )


def _with_settled_spread(session: Session, plan: Plan, options: Options, settings: PlanSettings) -> Plan:
    """The plan with these settings whose spread over chips and inputs is the one that it was planned with.

    How it changes with the gains is taken to first order, unless that turns out to be off: then it is held.
    """
    same = policy.SAME_STEPPED_SPREAD if plan.target.has_steps else policy.SAME_SPREAD
    tilts = session.can_tilt(plan.target)
    for left in reversed(range(policy.MOST_SPREADS)):
        outcome = plan.termination.outcome
        if outcome is Outcome.DEADLINE or not session.needs_spread(plan.target):
            break
        at_plan = session.with_spread(plan.predictions, plan.target)
        change = float(np.abs(at_plan.ratios(plan.gains) / session.ratios(plan.gains) - 1).max())
        if session.tilts and change > policy.TRUSTED_SPREAD:
            tilts = False
        is_last = bool(session.tilts) == tilts and session.settings is settings
        if change < same and (is_last or outcome is Outcome.INFEASIBLE):
            break
        if tilts and left:
            at_plan = at_plan.tilted(plan.predictions, plan.target, plan.gains)
        session = replace(at_plan, settings=settings)
        plan = _solve_corrected(session, plan.target, options, near=plan.baseline_gains, start=plan.gains)
    return plan


def _half_of(options: Options, begin: float) -> Options:
    """Options for one of two rounds: what is done never falls back when the second begins."""
    return replace(options, progress=lambda what, done: options.progress(what, begin * policy.SOLVED + 0.5 * done))


def _solve_corrected(
    session: Session, target: Target, options: Options, *, near: Gains | None = None, start: Gains | None = None
) -> Plan:
    """As :func:`solve`, with the corrections there are; the baseline is looked for from ``near`` on, the plan from
    ``start``."""
    attempt = Attempt.of(session, target, options)
    looks_elsewhere = attempt.problem.turns and options.advise and not is_expensive(session.predictor)
    try:
        options.progress("scaling the baseline", 0.0)
        budget_of_chips = target.is_budget and target.chips is not None
        attempt.baseline = baseline_on(session, attempt.by_layer, near, chips=budget_of_chips)
        attempt.keep_time()
        options.progress("optimising", 0.1)
        theta, is_met = start_of(session, attempt.problem, attempt.wanted, attempt.baseline, start)
        if not is_met and attempt.is_averaged:
            attempt.problem = attempt.exact
            theta, is_met = start_of(session, attempt.problem, attempt.wanted, attempt.baseline, start)
        scan = None
        if not is_met and looks_elsewhere:
            theta, scan = nearest_of_all(attempt.problem, theta)
            is_met = attempt.problem.excess(theta) <= 0
        if not is_met:
            attempt.exact.terms.watch = Watch()  # what is known is to be said
            return unreachable_plan(attempt, theta, scan)
        sample = sample_for(session.predictor)
        if sample is not None:
            theta = plan_on_surrogates(
                attempt.problem, theta, sample, tolerance=session.settings.tolerance, stop_at=options.stop_at
            )
        down = partial(
            descend,
            attempt.problem,
            tolerance=session.settings.tolerance,
            max_iterations=session.settings.max_iterations,
            stop_at=options.stop_at,
            on_step=partial(_told, options),
        )
        optimum = down(theta)
        if looks_elsewhere:
            optimum, scan = best_of_all(attempt.problem, optimum, down)
        return _finished(attempt, optimum, scan)
    except OutOfTime:
        return ended_plan(attempt)


def _told(options: Options, iterate: Iterate) -> None:
    """Tell a step of the descent."""
    options.on_step(iterate)
    options.progress("optimising", 0.1 + 0.5 * min(1.0, iterate.iteration / policy.LIKELY_STEPS))


def _finished(attempt: Attempt, optimum: Optimum, scan: Scan | None) -> Plan:
    """The plan of an optimum: its gains fitted to converters or put on steps where there are any.

    Raises:
        OutOfTime: before it was made.
    """
    session, target, options, exact = attempt.session, attempt.target, attempt.options, attempt.exact
    seen = attempt.problem.terms.watch.seen
    if optimum.reason in _UNFINISHED and seen is not None and seen.best is not None:
        optimum = _cheaper(attempt.problem, optimum, seen.best)
    certificate, theta = optimum.certificate, optimum.theta
    guard = refuse_on_guard(session, target, exact, theta, certificate.limit_duals)
    outcome, message, discrete = Outcome(optimum.reason), _message(attempt, optimum, scan), None
    violation = certificate.constraint_violation
    if session.levels is not None:
        stepped = on_steps(
            exact,
            session.levels,
            optimum,
            max_iterations=session.settings.max_iterations,
            stop_at=options.stop_at,
            progress=lambda done: options.progress("choosing steps", 0.6 + 0.1 * done),
            on_step=options.on_step,
        )
        stepped = or_coarser(session, attempt.wanted, exact, stepped, options.stop_at)
        if stepped.theta is None:
            explained = no_steps(target, session, exact, optimum.theta)
            return infeasible_plan(attempt, explained, stepped.gap)
        theta, discrete = stepped.theta, stepped.gap
        outcome, message = stepped.outcome, stepped.message
        if exact.turns:
            message += " The bound takes power and error for convex in the log gains, which drops of wires need not be."
        if attempt.is_averaged:
            message += " What the bound leaves out is that the rounding of converters ripples with the gains."
    elif attempt.is_averaged:
        options.progress("fitting gains to the converters", 0.6)
        cheap = not is_expensive(session.predictor)
        fitted = fitted_to_levels(exact, theta, certificate.duals, search=cheap, stop_at=options.stop_at)
        if fitted is None:
            fitted = lowest_constraint(exact, theta)
            if exact.excess(fitted) > 0:
                return unreachable_plan(attempt, fitted)
        message = _fitted_message(attempt, optimum, scan, exact.objective(fitted))
        theta = fitted
        violation = max(0.0, float(np.expm1(exact.excess(theta))))
    termination = Termination(
        outcome=outcome,
        message=message + guard,
        solver_status=optimum.solver_status,
        iterations=optimum.iterations,
        predictions=attempt.predictions,
        seconds=attempt.seconds,
    )
    _log.info("planned %s: %s", target, termination.message)
    return plan_at(
        attempt,
        theta,
        termination,
        certificate=Certificate(
            kkt_residual=certificate.kkt_residual,
            duality_gap=certificate.duality_gap,
            constraint_violation=violation,
            scanned=0 if scan is None else scan.count,
            scan_gap=0.0 if scan is None else scan.gap,
        ),
        prices=_prices(session, attempt.problem, certificate.duals, certificate.limit_duals),
        discrete=discrete,
    )


def _cheaper(problem: Problem, optimum: Optimum, best: Best) -> Optimum:
    """The optimum, or the cheapest point seen on the way where it was cheaper than the last."""
    excess = float(optimum.e.max())
    if not best.is_met or (
        excess <= problem.accuracy and optimum.objective.total <= best.objective * (1 + policy.SAME_OBJECTIVE)
    ):
        return optimum
    return replace(optimum, **vars(Point.at(problem, best.theta)))


def _prices(session: Session, problem: Problem, duals: np.ndarray, limit_duals: np.ndarray) -> ShadowPrices:
    prices = tuple(
        ConstraintPrice(corner=c.corner, output=c.output, price=-float(dual) * c.leverage)
        for c, dual in zip(problem.terms.constraints, duals, strict=True)
        if dual > policy.LEAST_PRICE * duals.sum() and not c.beside
    )
    return ShadowPrices(
        target=sum((p.price for p in prices), 0.0),
        limits=limit_prices(session.free, limit_duals),
        constraints=prices,
    )


def _message(attempt: Attempt, optimum: Optimum, scan: Scan | None) -> str:
    target = attempt.target
    residual = f"KKT residual {optimum.certificate.kkt_residual:.1e} after {optimum.iterations} iterations"
    does = "keeps the budget with" if target.is_budget else "meets the target at"
    name = "energy" if _is_of_costs(attempt) else target.objective.name
    least = f"{does} the least {name}"
    words = Outcome(optimum.reason).advice.replace("meets the target at the least power", least)
    if attempt.problem.turns:
        words = words.replace(least, f"{least} of all gains near it")
    return f"{words} {residual}{_ratio_words(attempt)}.{_elsewhere(scan)}"


def _is_of_costs(attempt: Attempt) -> bool:
    """Whether gains have the least energy, beside the converters as they are."""
    return attempt.session.settings.objective is not None and not attempt.target.is_budget


def _ratio_words(attempt: Attempt) -> str:
    """How the ratio to the mean, of a target on a part of chips or inputs, was taken."""
    if attempt.session.tilts:
        return " with the ratio to the mean taken to first order about the plan's own"
    return " with the ratio to the mean held at the plan's own" if attempt.session.needs_spread(attempt.target) else ""


def _elsewhere(scan: Scan | None) -> str:
    """What was seen all over the limits, as a sentence."""
    if scan is None or not scan.count:
        return ""
    found = "no better ones" if scan.gap <= policy.SCAN_GAP else f"that better ones could save {100 * scan.gap:.2g} %"
    return f" A scan of {scan.count} gains over the whole range found {found}."


def _fitted_message(attempt: Attempt, optimum: Optimum, scan: Scan | None, objective: float) -> str:
    change = objective / optimum.objective.total - 1
    what = "energy of the arrays" if _is_of_costs(attempt) else attempt.target.objective.quantity
    words = _message(attempt, optimum, scan).replace("The plan", "With rounding averaged over gains the plan", 1)
    return (
        f"{words} Gains were then fitted to the levels of the converters by the exact prediction, "
        f"which changed the {what} by {100 * change:+.2g} %."
    )
