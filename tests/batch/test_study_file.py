"""Study files: what is accepted, how it is expanded and named, and that every error is listed at once."""

from __future__ import annotations

import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator
from study_values import study_values

from powerplan.batch import Study
from powerplan.batch.reading import read_study_file
from powerplan.batch.schema import file_schema, study_schema
from powerplan.batch.validate import check_structure
from powerplan.errors import CorruptFile, InvalidInput, Violation

ROOT = Path(__file__).resolve().parents[2]


def study(values: dict[str, Any]) -> Study:
    return Study.from_dict(values)


def fields(values: dict[str, Any]) -> list[str]:
    """Fields of the errors that a study is refused with."""
    with pytest.raises(InvalidInput) as caught:
        study(values)
    assert all(v.value and v.allowed and v.advice for v in caught.value.violations)
    return [v.field for v in caught.value.violations]


def test_a_grid_is_every_combination_with_the_targets_fastest() -> None:
    points = study(study_values()).points
    assert len(points) == 2 * 2 * 3
    assert [p.name for p in points[:4]] == [
        "quiet/network/max_nmse=0.01",
        "quiet/network/max_nmse=0.02",
        "quiet/network/max_nmse=0.05",
        "quiet/layer/max_nmse=0.01",
    ]
    assert len({p.name for p in points}) == len(points)
    assert points[0].settings["inputs"] == "batch"
    assert points[0].settings["optimize"] == "conductance"


def test_a_zip_advances_together_and_is_one_factor_of_the_product() -> None:
    values = study_values(zip=[{"hardware": ["quiet", "noisy"], "seed": [1, 2]}])
    points = study(values).points
    assert len(points) == 2 * 2 * 3
    assert {(p.settings["hardware"], p.settings["seed"]) for p in points} == {("quiet", 1), ("noisy", 2)}


def test_single_points_come_last_with_their_own_names() -> None:
    single = {"name": "mine", "hardware": "noisy", "target": {"max_power": 1e-3}, "override": {"read_noise_std": 1e-9}}
    points = study(study_values(points=[single])).points
    assert len(points) == 13
    assert points[-1].name == "mine"
    assert points[-1].settings["target"] == {"max_power": 1e-3}
    assert points[-1].settings["override"] == {"read_noise_std": 1e-9}


def test_ranges_are_geometric_unless_linear_and_hit_both_ends() -> None:
    values = study_values()
    values["grid"]["target"] = {"max_nmse": {"from": 0.001, "to": 0.1, "points": 3}}
    values["grid"]["override"] = {"voltage_max": {"from": 0.1, "to": 0.3, "points": 3, "scale": "linear"}}
    points = study(values).points
    assert list(dict.fromkeys(p.settings["target"]["max_nmse"] for p in points)) == [0.001, 0.01, 0.1]
    assert list(dict.fromkeys(p.settings["override"]["voltage_max"] for p in points)) == [0.1, 0.2, 0.3]


def test_overrides_change_the_named_hardware() -> None:
    values = study_values()
    values["grid"]["override"] = {"voltage_max": [0.1, 0.3]}
    made = study(values)
    hardware = made.hardware.of("noisy", made.points[-1].settings["override"])
    assert (hardware.programming_noise_std, hardware.voltage_max) == (3e-6, 0.3)


def test_names_tell_close_values_apart() -> None:
    values = study_values()
    values["grid"]["target"] = {"max_nmse": [0.010000001, 0.01]}
    assert {p.name.rpartition("=")[2] for p in study(values).points} == {"0.010000001", "0.01"}


def test_repeated_points_keep_different_names() -> None:
    one = {"hardware": "quiet", "target": {"max_nmse": 0.01}, "granularity": "network"}
    points = study(study_values(points=[one, one])).points
    assert len({p.name for p in points}) == 14


def test_a_network_takes_the_inputs_that_belong_to_it() -> None:
    values = study_values(
        networks={"a": {"file": "a.npz", "inputs": "x"}, "b": {"file": "b.npz", "inputs": ["x", "y"]}},
        inputs={"x": {"file": "x.npy"}, "y": {"file": "y.npy"}},
    )
    pairs = {(p.settings["network"], p.settings["inputs"]) for p in study(values).points}
    assert pairs == {("a", "x"), ("b", "x"), ("b", "y")}


def test_an_example_brings_its_own_inputs() -> None:
    values = study_values(networks={"iris": {"example": "iris"}})
    values.pop("inputs")
    assert study(values).points[0].settings["inputs"] is None


