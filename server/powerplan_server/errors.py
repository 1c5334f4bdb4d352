"""Errors that leave the server: a gRPC code, a stable reason and, for bad requests, every violated field.

A client sees a ``google.rpc.Status`` with an ``ErrorInfo`` (domain :data:`DOMAIN`, one of the reasons below), a
``BadRequest`` that lists all violations by path, and a ``RetryInfo`` where trying again makes sense.
Stack traces stay in the server's log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

DOMAIN = "powerplan"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
# Peers refuse headers beyond 8 KiB, and binary headers grow by a third on the wire: keep a status well below.
_MAX_STATUS_BYTES = 4096
_MAX_MESSAGE = 1000
_MAX_TEXT = 300


class Reason(StrEnum):
    """Stable reason codes, the names of the contract's ``ErrorReason``. Their meaning never changes."""

    INVALID_REQUEST = "INVALID_REQUEST"
    UNSUPPORTED_OPERATION = "UNSUPPORTED_OPERATION"
    CORRUPT_FILE = "CORRUPT_FILE"
    IMPLAUSIBLE = "IMPLAUSIBLE"
    FEATURE_UNAVAILABLE = "FEATURE_UNAVAILABLE"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    BLOB_NOT_FOUND = "BLOB_NOT_FOUND"
    BLOB_MISMATCH = "BLOB_MISMATCH"
    UPLOAD_OFFSET_MISMATCH = "UPLOAD_OFFSET_MISMATCH"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    REQUEST_ID_CONFLICT = "REQUEST_ID_CONFLICT"
    QUEUE_FULL = "QUEUE_FULL"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    SOLVER_FAILED = "SOLVER_FAILED"
    WORKER_CRASHED = "WORKER_CRASHED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    SERVER_RESTARTED = "SERVER_RESTARTED"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, kw_only=True)
class FieldViolation:
    """One violated field: its path in the request and what is wrong with it, with the next step."""

    field: str
    description: str


class ServiceError(Exception):
    """An error to be sent to the caller.

    Args:
        code: the gRPC status code.
        reason: the stable reason code.
        message: a sentence for people, with the next step.
        violations: every violated field of the request.
        retry_after: seconds after which another try makes sense; None if it does not.
        metadata: further facts for programs (names and values as text).
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: Reason,
        message: str,
        *,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})

    def to_status(self, request_id: str = "", *, most_bytes: int = _MAX_STATUS_BYTES) -> Status:
        """The error as ``google.rpc.Status``, by default small enough for a header."""
        info = ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        if request_id:
            info.metadata["request_id"] = request_id
        status = Status(code=self.code.value[0], message=_cut(self.message, _MAX_MESSAGE))
        status.details.append(_any(info))
        if self.retry_after is not None:
            delay = Duration()
            delay.FromMilliseconds(max(1, round(self.retry_after * 1000)))
            status.details.append(_any(RetryInfo(retry_delay=delay)))
        if self.violations:
            status.details.append(_any(_bad_request(self.violations, most_bytes - status.ByteSize() - 100)))
        return status

    def trailing_metadata(self, request_id: str = "") -> tuple[tuple[str, str | bytes], ...]:
        """The metadata that carries the status and gRPC's own pushback: when to try again, -1 = it would not help."""
        wait = -1 if self.retry_after is None else max(1, round(self.retry_after * 1000))
        return ((STATUS_DETAILS_KEY, self.to_status(request_id).SerializeToString()), (PUSHBACK_KEY, str(wait)))

    @classmethod
    def from_status(cls, status: Status) -> ServiceError:
        """The error that :meth:`to_status` wrote (stored with a failed job)."""
        code = next((c for c in grpc.StatusCode if c.value[0] == status.code), grpc.StatusCode.UNKNOWN)
        info, bad = ErrorInfo(), BadRequest()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(bad)
        reason = Reason(info.reason) if info.reason in set(Reason) else Reason.INTERNAL
        violations = [FieldViolation(field=v.field, description=v.description) for v in bad.field_violations]
        return cls(code, reason, status.message, violations=violations, metadata=dict(info.metadata))


def invalid(field: str, description: str, *, reason: Reason = Reason.INVALID_REQUEST) -> ServiceError:
    """INVALID_ARGUMENT for one field."""
    return invalid_fields([FieldViolation(field=field, description=description)], reason=reason)


def invalid_fields(violations: Sequence[FieldViolation], *, reason: Reason = Reason.INVALID_REQUEST) -> ServiceError:
    """INVALID_ARGUMENT for all the fields named; the message shows the first of them."""
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    shown = (violations[0].field, violations[0].description) if violations else ("", "the request is invalid")
    first = ": ".join(filter(None, shown))
    return ServiceError(grpc.StatusCode.INVALID_ARGUMENT, reason, first + more, violations=violations)


def _bad_request(violations: Sequence[FieldViolation], room: int) -> BadRequest:
    bad = BadRequest()
    for number, violation in enumerate(violations):
        bad.field_violations.add(
            field=_cut(violation.field, _MAX_TEXT), description=_cut(violation.description, _MAX_TEXT)
        )
        if bad.ByteSize() > room:
            del bad.field_violations[-1]
            bad.field_violations.add(field="...", description=f"{len(violations) - number} more violations not shown")
            break
    return bad


def _any(message: ErrorInfo | RetryInfo | BadRequest) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
