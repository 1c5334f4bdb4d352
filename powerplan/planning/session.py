"""A planning session: network, hardware and inputs made ready once, then planned for any number of targets."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from powerplan._version import __version__
from powerplan.checks import check_inputs, choice
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.gains import Gain, warn_beyond_voltage
from powerplan.hardware.tiling import layer_arrays
from powerplan.moments.predict import DEFAULT_OPTIONS, PredictionOptions, report
from powerplan.moments.prediction import Prediction
from powerplan.moments.predictor import METHODS, Predictor
from powerplan.network import Network
from powerplan.planning.calibration import MOST_ROUNDS, calibrated
from powerplan.planning.corners import check_corners, limiting
from powerplan.planning.draft import plan_on_drafts, sample_for
from powerplan.planning.draws import enough_draws
from powerplan.planning.explain import Unreachable, limit_prices, unreachable
from powerplan.planning.free_gains import FreeGains, check_noisy, free_gains, hold
from powerplan.planning.level_fit import fitted_to_levels
from powerplan.planning.many_gains import minimise_many
from powerplan.planning.outcome import (
    Certificate,
    ConstraintPrice,
    DiscreteGap,
    Outcome,
    ShadowPrices,
    Termination,
)
from powerplan.planning.plan_value import Corner, Plan, weighted_mse
from powerplan.planning.problem import ON_CONSTRAINT, Problem, lowest_constraint, scale_onto
from powerplan.planning.requirements import Requirement, output_weights as check_weights, requirement
from powerplan.planning.sequential import Optimum, minimise
from powerplan.planning.stepped import (
    Levels,
    StepsGiven,
    levels_of,
    no_steps,
    on_best_steps,
    on_steps,
    steps_to_dict,
)
from powerplan.planning.targets import ClassTarget, Target
from powerplan.planning.terms import Piece, Terms, is_dear
from powerplan.planning.verify import verify

#: called with what is being done and the fraction done so far (0 to 1)
Progress = Callable[[str, float], None]

#: multipliers below this fraction of their sum are rounding, not prices
_LEAST_PRICE = 1e-6

_log = logging.getLogger("powerplan.planning")

#: free gains beyond which plans are made from gradients alone
_MOST_GAINS = 12
#: conductance gains beyond which a plan starts from the layers' plan: with so many, steps cost more than that plan
_FAR_MANY = 2000
#: log slack of a tight constraint that dear predictions leave, and those in single precision; as a part of the KKT
#: residual asked for, if that is more; and that of a baseline that is only a start
_COARSE, _ROUNDED, _OF_TOLERANCE, _NEAR = 1e-6, 1e-5, 0.1, 1e-3
#: KKT residual and most local programs of a layers' plan that is only a start
_ROUGH, _ROUGH_ITERATIONS = 1e-3, 20


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to plan; ``verify_draws`` and ``calibrate`` None: enough and yes for targets on classes, else 0 and no."""

    verify_draws: int | None
    calibrate: bool | None
    seed: int
    tolerance: float
    max_iterations: int
    stop_at: float | None
    progress: Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class _Baseline:
    """One conductance range for every layer, scaled to a target: θ in the layers' conductance gains."""

    theta: np.ndarray
    gains: Gains
    prediction: Prediction


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """Network, hardware and inputs made ready once.

    Attributes:
        predictors: one per corner, the nominal hardware first.
        weights: (K,) of the outputs in the error, with mean 1; None = all alike.
        layers: the same gains free, one per layer, where a finer plan starts from the layers' plan.
        levels: log steps of every free gain; None if no gain has steps.
        settings: what else was asked, for the plan's provenance.
    """

    predictors: tuple[Predictor, ...]
    weights: np.ndarray | None
    free: FreeGains
    baseline: FreeGains
    layers: FreeGains | None
    inputs: np.ndarray
    granularity: str
    optimize: tuple[str, ...]
    levels: Levels | None
    settings: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        network: Network,
        hardware: Hardware,
        inputs: np.ndarray,
        *,
        granularity: str,
        optimize: Sequence[str],
        conductance: Sequence[Gain] | None,
        voltage: Sequence[float] | None,
        method: str,
        corners: Sequence[Hardware] = (),
        output_weights: object = None,
        conductance_steps: StepsGiven = None,
        voltage_steps: StepsGiven = None,
        prediction: PredictionOptions = DEFAULT_OPTIONS,
    ) -> Session:
        choice("method", method, METHODS)
        batch = check_inputs(inputs, network.input_shape)
        hardwares = (hardware, *check_corners(corners))
        for each in hardwares:
            check_noisy(each)
        limits = limiting(hardwares)
        held = hold(network, limits, batch, conductance, voltage)
        warn_beyond_voltage(network, limits, held, batch)
        free = free_gains(network, limits, batch, granularity=granularity, optimize=optimize, held=held)
        base = free
        if granularity != "layer" or set((optimize,) if isinstance(optimize, str) else optimize) != {"conductance"}:
            base = free_gains(network, limits, batch, granularity="layer", optimize=("conductance",), held=held)
        layers = None
        if granularity in ("column", "signal") and ("voltage" in optimize or free.count > _FAR_MANY):
            layers = free_gains(network, limits, batch, granularity="layer", optimize=optimize, held=held)
        predictors = tuple(prediction.predictor(network, each, batch, method) for each in hardwares)
        return cls(
            predictors=predictors,
            weights=check_weights(output_weights, predictors[0].ideal.shape[1]),
            free=free,
            baseline=base,
            layers=layers,
            inputs=batch,
            granularity=granularity,
            optimize=(optimize,) if isinstance(optimize, str) else tuple(optimize),
            levels=levels_of(free, conductance_steps, voltage_steps),
            settings=steps_to_dict(conductance_steps=conductance_steps, voltage_steps=voltage_steps),
        )

    @property
    def predictor(self) -> Predictor:
        """The network on the nominal hardware."""
        return self.predictors[0]

    def plan(self, target: Target, options: Options) -> Plan:
        """Plan; verify by simulation and calibrate, as the options and the target want it."""
        found = self._solve(target, options)
        draws = 0 if found.termination.outcome is Outcome.INFEASIBLE else self._draws(found, options)
        if not draws:
            return found
        options.progress("verifying by simulation", 0.7)
        checked = self._verified(found, draws, options.seed)
        calibrate = options.calibrate
        if not (isinstance(target, ClassTarget) if calibrate is None else calibrate):
            return checked
        done = 0.7

        def solve(bound: Target, near: Plan) -> Plan:
            nonlocal done
            done += 0.3 / (MOST_ROUNDS + 1)
            options.progress("calibrating", done)
            again = self._solve(bound, replace(options, progress=lambda what, part: None), near)
            return replace(again, target=target)

        def check(plan: Plan, number: int) -> Plan:
            # fresh draws: the calibration must not verify itself
            return self._verified(plan, draws, options.seed + number, calibrated=True)

        return calibrated(checked, solve=solve, check=check, stop_at=options.stop_at)

    def _draws(self, plan: Plan, options: Options) -> int:
        """Draws to verify a plan with."""
        if options.verify_draws is not None:
            return options.verify_draws
        if not isinstance(plan.target, ClassTarget):
            return 0
        return enough_draws(
            self.predictor.network,
            [predictor.hardware for predictor in self.predictors],
            plan.gains,
            self.inputs,
            plan.target,
            seed=options.seed,
            stop_at=options.stop_at,
        )

    def _verified(self, plan: Plan, draws: int, seed: int, *, calibrated: bool = False) -> Plan:
        started = time.monotonic()
        nominal, *others = [
            verify(
                predictor.network,
                predictor.hardware,
                plan.gains,
                self.inputs,
                plan.target,
                weights=self.weights,
                draws=draws,
                seed=seed,
                calibrated=calibrated,
            )
            for predictor in self.predictors
        ]
        corners = tuple(replace(c, verification=v) for c, v in zip(plan.corners, others, strict=True))
        times = {**plan.provenance["seconds"], "verify": time.monotonic() - started}
        provenance = {**plan.provenance, "seconds": times}
        return replace(plan, verification=nominal, corners=corners, provenance=provenance)

    def _solve(self, target: Target, options: Options, near: Plan | None = None) -> Plan:
        """The plan that is predicted to meet a target, looked for from ``near`` on.

        Corrections of marginal variances are held while gains change: those at ``near``; without it those at the
        baseline first, then, unless predictions are dear, those at the plan they gave.
        """
        fields = any(predictor.fields for predictor in self.predictors)
        if near is not None:
            held = self._held_at(near.gains) if fields else self
            return held._solve_held(target, options, near=near.baseline_gains, start=near.gains)
        if not fields:
            return self._solve_held(target, options)
        started = time.monotonic()
        about = self._near_baseline(requirement(target, self.predictors, self.weights))
        rough = self._held_at(self.free.gains(self.free.upper) if about is None else about)
        found = rough._solve_held(target, options, near=about)
        again = found.termination.outcome not in (Outcome.INFEASIBLE, Outcome.DEADLINE)
        if again and not is_dear(self.predictor):
            held = self._held_at(found.gains)
            found = held._solve_held(target, options, near=found.baseline_gains, start=found.gains)
        seconds = time.monotonic() - started
        return replace(
            found,
            termination=replace(found.termination, seconds=seconds),
            provenance={**found.provenance, "seconds": {**found.provenance["seconds"], "optimise": seconds}},
        )

    def _held_at(self, gains: Gains) -> Session:
        """The session with marginal variances corrected as they must be at these gains."""
        held = (p.corrected(p.program(*p.gain_tensors(gains))) for p in self.predictors)
        return replace(self, predictors=tuple(held))

    def _solve_held(
        self,
        target: Target,
        options: Options,
        *,
        near: Gains | None = None,
        start: Gains | None = None,
    ) -> Plan:
        """As :meth:`_solve`, with the corrections there are; the baseline is looked for from ``near`` on, the plan from
        ``start``."""
        started = time.monotonic()
        wanted = requirement(target, self.predictors, self.weights)
        problem = self._problem(wanted, self.free, tolerance=options.tolerance)
        exact = problem
        if self._averaged:
            exact = self._problem(wanted, self.free, tolerance=options.tolerance, exact=True)
        by_layer = exact
        if self.baseline is not self.free:
            by_layer = self._problem(wanted, self.baseline, tolerance=options.tolerance, exact=True)
        options.progress("scaling the baseline", 0.0)
        baseline = self._baseline(by_layer, near)
        options.progress("optimising", 0.1)
        theta, met = self._start(problem, wanted, baseline, start, options)
        if not met and exact is not problem:
            problem = exact
            theta, met = self._start(problem, wanted, baseline, start, options)
        if not met:
            return self._unreachable(target, problem, theta, baseline, started)
        # what the report takes is kept back
        stop_at = None if options.stop_at is None else options.stop_at - problem.terms.seconds("values")
        sample = sample_for(self.predictor)
        if sample is not None:
            theta = plan_on_drafts(problem, theta, sample, tolerance=options.tolerance, stop_at=stop_at)
        descend = minimise_many if self._by_gradients else minimise
        optimum = descend(
            problem,
            theta,
            tolerance=options.tolerance,
            max_iterations=options.max_iterations,
            stop_at=stop_at,
            progress=lambda i, residual: options.progress("optimising", 0.1 + 0.5 * min(1.0, i / 12)),
        )
        certificate, theta = optimum.certificate, optimum.theta
        outcome, message, discrete = Outcome(optimum.reason), _message(optimum), None
        if exact is not problem and self.levels is None:
            options.progress("fitting gains to the converters", 0.6)
            cheap = not is_dear(self.predictor)
            fitted = fitted_to_levels(exact, theta, certificate.duals, search=cheap, stop_at=options.stop_at)
            if fitted is None:
                fitted = lowest_constraint(exact, theta)
                if exact.excess(fitted) > 0:
                    return self._unreachable(target, exact, fitted, baseline, started)
            message = _fitted_message(optimum, exact.objective(fitted))
            theta = fitted
        if self.levels is not None:
            stepped = on_steps(
                exact,
                self.levels,
                optimum,
                max_iterations=options.max_iterations,
                stop_at=options.stop_at,
                progress=lambda done: options.progress("choosing steps", 0.6 + 0.1 * done),
            )
            if stepped.theta is None:
                explained = no_steps(target, self.free, self.levels, exact, optimum.theta)
                return self._infeasible(target, exact, explained, baseline, started, stepped.gap)
            theta, discrete = stepped.theta, stepped.gap
            outcome, message = stepped.outcome, stepped.message
            if exact is not problem:
                message += " What the bound leaves out is that the rounding of converters ripples with the gains."
        violation = certificate.constraint_violation
        if exact is not problem and self.levels is None:
            violation = max(0.0, float(np.expm1(exact.excess(theta))))
        termination = Termination(
            outcome=outcome,
            message=message,
            solver_status=optimum.solver_status,
            iterations=optimum.iterations,
            predictions=problem.terms.evaluations + (0 if exact is problem else exact.terms.evaluations),
            seconds=time.monotonic() - started,
        )
        _log.info("planned %s: %s", target, termination.message)
        return self._plan(
            target,
            theta,
            exact,
            baseline,
            termination,
            Certificate(
                kkt_residual=certificate.kkt_residual,
                duality_gap=certificate.duality_gap,
                constraint_violation=violation,
            ),
            self._prices(problem, certificate.duals, certificate.limit_duals),
            discrete,
        )

    def _prices(self, problem: Problem, duals: np.ndarray, limit_duals: np.ndarray) -> ShadowPrices:
        prices = tuple(
            ConstraintPrice(corner=c.corner, output=c.output, price=-float(dual) * c.leverage)
            for c, dual in zip(problem.terms.constraints, duals, strict=True)
            if dual > _LEAST_PRICE * duals.sum()
        )
        return ShadowPrices(
            target=sum((p.price for p in prices), 0.0),
            limits=limit_prices(self.free, limit_duals),
            constraints=prices,
        )

    @property
    def _averaged(self) -> frozenset[str]:
        """The converters whose rounding changes with the gains: plans average over that.

        Their steps move against what they convert, or what they convert changes its noise. Rows without noise at held
        voltages round in one way.
        """
        rows = any(p.hardware.dac_bits for p in self.predictors)
        names = {"rows"} if "voltage" in self.optimize else {"noisy rows"}
        columns = any(p.hardware.adc_bits for p in self.predictors)
        return frozenset((names if rows else set()) | ({"columns"} if columns else set()))

    def _problem(
        self,
        wanted: Requirement,
        free: FreeGains,
        *,
        exact: bool = False,
        tolerance: float = 0.0,
        sample: Piece | None = None,
    ) -> Problem:
        """The problem of a requirement.

        Args:
            exact: with rounding at the very gains, else averaged over some.
            tolerance: KKT residual that will be asked for.
            sample: what to predict from; None = all.
        """
        averaged = frozenset() if exact else self._averaged
        nominal, *corners = (replace(p, averaged=averaged) for p in self.predictors)
        terms = Terms(
            nominal, free, objective=wanted.objective, constraints=wanted.constraints, corners=corners, sample=sample
        )
        return Problem(
            terms=terms,
            minimise=wanted.minimise,
            lower=free.lower,
            upper=free.upper,
            accuracy=self._accuracy(tolerance),
        )

    def _near_baseline(self, wanted: Requirement) -> Gains | None:
        """About the baseline, by a sample where predictions are dear; None if it cannot meet the target."""
        problem = self._problem(wanted, self.baseline, exact=True, sample=sample_for(self.predictor))
        problem = replace(problem, accuracy=max(_NEAR, problem.accuracy))
        theta = scale_onto(problem, problem.upper)
        return None if theta is None else self.baseline.gains(theta)

    def _baseline(self, problem: Problem, near: Gains | None = None) -> _Baseline | None:
        """One conductance range for every layer, scaled to the target; None if it cannot meet it."""
        known = None if near is None else self.baseline.theta_of(near)
        shift = None if known is None else float((known - problem.upper).max())
        theta = scale_onto(problem, problem.upper, first=shift)
        if theta is None:
            return None
        gains = self.baseline.gains(theta)
        return _Baseline(theta=theta, gains=gains, prediction=report(self.predictor, gains))

    def _layers_plan(self, wanted: Requirement, options: Options) -> Gains | None:
        """A plan with one gain per layer, roughly, to start from; None if there is none or it is not needed.

        With voltages free the baseline, whose voltages are at their limits, is too far away to start from.
        """
        if self.layers is None:
            return None
        problem = self._problem(wanted, self.layers)
        problem = replace(problem, accuracy=max(_COARSE, problem.accuracy))
        start = scale_onto(problem, problem.upper)
        if start is None:
            return None
        rough = minimise(problem, start, tolerance=_ROUGH, max_iterations=_ROUGH_ITERATIONS, stop_at=options.stop_at)
        return self.layers.gains(rough.theta)

    @property
    def _by_gradients(self) -> bool:
        """Whether only gradients are affordable: many gains, or a prediction too dear for one derivative per term."""
        return self.free.count > _MOST_GAINS or is_dear(self.predictor)

    def _accuracy(self, tolerance: float) -> float:
        """How closely constraints are met: dear predictions are not spent on digits, rounded ones have fewer."""
        if self.predictor.inputs.element_size() < 8:
            return max(_ROUNDED, _OF_TOLERANCE * tolerance)
        return max(_COARSE, _OF_TOLERANCE * tolerance) if is_dear(self.predictor) else ON_CONSTRAINT

    def _start(
        self,
        problem: Problem,
        wanted: Requirement,
        baseline: _Baseline | None,
        given: Gains | None,
        options: Options,
    ) -> tuple[np.ndarray, bool]:
        """A feasible θ on the constraint (from the given gains, else the layers' plan or the baseline where that is
        one) and True, or the best θ and False."""
        known = None if given is None else self.free.theta_of(given)
        if known is not None and (scaled := scale_onto(problem, known, first=0.0)) is not None:
            return scaled, True
        layers = self._layers_plan(wanted, options)
        starts = [] if layers is None else [self.free.theta_of(layers)]
        if baseline is not None:
            starts.append(baseline.theta if self.baseline is self.free else self.free.theta_of(baseline.gains))
        met = [start for start in starts if start is not None and problem.excess(start) <= problem.accuracy]
        if met:
            return min(met, key=problem.objective) if len(met) > 1 else met[0], True
        start = scale_onto(problem, problem.upper)
        if start is not None:
            return start, True
        best = lowest_constraint(problem, problem.upper if problem.minimise == "power" else problem.lower)
        return best, problem.excess(best) <= 0

    def _unreachable(
        self,
        target: Target,
        problem: Problem,
        best: np.ndarray,
        baseline: _Baseline | None,
        started: float,
    ) -> Plan:
        """The plan of a target that even the best θ misses."""
        explained = unreachable(target, self.free, best, problem, self.predictor.hardware)
        if self.levels is not None:
            explained = on_best_steps(explained, self.levels, problem)
        return self._infeasible(target, problem, explained, baseline, started)

    def _infeasible(
        self,
        target: Target,
        problem: Problem,
        explained: Unreachable,
        baseline: _Baseline | None,
        started: float,
        discrete: DiscreteGap | None = None,
    ) -> Plan:
        termination = Termination(
            outcome=Outcome.INFEASIBLE,
            message=explained.message,
            solver_status=explained.solver_status,
            iterations=0,
            predictions=problem.terms.evaluations,
            seconds=time.monotonic() - started,
            best_reachable=explained.best,
            binding_limits=explained.limits,
        )
        return self._plan(target, explained.theta, problem, baseline, termination, None, None, discrete)

    def _plan(
        self,
        target: Target,
        theta: np.ndarray,
        problem: Problem,
        baseline: _Baseline | None,
        termination: Termination,
        certificate: Certificate | None,
        prices: ShadowPrices | None,
        discrete: DiscreteGap | None = None,
    ) -> Plan:
        gains = self.free.gains(theta)
        prediction, *others = [report(predictor, gains) for predictor in self.predictors]
        return Plan(
            gains=gains,
            prediction=prediction,
            target=target,
            reached=problem.reached(theta),
            granularity=self.granularity,
            optimize=self.optimize,
            hardware=self.predictor.hardware,
            termination=termination,
            certificate=certificate,
            shadow_prices=prices,
            baseline_gains=baseline.gains if baseline else None,
            baseline_power=baseline.prediction.power if baseline else None,
            baseline_mse=weighted_mse(baseline.prediction, self.weights) if baseline else None,
            output_weights=None if self.weights is None else tuple(self.weights.tolist()),
            corners=tuple(
                Corner(hardware=predictor.hardware, prediction=p)
                for predictor, p in zip(self.predictors[1:], others, strict=True)
            ),
            discrete=discrete,
            arrays=layer_arrays(self.predictor.network, self.predictor.hardware),
            provenance=self._provenance(termination.seconds),
        )

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of network and inputs."""
        return {
            "network_sha256": self.predictor.original.digest,
            "inputs_sha256": hashlib.sha256(np.ascontiguousarray(self.inputs).tobytes()).hexdigest(),
        }

    def _provenance(self, seconds: float) -> Mapping[str, Any]:
        return {
            "powerplan_version": __version__,
            **self.digests,
            "inputs_shape": list(self.inputs.shape),
            "method": self.predictor.method,
            **self.settings,
            "seconds": {"optimise": seconds},
        }


def _message(optimum: Optimum) -> str:
    residual = f"KKT residual {optimum.certificate.kkt_residual:.1e} after {optimum.iterations} iterations"
    return f"{Outcome(optimum.reason).advice} {residual}."


def _fitted_message(optimum: Optimum, objective: float) -> str:
    change = objective / optimum.objective.total - 1
    words = _message(optimum).replace("The plan meets", "With rounding averaged over gains the plan meets", 1)
    return (
        f"{words} Gains were then fitted to the levels of the converters by the exact prediction, "
        f"which changed the objective by {100 * change:+.2g} %."
    )
