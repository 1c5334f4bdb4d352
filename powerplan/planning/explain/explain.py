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
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from powerplan.checks import check_inputs
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.hardware.gains import conductance_limits, voltage_limits
from powerplan.hardware.steps import steps_from_dict
from powerplan.network import Network
from powerplan.planning import policy
from powerplan.planning.explain.explanation import BindingLimit, Explanation, LayerShare, Relaxation, YieldCost
from powerplan.planning.explain.relaxing import Change, relaxable, relaxed
from powerplan.planning.explain.sentences import in_sentences
from powerplan.planning.plan_value import Plan
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.run import plan_target
from powerplan.planning.session import Options, Session, digests
from powerplan.planning.settings import PlanSettings, Progress
from powerplan.planning.solve.point import Point
from powerplan.planning.targets import Target
from powerplan.planning.verify.calibration import planned_bound
from powerplan.plausibility import question, unasked
from powerplan.settings import named


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
            objective=plan.objective.name if self.feasible else "reached",
            value=self._value(plan),
            layers=layers,
            limits=_binding(plan),
            relaxations=relaxations,
            unlimited=unlimited,
            sentences=(),
            yields=self._yields(),
        )
        return replace(explanation, sentences=tuple(in_sentences(explanation, plan)))

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
            follows = all(
                np.ndim(g) == 0 and np.isclose(g, r, rtol=policy.SAME_STEP) for g, r in zip(gains, rule, strict=True)
            )
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
            calibration=plan.calibration,
            optimize=plan.optimize,
            output_weights=plan.output_weights,
            verify_draws=0,
            calibrate=False,
            tolerance=policy.EXPLAINED_RESIDUAL,
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
        return plan.objective.of_plan(plan) if self.feasible else plan.reached

    # ------------------------------------------------------------ relaxations

    def _relaxations(self) -> tuple[Relaxation, ...]:
        changes = [
            Change(parameter="target", factor=1 + policy.RELAXED_BY),
            *relaxable(self.hardwares, policy.RELAXED_BY),
        ]
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
        target, gains = planned_bound(self.plan), self.smooth.gains
        session = self._session(self.hardwares, steps=False).corrected_at(gains).spread_at(gains, target)
        theta = session.free.theta_of(gains)
        if theta is None:
            return {}
        problem = session.problem(requirement(target, session.predictors, session.weights), session.free)
        point = Point.at(problem, theta)
        certificate = point.certificate
        prices = {}
        for change in changes:
            if change.bits:
                continue
            step = policy.PRICE_STEP if change.factor > 1 else -policy.PRICE_STEP
            try:
                other, hardwares = self._changed(replace(change, factor=1 + step))
                changed = self._session(hardwares, steps=False).corrected_like(session)
                bounds = requirement(other, changed.predictors, changed.weights)
            except InvalidInput:
                continue
            there = changed.problem(bounds, changed.free)
            f, *h = there.terms.values(theta)
            limits = np.where(certificate.limit_duals > 0, there.upper - problem.upper, there.lower - problem.lower)
            effect = (
                np.log(f.total / point.objective.total)
                + certificate.duals @ (there.excesses_of(h) - point.e)
                - certificate.limit_duals @ limits
            )
            prices[change.parameter] = float(effect / np.log1p(step))
        return prices

    def _yields(self) -> tuple[YieldCost, ...]:
        """What the same bound costs for other parts of the chips."""
        own = self.plan.target.chips
        if own is None or not self.feasible:
            return ()
        target = planned_bound(self.plan).with_chips(own)
        before = (
            self._unchanged if target == planned_bound(self.plan) else self._value(self._again(target, self.hardwares))
        )
        costs = []
        for part in (None, *(part for part in policy.OTHER_PARTS if part != own)):
            self.progress(f"planning for {'the mean' if part is None else f'{100 * part:g} %'} of the chips", 0.9)
            again = self._again(target.with_chips(part), self.hardwares)
            change = self._value(again) / before - 1 if again.meets_target else None
            costs.append(
                YieldCost(chips=part, change=change, note="" if change is not None else again.termination.message)
            )
        return tuple(costs)

    def _unlimited(self) -> float | None:
        """The objective with limits lifted and no idle conductance; None where it has no lower bound."""
        if "voltage" in self.plan.optimize:
            return None
        self.progress("lifting the limits", 0.95)
        # a held conductance stays as it is
        lifted = Change(parameter="conductance_max", factor=policy.LIFTED)
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
