"""A plan made again with its target or its hardware changed: by the same settings, for the same inputs."""

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
from powerplan.network.weight_slices import check_sliced
from powerplan.planning import policy
from powerplan.planning.explain.relaxing import Change, relaxed
from powerplan.planning.plan_value import Plan
from powerplan.planning.run import plan_target
from powerplan.planning.session import Options, Session, digests
from powerplan.planning.settings import QUANTITIES, PlanSettings
from powerplan.planning.targets import Target
from powerplan.planning.verify.calibration import planned_bound


class Replanner:
    """How a plan is made again.

    Attributes:
        plan, network, inputs: as given, the inputs checked.
        deadline: seconds for each plan.
        hardwares: that of the plan and its corners.
        feasible: the plan meets its target, within its limits or not.
        settings: of the plans.
        smooth: the plan with continuous gains.
    """

    def __init__(self, plan: Plan, network: Network, inputs: np.ndarray, deadline: float | None) -> None:
        self.plan, self.network, self.deadline = plan, network, deadline
        self.inputs = check_inputs(inputs, network.input_shape)
        self.hardwares = (plan.hardware, *(corner.hardware for corner in plan.corners))
        self.feasible = plan.meets_target or (plan.beyond_limits and not plan.target.is_budget)
        self._check_plans_own()
        self.settings = self._settings()
        # with steps, prices are those of the plan without
        self.smooth = plan if plan.discrete is None else self.plan_for(planned_bound(plan), self.hardwares, steps=False)

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
            optimize=tuple(kind for kind in plan.optimize if kind in QUANTITIES),  # bits stay as they were chosen
            output_weights=plan.output_weights,
            verify_draws=0,
            calibrate=False,
            tolerance=policy.EXPLAINED_RESIDUAL,
            # limits out of reach are left out: what changes do to the energy tells the way to them
            max_energy=recorded.get("max_energy") if plan.meets_target or plan.target.is_budget else None,
            **prediction,
            **self._held_gains(),
            **steps,
        )

    def session(self, hardwares: Sequence[Hardware], *, steps: bool = True) -> Session:
        """The settings with other hardware; without steps its gains are continuous."""
        nominal, *corners = hardwares
        continuous: dict[str, Any] = {} if steps else {"conductance_steps": None, "voltage_steps": None}
        settings = replace(self.settings, corners=corners, **continuous)
        return Session.of(self.network, nominal, self.inputs, settings)

    def _check_plans_own(self) -> None:
        """Refuse another network, other layers on crossbars, or other inputs."""
        check_sliced(self.network, self.plan.prediction.layer_names)
        now_by_key = digests(self.network, self.inputs)
        for key, what in (("network_sha256", "network"), ("inputs_sha256", "inputs")):
            planned, now = self.plan.provenance.get(key), now_by_key[key]
            if planned not in (None, now):
                raise InvalidInput.of(
                    what,
                    f"SHA-256 {now[:12]}...",
                    f"the {what} of the plan, SHA-256 {planned[:12]}...",
                    "Give what it was made with: the same file, --analog, --digital, --weight-slices and --batch.",
                )

    def plan_for(self, target: Target, hardwares: Sequence[Hardware], *, steps: bool = True) -> Plan:
        """The plan for another target or hardware."""
        session = self.session(hardwares, steps=steps)
        stop_at = None if self.deadline is None else time.monotonic() + self.deadline
        return plan_target(session, target, Options(stop_at=stop_at, advise=False))

    def value(self, plan: Plan) -> float:
        """The objective; the lowest reachable value where the target is infeasible."""
        return plan.objective.of_plan(plan) if self.feasible else plan.reached

    @cached_property
    def unchanged(self) -> float:
        """The value that relaxations are compared with: by the same error samples as theirs where there are any."""
        if not self.plan.prediction.marginal_fields:
            return self.value(self.plan)
        again = self.plan_for(planned_bound(self.plan), self.hardwares)
        if again.meets_target != self.feasible:
            return self.value(self.plan)
        return self.value(again)

    def changed(self, change: Change) -> tuple[Target, tuple[Hardware, ...]]:
        """Target and hardware with one of them changed."""
        target = planned_bound(self.plan)
        if change.parameter == "target":
            return target.with_value(target.value * change.factor), self.hardwares
        return target, tuple(relaxed(hardware, change) for hardware in self.hardwares)