def test_targets_on_a_part_of_the_chips_are_every_bound_with_every_part() -> None:
    values = study_values()
    values["grid"]["target"] = {"max_nmse": ["1%", 0.02], "chips": ["90%", 0.99]}
    points = study(values).points
    wanted = [{"max_nmse": bound, "chips": part} for bound in (0.01, 0.02) for part in (0.9, 0.99)]
    assert [point.settings["target"] for point in points[:4]] == wanted
    assert "chips=0.9" in points[0].name
    values["grid"]["target"] = [{"max_mse": 0.01}, {"max_mse": 0.01, "chips": 0.95}]
    parts = {point.settings["target"].get("chips") for point in study(values).points}
    assert parts == {None, 0.95}
    values["grid"]["target"] = {"max_nmse": 0.01, "inputs": ["50%", 0.95]}
    wanted = [{"max_nmse": 0.01, "inputs": part} for part in (0.5, 0.95)]
    assert [point.settings["target"] for point in study(values).points[:2]] == wanted


def test_calibration_needs_a_verification_which_targets_on_classes_have_by_themselves() -> None:
    grid = {"hardware": "quiet", "target": {"max_flip_rate": 0.1}, "calibrate": True}
    settings = study(study_values(grid=grid)).points[0].settings
    assert (settings["verify_draws"], settings["calibrate"]) == (None, True)
    for change in ({"verify_draws": 0}, {"target": {"max_nmse": 0.1}}):
        assert "grid.calibrate" in fields(study_values(grid={**grid, **change}))


def test_every_error_of_the_structure_is_listed_at_once() -> None:
    values = study_values(
        networks={"a": {"file": "a.npz", "example": "iris"}, "b": {"fil": "b.npz"}},
        hardware={"quiet": {"programming_noise_sdt": 1e-6, "conductance_max": "large"}},
        grid={"granularity": ["layr"], "target": {"max_nmse": [0.1, -1.0], "max_nsme": 0.1}, "verify_draws": 2.5},
        colour="red",
    )
    found = fields(values)
    for field in (
        "networks.a",
        "networks.b.fil",
        "hardware.quiet.programming_noise_sdt",
        "hardware.quiet.conductance_max",
        "grid.granularity[0]",
        "grid.target.max_nmse[1]",
        "grid.target.max_nsme",
        "grid.verify_draws",
        "colour",
    ):
        assert field in found


def test_every_error_of_the_meaning_is_listed_at_once() -> None:
    values = study_values(
        zip=[{"hardware": ["quiet", "loud"], "seed": [1, 2, 3]}],
        points=[{"hardware": "noisi", "target": {"max_nmse": 0.1}, "verify_draws": 1}],
    )
    values["grid"] |= {"network": ["smal"], "override": {"voltage_max": {"from": -1.0, "to": 1.0, "points": 3}}}
    with pytest.raises(InvalidInput) as caught:
        study(values)
    found = {v.field: v for v in caught.value.violations}
    for field in ("zip[0]", "zip[0].hardware", "points[0].hardware", "points[0].verify_draws", "grid.network"):
        assert field in found
    assert "grid.override.voltage_max" in found
    assert "'small'" in found["grid.network"].advice
    assert "'noisy'" in found["points[0].hardware"].advice


def test_one_pass_lists_what_breaks_the_schema_and_what_only_the_engine_can_tell(tmp_path: Path) -> None:
    """A misspelt granularity hides neither unknown names, nor presets, files and fields of the hardware."""
    values = study_values(
        networks={"iris": {"example": "iris"}, "typo": {"example": "irs"}},
        hardware={
            "swapped": {"conductance_min": 1e-4, "conductance_max": 1e-5},
            "negative": {"conductance_max": -1.0},
            "unknown": {"preset": "nope"},
            "absent": {"file": "missing.toml"},
            "two": {"voltage_max": math.inf, "conductance_max": -2.0, "conductance_min": 2e-4},
        },
        grid={"granularity": ["layr", 3], "target": {"max_nmse": [0.01]}},
        points=[
            {"network": "nope", "hardware": "absent", "target": {"max_nmse": 0.1}},
            {"network": "typo", "target": {"max_nmse": 0.1, "max_mse": 0.1}},
        ],
        run={"workers": 0},
    )
    assert sorted(fields(values)) == [
        "grid.granularity[0]",
        "grid.granularity[1]",
        "hardware.absent.hardware file",
        "hardware.negative.conductance_max",
        "hardware.swapped.conductance_min",
        "hardware.two.conductance_max",
        "hardware.two.voltage_max",
        "hardware.unknown.preset",
        "networks.typo.example",
        "points[0].network",
        "points[1].hardware",
        "points[1].target",
        "run.workers",
    ]


