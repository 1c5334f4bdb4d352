"""A target and an objective of a test: two classes and a line in a table, and every room takes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from random_plans import small_network

import powerplan as pp
from powerplan.moments.predictor import Moments, Predictor
from powerplan.montecarlo import Simulation
from powerplan.planning import TARGETS
from powerplan.planning.objectives import Objective
from powerplan.planning.plan_file import plan_to_dict
from powerplan.planning.problem.measures import Constraint, Error, Power
from powerplan.planning.targets import build_target
from powerplan.planning.targets.target import Bound

HARDWARE = pp.Hardware(programming_noise_std=1e-6, feedback_resistance=1e6)
NETWORK, INPUTS = small_network(0, (4, 5, 3)), np.random.default_rng(0).uniform(0, 1, (6, 4))


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayPower(Power):
    """Power of the devices alone."""

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> torch.Tensor:
        return moments.array_power


class LeastArrayPower(Objective):
    name, quantity, unit = "array power", "array power", "W"

    def measure(self, weights: torch.Tensor | None) -> ArrayPower:
        return ArrayPower()

    def of(self, prediction: pp.Prediction, weights: np.ndarray | None) -> float:
        return float(prediction.array_power_by_layer.sum())

    def of_baseline(self, plan: pp.Plan) -> float | None:
        return None


class MaxTotalMSE(Bound):
    """Least array power such that the MSE summed over the outputs is at most ``value``."""

    kind = "max_total_mse"
    quantity, words = "total MSE", "MSE of all outputs together"
    help = "largest sum of the outputs' MSE"
    objective: ClassVar[Objective] = LeastArrayPower()

    def constraints(self, predictor: Predictor, weights: torch.Tensor | None, corner: int) -> list[Constraint]:
        return [Constraint(measure=Error(), value=self.value, unit=1 / predictor.ideal.shape[1], corner=corner)]

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        outputs = simulation.ideal_output.shape[1]
        return outputs * simulation.mse, outputs * simulation.mse_standard_error


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "max_total_mse", MaxTotalMSE)


def test_plans_meet_the_new_target_at_the_least_of_the_new_objective(tmp_path: Path) -> None:
    """The bound is that of the MSE times the outputs; the devices take less, and all together more, than in the plan
    of least power."""
    usual = pp.plan(NETWORK, HARDWARE, INPUTS, pp.MaxMSE(0.01))
    plan = pp.plan(NETWORK, HARDWARE, INPUTS, MaxTotalMSE(0.03), verify_draws=200)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.termination.message.startswith("The plan meets the target at the least array power")
    assert plan.reached == pytest.approx(0.03, rel=1e-6)
    assert plan.mse == pytest.approx(0.01, rel=1e-6)
    assert plan.prediction.array_power_by_layer.sum() < usual.prediction.array_power_by_layer.sum() * (1 - 1e-4)
    assert plan.power > usual.power * (1 + 1e-4)
    assert plan.verification is not None
    assert plan.verification.ratio == pytest.approx(plan.verification.mse / 0.01)
    assert "total MSE" in plan.table()
    assert "Least array power for a network" in pp.report_html(plan)
    sentences = " ".join(plan.explain(NETWORK, INPUTS).sentences)
    assert "changes the array power by" in sentences
    plan.save(tmp_path / "plan.json")
    assert plan_to_dict(pp.Plan.load(tmp_path / "plan.json")) == plan_to_dict(plan)


def test_the_new_target_out_of_reach_is_explained_in_its_own_words() -> None:
    plan = pp.plan(NETWORK, HARDWARE, INPUTS, build_target("max_total_mse", 1e-9))
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert plan.termination.message.startswith("The lowest reachable MSE of all outputs together is ")
    assert any(remedy.meets_target for remedy in plan.termination.remedies)
