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
from powerplan.errors import InvalidInput
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.gains import Gain, warn_beyond_voltage
from powerplan.moments.predict import report
from powerplan.moments.prediction import Prediction
from powerplan.moments.predictor import METHODS, Predictor
from powerplan.network import Network
from powerplan.planning.explain import limit_prices, unreachable
from powerplan.planning.free_gains import FreeGains, check_noisy, free_gains, hold
from powerplan.planning.outcome import Certificate, Outcome, ShadowPrices, Termination
from powerplan.planning.plan_value import Plan
from powerplan.planning.problem import Problem, lowest_constraint, scale_onto
from powerplan.planning.sequential import Optimum, minimise
from powerplan.planning.targets import MaxNMSE, MaxPower, Target
from powerplan.planning.terms import Terms
from powerplan.planning.verify import verify

#: called with what is being done and the fraction done so far (0 to 1)
Progress = Callable[[str, float], None]

_log = logging.getLogger("powerplan.planning")


@dataclass(frozen=True, kw_only=True)
class Options:
    verify_draws: int
    calibrate: bool
    seed: int
    tolerance: float
    max_iterations: int
    stop_at: float | None
    progress: Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """Network, hardware and inputs made ready once."""

    predictor: Predictor
    free: FreeGains
    baseline: FreeGains
    inputs: np.ndarray
    granularity: str
    optimize: tuple[str, ...]

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
    ) -> Session:
        choice("method", method, METHODS)
        batch = check_inputs(inputs, network.input_shape)
        check_noisy(hardware)
        held = hold(network, hardware, batch, conductance, voltage)
        warn_beyond_voltage(network, hardware, held, batch)
        free = free_gains(network, hardware, batch, granularity=granularity, optimize=optimize, held=held)
        base = free_gains(network, hardware, batch, granularity="layer", optimize=("conductance",), held=held)
        return cls(
            predictor=Predictor.of(network, hardware, batch, method=method),
            free=free,
            baseline=base,
            inputs=batch,
            granularity=granularity,
            optimize=(optimize,) if isinstance(optimize, str) else tuple(optimize),
        )

    def plan(self, target: Target, options: Options) -> Plan:
        """Plan, verify, and if asked re-plan once for the simulated error."""
        found = self._solve(target, target.value, options)
        if not options.verify_draws or found.termination.outcome is Outcome.INFEASIBLE:
            return found
        options.progress("verifying by simulation", 0.7)
        checked = self._verified(found, options, calibrated=False)
        if not options.calibrate:
            return checked
        assert checked.verification is not None
        options.progress("calibrating", 0.8)
        again = self._solve(target, target.value / checked.verification.ratio, options)
        options.progress("verifying by simulation", 0.9)
        return self._verified(again, options, calibrated=True)

    def _verified(self, plan: Plan, options: Options, *, calibrated: bool) -> Plan:
        started = time.monotonic()
        result = verify(
            self.predictor.network,
            self.predictor.hardware,
            plan.gains,
            self.inputs,
            plan.target,
            draws=options.verify_draws,
            seed=options.seed + calibrated,  # fresh draws: the calibration must not verify itself
            calibrated=calibrated,
        )
        times = {**plan.provenance["seconds"], "verify": time.monotonic() - started}
        return replace(plan, verification=result, provenance={**plan.provenance, "seconds": times})

    def _solve(self, target: Target, value: float, options: Options) -> Plan:
        """Plan for the bound ``value`` of the target's quantity."""
        started = time.monotonic()
        bound = value
        if isinstance(target, MaxNMSE):
            bound *= self._signal_power()
        minimised = "error" if isinstance(target, MaxPower) else "power"
        problem = _problem(self.predictor, self.free, minimised, bound)
        options.progress("scaling the baseline", 0.0)
        baseline = self._baseline(minimised, bound)
        options.progress("optimising", 0.1)
        start = self._start(problem)
        if start is None:
            return self._infeasible(target, problem, baseline, started)
        optimum = minimise(
            problem,
            start,
            tolerance=options.tolerance,
            max_iterations=options.max_iterations,
            stop_at=options.stop_at,
            progress=lambda i, residual: options.progress("optimising", 0.1 + 0.5 * min(1.0, i / 12)),
        )
        prediction = report(self.predictor, self.free.gains(optimum.theta))
        certificate = optimum.certificate
        termination = Termination(
            outcome=Outcome(optimum.reason),
            message=_message(optimum),
            solver_status=optimum.solver_status,
            iterations=optimum.iterations,
            predictions=problem.terms.evaluations,
            seconds=time.monotonic() - started,
        )
        _log.info("planned %s: %s", target, termination.message)
        return self._plan(
            target,
            optimum.theta,
            prediction,
            baseline,
            termination,
            Certificate(
                kkt_residual=certificate.kkt_residual,
                duality_gap=certificate.duality_gap,
                constraint_violation=certificate.constraint_violation,
            ),
            ShadowPrices(target=-certificate.dual, limits=limit_prices(self.free, certificate.limit_duals)),
        )

    def _signal_power(self) -> float:
        if not self.predictor.signal_power:
            raise InvalidInput.of(
                "target", "MaxNMSE", "MaxMSE where the ideal outputs are all zero", "A relative error has no meaning."
            )
        return self.predictor.signal_power

    def _baseline(self, minimised: str, bound: float) -> tuple[Gains, Prediction] | None:
        """One conductance range for every layer, scaled to the target; None if it cannot meet it."""
        problem = _problem(self.predictor, self.baseline, minimised, bound)
        theta = scale_onto(problem, problem.upper)
        if theta is None:
            return None
        gains = self.baseline.gains(theta)
        return gains, report(self.predictor, gains)

    @staticmethod
    def _start(problem: Problem) -> np.ndarray | None:
        """A feasible θ on the constraint; None if there is none."""
        start = scale_onto(problem, problem.upper)
        if start is None:
            best = lowest_constraint(problem, problem.upper if problem.minimise == "power" else problem.lower)
            start = best if problem.excess(best) <= 0 else None
        return start

    def _infeasible(
        self, target: Target, problem: Problem, baseline: tuple[Gains, Prediction] | None, started: float
    ) -> Plan:
        theta = lowest_constraint(problem, problem.upper if problem.minimise == "power" else problem.lower)
        prediction = report(self.predictor, self.free.gains(theta))
        explained = unreachable(target, self.free, theta, prediction, self.predictor.hardware)
        termination = Termination(
            outcome=Outcome.INFEASIBLE,
            message=explained.message,
            solver_status="least constraint by L-BFGS-B",
            iterations=0,
            predictions=problem.terms.evaluations,
            seconds=time.monotonic() - started,
            best_reachable=explained.best,
            binding_limits=explained.limits,
        )
        return self._plan(target, theta, prediction, baseline, termination, None, None)

    def _plan(
        self,
        target: Target,
        theta: np.ndarray,
        prediction: Prediction,
        baseline: tuple[Gains, Prediction] | None,
        termination: Termination,
        certificate: Certificate | None,
        prices: ShadowPrices | None,
    ) -> Plan:
        return Plan(
            gains=self.free.gains(theta),
            prediction=prediction,
            target=target,
            granularity=self.granularity,
            optimize=self.optimize,
            hardware=self.predictor.hardware,
            termination=termination,
            certificate=certificate,
            shadow_prices=prices,
            baseline_gains=baseline[0] if baseline else None,
            baseline_power=baseline[1].power if baseline else None,
            baseline_mse=baseline[1].mse if baseline else None,
            provenance=self._provenance(termination.seconds),
        )

    def _provenance(self, seconds: float) -> Mapping[str, Any]:
        return {
            "powerplan_version": __version__,
            "network_sha256": self.predictor.network.digest,
            "inputs_sha256": hashlib.sha256(np.ascontiguousarray(self.inputs).tobytes()).hexdigest(),
            "inputs_shape": list(self.inputs.shape),
            "method": self.predictor.method,
            "seconds": {"optimise": seconds},
        }


def _problem(predictor: Predictor, free: FreeGains, minimised: str, bound: float) -> Problem:
    return Problem(terms=Terms(predictor, free), minimise=minimised, bound=bound, lower=free.lower, upper=free.upper)


def _message(optimum: Optimum) -> str:
    residual = f"KKT residual {optimum.certificate.kkt_residual:.1e} after {optimum.iterations} local programs"
    return f"{Outcome(optimum.reason).advice} {residual}."
