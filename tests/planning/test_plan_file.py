"""Plans survive the round trip to JSON; damaged and foreign files are refused."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import powerplan as pp
from powerplan.planning.plan_file import plan_to_dict


@pytest.fixture(scope="module")
def plan(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> pp.Plan:
    return pp.plan(network, hardware, inputs, pp.MaxNMSE(0.005), verify_draws=200)


def test_a_plan_reads_back_as_it_was_written(plan: pp.Plan, tmp_path: Path) -> None:
    plan.save(tmp_path / "plan.json")
    read = pp.Plan.load(tmp_path / "plan.json")
    assert plan_to_dict(read) == plan_to_dict(plan)
    assert read.gains.conductance == plan.gains.conductance
    assert read.hardware == plan.hardware
    assert read.termination == plan.termination
    assert read.shadow_prices == plan.shadow_prices
    assert read.verification == plan.verification
    assert read.saving == plan.saving
    assert np.array_equal(read.prediction.power_by_layer, plan.prediction.power_by_layer)


def test_arrays_of_many_entries_are_text_and_read_back_to_the_last_bit(
    plan: pp.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The errors of millions of outputs, as a language model has, in seconds instead of minutes."""
    errors = np.random.default_rng(0).random(1_000_000)
    errors[3] = np.nan
    many = replace(plan, prediction=replace(plan.prediction, mse_by_output=errors))
    many.save(tmp_path / "plan.json")
    assert (tmp_path / "plan.json").stat().st_size < 11 * errors.size
    read = pp.Plan.load(tmp_path / "plan.json")
    np.testing.assert_array_equal(read.prediction.mse_by_output, errors)
    assert not read.prediction.mse_by_output.flags.writeable
    monkeypatch.setattr("powerplan.planning.plan_file.MOST_LISTED", 0)
    assert plan_to_dict(pp.Plan.from_dict(plan_to_dict(plan))) == plan_to_dict(plan)


@pytest.mark.parametrize("damaged", [{}, {"float64": 3}, {"float64": "*"}, {"float64": "AAAA"}])
def test_damaged_text_of_arrays_is_refused(plan: pp.Plan, damaged: object) -> None:
    values = plan_to_dict(plan)
    values["prediction"]["mse_by_output"] = damaged
    with pytest.raises(pp.CorruptFile):
        pp.Plan.from_dict(values)


def test_a_plan_file_states_the_arrays_and_an_older_one_reads_without(plan: pp.Plan) -> None:
    values = plan_to_dict(plan)
    assert values["arrays"]["total"] == plan.array_count == sum(a["arrays"] for a in values["arrays"]["by_layer"])
    assert pp.Plan.from_dict(values).arrays == plan.arrays
    values["prediction"]["marginal_fields"] = 64
    assert pp.Plan.from_dict(values).prediction.marginal_fields == 64
    del values["arrays"], values["prediction"]["mse_standard_error"], values["prediction"]["marginal_fields"]
    older = pp.Plan.from_dict(values)
    assert older.arrays is None
    assert older.array_count is None
    assert older.prediction.mse_standard_error == older.prediction.marginal_fields == 0


@pytest.mark.parametrize("damaged", [[], {"by_layer": [{}]}, {"by_layer": [{"name": "a", "groups": "x"}]}, 3])
def test_damaged_arrays_are_refused(plan: pp.Plan, damaged: object) -> None:
    with pytest.raises(pp.CorruptFile):
        pp.Plan.from_dict({**plan_to_dict(plan), "arrays": damaged})


def test_an_infeasible_plan_reads_back(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, tmp_path: Path
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(1e-9))
    plan.save(tmp_path / "plan.json")
    assert plan_to_dict(pp.Plan.load(tmp_path / "plan.json")) == plan_to_dict(plan)


def test_accuracy_needs_the_output_moments_that_a_file_leaves_out(plan: pp.Plan, tmp_path: Path) -> None:
    plan.save(tmp_path / "plan.json")
    with pytest.raises(pp.InvalidInput, match=r"pp\.predict"):
        pp.Plan.load(tmp_path / "plan.json").prediction.accuracy([0])


def test_a_newer_schema_is_refused(plan: pp.Plan) -> None:
    with pytest.raises(pp.CorruptFile, match="schema_version"):
        pp.Plan.from_dict({**plan_to_dict(plan), "schema_version": 2})


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "1", '{"format": "other"}', "\xff", "[" * 100_000])
def test_foreign_and_truncated_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(content, encoding="latin-1")
    with pytest.raises(pp.CorruptFile):
        pp.Plan.load(tmp_path / "plan.json")


def test_a_missing_file_and_a_folder_that_cannot_be_written_are_named(plan: pp.Plan, tmp_path: Path) -> None:
    with pytest.raises(pp.InvalidInput, match=r"absent\.json"):
        pp.Plan.load(tmp_path / "absent.json")
    with pytest.raises(pp.InvalidInput, match="absent"):
        plan.save(tmp_path / "absent" / "plan.json")


def test_a_failed_write_keeps_the_old_file(plan: pp.Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.save(tmp_path / "plan.json")
    before = (tmp_path / "plan.json").read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(pp.InvalidInput, match="No space left"):
        plan.save(tmp_path / "plan.json")
    assert (tmp_path / "plan.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_to_a_plan_is_a_clear_error(plan: pp.Plan, data: st.DataObject) -> None:
    """Replacing any one value by a wrong one either is refused as corrupt or reads as a valid plan."""
    values = json.loads(json.dumps(plan_to_dict(plan)))
    parent, key = values, data.draw(st.sampled_from(sorted(values)))
    while isinstance(parent[key], (dict, list)) and parent[key] and data.draw(st.booleans()):
        parent = parent[key]
        key = data.draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))
    parent[key] = data.draw(st.sampled_from([None, "x", -1, [], {}, [[1]], 1e400, True]))
    with contextlib.suppress(pp.CorruptFile):
        assert isinstance(pp.Plan.from_dict(values), pp.Plan)
