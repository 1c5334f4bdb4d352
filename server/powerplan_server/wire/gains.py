"""Gains on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from powerplan.hardware import Gains
from powerplan.hardware.gains import Gain
from powerplan_client._generated import v1 as pb
from powerplan_server.wire.reading import Reader

_WIRE = {"conductance": "conductance_siemens", "voltage": "voltage_volts"}


def gains_from_proto(reader: Reader, message: pb.Gains) -> Gains | None:
    """The gains of a message, or noted violations and None; whether they fit a network is not looked at."""
    conductance = gain_list(reader.at("conductance_siemens"), message.conductance_siemens)
    voltage = gain_list(reader.at("voltage_volts"), message.voltage_volts)
    scales = {name: gain_list(reader.at(name), getattr(message, name)) for name in ("column_scale", "row_scale")}
    if conductance is None or voltage is None or None in scales.values():
        return None
    return reader.take(
        lambda: Gains(
            conductance=tuple(conductance),
            voltage=tuple(voltage),
            **{name: tuple(map(np.atleast_1d, scale or ())) or None for name, scale in scales.items()},
        ),
        rename=rename_gains,
    )


def gain_list(reader: Reader, messages: Sequence[pb.Gain] | Iterable[pb.Gain]) -> list[Gain] | None:
    """One gain per layer, or noted violations and None."""
    messages = list(messages)
    if len(messages) > reader.limits.max_nodes:
        reader.too_large(f"{len(messages):,} gains", reader.limits.max_nodes, "gains")
        return None
    before = reader.count
    gains: list[Gain] = []
    for i, message in enumerate(messages):
        place = reader.item(i)
        match message.WhichOneof("value"):
            case "scalar":
                place.at("scalar").number(message.scalar, above=0)
                gains.append(message.scalar)
            case "vector":
                vector = np.array(message.vector.values, dtype=np.float64)
                if vector.size == 0 or not (np.isfinite(vector) & (vector > 0)).all():
                    place.at("vector.values").fail(vector, "one finite number > 0 per column", "Gains are positive.")
                gains.append(vector)
            case _:
                place.fail("nothing", "scalar or vector", "Give one gain for the layer, or one per column.")
    return None if reader.count > before else gains


def rename_gains(field: str) -> str:
    """Path in the message of a field such as "gains.conductance[1]"."""
    name, bracket, index = field.removeprefix("gains.").partition("[")
    return _WIRE.get(name, name) + bracket + index
