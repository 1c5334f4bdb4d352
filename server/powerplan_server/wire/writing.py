"""Messages of the engine's results, whose attributes have the plain names of the fields."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from powerplan_client._generated import v1 as pb
from powerplan_client.building import gains_message, hardware_message, target_message
from powerplan_client.packing import tensor_of
from powerplan_client.plain_names import enum_numbers, plain_name

M = TypeVar("M", bound=Message)

#: messages that are not made field by field
_WRITERS: dict[str, Callable[[Any], Message]] = {
    "ErrorSpread": lambda spread: message_of(pb.ErrorSpread, spread.tabulated()),
    "Gains": gains_message,
    "Hardware": hardware_message,
    "Target": target_message,
    "Tensor": tensor_of,
}


def message_of(kind: type[M], value: Any, **fields: Any) -> M:
    """A message whose fields have the content of the value's attributes of the same plain names.

    Args:
        fields: content of the fields that no attribute has as it is; None leaves one out.
    """
    content = {
        field.name: _content(field, getattr(value, plain_name(field)))
        for field in kind.DESCRIPTOR.fields
        if field.name not in fields
    }
    return kind(**content, **fields)


def _content(field: Any, value: Any) -> Any:
    if value is None:
        return None
    if field.enum_type is None and field.message_type is None:
        return value.astype(np.float64) if isinstance(value, np.ndarray) else value
    return [_single(field, item) for item in value] if field.is_repeated else _single(field, value)


def _single(field: Any, value: Any) -> Any:
    """The number of an enum's value, or a message within the message."""
    if field.enum_type is not None:
        return enum_numbers(field.enum_type)[value.value if isinstance(value, Enum) else value]
    name = field.message_type.name
    return _WRITERS[name](value) if name in _WRITERS else message_of(GetMessageClass(field.message_type), value)
