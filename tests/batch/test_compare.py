"""Technologies side by side: every point is the plan that planning it alone gives, or says why there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
from powerplan.batch.table import rows
from powerplan.units import si

_RNG = np.random.default_rng(0)
NETWORK = pp.Network.mlp([_RNG.normal(size=(5, 4)), _RNG.normal(size=(3, 5))], [np.zeros(5), np.zeros(3)])
INPUTS = _RNG.normal(size=(8, 4))
QUIET, NOISY = pp.Hardware(programming_noise_std=0.5e-6), pp.Hardware(programming_noise_std=20e-6)


def test_each_point_is_the_plan_of_its_own() -> None:
    targets = [pp.MaxNMSE(0.05), pp.MaxNMSE(0.2)]
    result = pp.compare(
        NETWORK, {"quiet": QUIET, "PCM": "pcm_hermes_2dev"}, INPUTS, targets, sweep={"adc_bits": [5, None]}
    )
    assert result.complete
    expected = [
        pp.plan(NETWORK, hardware.replace(adc_bits=bits), INPUTS, target).power
        for hardware in (QUIET, pp.Hardware.preset("pcm_hermes_2dev"))
        for bits in (5, None)
        for target in targets
    ]
    assert [point.plan and point.plan.power for point in result.points] == expected
    assert result.axes == ("hardware", "override.adc_bits", "target")
    assert [point.name for point in result.points][:3] == [
        "quiet/adc_bits=5/max_nmse=0.05",
        "quiet/adc_bits=5/max_nmse=0.2",
        "quiet/max_nmse=0.05",
    ]
    table = rows(result)
    assert [row["hardware"] for row in table] == ["quiet"] * 4 + ["PCM"] * 4
    assert [row["power_W"] for row in table] == expected


def test_fields_are_swept_together_and_in_units() -> None:
    sweep = {"array_rows+array_columns": [4, 8], "conductance_max": ["50 uS", 100e-6]}
    result = pp.compare(NETWORK, {"a": QUIET}, INPUTS, pp.MaxNMSE(0.1), sweep=sweep)
    overrides = [dict(point.settings["override"]) for point in result.points]
    assert overrides[0] == {"array_rows": 4, "array_columns": 4, "conductance_max": 50e-6}
    assert len(overrides) == 4
    for point, override in zip(result.points, overrides, strict=True):
        assert point.plan is not None
        assert {name: getattr(point.plan.hardware, name) for name in override} == override


def test_what_cannot_be_done_says_why_and_the_rest_is_told(tmp_path: Path) -> None:
    old = pp.Hardware.preset("reram_wan2022_fitA")  # measured from 1 s to two days
    technologies = {"quiet": QUIET, "noisy": NOISY, "old": old}
    result = pp.compare(NETWORK, technologies, INPUTS, pp.MaxNMSE(0.01), sweep={"time": ["1 h", "1000 d"]})
    by_name = {point.name: point for point in result.points}
    failed = by_name["old/time=1000d"]
    assert failed.failure is not None
    assert "nothing is extrapolated" in failed.failure.message
    noisy = by_name["noisy/time=1h"].plan
    assert noisy is not None
    assert not noisy.meets_target
    said = result.table()
    assert "least power: quiet/time=" in said
    assert f"noisy/time=1h: {noisy.termination.message}" in said
    assert f"old/time=1000d: {failed.failure.message}" in said
    figure = pp.plot_comparison(result, title="three", file=tmp_path / "three.svg")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert sum("lowest reachable" in text for text in texts) == sum(
        point.plan is not None and not point.plan.meets_target for point in result.points
    )
    assert len(texts) == len(result.points)
    result.report(tmp_path / "three.html")
    assert "nothing is extrapolated" in (tmp_path / "three.html").read_text()


def test_no_scale_is_invented_where_nobody_meets_the_target() -> None:
    figure = pp.plot_comparison(pp.compare(NETWORK, {"a": QUIET}, INPUTS, pp.MaxNMSE(1e-12)))
    (axes,) = figure.axes
    assert "lowest reachable" in axes.texts[0].get_text()
    assert axes.get_xlabel() == "no technology meets the target"
    assert not axes.get_xticks().size


def test_nobody_wins_a_tie() -> None:
    dear = QUIET.replace(conductance_min=5e-6)
    result = pp.compare(NETWORK, {"a": QUIET, "dear": dear, "c": QUIET}, INPUTS, pp.MaxNMSE(0.1))
    power = [point.plan.power for point in result.points if point.plan is not None]
    assert power[0] == power[2] < power[1]
    assert f"least power: a and c alike, {si(power[0], 'W')}; next dear, {si(power[1], 'W')}" in result.table()
    alone = pp.compare(NETWORK, {"a": QUIET, "c": QUIET}, INPUTS, pp.MaxNMSE(0.1)).table()
    assert alone.endswith(f"least power: a and c alike, {si(power[0], 'W')}")


def test_progress_names_every_point() -> None:
    told: list[tuple[str, float]] = []
    pp.compare(
        NETWORK,
        {"a": QUIET, "b": QUIET},
        INPUTS,
        pp.MaxNMSE(0.1),
        progress=lambda name, part: told.append((name, part)),
    )
    assert told == [("a", 0.0), ("b", 0.5), ("done", 1.0)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hardware": {}}, "hardware: got 'nothing'"),
        ({"target": []}, "target: got 'nothing'"),
        ({"hardware": ["pcm_hermes_2de"]}, "Did you mean 'pcm_hermes_2dev'"),
        ({"sweep": {"adc_bitz": [4]}}, "sweep.adc_bitz.*Did you mean 'adc_bits'"),
        ({"sweep": {"time": ["1 m"]}}, r"sweep.time: got '1 m'"),
        ({"sweep": {"column_scale": ["none", "least_eror"]}}, "sweep.column_scale: got 'least_eror'.*'least_bias'"),
        ({"sweep": {"array_rows": [8, 0]}}, "sweep.array_rows: got '?0'?.* from 1"),
        ({"sweep": {"adc_bits": []}}, "Give at least one"),
        ({"sweep": {"adc_bits": "4..10"}}, "a list of values"),
        ({"granularity": "layr"}, "granularity"),
        ({"inputs": INPUTS[:, :2]}, "inputs"),
    ],
)
def test_what_is_wrong_for_all_is_an_error(arguments: dict[str, object], message: str) -> None:
    call = {"network": NETWORK, "hardware": {"a": QUIET, "b": NOISY}, "inputs": INPUTS, "target": pp.MaxNMSE(0.1)}
    with pytest.raises(pp.InvalidInput, match=message):
        pp.compare(**{**call, **arguments})  # type: ignore[arg-type]
