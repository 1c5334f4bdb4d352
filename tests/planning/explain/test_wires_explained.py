"""What explanations say of resistive wires and known errors: what other hardware would do, by planning again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan.planning.explain.otherwise import compensations, other_wires

OHM: dict[str, Any] = {"wire_resistance_row": 80.0, "wire_resistance_column": 60.0, "sense_resistance": 50.0}
WIRED = pp.Hardware(array_rows=12, array_columns=16, **OHM)


def changes(*hardwares: pp.Hardware) -> dict[str, dict[str, Any]]:
    """What differs from the nominal hardware, by change."""
    before = hardwares[0].to_dict()
    return {
        what: {name: value for name, value in after[0].to_dict().items() if value != before.get(name)}
        for what, after in other_wires(hardwares)
    }


def test_what_could_be_otherwise() -> None:
    assert changes(WIRED) == {
        "ideal wires": dict.fromkeys(OHM, 0.0),
        "wires of half the resistance": {"wire_resistance_row": 40.0, "wire_resistance_column": 30.0},
        "arrays of 6 rows and 8 columns": {"array_rows": 6, "array_columns": 8},
        "drivers at both ends of the rows": {"row_drive": "both_ends"},
        "the two sides of pairs in separate arrays": {"pair_layout": "separate_arrays"},
    }


def test_what_is_so_already_is_no_change() -> None:
    assert changes(pp.Hardware(array_rows=12, array_columns=16)) == {}
    there = WIRED.replace(
        row_drive="both_ends", weight_mapping="offset", wire_resistance_row=0, wire_resistance_column=0
    )
    assert list(changes(there)) == ["ideal wires", "arrays of 6 rows and 8 columns"]


def test_compensation_is_tried_where_there_is_something_to_compensate() -> None:
    scaled, driven, shifted = ({"column_scale": "least_bias"}, {"row_scale": "least_bias"}, {"predistort": True})
    clipped = pp.Hardware()
    tried = [hardware for _, (hardware,) in compensations([clipped])]
    assert tried == [clipped.replace(**scaled), clipped.replace(**driven), clipped.replace(**shifted)]
    also = clipped.replace(**shifted, **driven)
    assert [hardware for _, (hardware,) in compensations([also])] == [also.replace(**scaled)]
    assert compensations([pp.Hardware(clip_conductance=False)]) == []
    divider = pp.Hardware(read_out="divider", load_conductance=1e-4)
    assert [hardware for _, (hardware,) in compensations([divider])] == [divider.replace(**shifted)]


@pytest.mark.slow
def test_a_plan_says_what_wires_cost_by_planning_again() -> None:
    network, x = small_network(1, (24, 6), "identity"), np.random.default_rng(1).uniform(0, 1, (6, 24))
    plan = pp.plan(network, WIRED, x, pp.MaxNMSE(0.1))
    explanation = plan.explain(network, x)
    assert len(explanation.wires) == 5
    for change, (what, (hardware,)) in zip(explanation.wires, other_wires([WIRED]), strict=True):
        again = pp.plan(network, hardware, x, pp.MaxNMSE(0.1))
        assert change.what == what
        assert change.reaches_target
        assert change.change == pytest.approx(again.power / plan.power - 1, abs=1e-6)
    assert any(s.startswith("With wires of half the resistance the power changes by") for s in explanation.sentences)
    scaled = pp.plan(network, WIRED.replace(column_scale="least_bias"), x, pp.MaxNMSE(0.1))
    assert explanation.compensations[0].change == pytest.approx(scaled.power / plan.power - 1, abs=1e-6)
    assert any(s.startswith("With column scales") for s in explanation.sentences)
    prices = {r.parameter: r for r in explanation.relaxations}
    column = prices["wire_resistance_column"]
    assert column.predicted == pytest.approx(column.resolved, rel=0.3)
    assert column.predicted is not None
    assert column.predicted < 0
