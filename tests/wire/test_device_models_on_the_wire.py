"""Device models and presets in messages and in what a client gives."""

from __future__ import annotations

import time
from typing import Any

import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan_client._generated import v1 as pb
from powerplan_client.building import hardware_message
from powerplan_client.inputs import hardware_fields
from powerplan_server.wire import Reader
from powerplan_server.wire.hardware import hardware_from_proto


def read(message: pb.Hardware) -> pp.Hardware | None:
    """What the server makes of a message."""
    reader = Reader.start(path="task.hardware")
    hardware = hardware_from_proto(reader, pb.Hardware.FromString(message.SerializeToString()))
    reader.done()
    return hardware


def sent(hardware: Any) -> pp.Hardware | None:
    """What the server makes of what a client is given."""
    return read(pb.Hardware(**hardware_fields(hardware)))


def test_the_name_of_a_preset_stands_for_its_fields() -> None:
    given = pc.Hardware(preset="pcm_hermes_1dev", time=3600.0, voltage_max=0.1)
    wanted = pp.Hardware.preset("pcm_hermes_1dev", time=3600.0, voltage_max=0.1)
    assert sent(given) == sent({"preset": "pcm_hermes_1dev", "time": 3600.0, "voltage_max": 0.1}) == wanted
    assert hardware_message(wanted).preset == ""
    with pytest.raises(pp.InvalidInput, match=r"task\.hardware\.preset: .*Did you mean 'pcm_hermes_1dev'"):
        sent(pc.Hardware(preset="pcm_hermes_1"))


def test_short_forms() -> None:
    """A number for a constant curve, lists of conductances for a measurement, as the engine takes them."""
    fields: dict[str, Any] = {
        "conductance_max": 50e-6,
        "drift": {"type": "power_law", "exponent_mean": 0.05, "exponent_std": None, "reference_time": 20},
        "low_frequency_noise": {"std": 0.02, "read_time": 1e-6},
        "measurements": [{"target": [0, 50e-6], "mean": None, "std": [1e-6, 2e-6], "time": 5}],
    }
    assert sent(pc.Hardware(**fields)) == pp.Hardware(**fields)


def test_pieces_with_limits() -> None:
    curve = {
        "type": "piecewise",
        "reference": 1e-6,
        "breaks": [1.0, 3.0],
        "pieces": [1e-7, {"type": "power", "coefficient": 1e-7, "exponent": -1, "high": 1e-6}, 2e-7],
    }
    assert sent({"programming_noise_curve": curve}) == pp.Hardware(programming_noise_curve=curve)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"drift": 3}, r"hardware\.drift: got 3"),
        ({"drift": {"type": "x"}}, r"hardware\.drift\.type: got 'x'; allowed: power_law, log_time"),
        ({"drift": {"type": "log_time", "slope": 1}}, r"hardware\.drift\.slope: unknown"),
        ({"low_frequency_noise": {"std": {"type": "table", "points": "x"}}}, r"low_frequency_noise\.std\.points"),
        ({"low_frequency_noise": {"std": 0.1, "read_time": "x"}}, r"low_frequency_noise\.read_time: got 'x'"),
        ({"measurements": {"time": 1}}, r"hardware\.measurements: got .*a list of snapshots"),
        ({"measurements": [{"time": 1, "tme": 1}]}, r"hardware\.measurements\[0\]\.tme: unknown"),
        ({"programming_noise_curve": [1]}, r"hardware\.programming_noise_curve: got \[1\]"),
    ],
)
def test_the_client_refuses_what_the_contract_cannot_say(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(pc.InvalidRequest, match=message):
        hardware_fields(pc.Hardware(**fields))


@pytest.mark.parametrize(
    ("message", "violation"),
    [
        (pb.Hardware(drift=pb.Drift()), r"task\.hardware\.drift\.type: got None"),
        (pb.Hardware(programming_noise_curve=pb.Curve()), r"task\.hardware\.programming_noise_curve\.type: got None"),
        (pb.Hardware(time_seconds=float("nan")), r"task\.hardware\.time_seconds: got nan"),
        (pb.Hardware(stuck_on_fraction=2), r"task\.hardware\.stuck_on_fraction: got 2"),
        (pb.Hardware(low_frequency_noise=pb.LowFrequencyNoise()), r"low_frequency_noise\.std: got None"),
        (pb.Hardware(measurements=[pb.DeviceSnapshot()] * 100), r"task\.hardware\.measurements: .*1 to 64 snapshots"),
        (
            pb.Hardware(programming_noise_curve=pb.Curve(table=pb.TableCurve(points=range(100_000)))),
            r"points: .*2 to 4096 numbers",
        ),
    ],
)
def test_the_server_refuses_nonsense_by_name(message: pb.Hardware, violation: str) -> None:
    with pytest.raises(pp.InvalidInput, match=violation):
        read(message)


def test_curves_nested_without_end_are_refused() -> None:
    """Pieces within pieces: a quick error, not a crash."""
    curve = pb.Curve(polynomial=pb.PolynomialCurve(coefficients=[1e-6]))
    while curve.ByteSize() < 1_000_000:
        curve = pb.Curve(piecewise=pb.PiecewiseCurve(breaks=[0.5], pieces=[curve, curve]))
    start = time.process_time()
    with pytest.raises(pp.InvalidInput, match="without pieces"):
        read(pb.Hardware(programming_noise_curve=curve))
    assert time.process_time() - start < 2
