"""Quantities as text are understood in files as on the command line, and a wrong unit names both."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.describe import described_fields
from powerplan.reading.arrays import read_arrays
from powerplan.reading.networks import load_network
from powerplan.reading.text import read_text

NUMERIC = [f.name for f in fields(pp.Hardware) if str(f.type).startswith("float")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_any_editor_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "hw.toml").write_bytes('conductance_max = "50uS"\r\nread_time = "1 us"\r\n'.encode(encoding))
    hardware = pp.Hardware.from_toml(tmp_path / "hw.toml")
    assert (hardware.conductance_max, hardware.read_time) == (50e-6, 1e-6)


@pytest.mark.parametrize("name", NUMERIC)
def test_every_number_of_the_hardware_takes_its_own_unit_only(name: str) -> None:
    unit = described_fields(pp.Hardware)[name][0]
    wrong = "A" if unit != "A" else "V"
    with pytest.raises(pp.InvalidInput, match=rf"hardware\.{name}: .*is '{wrong}' instead of '{unit or '%'}'"):
        pp.Hardware.from_dict({name: f"3{wrong}"})
    default = getattr(pp.Hardware(), name)
    if default:
        assert pp.Hardware.from_dict({name: f"{default!r} {unit}"}) == pp.Hardware()


def study(**changes: Any) -> pp.Study:
    values = {
        "networks": {"a": {"example": "iris"}},
        "hardware": {"quiet": {"programming_noise_std": 1e-6, "conductance_max": 50e-6}},
        "grid": {"target": {"max_nmse": [0.01, 0.1]}},
    }
    return pp.Study.from_dict({**values, **changes})


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ({"grid": {"target": {"max_nmse": [0.01, 0.1]}}}, {"grid": {"target": {"max_nmse": ["1%", "10 %"]}}}),
        (
            {"grid": {"target": {"max_power": {"from": 1e-6, "to": 1e-3, "points": 3}}}},
            {"grid": {"target": {"max_power": {"from": "1uW", "to": "1 mW", "points": 3}}}},
        ),
        ({"hardware": {"quiet": {"time": 3600.0}}}, {"hardware": {"quiet": {"time": "1h"}}}),
        (
            {"grid": {"target": {"max_nmse": 0.1}, "override": {"voltage_max": [0.2, 0.1]}}},
            {"grid": {"target": {"max_nmse": "10%"}, "override": {"voltage_max": ["200 mV", "100mV"]}}},
        ),
        (
            {"points": [{"target": {"max_nmse": 0.1}, "deadline": 60.0, "memory_limit": 256_000_000}]},
            {"points": [{"target": {"max_nmse": "10%"}, "deadline": "1min", "memory_limit": "256MB"}]},
        ),
        (
            {"points": [{"target": {"max_nmse": 0.1}, "conductance": [1e-6, 2e-6], "optimize": "voltage"}]},
            {"points": [{"target": {"max_nmse": 0.1}, "conductance": ["1uS", "2uS"], "optimize": "voltage"}]},
        ),
        ({"run": {"time_limit": 3600.0}}, {"run": {"time_limit": "1h"}}),
    ],
)
def test_a_study_with_units_is_the_study_with_numbers(plain: dict[str, Any], written: dict[str, Any]) -> None:
    numbers, quantities = study(**plain), study(**written)
    assert [p.settings for p in numbers.points] == [p.settings for p in quantities.points]
    assert (numbers.digest, numbers.values) == (quantities.digest, quantities.values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hardware": {"quiet": {"voltage_max": "50uS"}}}, r"hardware\.quiet\.voltage_max: .*'uS' instead of 'V'"),
        ({"grid": {"target": {"max_nmse": "1uW"}}}, r"grid\.target\.max_nmse: .*'uW' instead of '%'"),
        ({"grid": {"target": {"max_power": [1e-3, "5%"]}}}, r"grid\.target\.max_power\[1\]: .*'%' instead of 'W'"),
        ({"grid": {"target": {"max_nmse": "small"}}}, r"grid\.target\.max_nmse: .*is not a number"),
    ],
)
def test_a_wrong_unit_is_one_error_that_names_both(change: dict[str, Any], words: str) -> None:
    with pytest.raises(pp.InvalidInput, match=words) as caught:
        study(**change)
    assert len(caught.value.violations) == 1


def test_foreign_files_are_named(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "model.pt")
    torch.save({"w": torch.zeros(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "arrays.npz", w=np.zeros(2))
    np.save(tmp_path / "x.npy", np.zeros(2))
    (tmp_path / "weights.safetensors").write_bytes(b"\x40" + bytes(7) + b'{"w":{"dtype":"F32","shape":[2]}}')
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    (tmp_path / "plan.json").write_text("{}")
    for file, words in {
        "model.pt": "PyTorch file .*from_torch",
        "old.pt": "pickled Python objects",
        "arrays.npz": r"archive of arrays \(w\.npy\)",
        "x.npy": "single numpy array",
        "weights.safetensors": "safetensors",
        "keras.h5": "HDF5",
        "plan.json": "It is JSON",
    }.items():
        with pytest.raises(pp.InvalidInput, match=words):
            load_network(tmp_path / file)
    for field, name, words in (("inputs", "model.pt", "PyTorch file"), ("gains", "old.pt", "pickled Python objects")):
        with pytest.raises(pp.InvalidInput, match=words):
            read_arrays(field, str(tmp_path / name))
        with pytest.raises(pp.InvalidInput, match=words):
            read_text(field, tmp_path / name)
    (tmp_path / "model.onnx").write_bytes((tmp_path / "model.pt").read_bytes())
    with pytest.raises(pp.InvalidInput, match="PyTorch file"):
        load_network(tmp_path / "model.onnx")


def test_text_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_text("x" * 11)
    with pytest.raises(pp.InvalidInput, match="at most 10 bytes"):
        read_text("file", tmp_path / "big", most_bytes=10)
