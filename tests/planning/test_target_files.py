"""Plans with corners, weights and the new targets survive the plan file; targets survive JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
from powerplan.planning.plan_file import plan_to_dict
from powerplan.planning.targets import TARGETS, build_target, target_from_dict, target_to_dict


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
@pytest.mark.parametrize(
    ("target", "weights"),
    [
        (pp.MaxOutputMSE(0.02), (1.0, 2.0, 0.0)),
        (pp.MaxFlipRate(0.03), None),
        (pp.MaxAccuracyDrop(0.03, [0, 1, 2] * 8), None),
        (pp.MaxOutputMSE(1e-9), None),
    ],
)
def test_a_plan_with_corners_reads_back_as_it_was_written(
    network: pp.Network,
    hardware: pp.Hardware,
    inputs: np.ndarray,
    tmp_path: Path,
    target: pp.MaxOutputMSE,
    weights: tuple[float, ...] | None,
) -> None:
    corner = hardware.replace(read_noise_std=1e-8)
    options = {"output_weights": weights, "verify_draws": 50, "calibrate": False}
    plan = pp.plan(network, hardware, inputs, target, corners=[corner], **options)
    plan.save(tmp_path / "plan.json")
    read = pp.Plan.load(tmp_path / "plan.json")
    assert plan_to_dict(read) == plan_to_dict(plan)
    assert read.target == target
    assert read.reached == plan.reached
    assert read.output_weights == plan.output_weights
    assert read.corners[0].hardware == corner
    assert read.corners[0].verification == plan.corners[0].verification
    assert read.shadow_prices == plan.shadow_prices
    assert read.binding_corners == plan.binding_corners


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "max_speed"},
        {"kind": None},
        {"value": -1},
        {"value": None},
        {"labels": [0.5]},
        {"labels": None},
        {"extra": 1},
    ],
)
def test_damaged_targets_are_corrupt_files(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, change: dict[str, object]
) -> None:
    values = plan_to_dict(pp.plan(network, hardware, inputs, pp.MaxPower(1e-5)))
    values = json.loads(json.dumps(values))
    values["target"] = {"kind": "max_accuracy_drop", "value": 0.01, "labels": [0, 1], **change}
    with pytest.raises(pp.CorruptFile):
        pp.Plan.from_dict(values)


@pytest.mark.parametrize("kind", sorted(TARGETS))
def test_every_kind_of_target_survives_json(kind: str) -> None:
    target = build_target(kind, 0.25, [0, 1, 1])
    assert target_from_dict(json.loads(json.dumps(target_to_dict(target)))) == target
    assert target.with_value(0.125).value == 0.125
    assert type(target.with_value(0.125)) is TARGETS[kind]


def test_an_unknown_kind_names_the_nearest_and_labels_are_asked_for() -> None:
    with pytest.raises(pp.InvalidInput, match="max_nmse"):
        build_target("max_nmes", 0.1)
    with pytest.raises(pp.InvalidInput, match="MaxFlipRate"):
        build_target("max_accuracy_drop", 0.1)
