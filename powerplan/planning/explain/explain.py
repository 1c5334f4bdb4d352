"""A plan explained: which layers matter, which limits bind, what relaxing them buys, how far physics is away.

The shadow price of a parameter p (a noise, a limit, the target) is, by the envelope theorem,

    d log f* / d log p = ∂ log f/∂ log p + Σ_r λ_r ∂ log h_r/∂ log p − Σ_i μ_i ∂ log limit_i/∂ log p

with objective f, constraints h_r over their bounds, limits of the log gains, and their multipliers λ, μ at the plan; it
says that a change of p by a factor k changes the objective by k^price. Every price is checked by planning again with
the parameter changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from powerplan.allocation import certify
from powerplan.checks import check_inputs
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.hardware.gains import conductance_limits, voltage_limits
from powerplan.hardware.steps import steps_from_dict
from powerplan.network import Network
from powerplan.planning.explain.limits import QUANTITIES
from powerplan.planning.explain.relaxing import MOVES_LEVELS, Change, relaxable, relaxed
from powerplan.planning.plan_value import Plan
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.run import plan_target
from powerplan.planning.session import Options, Session, digests
from powerplan.planning.settings import PlanSettings, Progress
from powerplan.planning.targets import MaxPower, Target
from powerplan.planning.verify.calibration import planned_bound
from powerplan.plausibility import question, unasked
from powerplan.settings import named

#: relaxed by this fraction
CHANGE = 0.1
#: limits are lifted by this factor for the bound without limits
_LIFTED = 100.0
_DERIVATIVE = 1e-5
#: KKT residual of plans made again
_TOLERANCE = 1e-7


@dataclass(frozen=True, kw_only=True)
class LayerShare:
    """Shares of one crossbar layer in the power and in the mean squared error (fractions)."""

    layer: str
    power: float
    error: float


@dataclass(frozen=True, kw_only=True)
class BindingLimit:
    """A limit that binds.

    Attributes:
        layer, limit: as in :class:`LimitPrice`.
        count: gains of the layer (columns or rows) at it.
        price: d log objective / d log limit, summed over them.
    """

    layer: str
    limit: str
    count: int
    price: float


@dataclass(frozen=True, kw_only=True)
class Relaxation:
    """What changing one parameter by 10 %, or by one bit, does.

    Attributes:
        parameter: "target", or a field of the hardware.
        factor: it is multiplied by (a curve or a model of drift or noise: what it gives); 1 for bits.
        bits: that a converter gets more; 0 for all else.
        price: shadow price, d log objective / d log parameter; None if the target is infeasible, and for bits. Of what
            moves the levels of converters it is the trend, from which planning again ripples.
        predicted: relative change of the objective by the price, factor^price − 1; None likewise.
        resolved: the same by planning again; None if no plan could be made then (``note`` says why). For an
            infeasible target, the relative change of the lowest reachable value.
        reaches_target: whether the plan made again meets its target.
        note: why there is no answer; "" if there is one.
    """

    parameter: str
    factor: float
    price: float | None
    predicted: float | None
    resolved: float | None
    reaches_target: bool
    note: str = ""
    bits: int = 0


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A plan explained.

    Attributes:
        objective: "power", "error" (under a power budget), or "reached" for an infeasible target.
        value: of the objective [W, MSE, or the target's quantity].
        layers: shares of every crossbar layer, in order.
        limits: that bind, those that cost most first.
        relaxations: by what they buy, the best first.
        unlimited: the objective at the same target with the limits of the free gains lifted and conductance_min = 0:
            what noise and network alone ask for. None if there is no such bound, or the target is infeasible.
        sentences: all of it in words.
    """

    objective: str
    value: float
    layers: tuple[LayerShare, ...]
    limits: tuple[BindingLimit, ...]
    relaxations: tuple[Relaxation, ...]
    unlimited: float | None
    sentences: tuple[str, ...]

    @property
    def gap(self) -> float | None:
        """(objective − unlimited) / unlimited: what the limits cost."""
        return None if not self.unlimited else self.value / self.unlimited - 1

    def __str__(self) -> str:
        return "\n".join(self.sentences)