_QUIET = {"hardware": "quiet", "target": {"max_nmse": 0.1}}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"grid": {"target": {"max_nsme": 0.1}}}, ["grid.target.max_nsme"]),
        ({"grid": {"target": {"max_nmse": 0.1}, "verify_draws": -1, "calibrate": True}}, ["grid.verify_draws"]),
        ({"zip": [{"seed": [1, 2], "granularity": ["layer", "layr"]}]}, ["zip[0].granularity[1]"]),
        ({"hardware": {"a": {"conductance_mx": 1.0, "conductance_min": 2e-4}}}, ["hardware.a.conductance_mx"]),
        ({"hardware": {"quiet": "quiet", "noisy": {}}}, ["hardware.quiet"]),
        ({"networks": [], "points": [{"target": {"max_mse": 1}, "hardware": "quiet"}]}, ["networks"]),
        ({"inputs": {"batch": {"fil": "x.npy"}}}, ["inputs.batch.fil"]),
        ({"points": 3}, ["points"]),
        ({"points": [{"hardware": "quiet", "targte": {"max_nmse": 0.1}}]}, ["points[0].targte"]),
        ({"input": {"other": {"file": "x.npy"}}, "inputs": None}, ["input"]),
        ({"hardwares": {"quiet": {}}, "hardware": None, "points": [_QUIET]}, ["hardwares"]),
        ({"network": {"small": {"file": "small.npz"}}, "networks": None, "points": [_QUIET]}, ["network"]),
        ({"points": [3]}, ["points[0]"]),
        ({"grid": {"target": {"max_nmse": {"from": 0.0, "to": 0.1, "points": 3}}}}, ["grid.target.max_nmse"]),
        ({"zip": [{"seed": [1, 2], "deadline": {"from": 1, "to": 1, "points": 2}}]}, ["zip[0].deadline"]),
        (
            {"grid": {"target": {"max_nmse": 0.1}, "override": {"conductance_max": "1V", "conductance_min": 2e-4}}},
            ["grid.override.conductance_max"],
        ),
    ],
)
def test_what_follows_from_an_error_is_no_error_of_its_own(change: dict[str, Any], wrong: list[str]) -> None:
    values = {name: value for name, value in study_values(**change).items() if value is not None}
    assert fields(values) == wrong


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("workers", 1.5),
        ("workers", 0),
        ("attempts", 2.5),
        ("attempts", True),
        ("time_limit", 0),
        ("time_limit", "soon"),
    ],
)
def test_options_of_a_run_are_checked_in_python_as_in_the_file(tmp_path: Path, option: str, value: Any) -> None:
    """Before anything is made; the error names the option."""
    with pytest.raises(InvalidInput, match=rf"run\.{option}: got .*allowed: "):
        study(study_values()).run(folder=tmp_path / "none", **{option: value})
    assert f"run.{option}" in fields(study_values(run={option: value}))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"grid": {}}, "grid.target"),
        ({"networks": {}}, "networks"),
        ({"inputs": {}}, "inputs"),
        ({"points": [{"target": {"max_nmse": 0.1}}]}, "points[0].hardware"),
        ({"points": [{"hardware": "quiet", "target": {"max_nmse": 0.1, "max_mse": 0.1}}]}, "points[0].target"),
        ({"points": [{"hardware": "quiet", "target": {"chips": 0.9}}]}, "points[0].target"),
        ({"grid": {"target": {"chips": 0.9}}}, "grid.target"),
        ({"grid": {"target": {"max_nmse": 0.1, "chips": 95}}}, "grid.target.chips"),
        ({"hardware": {"a": {"conductance_max": -1.0}}}, "hardware.a.conductance_max"),
        ({"hardware": {"a": {"file": "missing.toml"}}}, "hardware.a.hardware file"),
        ({"networks": {"../up": {"file": "x.npz"}}}, "networks"),
        ({"run": {"workers": 0}}, "run.workers"),
        ({"name": "a b"}, "name"),
    ],
)
def test_what_is_refused_is_named(change: dict[str, Any], field: str) -> None:
    assert field in fields(study_values(**change))


def test_impossible_combinations_of_hardware_are_refused_once_and_name_a_point() -> None:
    values = study_values()
    values["grid"]["override"] = {"conductance_min": [0.0, 2e-4]}
    with pytest.raises(InvalidInput) as caught:
        study(values)
    (only,) = caught.value.violations
    assert only.field == "override.conductance_min"
    assert "conductance_min=200uS" in only.advice


