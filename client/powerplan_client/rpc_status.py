"""Reads the ``google.rpc.Status`` that travels with a failed call.

The messages are described here in a descriptor pool of their own: the package that ships them would be one more
dependency, and a second registration in the common pool would collide with it where it is installed.

Why: docs/decisions/service.md [0051].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cache
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message, message_factory

from powerplan_client.compat import dataclass

STATUS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"

_INT32 = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_SINGLE = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL


@dataclass(frozen=True, kw_only=True)
class StatusDetails:
    """What a status says beyond its code and message.

    Attributes:
        reason: stable reason code, "" if none.
        metadata: facts that go with the reason.
        violations: (field path, description) of every violated field.
        retry_after: seconds to wait before another try; None if not said.
    """

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None


def parse_status(data: bytes) -> StatusDetails:
    """The details in serialized ``google.rpc.Status``; empty ones if the bytes are not one."""
    kinds = _kinds()
    reason, metadata, violations, retry_after = "", {}, [], None
    try:
        status = kinds["Status"].FromString(data)
        for detail in status.details:
            name = detail.type_url.rpartition(".")[2]
            if name not in kinds or not detail.type_url.endswith(f"google.rpc.{name}"):
                continue
            content = kinds[name].FromString(detail.value)
            if name == "ErrorInfo":
                reason, metadata = content.reason, dict(content.metadata)
            elif name == "BadRequest":
                violations += [(v.field, v.description) for v in content.field_violations]
            elif name == "RetryInfo":
                retry_after = content.retry_delay.seconds + content.retry_delay.nanos * 1e-9
    except message.DecodeError:
        return StatusDetails()
    return StatusDetails(reason=reason, metadata=metadata, violations=tuple(violations), retry_after=retry_after)


def parse_pushback(text: str) -> float:
    """Seconds after which the server wants a retry; negative, as whatever is no number, forbids it (gRFC A6)."""
    return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 10 else -1.0


@cache
def _kinds() -> dict[str, Any]:
    """Message classes by their short name."""
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, duration_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="powerplan_client/rpc_status.proto",
        package="google.rpc",
        syntax="proto3",
        dependency=["google/protobuf/any.proto", "google/protobuf/duration.proto"],
    )
    _add(file.message_type.add(name="Status"), code=(1, _INT32), message=(2, _STRING), details=(3, "Any"))
    info = file.message_type.add(name="ErrorInfo")
    _add(info, reason=(1, _STRING), domain=(2, _STRING), metadata=(3, ".google.rpc.ErrorInfo.MetadataEntry"))
    entry = info.nested_type.add(name="MetadataEntry")
    entry.options.map_entry = True
    _add(entry, key=(1, _STRING), value=(2, _STRING))
    bad = file.message_type.add(name="BadRequest")
    _add(bad, field_violations=(1, ".google.rpc.BadRequest.FieldViolation"))
    _add(bad.nested_type.add(name="FieldViolation"), field=(1, _STRING), description=(2, _STRING))
    _add(file.message_type.add(name="RetryInfo"), retry_delay=(1, "Duration"))
    pool.Add(file)
    names = [kind.name for kind in file.message_type]
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"google.rpc.{n}")) for n in names}


def _add(kind: descriptor_pb2.DescriptorProto, **fields: tuple[int, int | str]) -> None:
    """Fields by name: number and type; "Any" and the types of google.rpc are repeated."""
    for name, (number, type_) in fields.items():
        if isinstance(type_, str):
            full = type_ if type_.startswith(".") else f".google.protobuf.{type_}"
            label = _SINGLE if type_ == "Duration" else _REPEATED
            kind.field.add(name=name, number=number, type=_MESSAGE, type_name=full, label=label)
        else:
            kind.field.add(name=name, number=number, type=type_, label=_SINGLE)
