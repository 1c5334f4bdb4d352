"""Settings of a study's points reach the planner: the plans are those of the Python calls, on every executor."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_values import study_values

import powerplan as pp
from powerplan.batch import Study, export
from powerplan.batch.jobs import Job
from powerplan.batch.schema import study_schema
from powerplan.batch.table import rows
from powerplan.batch.work import plan_options
from powerplan.errors import InvalidInput
from powerplan.report.study_table import point_table

pytestmark = pytest.mark.usefixtures("workers_in_threads")

QUIET, NOISY = pp.Hardware(programming_noise_std=1e-6), pp.Hardware(programming_noise_std=3e-6)
STEPS = pp.Steps.geometric(1e-6, 1e-4, decibel=3)
#: settings of a point, and the arguments of pp.plan they stand for
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"corners": "noisy"}, {"corners": [NOISY]}),
    ({"corners": ["noisy", "quiet"]}, {"corners": [NOISY, QUIET]}),
    ({"output_weights": [1, 0, 2.5]}, {"output_weights": [1, 0, 2.5]}),
    ({"conductance_steps": "1uS:100uS:3dB"}, {"conductance_steps": STEPS}),
    ({"conductance_steps": "1uS:100uS:3dB;none;16"}, {"conductance_steps": [STEPS, None, pp.Steps.over_range(16)]}),
    ({"voltage": 0.02}, {"voltage": [0.02] * 3}),
    ({"voltage": [0.02, 0.01, 0.01]}, {"voltage": [0.02, 0.01, 0.01]}),
    (
        {"dtype": "float32", "tolerance": 1e-4, "memory_limit": 1, "marginal_fields": 0},
        {"dtype": "float32", "tolerance": 1e-4, "memory_limit": 1, "marginal_fields": 0},
    ),
    ({"output_combinations": 4, "seed": 2}, {"output_combinations": 4, "seed": 2}),
    ({"deadline": 1e-9}, {"deadline": 1e-9}),
]


@pytest.fixture(scope="module")
def planned(workers_in_threads: None, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of a study with a point per case."""
    points = [{"hardware": "quiet", "target": {"max_nmse": 0.05}, **given} for given, _ in CASES]
    values = {name: value for name, value in study_values(points=points).items() if name != "grid"}
    return Study.from_dict(values, base=small).run(folder=tmp_path_factory.mktemp("study"), workers=1)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_setting_reaches_the_planner(planned: Any, small: Path, case: int) -> None:
    network, inputs = pp.Network.load(small / "small.npz"), np.load(small / "x.npy")
    wanted = pp.plan(network, QUIET, inputs, pp.MaxNMSE(0.05), **CASES[case][1])
    point = planned.points[case]
    assert point.failure is None
    assert point.plan.gains.conductance == wanted.gains.conductance
    assert point.plan.power == wanted.power
    assert point.plan.termination.outcome == wanted.termination.outcome
    assert len(point.plan.corners) == len(wanted.corners)


def test_settings_that_a_point_gives_are_columns_of_the_table(planned: Any, tmp_path: Path) -> None:
    table = rows(planned)
    assert {"corners", "voltage", "conductance_steps", "dtype", "deadline", "tolerance"} <= table[0].keys()
    assert not {"conductance", "voltage_steps", "max_iterations"} & table[0].keys()
    assert table[2]["corners"] == '["noisy", "quiet"]'
    assert table[5]["conductance_steps"] == "1uS:100uS:3dB;none;16"
    export(planned, tmp_path / "table.json")
    assert json.loads((tmp_path / "table.json").read_text())["points"] == table
    export(planned, tmp_path / "table.parquet")


def test_a_report_shows_them(planned: Any) -> None:
    from powerplan.report.html import report_html

    page = report_html(planned)
    assert "noisy, quiet" in page
    assert "1uS:100uS:3dB;none;16" in page


