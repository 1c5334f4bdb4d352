"""Hardware on the wire: the engine's fields under names that carry their units."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from powerplan.hardware import Hardware
from powerplan_client._generated import v1 as pb
from powerplan_server.wire.reading import Reader

#: field of the message by field of Hardware
NAMES: dict[str, str] = {
    "conductance_min": "conductance_min_siemens",
    "conductance_max": "conductance_max_siemens",
    "programming_noise_std": "programming_noise_std_siemens",
    "programming_noise_proportional": "programming_noise_proportional",
    "programming_noise_polynomial": "programming_noise_polynomial_siemens",
    "programming_noise_reference": "programming_noise_reference_siemens",
    "clip_conductance": "clip_conductance",
    "read_noise_std": "read_noise_std_amperes",
    "input_noise_std": "input_noise_std_volts",
    "voltage_max": "voltage_max_volts",
    "feedback_resistance": "feedback_resistance_ohms",
    "read_time": "read_time_seconds",
    "array_rows": "array_rows",
    "array_columns": "array_columns",
    "mapping": "mapping",
    "column_gain_std": "column_gain_std",
}
_LISTS = {"programming_noise_polynomial"}


def hardware_to_proto(hardware: Hardware) -> pb.Hardware:
    """Hardware with every field that is not None filled in."""
    values = {NAMES[f.name]: getattr(hardware, f.name) for f in fields(hardware)}
    return pb.Hardware(**{name: value for name, value in values.items() if value is not None})


def hardware_from_proto(reader: Reader, message: pb.Hardware) -> Hardware | None:
    """The hardware of a message, defaults for what is left out; or noted violations and None."""
    given: dict[str, Any] = {}
    for name, wire in NAMES.items():
        value = getattr(message, wire)
        if name in _LISTS:
            if len(value):
                given[name] = tuple(value[:17])  # one more than allowed, for the engine to refuse
        elif message.HasField(wire):  # type: ignore[arg-type]
            given[name] = value
    return reader.take(lambda: Hardware(**given), rename=_rename)


def _rename(field: str) -> str:
    name, bracket, index = field.removeprefix("hardware.").partition("[")
    return NAMES.get(name, name) + bracket + index
