"""Tables of measured devices: what is read of them is what was measured, however the table is written."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

import powerplan as pp
from powerplan.hardware.curve_values import curve_values

_TARGETS = np.array([1.0, 5.0, 10.0, 20.0, 40.0])  # uS
_STDS = {0.0: 0.3, 3600.0: 0.8}  # uS, by time [s]
_SHIFT = {0.0: 0.0, 3600.0: -0.5}
U = 1e-6


def _cells(seed: int = 0, count: int = 60) -> dict[float, np.ndarray]:
    """Conductances [uS] by time, (levels, count)."""
    random = np.random.default_rng(seed)
    return {
        time: _TARGETS[:, None] + _SHIFT[time] + std * random.standard_normal((len(_TARGETS), count))
        for time, std in _STDS.items()
    }


def _rows(cells: dict[float, np.ndarray]) -> list[tuple[float, float, float]]:
    """(target [uS], measured [uS], time [s]), one per reading."""
    return [
        (target, float(value), time)
        for time, levels in cells.items()
        for target, level in zip(_TARGETS.tolist(), levels, strict=True)
        for value in level
    ]


def _write(path: Path, header: str, rows: Sequence[Sequence[object]], separator: str = ",") -> Path:
    path.write_text("\n".join([header, *(separator.join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def _is_of(measurements: pp.Measurements, cells: dict[float, np.ndarray]) -> None:
    assert measurements.times == tuple(cells)
    for levels, (_, held) in zip(measurements.levels, cells.items(), strict=True):
        assert levels.target == pytest.approx(U * _TARGETS, rel=1e-12)
        assert levels.mean == pytest.approx(U * held.mean(1), rel=1e-12)
        assert levels.std == pytest.approx(U * held.std(1, ddof=1), rel=1e-9)
        assert levels.count.tolist() == [held.shape[1]] * len(_TARGETS)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.randoms(use_true_random=False),
    separator=st.sampled_from([",", ";", "\t", " "]),
    units=st.sampled_from([("uS", "uS", "s"), ("nS", "S", "h"), ("µS", "mS", "ms")]),
    comment=st.booleans(),
    gaps=st.integers(0, 5),
    packed=st.booleans(),
)
def test_any_way_to_write_it_down_says_the_same(
    tmp_path: Path,
    order: object,
    separator: str,
    units: tuple[str, str, str],
    comment: bool,
    gaps: int,
    packed: bool,
) -> None:
    """Unsorted, in other units, with comments and gaps, packed: the moments are those of the cells."""
    cells, sizes = _cells(count=8), {"uS": 1.0, "µS": 1.0, "nS": 1e3, "S": 1e-6, "mS": 1e-3, "s": 1.0, "h": 1 / 3600}
    sizes["ms"] = 1e3
    rows: list[list[str]] = [
        [repr(value * sizes[unit]) for value, unit in zip(row, units, strict=True)] for row in _rows(cells)
    ]
    rows += [[rows[k][0], "NaN" if k % 2 or separator == " " else "", rows[k][2]] for k in range(gaps)]
    order.shuffle(rows)  # type: ignore[attr-defined]
    header = separator.join(f"{name}_{unit}" for name, unit in zip(("target", "G", "time"), units, strict=True))
    lines = [header, *(separator.join(row) for row in rows)]
    if comment:
        lines[1:1] = ["# chip 7", ""]
    path = tmp_path / "levels.csv"
    content = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    measurements = pp.read_measurements(path)
    _is_of(measurements, cells)
    assert (f"{gaps} of them left out for a gap" in str(measurements)) == (gaps > 0)


def test_names_of_columns_stand_in_for_a_header(tmp_path: Path) -> None:
    cells = _cells()
    rows = [(k, 1e6 / measured, target, time) for k, (target, measured, time) in enumerate(_rows(cells))]
    path = _write(tmp_path / "cells.tsv", "# chip 7", rows, "\t")
    columns = "-, resistance [ohm], target [uS], time [s]"
    _is_of(pp.read_measurements(path, columns=columns), cells)
    _is_of(pp.read_measurements(path, columns=columns.split(",")), cells)
    above = _write(tmp_path / "commented.tsv", "# cell\tresistance [ohm]\ttarget [uS]\ttime [s]", rows, "\t")
    _is_of(pp.read_measurements(above), cells)


def test_levels_by_number_have_the_target_that_they_were_programmed_to(tmp_path: Path) -> None:
    """By what was read just after programming, by the first reading, or by the size of a step."""
    cells = _cells()
    numbers = {target: k for k, target in enumerate(_TARGETS.tolist())}
    rows = [(numbers[target], measured, time) for target, measured, time in _rows(cells)]
    first = pp.read_measurements(_write(tmp_path / "a.csv", "level,measured [uS],time", rows))
    for levels in first.levels:
        assert levels.target == pytest.approx(U * cells[0.0].mean(1), rel=1e-12)
    beside = [(*row, row[1] + 0.01) for row in rows]
    programmed = pp.read_measurements(_write(tmp_path / "b.csv", "level,measured [uS],time,programmed [uS]", beside))
    both = (cells[0.0].mean(1) + cells[3600.0].mean(1)) / 2 + 0.01
    assert programmed.levels[0].target == pytest.approx(U * both, rel=1e-12)
    steps = [(round(target), measured, time) for target, measured, time in _rows(cells)]
    of_steps = pp.read_measurements(_write(tmp_path / "c.csv", "level [1 uS],measured [uS],time", steps))
    _is_of(of_steps, cells)


def test_moments_of_one_target_are_pooled(tmp_path: Path) -> None:
    rows = [(20, 19.0, 1.0), (0, 0.1, 0.2), (20, 21.0, 2.0)]
    (levels,) = pp.read_measurements(_write(tmp_path / "m.csv", "target uS,mean uS,std uS", rows)).levels
    assert levels.target == pytest.approx([0, 20 * U])
    assert levels.mean == pytest.approx([0.1 * U, 20 * U])
    assert levels.std == pytest.approx([0.2 * U, U * np.sqrt((1 + 4) / 2 + 1)])
    assert np.isnan(levels.mean_standard_error).all()


def test_targets_that_never_repeat_are_gathered(tmp_path: Path) -> None:
    """The spread of a bin is that of errors, without what errors owe to differing targets."""
    random = np.random.default_rng(0)
    target = random.uniform(1, 40, 4000)
    measured = 0.9 * target + (0.2 + 0.02 * target) * random.standard_normal(len(target))
    path = _write(tmp_path / "all.csv", "target [uS],measured [uS]", list(zip(target, measured, strict=True)))
    measurements = pp.read_measurements(path)
    (levels,) = measurements.levels
    assert "different targets at 0 s gathered in 32 bins" in str(measurements)
    off = (levels.mean - 0.9 * levels.target) / levels.mean_standard_error
    assert np.abs(off).max() < 4
    expected = U * 0.2 + 0.02 * levels.target
    assert np.abs((levels.std - expected) / levels.std_standard_error).max() < 4


def test_stated_errors_are_those_of_repeated_measurements(tmp_path: Path) -> None:
    """Of errors with heavy tails too, whose spread is told less well than that of Gaussian ones."""
    random, means, stds = np.random.default_rng(0), [], []
    for k in range(60):
        held = 10 + random.laplace(size=(2, 300)) * np.array([[0.5], [1.0]])
        rows = [(10 + level, value + level) for level in (0, 1) for value in held[level]]
        (levels,) = pp.read_measurements(_write(tmp_path / f"{k}.csv", "target [uS],measured [uS]", rows)).levels
        means.append((levels.mean - U * np.array([10.0, 11.0])) / levels.mean_standard_error)
        stds.append((levels.std - U * np.sqrt(2) * np.array([0.5, 1.0])) / levels.std_standard_error)
    for scores in (np.array(means), np.array(stds)):
        assert 0.8 < scores.std() < 1.25  # four standard errors of 120 scores are 0.26


def test_hardware_holds_what_was_measured(tmp_path: Path) -> None:
    cells = _cells()
    path = _write(tmp_path / "levels.csv", "target [uS],measured [uS],time [s]", _rows(cells))
    hardware = pp.Hardware.from_measurements(path, voltage_max="100 mV")
    assert (hardware.conductance_min, hardware.conductance_max) == pytest.approx((U, 40 * U))
    assert (hardware.time, hardware.voltage_max, hardware.programming_noise_std) == (3600, 0.1, 0)
    assert hardware.measurements is not None
    assert [snapshot.time for snapshot in hardware.measurements] == [0, 3600]
    kept = tmp_path / "chip.toml"
    kept.write_text(hardware.to_toml())
    assert pp.Hardware.from_toml(kept) == hardware
    with pytest.raises(pp.InvalidInput, match=r"conductance_max = 5e-05 S"):
        pp.Hardware.from_measurements(path, conductance_max=50 * U)


@pytest.mark.parametrize("name", [preset.name for preset in pp.presets()])
def test_every_preset_is_the_same_from_its_own_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "preset.toml"
    hardware = pp.Hardware.preset(name)
    path.write_text(hardware.to_toml())
    assert pp.Hardware.from_toml(path) == hardware
    assert pp.Hardware().to_toml() == ""


def test_polynomials_leave_the_residuals_that_they_state(tmp_path: Path) -> None:
    path = _write(tmp_path / "levels.csv", "target [uS],measured [uS],time [s]", _rows(_cells()))
    measurements = pp.read_measurements(path, degree=1)
    levels = measurements.levels[1]
    fit = measurements.mean_fit(levels)
    slope, offset = np.polyfit(levels.target, levels.mean, 1, w=1 / levels.mean_standard_error)
    assert fit.residuals == pytest.approx(levels.mean - offset - slope * levels.target, abs=1e-12)
    assert fit.in_standard_errors == pytest.approx(fit.residuals / levels.mean_standard_error)
    worst = np.abs(fit.in_standard_errors[np.argmax(np.abs(fit.residuals))])
    assert f"({worst:.1f} standard errors)" in str(measurements)
    hardware = measurements.hardware()
    held = levels.mean - fit.residuals
    assert hardware.measurements is not None
    assert hardware.measurements[1].mean is not None
    curve = curve_values(hardware.measurements[1].mean, torch.as_tensor(levels.target), hardware.conductance_max)
    assert curve.numpy() == pytest.approx(held, rel=1e-9)


def test_levels_of_few_readings_are_left_out_and_said(tmp_path: Path) -> None:
    rows = [*_rows(_cells()), (60, 61.0, 0.0), (60, 59.0, 0.0), (60, 60.0, 3600.0)]
    path = _write(tmp_path / "levels.csv", "target [uS],measured [uS],time [s]", rows)
    measurements = pp.read_measurements(path)
    assert "levels of fewer than 3 readings left out: 1 at 0 s, 1 at 3600 s" in str(measurements)
    assert measurements.conductances[1] == pytest.approx(40 * U)
    with pytest.raises(pp.InvalidInput, match="at least 61 readings each"):
        pp.read_measurements(path, least_readings=61)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (
            "target,measured",
            [(10, 10.1), (20, 20.2)],
            r"column 'target': got 'numbers up to 20 .*\[uS\]",
        ),
        ("target [uV],measured [uS]", [(10, 10)], r"columns: got 'target \[uV\]'; allowed: a unit of S"),
        ("target [uS],voltage", [(10, 10)], "one called measured or resistance"),
        ("voltage,measured [uS]", [(10, 10)], "one called target, level or programmed"),
        ("target [uS],mean [uS]", [(10, 10)], "a std beside the mean"),
        ("target [uS],measured [uS],g [uS]", [(10, 10, 10)], "one column with the measured"),
        ("target [uS],measured [uS]", [(10, "1O")], "line 2, column 2: .*1O.*a finite number"),
        ("target [uS],measured [uS]", [(10, 10), (10,)], "line 3: 1 cells.*2 cells"),
        ("target [uS],measured [uS]", [], "a header and no rows"),
        ("target [uS],measured [uS]", [(10, ""), ("", 3)], "Every row has a gap"),
        ("target [uS],resistance [ohm]", [(10, 0)], "0 ohm'; allowed: a resistance"),
        ("target [uS],mean [uS],std [uS]", [(10, 10, 1), (20, 20, -1)], "line 3'; allowed: a std of at least 0"),
        ("target [uS],measured [uS],time", [(10, 10, -1)], "a time of at least 0"),
        ("10,20", [(10, 10)], "a header, or the names of all columns"),
        ("level,measured [uS],time", [("a", 1, 0), ("b", 2, 5)], "levels that were all read at the first time"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(
    tmp_path: Path, header: str, rows: list[tuple[object, ...]], message: str
) -> None:
    with pytest.raises((pp.InvalidInput, pp.CorruptFile), match=message):
        pp.read_measurements(_write(tmp_path / "wrong.csv", header, rows))


def test_bad_files_and_arguments_are_said(tmp_path: Path) -> None:
    with pytest.raises(pp.InvalidInput, match="an existing file"):
        pp.read_measurements(tmp_path / "none.csv")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"target,measured\n" * 99)[:40])
    with pytest.raises(pp.CorruptFile, match="a complete gzip file"):
        pp.read_measurements(tmp_path / "cut.gz")
    path = _write(tmp_path / "levels.csv", "target [uS],measured [uS],time [s]", _rows(_cells()))
    for arguments, message in (
        ({"degree": 0}, "degree: got 0; allowed: an integer from 1 to 8"),
        ({"least_readings": 2}, "least_readings: got 2"),
        ({"columns": "target [uS]"}, "3 names, one per column"),
        ({"columns": "target [uS],measured [uS],tine"}, "columns: got 'tine'; allowed: target, level"),
    ):
        with pytest.raises(pp.InvalidInput, match=message):
            pp.read_measurements(path, **arguments)  # type: ignore[arg-type]


def test_readings_of_one_array_that_took_a_while_are_one_time(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [
        (t, t + 0.1 * random.standard_normal(), at * random.uniform(1, 1.2))
        for t in (1, 9)
        for at in (1, 100)
        for _ in range(20)
    ]
    measurements = pp.read_measurements(_write(tmp_path / "slow.csv", "target [uS],measured [uS],time [s]", rows))
    assert len(measurements.levels) == 2
    assert "80 times of reading brought to 2" in str(measurements)


@pytest.mark.parametrize("count", [3, 10, 49])
def test_a_target_stays_what_it_is_to_the_last_digit(tmp_path: Path, count: int) -> None:
    targets = (10, 30, 50, 70)
    rows = [(target, target + 0.1 * (i % 3)) for target in targets for i in range(count)]
    read = pp.read_measurements(_write(tmp_path / "levels.csv", "target [uS],measured [uS]", rows))
    assert read.levels[0].target.tolist() == [1e-5, 3e-5, 5e-5, 7e-5]
    assert read.hardware().conductance_max == 7e-5