def test_a_billion_points_are_refused_before_anything_is_built() -> None:
    many = {"from": 1e-3, "to": 1.0, "points": 1000}
    values = study_values(
        grid={"target": {"max_nmse": many}, "override": {"voltage_max": many, "read_noise_std": many}}
    )
    begin = time.perf_counter()
    with pytest.raises(InvalidInput, match=r"2,000,000,000 points.*at most 100,000 points"):
        study(values)
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_wherever_they_stand(bad: float) -> None:
    values = study_values()
    values["grid"]["target"] = {"max_nmse": [0.1, bad]}
    assert "grid.target.max_nmse[1]" in fields(values)


@pytest.mark.slow
def test_the_published_schema_is_the_one_in_force() -> None:
    published = json.loads((ROOT / "docs" / "study.schema.json").read_text())
    assert published == file_schema(), "powerplan batch schema > docs/study.schema.json"
    Draft202012Validator.check_schema(published)


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 2), st.sampled_from(["quiet", "layer", "x y", ""])
)
_BRANCHES = st.one_of(
    _LEAVES, st.lists(_LEAVES, max_size=3), st.dictionaries(st.sampled_from("ab"), _LEAVES, max_size=2)
)


def _paths(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place in nested tables and lists."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        found += _paths(child, (*path, key))
    return found


_FULL = study_values(
    grid={
        "target": {"max_nmse": {"from": 0.01, "to": 0.1, "points": 2}},
        "override": {"conductance_max": [1e-4, 2e-4]},
        "corners": [[], "noisy"],
        "voltage": [0.1, [0.1, 0.2, 0.3]],
    },
    zip=[{"seed": [1, 2], "method": ["linearized", "diagonal"]}],
    points=[{"hardware": "quiet", "target": {"max_mse": 0.1}, "voltage_steps": "64", "corners": ["noisy"]}],
    run={"workers": 2},
)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=150)
def test_schema_and_validator_accept_the_same_structures(data: st.DataObject) -> None:
    """Any change of one place: the schema accepts it exactly if the validator does."""
    values = copy.deepcopy(_FULL)
    *way, last = data.draw(st.sampled_from(_paths(values)))
    place = values
    for key in way:
        place = place[key]
    place[last] = data.draw(_BRANCHES)
    said, cuts = check_structure(values)
    assert all(v.field and v.allowed and v.advice for v in said)
    assert bool(said) != Draft202012Validator(study_schema()).is_valid(values)
    assert bool(cuts) <= bool(said)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_checks_after_the_schema_bear_with_what_breaks_it(data: st.DataObject) -> None:
    """Any change of two places is either a study or a list of errors, no value twice."""
    values = copy.deepcopy(_FULL)
    for _ in range(2):
        *way, last = data.draw(st.sampled_from(_paths(values)))
        place = values
        for key in way:
            place = place[key]
        place[last] = data.draw(_BRANCHES)
    said: tuple[Violation, ...] = ()
    try:
        study(values)
    except InvalidInput as error:
        said = error.violations
    assert len({(v.field, v.value) for v in said}) == len(said)


def test_toml_and_yaml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'name = "a"\n[networks.n]\nexample = "iris"\n[hardware.h]\nread_noise_std = 2e-9\n'
        "[grid.target]\nmax_nmse = {from = 1e-3, to = 1e-1, points = 3}\n"
    )
    (tmp_path / "s.yaml").write_text(
        "name: a\nnetworks: {n: {example: iris}}\nhardware:\n  h:\n    read_noise_std: 2e-9\n"
        "grid:\n  target:\n    max_nmse: {from: 1e-3, to: 1e-1, points: 3}\n"
    )
    assert read_study_file(tmp_path / "s.toml") == read_study_file(tmp_path / "s.yaml")
    assert Study.load(tmp_path / "s.toml").digest == Study.load(tmp_path / "s.yaml").digest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", "a = ["),
        ("s.toml", "a = 1\na = 2"),
        ("s.yaml", "a: 1\na: 2"),
        ("s.yaml", "a: [1"),
        ("s.yaml", "a: &x [1]\nb: *x"),
        ("s.yaml", "a: !!python/object/apply:os.system ['true']"),
        ("s.yaml", "- 1"),
        ("s.yaml", "a: " + "[" * 2000 + "]" * 2000),
        ("s.toml", "a = " + "[" * 100 + "]" * 100),
        ("s.toml", "\udcff"),
    ],
)
def test_files_that_are_not_studies_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CorruptFile):
        read_study_file(tmp_path / name)


def test_other_suffixes_missing_and_huge_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "big.toml").write_bytes(b"#" * 2_000_001)
    for name, kind in (("s.ini", InvalidInput), ("none.toml", InvalidInput), ("big.toml", CorruptFile)):
        with pytest.raises(kind):
            read_study_file(tmp_path / name)
