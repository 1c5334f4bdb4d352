"""Hardware on the wire: the engine's fields under names that carry their units."""

from __future__ import annotations

import re
from typing import Any

from powerplan.hardware import Hardware
from powerplan_client._generated import v1 as pb
from powerplan_client.by_layer import values_by_layer
from powerplan_client.devices import DEVICE_PARTS, to_plain
from powerplan_client.inputs import HARDWARE_FIELDS
from powerplan_server.wire.reading import Reader

#: field of the message by field of Hardware; a preset is no field: it has been filled in
NAMES: dict[str, str] = {name: wire for name, wire in HARDWARE_FIELDS.items() if name != "preset"}
_POLYNOMIAL = "programming_noise_polynomial"


def hardware_from_proto(reader: Reader, message: pb.Hardware) -> Hardware | None:
    """The hardware of a message, defaults or a preset's values for what is left out; or noted violations and None."""
    fields: dict[str, Any] = {}
    for name, wire in NAMES.items():
        value = getattr(message, wire)
        if name == _POLYNOMIAL:
            if len(value):
                fields[name] = tuple(value[:17])  # one more than allowed, for the engine to refuse
        elif name == "measurements":
            if len(value):
                fields[name] = [to_plain(snapshot) for snapshot in value[:65]]
        elif message.HasField(wire):  # type: ignore[arg-type]
            fields[name] = to_plain(value) if name in DEVICE_PARTS else value
    fields |= values_by_layer(message)
    if message.preset:
        return reader.take(lambda: Hardware.preset(message.preset, **fields), rename=rename_hardware)
    return reader.take(lambda: Hardware(**fields), rename=rename_hardware)


def rename_hardware(field: str) -> str:
    """Path in the message of a field of the engine's hardware, without "hardware.": its first name has the unit."""
    path = field.removeprefix("hardware.")
    name = re.split(r"[.\[]", path, maxsplit=1)[0]
    return NAMES.get(name, name) + path[len(name) :]