def test_settings_are_axes(small: Path) -> None:
    """A list in a grid is an axis, whose values may be lists; a range is one too."""
    values = study_values()
    values["grid"] = {
        "hardware": "quiet",
        "corners": [[], "noisy", ["quiet", "noisy"]],
        "conductance_steps": ["16", "64log"],
        "voltage": [0.01, [0.01, 0.02, 0.03]],
        "deadline": {"from": 1.0, "to": 100.0, "points": 3},
        "output_weights": [[1, 2, 3]],
        "target": {"max_nmse": 0.1},
    }
    study = Study.from_dict(values, base=small)
    assert len(study) == 3 * 2 * 2 * 3
    assert study.axes == ("corners", "voltage", "conductance_steps", "deadline")
    assert [p.settings["corners"] for p in study.points[::12]] == [(), ("noisy",), ("quiet", "noisy")]
    assert study.points[-1].name == (
        "corners=[quiet,noisy]/voltage=[0.01,0.02,0.03]/conductance_steps=64log/deadline=100"
    )
    assert study.points[0].settings["output_weights"] == (1, 2, 3)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("corners", "cold", "one of quiet, noisy"),
        ("corners", ["noisy", "nosy"], "Did you mean 'noisy'"),
        ("corners", ["noisy"] * 65, "at most 64"),
        ("conductance", -1.0, "a finite number > 0"),
        ("conductance", [1e-6, 0], "> 0"),
        ("voltage", "0.2S", "instead of 'V'"),
        ("output_weights", [1, -1], ">= 0"),
        ("output_weights", [0, 0, 0], "at least one weight > 0"),
        ("output_weights", 1, "a list"),
        ("conductance_steps", "1uV,2uV", "low:high:step"),
        ("conductance_steps", "1uS:2uS:0uS", "> 0"),
        ("voltage_steps", "none;x", "low:high:step"),
        ("voltage_steps", [0.1, 0.2], "string"),
        ("deadline", 0, "> 0"),
        ("dtype", "float16", "float32"),
        ("output_combinations", 1, "0, or an integer from 2 to 4,096"),
        ("output_combinations", 4097, "2 to 4,096"),
        ("marginal_fields", -1, "0 to 65,536"),
        ("memory_limit", 0.5, "an integer"),
    ],
)
def test_bad_settings_are_refused_by_name(setting: str, value: Any, words: str) -> None:
    point = {"hardware": "quiet", "target": {"max_nmse": 0.1}, setting: value}
    with pytest.raises(InvalidInput) as caught:
        Study.from_dict(study_values(points=[point]))
    (wrong,) = caught.value.violations
    assert wrong.field.startswith(f"points[0].{setting}")
    assert words in f"{wrong.allowed} {wrong.advice}"


def test_gains_that_fit_no_layer_fail_at_their_point(small: Path, tmp_path: Path) -> None:
    """How many layers a network has is known when it is read."""
    point = {"hardware": "quiet", "target": {"max_nmse": 0.1}, "voltage": [0.1, 0.1]}
    values = {name: value for name, value in study_values(points=[point]).items() if name != "grid"}
    (failed,) = Study.from_dict(values, base=small).run(folder=tmp_path, workers=1).failed
    assert failed.failure is not None
    assert failed.failure.code == "invalid"
    assert "voltage" in failed.failure.message


def test_points_in_another_unit_fail_until_they_are_confirmed(small: Path, tmp_path: Path) -> None:
    """One point fails, with the unit that was likely meant, and the others of its group are planned."""
    point = {"hardware": "noisy", "target": {"max_nmse": 0.6}}
    settings = [point, {**point, "target": {"max_nmse": 0.1}}, {**point, "accept_implausible": True}]
    values = {name: value for name, value in study_values(points=settings).items() if name != "grid"}
    result = Study.from_dict(values, base=small).run(folder=tmp_path, workers=1)
    doubted, plain, confirmed = result.points
    assert doubted.failure is not None
    assert doubted.failure.code == "implausible"
    assert "Did you mean 0.6 %" in doubted.failure.message
    assert "accept_implausible = true" in doubted.failure.message
    assert plain.plan is not None
    assert confirmed.plan is not None


