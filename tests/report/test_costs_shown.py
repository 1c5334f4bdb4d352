"""Costs in tables, cards, reports, studies and on the command line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import powerplan as pp
from powerplan.cli.group import main
from powerplan.planning import Outcome
from powerplan.report.answer import plan_answer
from powerplan.report.costs import cost_table, cost_view
from powerplan.report.html import report_html
from powerplan.report.notes import plan_notes
from powerplan.report.plots import plot_frontier
from powerplan.report.quantities import claim
from powerplan.report.sankey import largest
from powerplan.report.study_panels import frontier_charts
from powerplan.report.study_view import as_study
from powerplan.report.tables import frontier_table, plan_table
from powerplan.report.text import typeset
from powerplan.units import si

HARDWARE = {"conductance_min": 1e-6, "adc_bits": 8, "dac_bits": 8, "costs": "node_32nm"}


@pytest.fixture(scope="module")
def plan() -> pp.Plan:
    example = pp.load_example("iris")
    return pp.plan(example.network, pp.Hardware.from_dict(HARDWARE), example.inputs[:16], target=pp.MaxNMSE(0.02))


def test_a_plan_tells_its_costs(plan: pp.Plan, tmp_path: Path) -> None:
    assert plan.costs is not None
    text = plan_table(plan)
    assert f"{plan.costs.tops_per_watt:#.4g} TOPS/W" in text
    assert "TOPS/W" in plan._repr_html_()
    arrays = si(plan.costs.energy_of["arrays"], "J")
    assert f"{si(plan.costs.energy, 'J')} per inference, {arrays} of it in the arrays" in text
    assert re.search(rf"array power +{si(plan.power, 'W')} predicted", text)
    assert "% of the baseline's array power" in text
    facts = {fact.name: fact.value for fact in plan_answer(plan)}
    assert facts["Energy of one inference"] == typeset(si(plan.costs.energy, "J"))
    assert facts["Power of the arrays"] == typeset(si(plan.power, "W"))
    plan.save(tmp_path / "plan.json")
    read = pp.Plan.load(tmp_path / "plan.json")
    assert read.costs is not None
    assert read.costs.to_dict() == plan.costs.to_dict()


def test_bars_are_stacked_to_the_whole(plan: pp.Plan) -> None:
    view = cost_view(plan.prediction)
    assert view is not None
    name, _, pieces = view.rows[0]
    assert name == "all layers"
    assert "Energy by component" in report_html(plan)
    assert sum(piece.width for piece in pieces) == pytest.approx(100, abs=0.05)
    without = replace(plan.prediction, costs=None)
    assert cost_table(without) == []
    assert cost_view(without) is None


def test_the_command_line_takes_names_files_and_json(tmp_path: Path) -> None:
    path = tmp_path / "costs.toml"
    path.write_text('preset = "node_32nm"\n')
    told = []
    for costs in ("node_32nm", str(path), '{"preset": "node_32nm"}'):
        arguments = ["predict", "--example", "iris", "--adc-bits", "8", "--dac-bits", "8", "--costs", costs, "--json"]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        told.append(json.loads(result.stdout)["costs"]["energy"])
    assert told[0] == told[1] == told[2] > 0
    refused = CliRunner().invoke(main, ["predict", "--example", "iris", "--costs", "costs.json"])
    assert refused.exit_code != 0
    assert "allowed: a file FILE.toml" in refused.output


def test_ribbons_are_as_wide_as_what_they_take(plan: pp.Plan) -> None:
    view = cost_view(plan.prediction)
    assert view is not None
    assert plan.costs is not None
    used = plan.costs.energy_by_component[:, plan.costs.energy_by_component.any(axis=0)]
    heights = [end.height for end in view.sankey.ends]
    by_layer, by_component = used.sum(1), used.sum(0)
    assert heights[: len(by_layer)] == pytest.approx(by_layer * sum(heights) / 2 / plan.costs.energy)
    assert heights[len(by_layer) :] == pytest.approx(by_component * sum(heights) / 2 / plan.costs.energy)
    assert len(view.sankey.ribbons) == (used > 0).sum()
    many, names = largest(np.ones((20, 2)), [f"layer{k}" for k in range(20)])
    assert (many.sum(), names[-1]) == (40, "9 others")


def varied(plan: pp.Plan, energy: float = 1.0, latency: float = 1.0, area: float = 1.0, **changes: Any) -> pp.Plan:
    """The plan with its costs times these."""
    costs = plan.costs
    assert costs is not None
    scaled = replace(
        costs,
        energy_by_component=costs.energy_by_component * energy,
        latency_by_layer=costs.latency_by_layer * latency,
        area_by_component=costs.area_by_component * area,
    )
    return replace(plan, prediction=replace(plan.prediction, costs=scaled), **changes)


def test_frontiers_have_figures_of_energy_and_of_latency_against_it(plan: pp.Plan, tmp_path: Path) -> None:
    """Latency and area are drawn against energy where plans for one target differ in them."""
    assert plan.costs is not None
    charts = frontier_charts([plan, varied(plan, 0.8)])
    assert [chart.title for chart in charts] == ["Least power for an error", "Energy with costs for an error"]
    assert [point.y for point in charts[1].curves[0].points] == pytest.approx(
        [1e12 * plan.costs.energy * f for f in (1, 0.8)]
    )
    charts = frontier_charts([plan, varied(plan, 0.8, 1.5), varied(plan, 0.6, 3.0)])
    assert charts[2].title == "Latency against energy"
    assert charts[2].y_label == "latency of one inference [ns]"
    points = charts[2].curves[0].points
    assert [point.x for point in points] == pytest.approx([1e12 * plan.costs.energy * f for f in (0.6, 0.8, 1)])
    assert [point.y for point in points] == pytest.approx([1e9 * plan.costs.latency * f for f in (3, 1.5, 1)])
    figure = plot_frontier([plan, varied(plan, area=2.0)], file=tmp_path / "f.png")
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "power of one inference [µW]",
        "energy of one inference [pJ]",
        "area of the chip [mm²]",
    ]


def test_what_plans_choose_is_an_answer_and_no_setting(plan: pp.Plan) -> None:
    """Plans of a frontier that chose other bits are on one curve, and tables say what they chose."""
    plans = [
        varied(plan, 1 - i / 8, optimize=("conductance", "adc_bits"), hardware=plan.hardware.replace(adc_bits=bits))
        for i, bits in enumerate(((8, 7), (6, 5)))
    ]
    assert as_study({"a": plans[0], "b": plans[1]}).axes == ()
    head, _, first, second = frontier_table(plans).splitlines()
    assert "adc_bits" in head
    assert "latency" in head
    assert " 8, 7 " in first
    assert " 6, 5 " in second
    page = report_html(plans)
    assert "Chosen adc bits" in page
    assert "Energy with costs" in page
    assert "conductance gains free by layer, with adc bits of every layer." in report_html(plans[0])


def test_limits_missed_beside_a_target_that_is_met_are_told(plan: pp.Plan) -> None:
    """Not that the target was out of reach."""
    end = replace(plan.termination, outcome=Outcome.INFEASIBLE, message="max_latency is 1 ns, the least 9 ns.")
    late = replace(plan, termination=end, certificate=None)
    assert plan_notes(late)[0] == "max_latency is 1 ns, the least 9 ns."
    assert claim(late).endswith("beyond limits beside it")
    assert "out of reach" in plan_notes(replace(late, reached=0.5))[0]
