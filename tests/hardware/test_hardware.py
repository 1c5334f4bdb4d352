"""A hardware description refuses nonsense when built, and does not change afterwards."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from powerplan import CorruptFile, Hardware, InvalidInput
from powerplan.hardware.describe import described_fields

POSITIVE = (
    "conductance_max",
    "voltage_max",
    "read_time",
    "programming_noise_reference",
    "feedback_resistance",
    "load_conductance",
    "adc_range",
    "adc_headroom",
    "temperature",
    "bandwidth",
)
NOT_NEGATIVE = (
    "conductance_min",
    "programming_noise_std",
    "programming_noise_proportional",
    "read_noise_std",
    "input_noise_std",
    "column_gain_std",
    "time",
    "device_gain_std",
    "stuck_on_fraction",
    "stuck_off_fraction",
    "dac_energy",
    "adc_energy",
    "wire_resistance_row",
    "wire_resistance_column",
    "driver_resistance",
    "sense_resistance",
)
COUNTS = ("array_rows", "array_columns")
BITS = ("dac_bits", "adc_bits")
SWITCHES = ("clip_conductance", "feedback_tracking", "thermal_noise", "shot_noise", "predistort")
WORDS = {
    "mapping": "'shared', 'unrolled'",
    "weight_mapping": "'differential', 'offset'",
    "bias_mapping": "'digital', 'row'",
    "read_out": "'tia', 'divider'",
    "drift_compensation_by": "'conductance', 'weight', 'column'",
    "row_drive": "'one_end', 'both_ends'",
    "pair_layout": "'interleaved', 'separate_arrays'",
    "column_scale": "'none', 'least_bias', 'least_error'",
    "row_scale": "'none', 'least_bias'",
}
NUMBERS = POSITIVE + NOT_NEGATIVE


def test_every_field_is_covered() -> None:
    """The lists above name every field, so that the tests below leave none out."""
    others = {"programming_noise_polynomial", *BITS, *SWITCHES, *WORDS}
    parts = {
        "programming_noise_curve",
        "measurements",
        "drift",
        "drift_compensation",
        "low_frequency_noise",
        "costs",
    } | {"columns_per_adc", "input_slice_bits"}
    assert {f.name for f in dataclasses.fields(Hardware)} == {*NUMBERS, *COUNTS, *others, *parts}


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e-9, "1", True, [[1.0]], 1j, 10**400])
def test_bad_numbers_are_named(field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"hardware\.{field}(\[0\])?: got .*allowed: a finite number"):
        Hardware(**{field: bad})


@pytest.mark.parametrize("field", POSITIVE)
def test_zero_where_a_positive_number_is_needed(field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Hardware().replace(**{field: 0.0})


@pytest.mark.parametrize("field", NOT_NEGATIVE)
def test_zero_where_it_means_none(field: str) -> None:
    assert getattr(Hardware().replace(**{field: 0}), field) == 0


@pytest.mark.parametrize("low", [100e-6, 200e-6])
def test_conductance_range_is_not_empty(low: float) -> None:
    with pytest.raises(InvalidInput, match=r"hardware\.conductance_min: .*less than conductance_max"):
        Hardware(conductance_min=low, conductance_max=100e-6)


@pytest.mark.parametrize("bad", [(), (1.0,) * 17, (float("nan"),), ("a",), 3, "", {}])
def test_noise_polynomial(bad: Any) -> None:
    with pytest.raises(InvalidInput, match=r"hardware\.programming_noise_polynomial"):
        Hardware(programming_noise_polynomial=bad)


def test_noise_polynomial_from_any_sequence() -> None:
    for given_ in ([1e-6, -2e-6], (1e-6, -2e-6), np.array([1e-6, -2e-6])):
        assert Hardware(programming_noise_polynomial=given_).programming_noise_polynomial == (1e-6, -2e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", SWITCHES)
@pytest.mark.parametrize("bad", [1, 0, None, "yes"])
def test_switches_are_booleans(field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"hardware\.{field}: got .*True or False"):
        Hardware(**{field: bad})


@pytest.mark.parametrize("field", BITS)
@pytest.mark.parametrize("bad", [0, 1, 33, -8, 7.5, float("nan"), float("inf"), "8", True, 2**70, [[8]]])
def test_bits_are_whole_numbers(field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"hardware\.{field}(\[0\])?: got .*an integer from 2 to 32"):
        Hardware(**{field: bad})
    assert type(getattr(Hardware(**{field: np.int16(8)}), field)) is int


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("bad", [0, -1, 1.5, float("nan"), float("inf"), "1", True, 2**31, [1]])
def test_sizes_of_arrays_are_whole_numbers(field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"hardware\.{field}: got .*an integer from"):
        Hardware(**{field: bad})


def test_an_array_holds_at_least_a_differential_pair() -> None:
    with pytest.raises(InvalidInput, match=r"hardware\.array_columns: got 1; allowed: an integer from 2 .*pair"):
        Hardware(array_columns=1)
    assert Hardware(array_columns=2, array_rows=1).array_rows == 1


@pytest.mark.parametrize("field", COUNTS)
def test_sizes_of_arrays_become_plain_integers(field: str) -> None:
    for given_ in (np.int32(64), 64.0, 64):
        value = getattr(Hardware(**{field: given_}), field)
        assert value == 64
        assert type(value) is int


@pytest.mark.parametrize("field", WORDS)
@pytest.mark.parametrize("bad", ["Shared", "unroled", "", None, 3, ["shared"], ("digital", "row")])
def test_choices_are_one_of_their_words(field: str, bad: Any) -> None:
    with pytest.raises(InvalidInput, match=rf"hardware\.{field}: .*{WORDS[field]}"):
        Hardware(**{field: bad})


def test_all_violations_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        Hardware(conductance_max=-1, voltage_max=0, read_noise_std=float("nan"), clip_conductance=2)  # type: ignore[arg-type]
    fields = [v.field for v in caught.value.violations]
    assert fields == [f"hardware.{n}" for n in ("conductance_max", "clip_conductance", "read_noise_std", "voltage_max")]


def test_immutable_and_comparable() -> None:
    hardware = Hardware()
    with pytest.raises(dataclasses.FrozenInstanceError):
        hardware.voltage_max = 1.0  # type: ignore[misc]
    assert hardware == Hardware()
    assert hash(hardware) == hash(Hardware())
    assert hardware.replace(voltage_max=0.3) == Hardware(voltage_max=0.3)
    assert hardware.voltage_max == 0.2
    with pytest.raises(InvalidInput, match="Did you mean 'voltage_max'"):
        hardware.replace(voltage_mx=0.3)
    with pytest.raises(InvalidInput, match="voltage_max"):
        hardware.replace(voltage_max=-1)


@given(
    top=st.floats(1e-9, 1.0),
    std=st.floats(0, 1e-3),
    polynomial=st.none() | st.lists(st.floats(-1e-3, 1e-3), min_size=1, max_size=16),
    clip=st.booleans(),
)
def test_dict_round_trip_through_json(top: float, std: float, polynomial: list[float] | None, clip: bool) -> None:
    """Any hardware survives JSON, exactly; numpy numbers become plain ones."""
    hardware = Hardware(
        conductance_max=np.float64(top),
        programming_noise_std=np.float32(std),  # type: ignore[arg-type]
        programming_noise_polynomial=polynomial,  # type: ignore[arg-type]
        clip_conductance=clip,
    )
    assert Hardware.from_dict(json.loads(json.dumps(hardware.to_dict()))) == hardware


def test_unknown_fields_name_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="Did you mean 'conductance_max'"):
        Hardware.from_dict({"conductance_maxx": 1e-4})
    bad: Any
    for bad in (None, [], "x"):
        with pytest.raises(InvalidInput, match="a mapping"):
            Hardware.from_dict(bad)


@pytest.mark.parametrize("head", ["", "[hardware]\n"])
def test_toml(tmp_path: Path, head: str) -> None:
    """The fields at top level or in a table of that name."""
    path = tmp_path / "chip.toml"
    path.write_text(
        head + "conductance_max = 5e-5\nprogramming_noise_polynomial = [1e-6, 2e-6]\nclip_conductance = false\n"
    )
    wanted = Hardware(conductance_max=5e-5, programming_noise_polynomial=(1e-6, 2e-6), clip_conductance=False)
    assert Hardware.from_toml(path) == Hardware.from_toml(str(path)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"conductance_mx = 1e-4", "Did you mean 'conductance_max'"),
        (b"[hardwaer]\nvoltage_max = 1", "hardwaer"),
        (b"voltage_max = nan", "voltage_max"),
        (b"voltage_max = 'high'", "voltage_max"),
        (b"[hardware]\nvoltage_max = 1\n[other]\na = 1", "other"),
        (b"voltage_max = ", "does not parse"),
        (b"\xff\xfe\x00", "bytes are not all"),
        (b"a = " + b"[" * 100_000, "does not parse"),
        (b"#" * 1_000_001, "at most 1000000 bytes"),
    ],
)
def test_bad_toml(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "chip.toml"
    path.write_bytes(text)
    with pytest.raises(InvalidInput, match=message) as caught:
        Hardware.from_toml(path)
    assert isinstance(caught.value, CorruptFile) == ("parse" in message or "bytes" in message)


def test_toml_of_the_read_out(tmp_path: Path) -> None:
    """Words, switches and bits of a file are those of the class; what the fields demand of each other is checked."""
    file = tmp_path / "chip.toml"
    file.write_text(
        'weight_mapping = "offset"\nbias_mapping = "row"\nfeedback_tracking = true\nadc_range = 1\nadc_bits = 8\n'
        "dac_bits = 6\nthermal_noise = true\nbandwidth = 5e6\ntemperature = 350\nadc_energy = 1e-12\n"
    )
    hardware = Hardware.from_toml(file)
    assert hardware == Hardware(
        weight_mapping="offset",
        bias_mapping="row",
        feedback_tracking=True,
        adc_range=1.0,
        adc_bits=8,
        dac_bits=6,
        thermal_noise=True,
        bandwidth=5e6,
        temperature=350.0,
        adc_energy=1e-12,
    )
    assert Hardware.from_dict(json.loads(json.dumps(hardware.to_dict()))) == hardware
    file.write_text('read_out = "divider"\n')
    with pytest.raises(InvalidInput, match=r"hardware\.load_conductance: got None"):
        Hardware.from_toml(file)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"load_conductance": None}, "load_conductance"),
        ({"feedback_resistance": 1e4}, "feedback_resistance"),
        ({"adc_bits": 8}, "adc_range"),
        ({"drift_compensation": True}, "drift_compensation"),
        ({"weight_mapping": "offset"}, "weight_mapping"),
        ({"shot_noise": True, "bandwidth": 1e6}, "shot_noise"),
    ],
)
def test_what_a_divider_is_refused_with(fields: dict[str, object], named: str) -> None:
    """Each error names the field, what is allowed and what to do."""
    with pytest.raises(InvalidInput) as caught:
        Hardware(**{"read_out": "divider", "load_conductance": 1e-4, **fields})
    (violation,) = caught.value.violations
    assert violation.field == f"hardware.{named}"
    assert violation.allowed
    assert violation.advice


def test_toml_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InvalidInput, match="cannot be read"):
            Hardware.from_toml(path)


def test_is_noiseless() -> None:
    silent = Hardware(programming_noise_std=0)
    assert silent.is_noiseless
    for field in (
        "programming_noise_std",
        "programming_noise_proportional",
        "read_noise_std",
        "input_noise_std",
        "column_gain_std",
    ):
        assert not silent.replace(**{field: 1e-6}).is_noiseless
    assert not silent.replace(programming_noise_polynomial=(0.0, 1e-6)).is_noiseless
    assert silent.replace(programming_noise_polynomial=(0.0, 0.0)).is_noiseless


def test_the_units_in_words_are_those_of_the_ranges() -> None:
    units = {
        f.name: f.metadata["kind"].unit for f in dataclasses.fields(Hardware) if hasattr(f.metadata.get("kind"), "unit")
    }
    assert len(units) > 20
    assert {name: described_fields(Hardware)[name][0] for name in units} == units
