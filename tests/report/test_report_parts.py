"""Frontiers and studies of plans for a part of the chips or inputs: told and drawn by the NMSE that this part keeps."""

from __future__ import annotations

import pytest

import powerplan as pp
from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.batch.table import rows
from powerplan.examples import Example
from powerplan.report.html import report_html
from powerplan.report.planned_error import PlannedError, error_name
from powerplan.report.side_by_side import side_by_side
from powerplan.report.study_charts import gain_charts, yield_charts
from powerplan.report.study_panels import frontier_charts
from powerplan.report.study_table import point_table
from powerplan.report.study_text import study_table
from powerplan.report.tables import frontier_table

HARDWARE = pp.Hardware(programming_noise_std=1.5e-6)
KEPT = "NMSE that 95 % of the chips keep"


def study_of(plans: tuple[pp.Plan, ...], axis: str = "target.max_nmse", values: tuple[object, ...] = ()) -> StudyResult:
    points = tuple(
        PointResult(
            name=f"p{i}",
            settings={"target": {}, axis: values[i] if values else i},
            state=PointState.DONE,
            source=plan,
        )
        for i, plan in enumerate(plans)
    )
    return StudyResult(name="parts", points=points, axes=(axis,))


@pytest.fixture(scope="module")
def frontier(iris_example: Example) -> tuple[pp.Plan, ...]:
    targets = [pp.MaxNMSE(bound, chips=0.95) for bound in (0.01, 0.02, 0.03)]
    case = (iris_example.network, HARDWARE, iris_example.inputs)
    return pp.frontier(*case, targets=targets, verify_draws=400)


def test_a_frontier_for_a_part_of_the_chips_has_what_it_keeps_across(frontier: tuple[pp.Plan, ...]) -> None:
    """The plans at their bounds, not at their means; baselines there too, simulations at the simulated quantiles."""
    (chart,) = frontier_charts(frontier)
    assert chart.x_label == f"{KEPT} [%]"
    plan, baseline, simulated = chart.curves
    assert [p.x for p in plan.points] == pytest.approx([1, 2, 3], rel=2e-3)
    assert [p.x for p in baseline.points] == pytest.approx([1, 2, 3])
    for point, each in zip(simulated.points, frontier, strict=True):
        check = each.verification
        assert check is not None
        assert check.chip_mse is not None
        assert point.x == pytest.approx(100 * check.chip_mse / each.prediction.signal_power)
        assert point.x > 130 * check.nmse
        assert point.x_error > 0
    assert f"{KEPT} 2.0" in plan.points[1].text
    gains, _ = gain_charts(study_of(frontier), [(p, p.plan) for p in study_of(frontier).points if p.plan])
    assert {each.x_label for each in gains} == {f"{KEPT} [%]"}
    assert gains[0].title == "Power saved"
    assert gains[0].up is not None
    assert gains[0].up.low <= 0  # a saving that hardly changes is a flat line
    page = report_html(list(frontier)).replace("\N{NO-BREAK SPACE}", " ")
    assert page.count(f"{KEPT} [%]") >= 3
    assert f"Error ({KEPT}), from" in page
    assert "NMSE of the outputs [%]" not in page


def test_parts_of_the_chips_within_one_bound_are_across(iris_example: Example) -> None:
    """Their errors are all the bound: no figure is a vertical line."""
    targets = [pp.MaxNMSE(0.02), *(pp.MaxNMSE(0.02, chips=part) for part in (0.9, 0.95, 0.99))]
    case = (iris_example.network, HARDWARE, iris_example.inputs)
    plans = pp.frontier(*case, targets=targets, chip_spread=True)
    study = study_of(plans)
    charts = [*frontier_charts(plans), *gain_charts(study, [(p, p.plan) for p in study.points if p.plan])[0]]
    assert [chart.title.split()[0] for chart in charts] == ["Least", "Power", "Conductance"]
    mean = plans[0].prediction.chips
    assert mean is not None
    parts = [100 * mean.nmse.yield_at(0.02), 90, 95, 99]
    for chart in charts:
        assert chart.x_label == "chips within the bound [%]"
        assert not chart.x_log
        for curve in chart.curves:
            assert [point.x for point in curve.points] == pytest.approx(parts)
    assert f"from {parts[0]:.3g} % of the chips to 99 % of the chips" in charts[-1].description
    (untold,) = frontier_charts(pp.frontier(*case, targets=targets))
    assert [point.x for point in untold.curves[0].points] == pytest.approx([90, 95, 99])
    verified = pp.frontier(*case, targets=targets, verify_draws=400)
    assert verified[0].verification is not None
    (simulated,) = frontier_charts(verified)
    assert simulated.curves[0].points[0].x == pytest.approx(100 * verified[0].verification.chip_yield)


