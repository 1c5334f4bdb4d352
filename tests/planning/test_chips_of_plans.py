"""Plans tell how the error of their chips is spread."""

from __future__ import annotations

from pathlib import Path

import pytest

import powerplan as pp
from powerplan.examples import Example


def test_a_plan_keeps_the_spread_in_its_file(iris_example: Example, tmp_path: Path) -> None:
    hardware = pp.Hardware(programming_noise_std=2e-6)
    plan = pp.plan(
        iris_example.network, hardware, iris_example.inputs, pp.MaxNMSE(0.01), chip_spread=True, verify_draws=0
    )
    assert plan.prediction.chips is not None
    nmse = plan.prediction.chips.nmse
    assert nmse.mean == pytest.approx(0.01, rel=1e-6)
    plan.save(tmp_path / "plan.json")
    kept = pp.Plan.load(tmp_path / "plan.json").prediction.chips
    assert kept is not None
    assert kept.nmse.std == nmse.std
    for probability in (0.02, 0.5, 0.93, 0.999):
        assert kept.nmse.quantile(probability) == pytest.approx(nmse.quantile(probability), rel=1e-3)
    for bound in (0.005, 0.01, 0.02):
        assert kept.nmse.yield_at(bound) == pytest.approx(nmse.yield_at(bound), abs=1e-3)
        low, high = kept.nmse.yield_interval(bound)
        assert low <= kept.nmse.yield_at(bound) <= high


def test_plans_without_the_wish_have_none(iris_example: Example, tmp_path: Path) -> None:
    hardware = pp.Hardware(programming_noise_std=2e-6)
    plan = pp.plan(iris_example.network, hardware, iris_example.inputs, pp.MaxNMSE(0.01), verify_draws=0)
    plan.save(tmp_path / "plan.json")
    assert pp.Plan.load(tmp_path / "plan.json").prediction.chips is None
