"""Messages of HTTP calls: proto3 JSON on the outside, the bytes that the service's methods take and give inside."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

from google.protobuf import json_format
from google.protobuf.message import Message

from powerplan_server.errors import Reason, invalid
from powerplan_server.wire.scanning import MOST_ELEMENTS

_LARGE = 2**14  # bytes of a message that is converted in a thread
_OPENINGS = (b"{", b"[", b":")  # one or more for each element of a JSON document
_UNKNOWN = re.compile(r'Message type "[^"]*" has no field named "([^"]*)" at "([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Body:
    """A message as it arrived."""

    codec: str
    data: bytes

    async def to_proto(self, kind: type[Message]) -> bytes:
        """The message as protobuf bytes.

        Raises:
            ServiceError: INVALID_REQUEST: no JSON of this message, or a field that is not known here;
                REQUEST_TOO_LARGE.
        """
        return self.data if self.codec == "proto" else await _converted(self.data, kind, _to_proto)

    async def answer(self, data: bytes, kind: type[Message]) -> bytes:
        """An answer, given as protobuf bytes, in the form of this message."""
        return data if self.codec == "proto" else await _converted(data, kind, _to_json)


class BodyCodec:
    """Hands messages on as they are: what a message is, is found out once it is known who sends it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        """Name of the form: "json" or "proto"."""
        return self._name

    def encode(self, message: bytes) -> bytes:
        """An answer, which is bytes already."""
        return message

    def decode(self, data: bytes | bytearray, message_class: object) -> Body:
        """A request as it came."""
        return Body(codec=self._name, data=bytes(data))


async def _converted(data: bytes, kind: type[Message], convert: object) -> bytes:
    assert callable(convert)
    result = await asyncio.to_thread(convert, data, kind) if len(data) > _LARGE else convert(data, kind)
    assert isinstance(result, bytes)
    return result


def _to_proto(data: bytes, kind: type[Message]) -> bytes:
    # counted first: a parser of JSON holds the interpreter until it has built everything
    if sum(map(data.count, _OPENINGS)) > MOST_ELEMENTS:
        what = f"got more than {MOST_ELEMENTS:,} elements in the request; allowed: at most that"
        raise invalid("", f"{what}; binary messages hold more", reason=Reason.REQUEST_TOO_LARGE)
    try:
        message = json_format.Parse(data or b"{}", kind())
    except (json_format.ParseError, ValueError, RecursionError) as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown is not None:
            path = unknown[2].partition(".")[2]
            raise invalid(path, f"has no field {unknown[1][:80]!r}; see the wire reference") from None
        raise invalid("", f"not JSON of a {kind.DESCRIPTOR.full_name}: {str(error)[:200]}") from None
    return message.SerializeToString()


def _to_json(data: bytes, kind: type[Message]) -> bytes:
    return json_format.MessageToJson(kind.FromString(data), indent=None).encode()
