"""Curves, drift and other parts of a device's description: plain values {"type": name, field: value} and messages.

Fields of a message have the names of the plain ones, with the unit at the end; what is one of several kinds in a
message has its name under "type" in the plain value.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from powerplan_client._generated import v1 as pb
from powerplan_client.compat import is_repeated
from powerplan_client.errors import invalid
from powerplan_client.plain_names import plain_name
from powerplan_client.values import numbers_of

#: entries of a list that are read from a message: more than any is allowed to have
_MOST = 4097
#: messages within messages that any description has: drift, its law, a curve, its shape, a piece, its shape
_DEEPEST = 8

#: message by field of the hardware
DEVICE_PARTS: dict[str, type[Message]] = {
    "programming_noise_curve": pb.Curve,
    "measurements": pb.DeviceSnapshot,
    "drift": pb.Drift,
    "low_frequency_noise": pb.LowFrequencyNoise,
    "costs": pb.Costs,
}
#: plain values that a number, or a text, stands for
_SHORT: dict[type[Message], Callable[[Any], dict[str, Any] | None]] = {
    pb.Curve: lambda value: {"type": "polynomial", "coefficients": [value]} if _is_number(value) else None,
    pb.ConverterCosts: lambda value: {"type": "number", "energy_per_conversion": value} if _is_number(value) else None,
    pb.Costs: lambda value: {"preset": value} if isinstance(value, str) else None,
}


def device_part(name: str, value: Any) -> Any:
    """The message, or the list of messages, of the field ``name`` of the hardware."""
    kind = DEVICE_PARTS[name]
    if name != "measurements":
        return to_message(kind, value, f"hardware.{name}")
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        raise invalid("hardware.measurements", f"got {value!r}; allowed: a list of snapshots")
    return [to_message(kind, _snapshot(entry), f"hardware.{name}[{k}]") for k, entry in enumerate(value)]


def _snapshot(value: Any) -> Any:
    """Lists of measured conductances as curves."""
    if not isinstance(value, Mapping) or "target" not in value:
        return value
    snapshot = dict(value)
    target = snapshot.pop("target")
    for name in ("mean", "std"):
        if snapshot.get(name) is not None:
            snapshot[name] = {"type": "table", "reference": 1.0, "points": target, "values": snapshot[name]}
    return snapshot


def to_message(kind: type[Message], value: Any, path: str) -> Any:
    """A message of a plain value; a number is a constant curve, or the energy of a conversion, a text names costs.

    Raises:
        InvalidRequest: names that the contract does not know, values of another type.
    """
    if kind in _SHORT:
        value = _SHORT[kind](value) or value
    if not isinstance(value, Mapping):
        raise invalid(path, f"got {value!r}; allowed: a mapping")
    entries = dict(value)
    message = kind()
    choices = next((one for one in message.DESCRIPTOR.oneofs if not one.name.startswith("_")), None)
    if choices is not None:
        allowed = [field.name for field in choices.fields]
        name = entries.pop("type", None)
        if name not in allowed:
            raise invalid(f"{path}.type", f"got {name!r}; allowed: {', '.join(allowed)}")
        part = getattr(message, name)
        part.SetInParent()
        outer = {plain_name(f) for f in message.DESCRIPTOR.fields}
        _fill(part, {key: entries.pop(key) for key in list(entries) if key not in outer}, path)
    _fill(message, entries, path)
    return message


def _fill(message: Message, entries: Mapping[str, Any], path: str) -> None:
    fields = {plain_name(f): f for f in message.DESCRIPTOR.fields if f.containing_oneof is None or _optional(f)}
    for key, value in entries.items():
        field = fields.get(key)
        place = f"{path}.{key}"
        if field is None:
            raise invalid(place, f"unknown; allowed: {', '.join(fields)}")
        if value is None:
            continue
        try:
            if field.message_type is not None and is_repeated(field):  # the pieces of a curve
                pieces = [to_message(pb.Curve, entry, f"{place}[{k}]") for k, entry in enumerate(value)]
                getattr(message, field.name).extend(pieces)
            elif field.message_type is not None:
                part = getattr(message, field.name)
                part.CopyFrom(to_message(type(part), value, place))
            elif is_repeated(field):
                getattr(message, field.name).extend(numbers_of(place, value, axes=(1,)).astype(float).tolist())
            else:
                setattr(message, field.name, value)
        except (TypeError, ValueError) as error:
            raise invalid(place, f"got {value!r}: {error}") from error


def to_plain(message: Message, depth: int = _DEEPEST) -> dict[str, Any]:
    """The plain value of a message: fields that are set, lists as tuples; nothing of messages nested too deep."""
    plain: dict[str, Any] = {}
    if not depth:
        return plain
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if is_repeated(field):
            items = value[:_MOST]
            plain[plain_name(field)] = tuple(
                to_plain(item, depth - 1) if field.message_type else item for item in items
            )
        elif field.containing_oneof is not None and not _optional(field):
            if message.WhichOneof(field.containing_oneof.name) == field.name:
                plain = {"type": field.name, **to_plain(value, depth - 1), **plain}
        elif not field.has_presence or message.HasField(field.name):
            plain[plain_name(field)] = to_plain(value, depth - 1) if field.message_type else value
    return plain


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _optional(field: Any) -> bool:
    """True if the field's oneof only stands for the word optional."""
    oneof = field.containing_oneof
    return oneof is not None and oneof.name.startswith("_")
