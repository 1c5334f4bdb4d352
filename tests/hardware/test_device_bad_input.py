"""Device models refuse nonsense, naming the field, the value and what to do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from powerplan import Hardware, InvalidInput, RangeWarning
from powerplan.hardware.aging import LogTimeDrift, LowFrequencyNoise, PowerLawDrift, Snapshot
from powerplan.hardware.curves import Logarithm, Piecewise, Polynomial, Power, Saturating, Table

NAN, INF = float("nan"), float("inf")
LINE = {"type": "polynomial", "coefficients": [1e-6]}


@pytest.mark.parametrize("bad", [NAN, INF, -1.0, 1e13, "1", True, None])
def test_time_is_a_moment_after_programming(bad: Any) -> None:
    with pytest.raises(InvalidInput, match=r"hardware\.time: got .*finite number >= 0"):
        Hardware(time=bad)


@pytest.mark.parametrize("field", ["stuck_on_fraction", "stuck_off_fraction"])
@pytest.mark.parametrize("bad", [NAN, -0.1, 1.5, "x"])
def test_fractions_lie_between_0_and_1(field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"hardware\.{field}"):
        Hardware(**{field: bad})


def test_fractions_do_not_sum_to_more_than_1() -> None:
    with pytest.raises(InvalidInput, match="at most 1 together"):
        Hardware(stuck_on_fraction=0.6, stuck_off_fraction=0.5)
    assert Hardware(stuck_on_fraction=0.5, stuck_off_fraction=0.5).stuck_fraction == 1


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        ({"type": "polynomal", "coefficients": [1]}, r"curve\.type: .*Did you mean 'polynomial'"),
        ({"coefficients": [1]}, r"curve\.type: got None"),
        ({"type": ["polynomial"], "coefficients": [1]}, r"curve\.type"),
        ({"type": "polynomial"}, r"curve\.coefficients: got None.*needs it"),
        ({"type": "polynomial", "coefficient": [1]}, "Did you mean 'coefficients'"),
        ({"type": "polynomial", "coefficients": []}, "1 to 16 numbers"),
        ({"type": "polynomial", "coefficients": [1] * 17}, "1 to 16 numbers"),
        ({"type": "polynomial", "coefficients": [0, NAN]}, r"coefficients\[1\]: got nan"),
        ({"type": "polynomial", "coefficients": [1], "reference": 0}, r"curve\.reference"),
        ({"type": "logarithm", "slope": 1, "offset": 0, "low": 2, "high": 1}, "at most high = 1"),
        ({"type": "logarithm", "slope": 1, "offset": 0, "low": -INF, "high": 1}, r"curve\.low"),
        ({"type": "power", "coefficient": 1, "exponent": -1}, "because the exponent is negative"),
        ({"type": "power", "coefficient": 1, "exponent": 0.5}, "slope at 0 is infinite"),
        ({"type": "power", "coefficient": 0, "exponent": 1}, r"curve\.coefficient"),
        ({"type": "saturating", "amplitude": 1, "scale": 0}, r"curve\.scale"),
        ({"type": "table", "points": [0, 1, 0.5], "values": [1, 1, 1]}, "each larger than the one before"),
        ({"type": "table", "points": [0, 0], "values": [1, 1]}, "each larger than the one before"),
        ({"type": "table", "points": [0, 1], "values": [1]}, r"curve\.values: .*2 to 4096 numbers"),
        ({"type": "table", "points": [0, 0.5, 1], "values": [1, 2]}, "3 numbers, one per point"),
        ({"type": "table", "points": [0, 0.5], "values": [1, 2]}, "nothing is extrapolated"),
        ({"type": "table", "points": list(range(5000)), "values": [1, 2]}, "2 to 4096 numbers"),
        ({"type": "piecewise", "breaks": [0.5], "pieces": [LINE]}, "one more than breaks"),
        ({"type": "piecewise", "breaks": [0.5], "pieces": [LINE, {**LINE, "type": "x"}]}, r"pieces\[1\]\.type"),
        ({"type": "piecewise", "breaks": [0.5], "pieces": [LINE, {**LINE, "reference": 1}]}, "without a reference"),
        ({"type": "piecewise", "breaks": [0.5], "pieces": 3}, r"curve\.pieces"),
        ({"type": "piecewise", "breaks": [NAN], "pieces": [LINE, LINE]}, r"breaks\[0\]"),
        ("polynomial", r"hardware\.programming_noise_curve: got 'polynomial'"),
        (NAN, r"coefficients\[0\]: got nan"),
        (True, "a number or a curve"),
        ([1e-6], "a number or a curve"),
    ],
)
def test_curves(curve: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        Hardware(programming_noise_curve=curve)
    assert all(v.field.startswith("hardware.programming_noise_curve") for v in caught.value.violations)


def test_a_piecewise_table_covers_its_piece() -> None:
    inner = {"type": "table", "points": [0.3, 0.6], "values": [1, 2]}
    with pytest.raises(InvalidInput, match=r"pieces\[1\]: .*defined from 0.2 to 0.6"):
        Piecewise(breaks=(0.2, 0.6), pieces=(Polynomial(coefficients=(1,)), inner, Polynomial(coefficients=(1,))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("drift", "message"),
    [
        ({"type": "power-law"}, "Did you mean 'power_law'"),
        ({"type": "power_law", "exponent_mean": 0.1}, r"drift\.reference_time: got None"),
        ({"type": "power_law", "exponent_mean": None, "reference_time": 1}, r"drift\.exponent_mean: got None"),
        ({"type": "power_law", "exponent_mean": 0.1, "reference_time": 0}, r"drift\.reference_time: got 0"),
        ({"type": "power_law", "exponent_mean": "0.1", "reference_time": 1}, r"drift\.exponent_mean"),
        ({"type": "log_time", "shift_slope": 1e-7, "std_slope": -1}, r"drift\.std_slope"),
        ({"type": "log_time", "shift_slope": NAN, "std_slope": 0}, r"drift\.shift_slope: got nan"),
        ({"type": "log_time", "shift_slope": 0, "std_slope": 0, "reference_time": INF}, r"drift\.reference_time"),
        (0.1, "PowerLawDrift, LogTimeDrift"),
    ],
)
def test_drift(drift: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Hardware(drift=drift)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({}, r"low_frequency_noise\.std: got None"),
        ({"std": None}, r"low_frequency_noise\.std: got None"),
        ({"std": 0.1, "relative": 1}, r"low_frequency_noise\.relative"),
        ({"std": 0.1, "read_time": 0}, r"low_frequency_noise\.read_time"),
        ({"std": 0.1, "time_offset": -1}, r"low_frequency_noise\.time_offset"),
        ({"std": 0.1, "std_of": "mean"}, r"low_frequency_noise\.std_of: .*'target' or 'programmed'"),
        ({"std": 0.1, "std_of": "programmed", "relative": False}, "Give Q as a fraction"),
        ({"std": {"type": "table", "points": [0, 1], "values": [0, 1]}, "std_of": "programmed"}, "without ends"),
        ({"sdt": 0.1}, "Did you mean 'std'"),
    ],
)
def test_low_frequency_noise(noise: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Hardware(low_frequency_noise=noise)


def test_absolute_noise_of_decaying_devices_is_refused_where_it_has_no_exact_moments() -> None:
    parts: dict[str, Any] = {
        "drift": {"type": "power_law", "exponent_mean": 0.1, "reference_time": 1},
        "low_frequency_noise": {"std": 1e-6, "relative": False},
    }
    with pytest.raises(InvalidInput, match=r"low_frequency_noise\.relative: got False"):
        Hardware(**parts)
    Hardware(**parts, clip_conductance=False)


@pytest.mark.parametrize(
    ("snapshots", "message"),
    [
        ([], "1 to 64 snapshots"),
        ("x", "1 to 64 snapshots"),
        (3, "1 to 64 snapshots"),
        ([{"time": k} for k in range(65)], "1 to 64 snapshots"),
        ([3], r"measurements\[0\]: got 3"),
        ([{"time": -1}], r"measurements\[0\]\.time"),
        ([{"tme": 1}], "Did you mean 'time'"),
        ([{"std_of": "programmed"}], r"measurements\[0\]\.std_of"),
        ([{"time": 0}, {"time": 0}], "at increasing times"),
        ([{"time": 1}, {"time": 2}], r"hardware\.time: got 0.*1 to 2 s.*nothing is extrapolated"),
        ([{"target": [0, 1], "std": [0, NAN]}], r"measurements\[0\]\.std\.values\[1\]: got nan"),
        ([{"target": [0, 1], "std": [0, -1e-6]}], "A standard deviation is not negative"),
        ([{"target": [1, 0], "std": [0, 1e-6]}], "each larger than the one before"),
        ([{"target": [0, 1], "sdt": [0, 1e-6]}], r"measurements\[0\]\.sdt"),
        ([{"target": [0, 50e-6], "mean": [0, 50e-6]}], r"measurements\[0\]\.mean: .*nothing is extrapolated"),
        ([{"target": [1e-6, 1], "std": [1e-6, 1e-6]}], r"it is from 1e-06 to 1 S"),
    ],
)
def test_measurements(snapshots: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Hardware(measurements=snapshots)


def test_drift_is_not_counted_twice() -> None:
    with pytest.raises(InvalidInput, match="They already contain the drift"):
        Hardware(
            measurements=(Snapshot(), Snapshot(time=1)),
            drift=LogTimeDrift(shift_slope=0, std_slope=0),
        )


def test_every_violation_of_every_part_is_listed() -> None:
    with pytest.raises(InvalidInput) as caught:
        Hardware(time=-1, drift={"type": "x"}, low_frequency_noise=3, stuck_on_fraction=2)  # type: ignore[arg-type]
    assert {v.field for v in caught.value.violations} == {
        "hardware.time",
        "hardware.drift.type",
        "hardware.low_frequency_noise",
        "hardware.stuck_on_fraction",
    }


def test_parts_are_refused_when_they_are_built() -> None:
    """Without a hardware around them too."""
    for build in (
        lambda: Table(points=(1, 0), values=(0, 0)),
        lambda: Logarithm(slope=NAN, offset=0, low=0, high=1),
        lambda: Saturating(amplitude="x", scale=1),  # type: ignore[arg-type]
        lambda: Power(coefficient=-1, exponent=1),
        lambda: PowerLawDrift(exponent_mean=NAN, reference_time=1),  # type: ignore[arg-type]
        lambda: LowFrequencyNoise(std="x"),  # type: ignore[arg-type]
        lambda: Snapshot.table([0, 1], std=3),
    ):
        with pytest.raises(InvalidInput):
            build()


def test_unknown_presets_name_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="Did you mean 'pcm_hermes_1dev'"):
        Hardware.preset("pcm_hermes_1")
    with pytest.raises(InvalidInput, match="Did you mean 'voltage_max'"):
        Hardware.preset("pcm_hermes_1dev", voltage_mx=1)


def test_presets_outside_their_range_warn_or_are_refused() -> None:
    """Conductances and times beyond the measured ones warn; where measurements are interpolated they are refused."""
    with pytest.warns(RangeWarning, match="conductance_max = 0.0001 S, measured up to 2.5e-05 S"):
        Hardware.preset("pcm_nandakumar2019", conductance_max=100e-6)
    with pytest.warns(RangeWarning, match="conductance_min = 0 S, measured from 5e-05 S"):
        Hardware.preset("rram_milo2021", conductance_min=0.0)
    with pytest.warns(RangeWarning, match="time = 0 s, measured from 1 s"):
        Hardware.preset("reram_cmo_hfox_2pct", time=0.0)
    for name, time in (("reram_wan2022_fitA", 0.5), ("reram_wan2022_fitA", 1e6), ("sonos_agrawal2022", 1e6)):
        with pytest.raises(InvalidInput, match="nothing is extrapolated"):
            Hardware.preset(name, time=time)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Hardware.preset("pcm_nandakumar2019", conductance_max=10e-6, time=1e6)


def test_toml_with_parts(tmp_path: Path) -> None:
    """A file describes curves as tables; errors name the place."""
    path = tmp_path / "chip.toml"
    path.write_text(
        "conductance_max = 5e-5\ntime = 60\n[drift]\ntype = 'power_law'\nreference_time = 1\nexponent_mean = 0.05\n"
        "[[measurements]]\ntarget = [0, 5e-5]\nmean = [1e-6, 49e-6]\nstd = [1e-6, 2e-6]\n"
    )
    hardware = Hardware.from_toml(path)
    assert hardware.measurements == (Snapshot.table([0, 5e-5], [1e-6, 49e-6], [1e-6, 2e-6]),)
    assert hardware.drift == PowerLawDrift(exponent_mean=Polynomial(coefficients=(0.05,)), reference_time=1)
    path.write_text("[drift]\ntype = 'power_law'\nreference_time = 1\nexponent_mean = {type = 'table', points = [0]}\n")
    with pytest.raises(InvalidInput, match=r"hardware\.drift\.exponent_mean\.values: got None"):
        Hardware.from_toml(path)