def explain(
    plan: Plan,
    network: Network,
    inputs: np.ndarray,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain a plan: layers, binding limits, what 10 % more of everything buys, and the bound without limits.

    Args:
        plan: to explain.
        network, inputs: that it was made with.
        deadline: seconds for each plan made again.
        progress: called with a description and the fraction done.

    Raises:
        InvalidInput: another network or other inputs than the plan's.

    Warns:
        PlausibilityWarning: a number of the plan is most likely in another unit.
    """
    deadline = named(PlanSettings)["deadline"].value(deadline)
    question(plan)
    with unasked():  # what is relaxed on the way is not the caller's
        return _Explainer(plan, network, inputs, deadline, progress or (lambda what, done: None)).explain()


class _Explainer:
    def __init__(
        self, plan: Plan, network: Network, inputs: np.ndarray, deadline: float | None, progress: Progress
    ) -> None:
        self.plan, self.network, self.deadline, self.progress = plan, network, deadline, progress
        self.inputs = check_inputs(inputs, network.input_shape)
        self.hardwares = (plan.hardware, *(corner.hardware for corner in plan.corners))
        self.feasible = plan.meets_target
        self._check_plans_own()
        self.settings = self._settings()
        # with steps, prices are those of the plan without
        self.smooth = plan if plan.discrete is None else self._again(planned_bound(plan), self.hardwares, steps=False)

    def explain(self) -> Explanation:
        plan = self.plan
        relaxations = self._relaxations()
        unlimited = self._unlimited() if self.feasible else None
        layers = tuple(
            LayerShare(layer=name, power=float(p) / (plan.power or 1.0), error=float(e) / (plan.mse or 1.0))
            for name, p, e in zip(
                plan.prediction.layer_names, plan.prediction.power_by_layer, plan.prediction.mse_by_layer, strict=True
            )
        )
        explanation = Explanation(
            objective=("error" if isinstance(plan.target, MaxPower) else "power") if self.feasible else "reached",
            value=self._value(plan),
            layers=layers,
            limits=_binding(plan),
            relaxations=relaxations,
            unlimited=unlimited,
            sentences=(),
        )
        return replace(explanation, sentences=tuple(_sentences(explanation, plan)))

    # ------------------------------------------------------------ planning again

    def _held_gains(self) -> dict[str, Any]:
        """Gains to hold as the plan held them: None where they follow the rule of the planner."""
        plan = self.plan
        ruled = {
            "voltage": voltage_limits(self.network, plan.hardware, self.inputs),
            "conductance": conductance_limits(self.network, plan.hardware, plan.gains.voltage),
        }
        gains_by_kind: dict[str, Any] = {}
        for kind, rule in ruled.items():
            gains = getattr(plan.gains, kind)
            follows = all(np.ndim(g) == 0 and np.isclose(g, r, rtol=1e-9) for g, r in zip(gains, rule, strict=True))
            gains_by_kind[kind] = None if kind in plan.optimize or follows else gains
        return gains_by_kind

    def _settings(self) -> PlanSettings:
        """How the plan was made, as far as its optimum depends on it, to a tolerance of its own."""
        plan, recorded = self.plan, self.plan.provenance
        names = ("conductance_steps", "voltage_steps")
        steps: dict[str, Any] = {name: steps_from_dict(recorded.get(name)) for name in names}
        prediction = {"method": recorded.get("method", "linearized"), **recorded.get("prediction", {})}
        # as many samples whatever is relaxed: with others, their chance would be in the difference
        prediction["marginal_fields"] = plan.prediction.marginal_fields
        return PlanSettings(
            granularity=plan.granularity,
            optimize=plan.optimize,
            output_weights=plan.output_weights,
            verify_draws=0,
            calibrate=False,
            tolerance=_TOLERANCE,
            **prediction,
            **self._held_gains(),
            **steps,
        )

    def _session(self, hardwares: Sequence[Hardware], *, steps: bool = True) -> Session:
        nominal, *corners = hardwares
        continuous: dict[str, Any] = {} if steps else {"conductance_steps": None, "voltage_steps": None}
        settings = replace(self.settings, corners=corners, **continuous)
        return Session.of(self.network, nominal, self.inputs, settings)

    def _check_plans_own(self) -> None:
        """Refuse another network, other layers on crossbars, or other inputs."""
        now_by_key = digests(self.network, self.inputs)
        for key, what in (("network_sha256", "network"), ("inputs_sha256", "inputs")):
            planned, now = self.plan.provenance.get(key), now_by_key[key]
            if planned not in (None, now):
                raise InvalidInput.of(
                    what,
                    f"SHA-256 {now[:12]}...",
                    f"the {what} of the plan, SHA-256 {planned[:12]}...",
                    "Give what the plan was made with: the same file, --analog, --digital and --batch.",
                )

    def _again(self, target: Target, hardwares: Sequence[Hardware], *, steps: bool = True) -> Plan:
        session = self._session(hardwares, steps=steps)
        stop_at = None if self.deadline is None else time.monotonic() + self.deadline
        return plan_target(session, target, Options(stop_at=stop_at, advise=False))

    def _value(self, plan: Plan) -> float:
        """The objective; the lowest reachable value where the target is infeasible."""
        if not self.feasible:
            return plan.reached
        if not isinstance(plan.target, MaxPower):
            return plan.power
        weights = plan.output_weights
        return plan.mse if weights is None else float((plan.prediction.mse_by_output * np.array(weights)).mean())

    # ------------------------------------------------------------ relaxations

    def _relaxations(self) -> tuple[Relaxation, ...]:
        changes = [Change(parameter="target", factor=1 + CHANGE), *relaxable(self.hardwares, CHANGE)]
        prices = self._prices(changes) if self.feasible else {}
        relaxations = []
        for number, change in enumerate(changes):
            self.progress(f"relaxing {change.parameter}", number / (len(changes) + 1))
            relaxations.append(self._relaxed(change, prices.get(change.parameter)))
        return tuple(sorted(relaxations, key=lambda r: np.inf if r.resolved is None else r.resolved))

    def _relaxed(self, change: Change, price: float | None) -> Relaxation:
        predicted = None if price is None else change.factor**price - 1
        resolved, reaches, note = None, False, ""
        try:
            target, hardwares = self._changed(change)
            again = self._again(target, hardwares)
        except InvalidInput as error:
            note = str(error.violations[0])
        else:
            reaches = again.meets_target
            if self.feasible and not reaches:
                note = again.termination.message
            else:
                resolved = (again.reached if not self.feasible else self._value(again)) / self._unchanged - 1
        return Relaxation(
            parameter=change.parameter,
            factor=change.factor,
            bits=change.bits,
            price=price,
            predicted=predicted,
            resolved=resolved,
            reaches_target=reaches,
            note=note,
        )

    @cached_property
    def _unchanged(self) -> float:
        """The value that relaxations are compared with: by the same error samples as theirs where there are any."""
        if not self.plan.prediction.marginal_fields:
            return self._value(self.plan)
        again = self._again(planned_bound(self.plan), self.hardwares)
        if again.meets_target != self.feasible:
            return self._value(self.plan)
        return self._value(again) if self.feasible else again.reached

    def _changed(self, change: Change) -> tuple[Target, tuple[Hardware, ...]]:
        target = planned_bound(self.plan)
        if change.parameter == "target":
            return target.with_value(target.value * change.factor), self.hardwares
        return target, tuple(relaxed(hardware, change) for hardware in self.hardwares)

    def _prices(self, changes: Sequence[Change]) -> dict[str, float]:
        """Shadow prices by the envelope theorem, from a small change of each parameter at the same gains."""
        session, wanted = self._problem(planned_bound(self.plan), self.hardwares)
        session = session.corrected_at(self.smooth.gains)
        theta = session.free.theta_of(self.smooth.gains)
        if theta is None:
            return {}
        problem = session.problem(wanted, session.free)
        objective, *constraints = problem.terms.gradients(theta)
        certificate = certify(
            objective.log_gradient,
            np.stack([c.log_gradient for c in constraints]),
            problem.excesses_of(constraints),
            theta,
            problem.lower,
            problem.upper,
        )
        excesses = problem.excesses_of(constraints)
        prices = {}
        for change in changes:
            if change.bits:
                continue
            step = _DERIVATIVE if change.factor > 1 else -_DERIVATIVE
            try:
                changed, bounds = self._problem(*self._changed(replace(change, factor=1 + step)))
            except InvalidInput:
                continue
            changed = changed.corrected_like(session)
            there = changed.problem(bounds, changed.free)
            f, *h = there.terms.values(theta)
            limits = np.where(certificate.limit_duals > 0, there.upper - problem.upper, there.lower - problem.lower)
            effect = (
                np.log(f.total / objective.total)
                + certificate.duals @ (there.excesses_of(h) - excesses)
                - certificate.limit_duals @ limits
            )
            prices[change.parameter] = float(effect / np.log1p(step))
        return prices

    def _problem(self, target: Target, hardwares: Sequence[Hardware]) -> tuple[Session, Any]:
        session = self._session(hardwares, steps=False)
        return session, requirement(target, session.predictors, session.weights)

    def _unlimited(self) -> float | None:
        """The objective with limits lifted and no idle conductance; None where it has no lower bound."""
        if "voltage" in self.plan.optimize:
            return None
        self.progress("lifting the limits", 0.95)
        # a held conductance stays as it is
        lifted = Change(parameter="conductance_max", factor=_LIFTED)
        free = tuple(relaxed(h, lifted) for h in self.hardwares)
        try:
            again = self._again(planned_bound(self.plan), [h.replace(conductance_min=0.0) for h in free], steps=False)
        except InvalidInput:
            return None
        return self._value(again) if again.meets_target else None


def _binding(plan: Plan) -> tuple[BindingLimit, ...]:
    if plan.shadow_prices is None:
        return ()
    sums: dict[tuple[str, str], list[float]] = {}
    for price in plan.shadow_prices.limits:
        sums.setdefault((price.layer, price.limit), []).append(price.price)
    limits = [
        BindingLimit(layer=layer, limit=limit, count=len(prices), price=float(sum(prices)))
        for (layer, limit), prices in sums.items()
    ]
    return tuple(sorted(limits, key=lambda b: -abs(b.price)))


# ---------------------------------------------------------------- words


def _sentences(explanation: Explanation, plan: Plan) -> list[str]:
    words = [_dominating(explanation.layers, "power", "takes", "of the power")]
    words.append(_dominating(explanation.layers, "error", "causes", "of the error"))
    feasible = plan.meets_target
    words.append(_limits_in_words(explanation.limits) if feasible else plan.termination.message)
    what = {
        "power": "the power",
        "error": "the error",
        "reached": f"the lowest reachable {QUANTITIES[type(plan.target)]}",
    }[explanation.objective]
    words += [_relaxation_in_words(r, what, explanation.objective) for r in explanation.relaxations]
    if explanation.gap is not None:
        words.append(
            f"Without limits on the free gains and without idle conductance {what} would be "
            f"{explanation.unlimited:.6g} instead of {explanation.value:.6g}: the plan is "
            f"{100 * explanation.gap:.3g} % above this bound."
            if explanation.gap > 5e-4
            else f"The limits cost nothing: without them {what} would be the same within 0.05 %."
        )
    elif "voltage" in plan.optimize and explanation.objective != "reached":
        words.append(
            "There is no bound without limits: with free voltages the power falls without end as conductances rise, "
            "so conductance_max is what sets it."
        )
    return words


def _dominating(layers: Sequence[LayerShare], kind: str, verb: str, rest: str) -> str:
    """The layers that make up at least half, largest first."""
    ranked = sorted(layers, key=lambda layer: -getattr(layer, kind))
    named, total = [], 0.0
    for layer in ranked:
        named.append(layer)
        total += getattr(layer, kind)
        if total >= 0.5:
            break
    parts = [f"{layer.layer} {100 * getattr(layer, kind):.1f} %" for layer in named]
    if len(parts) == 1:
        return f"{named[0].layer} {verb} {100 * total:.1f} % {rest}."
    return f"{len(parts)} of {len(layers)} layers make up {100 * total:.1f} % {rest}: {', '.join(parts)}."


def _limits_in_words(limits: Sequence[BindingLimit]) -> str:
    if not limits:
        return "No limit binds: only the target holds the gains."
    parts = [
        f"{b.layer} at {b.limit}" + (f" ({b.count} gains)" if b.count > 1 else "") + f", price {b.price:+.3f}"
        for b in limits[:8]
    ]
    more = f"; and {len(limits) - 8} more" if len(limits) > 8 else ""
    return f"Limits that bind: {'; '.join(parts)}{more}."


def _relaxation_in_words(r: Relaxation, what: str, objective: str) -> str:
    verb = "Loosening" if r.parameter == "target" else "Raising" if r.factor > 1 or r.bits else "Lowering"
    action = f"{verb} {'the target' if r.parameter == 'target' else r.parameter}"
    action += f" by {r.bits} bit" if r.bits else f" by {100 * abs(r.factor - 1):.0f} %"
    if r.resolved is None:
        return f"{action}: no plan ({r.note})"
    if objective == "reached" and abs(r.resolved) >= 5e-5:
        return f"{action} changes {what} by {100 * r.resolved:+.2f} %" + (
            "; the target is then met." if r.reaches_target else "; the target is still not met."
        )
    average = ", on average over levels" if r.parameter in MOVES_LEVELS else ""
    price = "" if r.predicted is None else f" (shadow price{average}: {100 * r.predicted:+.2f} %)"
    if abs(r.resolved) < 5e-5:
        return f"{action} does not change {what}{price}."
    return f"{action} changes {what} by {100 * r.resolved:+.2f} %{price}."
