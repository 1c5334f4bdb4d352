"""Mutated requests: damage to the bytes, hostile values in the fields, and noise. Reproducible from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from service_requests import (
    frontier_request,
    plan_request,
    predict_request,
    profile_request,
    simulate_request,
    submit_request,
    upload,
)

from powerplan_client._generated import v1

_WHOLE = (0, 1, -1, 2, 3, 7, 64, 99, 1000, 2**16, 2**31 - 1, -(2**31), 2**32, 2**53, 2**62, 2**63 - 1, -(2**63))
_REAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1e-3,
    1e-9,
    5e-324,
    1e-300,
    1e308,
    -1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)
_TEXT = (
    "", "a", "b", "c", "input", "weight", "bias", "kind", "linear", "conv2d", "relu", "tanh", "../../etc/passwd",
    "/etc/passwd", "..", "a/b", "a\\b", "\x00", "a\nb", "\u202e", "é" * 300, "x" * 5000, "' OR 1=1 --", "%s%n", "{0}",
    "0" * 64, "f" * 64, "F" * 64,
)  # fmt: skip
_WHOLE_32 = frozenset({FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM})

#: method and a good request of it; most plans are only checked, so that the slow ones do not take all the time
SEEDS: tuple[tuple[str, Message], ...] = (
    ("Plan", plan_request()),
    ("Plan", plan_request(validate_only=True)),
    ("Plan", profile_request()),
    ("Predict", predict_request()),
    ("Simulate", simulate_request()),
    ("Frontier", frontier_request()),
    ("SubmitPlan", submit_request()),
    ("GetPlanJob", v1.GetPlanJobRequest(job_id="0" * 32)),
    ("WatchPlanJob", v1.WatchPlanJobRequest(job_id="0" * 32, after_sequence=1)),
    ("CancelPlanJob", v1.CancelPlanJobRequest(job_id="0" * 32)),
    ("ListPlanJobs", v1.ListPlanJobsRequest(page_size=5, page_token=f"0x1.8p+30-{0:032x}", states=[1, 2])),
    ("GetBlobStatus", v1.GetBlobStatusRequest(blobs=[v1.BlobRef(sha256="0" * 64, size_bytes=5)])),
    ("GetServerInfo", v1.GetServerInfoRequest()),
    ("DeletePlanJob", v1.DeletePlanJobRequest(job_id="0" * 32)),
    ("GetStatistics", v1.GetStatisticsRequest()),
)
_WEIGHTS = (4, 36, 14, 16, 8, 6, 3, 2, 1, 1, 2, 2, 1, 1, 1)


def requests(seed: int, count: int) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """``count`` pairs of a method and the messages to send."""
    rng = random.Random(seed)
    for _ in range(count):
        if rng.random() < 0.02:
            yield "UploadBlob", _upload(rng)
            continue
        method, good = rng.choices(SEEDS, _WEIGHTS)[0]
        yield method, (_request(rng, good),)


def _request(rng: random.Random, good: Message) -> bytes:
    chance = rng.random()
    if chance < 0.08:
        return rng.randbytes(rng.randrange(200))
    if chance < 0.14:  # another method's request
        return rng.choice(SEEDS)[1].SerializeToString()
    message = type(good)()
    message.CopyFrom(good)
    if chance < 0.75:
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            _change_field(rng, message)
    data = message.SerializeToString()
    return data if chance < 0.65 else _damage(rng, data)


def _upload(rng: random.Random) -> tuple[bytes, ...]:
    parts = list(
        upload(
            rng.randbytes(rng.choice((0, 10, 1000))),
            sha256=rng.choice(("1" * 64, "2" * 64, *_TEXT)),
            size=rng.choice((0, 10, 1000, 2**40, 2**62, -1)),
            offset=rng.choice((0, 0, 0, 1, 10, -1, 2**62)),
        )
    )
    if rng.random() < 0.5:
        place = rng.randrange(len(parts))
        parts[place] = _damage(rng, parts[place])
    if rng.random() < 0.2:
        rng.shuffle(parts)
    return tuple(parts)


def _damage(rng: random.Random, data: bytes) -> bytes:
    """Flip, overwrite, insert, delete, repeat or cut bytes."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(damaged) + 1)
        length = rng.choice((1, 1, 2, 8, 64))
        match rng.randrange(6):
            case 0 if place < len(damaged):
                damaged[place] ^= 1 << rng.randrange(8)
            case 1:
                damaged[place : place + length] = rng.randbytes(length)
            case 2:
                damaged[place:place] = rng.choice((b"\xff" * length, b"\x00" * length, rng.randbytes(length)))
            case 3:
                del damaged[place : place + length]
            case 4:
                damaged[place:place] = damaged[place : place + length]
            case _:
                if rng.random() < 0.3:
                    del damaged[place:]
    return bytes(damaged)


def _change_field(rng: random.Random, message: Message) -> None:
    """Give one field, somewhere in the message, a hostile value."""
    target = rng.choice(list(_messages(message)))
    fields = target.DESCRIPTOR.fields
    if not fields:
        return
    field = rng.choice(fields)
    if rng.random() < 0.15:
        target.ClearField(field.name)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        _change_map(rng, getattr(target, field.name), field)
    elif field.is_repeated:
        _change_list(rng, getattr(target, field.name), field)
    elif field.message_type is not None:
        getattr(target, field.name).SetInParent()
    else:
        setattr(target, field.name, _hostile(rng, field, getattr(target, field.name)))


def _change_map(rng: random.Random, entries: Any, field: FieldDescriptor) -> None:
    value = field.message_type.fields_by_name["value"]
    name = rng.choice([*entries, rng.choice(_TEXT)])
    if name in entries and rng.random() < 0.5:
        del entries[name]
    elif value.message_type is not None:
        entries[name].SetInParent()
    else:
        entries[name] = _hostile(rng, value, None)


def _change_list(rng: random.Random, items: Any, field: FieldDescriptor) -> None:
    chance = rng.random()
    if items and chance < 0.25:
        del items[rng.randrange(len(items))]
    elif items and chance < 0.4:
        items.extend([items[rng.randrange(len(items))]] * rng.choice((1, 1, 30)))
    elif field.message_type is not None:
        items.add()
    elif items and chance < 0.8:
        place = rng.randrange(len(items))
        items[place] = _hostile(rng, field, items[place])
    else:
        items.append(_hostile(rng, field, None))


def _hostile(rng: random.Random, field: FieldDescriptor, old: Any) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice((*_REAL, rng.uniform(-1, 1), 10.0 ** rng.uniform(-12, 3)))
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.choice((b"", rng.randbytes(8), rng.randbytes(48), _damage(rng, old or b"\x00" * 16)))
        case FieldDescriptor.CPPTYPE_STRING:
            return rng.choice(_TEXT)
        case _:
            value = rng.choice(_WHOLE)
            return max(-(2**31), min(value, 2**31 - 1)) if field.type in _WHOLE_32 else value


def _messages(message: Message) -> Iterator[Message]:
    """The message and every message in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = list(value.values()) if field.message_type.fields_by_name["value"].message_type else []
        else:
            inner = list(value) if field.is_repeated else [value]
        for item in inner:
            yield from _messages(item)