def test_budgets_and_inputs_have_what_their_part_keeps(iris_example: Example) -> None:
    case = (iris_example.network, HARDWARE, iris_example.inputs)
    budget = pp.plan(*case, pp.MaxPower(4e-6, chips=0.9), verify_draws=300)
    error = PlannedError.of(budget)
    assert budget.prediction.chips is not None
    assert budget.verification is not None
    assert error.predicted == budget.prediction.chips.nmse.quantile(0.9)
    assert error.bound is None
    assert error.simulated == pytest.approx(budget.verification.chip_mse / budget.prediction.signal_power)
    worst = pp.plan(*case, pp.MaxNMSE(0.03, inputs=0.9), verify_draws=300)
    error = PlannedError.of(worst)
    assert (error.predicted, error.bound) == pytest.approx((0.03, 0.03), rel=1e-3)
    assert error.simulated == pytest.approx(worst.verification.ratio * 0.03)
    assert error_name([worst]) == "NMSE that 90 % of the inputs keep"
    assert error_name([worst, budget]) == "NMSE that each target is about"
    mean = pp.plan(*case, pp.MaxNMSE(0.03))
    assert PlannedError.of(mean).predicted == mean.nmse
    assert error_name([mean]) == error_name([pp.plan(*case, pp.MaxOutputMSE(0.3, chips=0.9))]) == "NMSE"


def test_tables_have_a_column_of_the_part(frontier: tuple[pp.Plan, ...]) -> None:
    study = study_of(frontier)
    header, _ = point_table(study, {})
    beside = side_by_side([(p, p.plan) for p in study.points if p.plan])
    assert beside is not None
    assert KEPT in [name for name, _ in header]
    assert KEPT in [name for name, _ in beside.answers]
    assert all(KEPT in text and "% simulated" in text for text in (frontier_table(frontier), study_table(study)))


def test_exported_points_tell_yields_and_quantiles(frontier: tuple[pp.Plan, ...], iris_example: Example) -> None:
    mean = pp.plan(iris_example.network, HARDWARE, iris_example.inputs, pp.MaxNMSE(0.02), chip_spread=True)
    study = study_of((*frontier, mean))
    settings = dict[str, object](dict.fromkeys(("network", "inputs", "hardware", "granularity", "optimize", "method")))
    settings |= {"optimize": "conductance", "verify_draws": 400, "calibrate": None, "seed": 0, "override": {}}
    points = [
        PointResult(
            name=p.name, settings={**settings, "target": {"max_nmse": 0.02}}, state=PointState.DONE, source=p.source
        )
        for p in study.points
    ]
    *table, last = rows(StudyResult(name="parts", points=tuple(points), axes=()))
    for row, plan in zip(table, frontier, strict=True):
        assert row["reached"] == plan.reached
        assert row["chip_mse"] == plan.prediction.chips.mse.quantile(0.95)
        assert row["chip_yield"] == pytest.approx(0.95, abs=2e-3)
        assert row["simulated_yield_low"] < row["simulated_yield"] < row["simulated_yield_high"]
        assert row["simulated_chip_mse_low"] < row["simulated_chip_mse"] < row["simulated_chip_mse_high"]
    assert last["chip_mse"] is None
    assert last["simulated_yield_low"] is None
    assert last["chip_yield"] == mean.prediction.chips.nmse.yield_at(0.02)


def test_yield_against_power_in_mixed_studies(iris_example: Example) -> None:
    """Plans that predict no chips have the simulated yield; a curve for each other setting; what lacks it is said."""
    case = (iris_example.network, HARDWARE, iris_example.inputs)
    mean = pp.plan(*case, pp.MaxNMSE(0.02), verify_draws=400)
    part = pp.plan(*case, pp.MaxNMSE(0.02, chips=0.95))
    study = study_of((mean, part), "target")
    pairs = [(p, p.plan) for p in study.points if p.plan]
    (chart,), caption = yield_charts(study, pairs)
    (curve,) = chart.curves
    assert caption == ""
    assert mean.verification is not None
    assert curve.points[0].y == pytest.approx(100 * mean.verification.chip_yield)
    assert curve.points[0].y_error == pytest.approx(4.9, abs=0.3)
    assert curve.points[1].y == pytest.approx(95, abs=0.2)
    unknown = pp.plan(*case, pp.MaxNMSE(0.02))
    study = study_of((unknown, part), "target")
    none, caption = yield_charts(study, [(p, p.plan) for p in study.points if p.plan])
    assert none == []
    assert "1 of 2 plans do not tell their chips: plan them with chip_spread, or verify them" in caption
    assert caption in report_html(study)
    study = study_of((mean, part, mean, part), "granularity", ("layer", "layer", "column", "column"))
    (chart,), _ = yield_charts(study, [(p, p.plan) for p in study.points if p.plan])
    assert [each.name for each in chart.curves] == [f"chips within 2.000 %, by {each}" for each in ("layer", "column")]
