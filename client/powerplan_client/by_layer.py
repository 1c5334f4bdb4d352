"""Numbers of the hardware that differ from layer to layer: a list or a mapping by name, and their message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from powerplan_client._generated import v1 as pb
from powerplan_client.errors import invalid
from powerplan_client.values import wrong

_SUFFIX = "_by_layer"
_WHOLE = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
#: entries that are read from a message: one more than any hardware may have
_MOST = 10_001


def is_by_layer(field: Any) -> bool:
    """Whether a field of the message has the values of layers."""
    return field.message_type is not None and field.message_type.name == pb.LayerValues.DESCRIPTOR.name


#: field of the message that has the values of layers, by field of Hardware
BY_LAYER: dict[str, str] = {
    field.name.removesuffix(_SUFFIX): field.name for field in pb.Hardware.DESCRIPTOR.fields if is_by_layer(field)
}


def is_several(value: Any) -> bool:
    """Whether a value is a list or a mapping."""
    return isinstance(value, (list, tuple, Mapping)) or getattr(value, "ndim", 0) > 0


def layer_values(path: str, value: Any) -> pb.LayerValues:
    """The message of values in order or by name, None where a layer has none."""
    named = value.items() if isinstance(value, Mapping) else ((None, entry) for entry in value)
    message = pb.LayerValues()
    for name, entry in named:
        try:
            message.values.add(layer=name, value=None if entry is None else float(entry))
        except (TypeError, ValueError) as error:
            raise wrong(path, entry, "a number, or None, for every layer") from error
    if not message.values:
        raise invalid(path, f"got {value!r}; allowed: one value per layer")
    return message


def values_by_layer(message: pb.Hardware) -> dict[str, Any]:
    """Values in order (a tuple) or by name (a dict), by field of Hardware, of those that a message has."""
    return {
        name: _plain(getattr(message, field), _is_whole(message, name))
        for name, field in BY_LAYER.items()
        if message.HasField(field)  # type: ignore[arg-type]
    }


def _is_whole(message: pb.Hardware, name: str) -> bool:
    return message.DESCRIPTOR.fields_by_name[name].cpp_type in _WHOLE


def _plain(message: pb.LayerValues, whole: bool) -> Any:
    entries = message.values[:_MOST]
    values = [_number(entry.value, whole) if entry.HasField("value") else None for entry in entries]
    if any(entry.HasField("layer") for entry in entries):
        return {entry.layer: value for entry, value in zip(entries, values)}
    return tuple(values)


def _number(value: float, whole: bool) -> float:
    return int(value) if whole and value.is_integer() else value
