"""Figures of single chips: histograms with the bound, and yield against power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

import powerplan as pp
from powerplan.examples import Example
from powerplan.per_input import student
from powerplan.report.chips_charts import histogram, plan_histogram, yield_chart
from powerplan.report.html import report_html
from powerplan.report.plots import draw
from powerplan.report.quantities import lowest_yield, other_rate, share_text, yield_text
from powerplan.report.svg import lay_out
from powerplan.report.tables import plan_table, simulation_table
from powerplan.units import part_with_error, significant

HARDWARE = pp.Hardware(programming_noise_std=1.5e-6)


@pytest.fixture(scope="module")
def plans(iris_example: Example) -> tuple[pp.Plan, ...]:
    targets = [pp.MaxNMSE(0.01, chips=part) for part in (0.8, 0.9, 0.95)]
    return pp.frontier(iris_example.network, HARDWARE, iris_example.inputs, targets=targets)


def test_bars_are_the_chips_and_the_bound_parts_them(plans: tuple[pp.Plan, ...]) -> None:
    for plan, part in zip(plans, (0.8, 0.9, 0.95), strict=True):
        chart = plan_histogram(plan)
        assert chart is not None
        heights = {style: sum(bar.height for bar in chart.bars if bar.style == style) for style in (0, 1)}
        assert heights[0] == pytest.approx(100 * part, abs=0.5)
        assert heights[1] == pytest.approx(100 * (1 - part), abs=0.5)
        edges = [bar.low for bar in chart.bars]
        assert min(abs(edge - 1.0) for edge in edges) < 1e-9  # the bound, 1 %
        layout = lay_out(chart)
        assert all(box.height >= 0 and layout.left <= box.x <= layout.right for box in layout.boxes)


def test_a_histogram_of_simulated_chips_and_of_none(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    simulation = pp.simulate(network, HARDWARE, gains, inputs, draws=500)
    chart = histogram(simulation.chips)
    assert chart is not None
    assert sum(bar.height for bar in chart.bars) == pytest.approx(100, abs=1.5)
    assert histogram(None) is None
    far = histogram(simulation.chips, 100.0)  # beyond every chip: the axis stays with them
    assert far is not None
    assert far.along is not None
    assert far.along.high < 50


def test_yield_rises_with_power(plans: tuple[pp.Plan, ...]) -> None:
    chart = yield_chart([(f"plan {i}", plan) for i, plan in enumerate(plans)])
    assert chart is not None
    (curve,) = chart.curves
    assert [p.y for p in curve.points] == pytest.approx([80, 90, 95], abs=0.2)
    assert [p.x for p in curve.points] == sorted(p.x for p in curve.points)
    assert yield_chart([("one", plans[0])]) is None


def test_reports_and_cards_have_them(plans: tuple[pp.Plan, ...], iris_example: Example) -> None:
    page = report_html(plans[0])
    assert page.count("Histogram of the NMSE of single chips") == 1
    assert "bound 1.000" in page
    assert "Yield against power" in report_html(list(plans))
    assert "powerplan-chips" in plans[0]._repr_html_()
    mean = pp.plan(iris_example.network, HARDWARE, iris_example.inputs, pp.MaxNMSE(0.01))
    assert "NMSE of single chips" not in report_html(mean)


def test_plots_draw_bars_and_lines(plans: tuple[pp.Plan, ...]) -> None:
    figure = Figure()
    axes = figure.subplots()
    chart = plan_histogram(plans[0])
    assert chart is not None
    draw(axes, chart)
    assert len(axes.patches) == len(chart.bars)
    assert np.isclose(axes.get_ylim()[1], 108 / 100 * max(bar.height for bar in chart.bars))


def test_a_page_of_a_simulation_parts_the_chips_at_the_bound(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    simulation = pp.simulate(network, HARDWARE, gains, inputs, draws=200)
    page = report_html(simulation, title="iris", bound=0.003)
    nmse = simulation.chips.nmse
    within = share_text(nmse.yield_at(0.003), nmse.yield_interval(0.003))
    assert "<h1>iris</h1>" in page
    assert f"{within} of the chips within the bound" in " ".join(page.replace("\xa0", " ").split())
    assert f"yield at NMSE 0.3 %  {within}" in simulation_table(simulation, yield_at=0.003)


def test_the_yield_told_is_that_of_the_worst_corner(iris_example: Example) -> None:
    hot = replace(HARDWARE, programming_noise_std=1.8e-6)
    target = pp.MaxNMSE(0.02, chips=0.95)
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, target, corners=[hot], verify_draws=200)
    nominal, worst = plan.verifications
    assert worst.chip_yield < nominal.chip_yield
    assert lowest_yield(plan) == (worst, ", in the worst case (corner 1)")
    lines = " ".join(plan_table(plan).split())
    assert f"yield {yield_text(worst)} of these chips meet the target, each by itself, in the worst case" in lines
    assert "corner 1 NMSE of 95 % of the chips 2.000 % predicted," in lines
    assert yield_text(worst) in report_html(plan).replace("\xa0", " ")


def test_accuracies_of_a_part_of_the_chips_are_called_so(iris_example: Example) -> None:
    target = pp.MaxAccuracyDrop(0.04, iris_example.labels, chips=0.95)
    plan = pp.plan(iris_example.network, HARDWARE, iris_example.inputs, target, verify_draws=0)
    lines = " ".join(plan_table(plan).split())
    mean = 1 - plan.prediction.chips.wrong.mean
    assert f"accuracy of 95 % of the chips 92.88 % predicted, mean over chips {100 * mean:.2f} % predicted" in lines
    steps = f"without the steps of 1/{len(iris_example.labels)} that the accuracy of a chip has"
    assert f"% predicted, {steps}" in lines
    assert steps in report_html(plan).replace("\xa0", " ")
    of_mean = replace(plan, target=replace(target, chips=None))
    out_of_reach = replace(plan, termination=replace(plan.termination, outcome=pp.Outcome.INFEASIBLE))
    for other in (of_mean, out_of_reach):
        assert "without the steps" not in plan_table(other)


def test_texts_of_plans_tell_their_chips(iris_example: Example) -> None:
    case = (iris_example.network, HARDWARE, iris_example.inputs)
    budget = pp.plan(*case, pp.MaxPower(3e-6, chips=0.95))
    mse = budget.prediction.chips.mse
    low, high = mse.quantile_interval(0.95)
    told = f"{significant(mse.quantile(0.95))} ({significant(low)} to {significant(high)}) predicted"
    assert f"MSE of 95 % of the chips {told}, the least within the budget" in " ".join(plan_table(budget).split())
    page = " ".join(report_html(budget).replace("\xa0", " ").split())
    assert f"({significant(low)} to {significant(high)}) predicted, 95 %; the least within the budget" in page
    assert "NMSE of chips" in plan_table(pp.plan(*case, pp.MaxNMSE(0.02), chip_spread=True))


@pytest.mark.parametrize("chips", [None, 0.9])
def test_plans_for_classes_tell_the_errors_of_rate_and_accuracy_over_inputs(
    iris_example: Example, chips: float | None
) -> None:
    """Unverified ones by the prediction. The accuracy's error is not that of the drop: the ideal one's is in it."""
    labels = iris_example.labels
    target = pp.MaxAccuracyDrop(0.04, labels, chips=chips)
    plan = pp.plan(iris_example.network, HARDWARE, iris_example.inputs, target, verify_draws=0)
    half = student(len(labels) - 1) * plan.prediction.accuracy_input_error(labels)
    told = f"accuracy {part_with_error(plan.prediction.accuracy(labels), half)}"
    said = other_rate(plan)
    assert said is not None
    assert said.endswith(" predicted")
    page = " ".join(report_html(plan).replace("\xa0", " ").split())
    for text in (" ".join(plan_table(plan).split()), page):
        assert ("" if chips is None else "mean ") + told in text
        assert said in text