def test_what_is_at_its_default_has_no_part_in_the_key_of_a_job(small: Path, tmp_path: Path) -> None:
    """Said or left out, a default is the same job; a setting that a later version adds keeps the old keys."""
    from powerplan.batch.prepare import prepare

    point = {"hardware": "quiet", "target": {"max_nmse": 0.1}}
    said = {"dtype": "float64", "corners": [], "seed": 0, "override": {"adc_energy": 0.0, "temperature": 300.0}}
    other = {"dtype": "float32"}
    values = study_values(points=[point, {**point, **said}, {**point, **other}])
    values.pop("grid")
    first, second, third = prepare(Study.from_dict(values, base=small), tmp_path).keys
    assert first == second != third
    (job, _) = prepare(Study.from_dict(values, base=small), tmp_path).jobs.values()
    assert dict(job.hardware) == {"programming_noise_std": 1e-6}
    assert dict(job.options) == {}
    assert Job.from_json(job.to_json()).key == job.key
    old = replace(job, hardware=QUIET.to_dict(), options={"optimize": "conductance+voltage", "seed": 0})
    network = pp.Network.load(small / "small.npz")
    assert plan_options(Job.from_json(old.to_json()), network) == {"optimize": ("conductance", "voltage"), "seed": 0}
    assert pp.Hardware.from_dict(Job.from_json(old.to_json()).hardware) == QUIET


@pytest.mark.parametrize(
    ("setting", "text", "number", "other"),
    [
        ("max_energy", "10pJ", 1e-11, "10s"),
        ("max_latency", "400ns", 4e-7, "400m2"),
        ("max_area", "3000um2", 3e-9, "3000um"),
    ],
)
def test_limits_are_numbers_text_or_ranges(small: Path, setting: str, text: str, number: float, other: str) -> None:
    limits = [text, 2 * number], {"from": text, "to": 4 * number, "points": 3}
    for written, wanted in zip(limits, ([1, 2], [1, 2, 4]), strict=True):
        values = study_values()
        values["hardware"] = {"quiet": {"programming_noise_std": 1e-6, "adc_bits": 8, "costs": {"adc": 1e-12}}}
        values["grid"] = {"target": {"max_nmse": 0.1}, "objective": "energy", setting: written}
        asked = [point.settings[setting] for point in Study.from_dict(values, base=small).points]
        assert asked == pytest.approx([number * each for each in wanted])
    with pytest.raises(InvalidInput, match=rf"grid\.{setting}"):
        Study.from_dict({**values, "grid": {**values["grid"], setting: [other]}}, base=small)


def test_every_part_that_the_schema_refers_to_is_there() -> None:
    schema = study_schema()
    named = set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', json.dumps(schema)))
    assert named <= schema["$defs"].keys()


def test_what_plans_choose_of_converters_has_columns(small: Path, tmp_path: Path) -> None:
    values = study_values()
    values["hardware"] = {
        "quiet": {"programming_noise_std": 1e-6, "adc_bits": 8, "costs": {"adc": {"type": "capacitor"}}}
    }
    free = "conductance+adc_bits+adc_headroom+columns_per_adc"
    values["grid"] = {"target": {"max_nmse": 0.1}, "optimize": ["conductance", free]}
    result = Study.from_dict(values, base=small).run(folder=tmp_path / "study", workers=1)
    held, chosen = rows(result)
    plan = result.points[1].plan
    assert plan is not None
    assert plan.bits is not None
    assert {name for name in chosen if name.startswith("chosen_")} == {
        *("chosen_adc_bits", "chosen_adc_headroom", "chosen_columns_per_adc")
    }
    for kind in ("adc_bits", "adc_headroom", "columns_per_adc"):
        assert json.loads(chosen[f"chosen_{kind}"]) == list(getattr(plan.hardware, kind))
        assert held[f"chosen_{kind}"] is None
    assert (held["choice_gap"], chosen["choice_gap"]) == (None, plan.bits.gap)
    for suffix in ("csv", "json", "parquet"):
        export(result, tmp_path / f"table.{suffix}")
    header = next(line for line in result.table().splitlines() if line.startswith("point"))
    assert " adc_bits  " in header
    columns, (_, row) = point_table(result, {})
    gap = row[[name for name, _ in columns].index("Gap of the choice")]
    assert float(gap.key) == pytest.approx(plan.bits.gap, rel=1e-5)
