"""A look at the bytes of a request before it is parsed: how much it holds, and whether this server knows all of it.

Parsing builds an object for every element and holds the interpreter for as long: 4 MiB of empty elements took 2.6 s.
The look skips over content, stops at a limit, and finds what a parser would silently drop: fields of a newer contract.

Why: docs/decisions/service.md [0412].
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

#: most elements (fields, counted with those of messages within) of a request
MOST_ELEMENTS = 100_000
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}


class TooManyElements(Exception):
    """A message holds more than it may.

    Attributes:
        path: of the field that goes beyond it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class UnknownField(Exception):
    """A message holds a field that the contract of this server does not have.

    Attributes:
        path: of the message that holds it; "" is the request.
        number: of the field.
    """

    def __init__(self, path: str, number: int) -> None:
        super().__init__(path, number)
        self.path = path
        self.number = number


class _Malformed(Exception):
    pass


def look_at(data: bytes, message: type[Message], *, most: int = MOST_ELEMENTS) -> None:
    """Check a serialized message; bytes that are none are left to the parser to refuse.

    Raises:
        TooManyElements, UnknownField
    """
    left = most
    parts: list[tuple[int, int, Any, str]] = [(0, len(data), message.DESCRIPTOR, "")]
    with suppress(_Malformed):
        while parts:
            at, end, descriptor, path = parts.pop()
            known = _fields(descriptor)
            while at < end:
                tag, at = _varint(data, at, end)
                if tag >> 3 not in known:
                    raise UnknownField(path, tag >> 3)
                name, inner = known[tag >> 3]
                left -= 1
                if left < 0:
                    raise TooManyElements(f"{path}.{name}".lstrip("."))
                begin, at = _content(data, at, end, tag & 7)
                if inner is not None and tag & 7 == _LENGTH:
                    parts.append((begin, at, inner, f"{path}.{name}".lstrip(".")))


def _content(data: bytes, at: int, end: int, kind: int) -> tuple[int, int]:
    """Where the content of a field begins and ends."""
    if kind == _LENGTH:
        size, at = _varint(data, at, end)
    elif kind == _VARINT:
        size = _varint(data, at, end)[1] - at
    elif kind in _FIXED:
        size = _FIXED[kind]
    else:
        raise _Malformed
    if at + size > end:
        raise _Malformed
    return at, at + size


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number, and where the next thing begins."""
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _Malformed


@cache
def _fields(descriptor: Any) -> dict[int, tuple[str, Any]]:
    """Name and, if it is a message, descriptor of each field by number."""
    return {
        field.number: (field.name, field.message_type if field.type == FieldDescriptor.TYPE_MESSAGE else None)
        for field in descriptor.fields
    }
