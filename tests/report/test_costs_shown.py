"""Costs in tables, cards, reports, studies and on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import powerplan as pp
from powerplan.cli.group import main
from powerplan.report.costs import cost_table, cost_view
from powerplan.report.html import report_html
from powerplan.report.sankey import largest
from powerplan.report.tables import plan_table

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
