"""Plain values on the wire: None, numbers, truth values, text, lists and maps of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from powerplan_client._generated import v1 as pb
from powerplan_server.wire.reading import Reader

MAX_DEPTH = 8
#: values in one attribute, nested ones included
MAX_VALUES = 10_000


def map_from_proto(reader: Reader, entries: Mapping[str, pb.AttributeValue]) -> dict[str, Any]:
    """Plain values by name; violations are noted."""
    budget = [MAX_VALUES]
    return {name: _value(reader.key(name), entries[name], budget, 1) for name in sorted(entries)}


def _exceeds(reader: Reader, budget: list[int], depth: int) -> bool:
    """Count a value; True if it is one too many or nested too deep, which is noted once: the rest is not looked at."""
    budget[0] -= 1
    if budget[0] >= 0 and depth <= MAX_DEPTH:
        return False
    if budget[0] == -1 or depth > MAX_DEPTH:
        allowed = f"at most {MAX_VALUES:,} values, nested {MAX_DEPTH} deep"
        reader.fail("a larger value", allowed, "Simplify the attributes.")
    budget[0] = min(budget[0], -1)
    return True


def _text(reader: Reader, text: str) -> str:
    if len(text) > reader.limits.max_name_length:
        reader.too_large(f"{len(text)} characters", reader.limits.max_name_length, "characters")
    return text


def _value(reader: Reader, message: pb.AttributeValue, budget: list[int], depth: int) -> Any:
    if _exceeds(reader, budget, depth):
        return None
    match message.WhichOneof("kind"):
        case "null_value":
            return None
        case "number_value":
            if not math.isfinite(message.number_value):
                reader.at("number_value").fail(message.number_value, "a finite number", "Give a finite number.")
            return message.number_value
        case "integer_value":
            return message.integer_value
        case "boolean_value":
            return message.boolean_value
        case "text_value":
            return _text(reader.at("text_value"), message.text_value)
        case "list_value":
            place = reader.at("list_value.values")
            return [
                _value(place.item(i), item, budget, depth + 1)
                for i, item in enumerate(message.list_value.values[: max(budget[0] + 1, 0)])
            ]
        case "map_value":
            place, entries = reader.at("map_value.entries"), message.map_value.entries
            names = sorted(entries)[: max(budget[0] + 1, 0)]
            return {name: _value(place.key(name), entries[name], budget, depth + 1) for name in names}
        case _:
            reader.fail("nothing", "one kind of value set", "Set the value.")
            return None
