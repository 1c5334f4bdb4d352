"""Hardware on the wire: the engine's fields under names that carry their units."""

from __future__ import annotations

import re
from typing import Any

from powerplan.hardware import Hardware
from powerplan_client._generated import v1 as pb
from powerplan_client.devices import DEVICE_PARTS, device_part, to_plain
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
    "time": "time_seconds",
    "programming_noise_curve": "programming_noise_curve",
    "measurements": "measurements",
    "drift": "drift",
    "drift_compensation": "drift_compensation",
    "low_frequency_noise": "low_frequency_noise",
    "device_gain_std": "device_gain_std",
    "stuck_on_fraction": "stuck_on_fraction",
    "stuck_off_fraction": "stuck_off_fraction",
}
_POLYNOMIAL = "programming_noise_polynomial"


def hardware_to_proto(hardware: Hardware) -> pb.Hardware:
    """Hardware with every field that is not None filled in."""
    values = {
        NAMES[name]: device_part(name, value) if name in DEVICE_PARTS else value
        for name, value in hardware.to_dict().items()
        if value is not None
    }
    return pb.Hardware(**values)


def hardware_from_proto(reader: Reader, message: pb.Hardware) -> Hardware | None:
    """The hardware of a message, defaults or a preset's values for what is left out; or noted violations and None."""
    given: dict[str, Any] = {}
    for name, wire in NAMES.items():
        value = getattr(message, wire)
        if name == _POLYNOMIAL:
            if len(value):
                given[name] = tuple(value[:17])  # one more than allowed, for the engine to refuse
        elif name == "measurements":
            if len(value):
                given[name] = [to_plain(snapshot) for snapshot in value[:65]]
        elif message.HasField(wire):  # type: ignore[arg-type]
            given[name] = to_plain(value) if name in DEVICE_PARTS else value
    if message.preset:
        return reader.take(lambda: Hardware.preset(message.preset, **given), rename=_rename)
    return reader.take(lambda: Hardware(**given), rename=_rename)


def _rename(field: str) -> str:
    """The path in the message: the first name has its unit there."""
    path = field.removeprefix("hardware.")
    name = re.split(r"[.\[]", path, maxsplit=1)[0]
    return NAMES.get(name, name) + path[len(name) :]
