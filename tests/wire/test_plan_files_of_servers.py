"""A plan that comes from a server is, as a file, the plan made here: whatever was asked, and whatever was chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.remote import Remote

HARDWARE = pp.Hardware(conductance_min=1e-6, programming_noise_std=1e-6, adc_bits=8, dac_bits=8, costs="node_32nm")
CORNER = HARDWARE.replace(programming_noise_std=1.2e-6, adc_bits=7)
EVERYTHING = ("conductance", "adc_bits", "dac_bits", "adc_headroom", "columns_per_adc")


def _file(plan: pp.Plan, folder: Path) -> Any:
    """What a plan's file has, but for times."""
    plan.save(folder / "plan.json")
    return _timeless(json.loads((folder / "plan.json").read_text()))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in ("seconds", "created")}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


#: options of a plan; "weight_slices" is the network's
CASES: dict[str, dict[str, Any]] = {
    "sharing": {"optimize": ("conductance", "columns_per_adc"), "objective": "area"},
    "everything": {"optimize": EVERYTHING, "objective": "energy_delay", "weight_slices": (4, 4)},
    "out of reach": {"optimize": ("conductance", "adc_bits"), "max_energy": 1e-15},
    "corners": {"optimize": ("conductance", "adc_bits"), "corners": (CORNER,), "verify_draws": 20, "chip_spread": True},
    "steps": {"conductance_steps": pp.Steps(values=np.linspace(0.05, 1, 20), relative=True)},
    "columns": {"granularity": "column"},
}


@pytest.mark.parametrize(
    "case", [case if case == "sharing" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_the_file_of_a_plan_is_the_same(case: str, iris_example: Any, tmp_path: Path) -> None:
    options = dict(CASES[case])
    slices = options.pop("weight_slices", None)
    network = iris_example.network if slices is None else iris_example.network.with_weight_slices(slices)
    asked = (network, HARDWARE, iris_example.inputs[:8], pp.MaxNMSE(0.02))
    here = pp.plan(*asked, **options)
    with pc.PlannerClient.local() as client:
        there = Remote(client).plan(*asked, **options)
    assert there.hardware == here.hardware
    assert type(there.costs) is type(here.costs)
    assert _file(there, tmp_path) == _file(here, tmp_path)


@pytest.mark.slow
def test_the_files_of_a_frontier_are_the_same(iris_example: Any, tmp_path: Path) -> None:
    asked = (iris_example.network, HARDWARE, iris_example.inputs[:8])
    targets = [pp.MaxNMSE(0.02), pp.MaxNMSE(0.05)]
    here = pp.frontier(*asked, targets=targets, optimize=("conductance", "adc_bits"))
    with pc.PlannerClient.local() as client:
        there = Remote(client).frontier(*asked, targets=targets, optimize=("conductance", "adc_bits"))
    assert [_file(plan, tmp_path) for plan in there] == [_file(plan, tmp_path) for plan in here]
