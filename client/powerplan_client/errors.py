"""Errors of the client: one root, and every error says the gRPC code, the stable reason and the request id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from powerplan_client._generated import v1 as pb
from powerplan_client.compat import dataclass
from powerplan_client.rpc_status import StatusDetails


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One thing wrong with a request: ``field`` is its path, ``description`` what is allowed and what to do."""

    field: str
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}"


class PlannerError(Exception):
    """Root of every error of a call.

    Attributes:
        message: one sentence.
        code: name of the gRPC status code, such as "NOT_FOUND".
        reason: stable reason code, such as "BLOB_NOT_FOUND"; see ErrorReason in the contract.
        request_id: of the call; quote it when reporting a problem.
        metadata: facts that go with the reason.
        violations: every violated field of the request.
        retry_after: seconds to wait before another try; None if the server did not say.
        temporary: the same call can succeed later: the server is away, or full for now.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        request_id: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
        temporary: bool | None = None,
    ) -> None:
        full = code == "RESOURCE_EXHAUSTED" and (retry_after is not None or reason == "QUEUE_FULL")
        self.temporary = code == "UNAVAILABLE" or full if temporary is None else temporary
        self.message = message
        self.code = code
        self.reason = reason or code
        self.request_id = request_id
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        super().__init__(message)

    def __str__(self) -> str:
        listed = "".join(f"\n  {violation}" for violation in self.violations if str(violation) not in self.message)
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.reason}: {self.message}{request}{listed}"


class InvalidRequest(PlannerError, ValueError):
    """The request cannot be used; ``violations`` lists everything that is wrong with it."""


class FeatureUnavailable(PlannerError):
    """The server, or this installation, lacks a feature that the request needs."""


class Unauthenticated(PlannerError):
    """No credentials, or wrong ones. Give a token or a client certificate."""


class PermissionDenied(PlannerError):
    """The credentials do not allow this call."""


class NotFound(PlannerError):
    """A job or blob that is not, or no longer, on the server."""


class Conflict(PlannerError):
    """The state of the server does not allow the call, for example a request_id used twice."""


class ResourceExhausted(PlannerError):
    """The server is full (``temporary``; ``retry_after`` says for how long), or the call needs more than it has."""


class DeadlineExceeded(PlannerError, TimeoutError):
    """Time ran out. Give a larger timeout, or submit a job."""


class Cancelled(PlannerError):
    """The call or job was cancelled."""


class ClientClosed(PlannerError):
    """The client was closed before or during the call. Make a new one, or call within its ``with`` block."""

    def __init__(self) -> None:
        super().__init__(
            "The client is closed. Make a new one, or make the calls within its with block.",
            code="CANCELLED",
            reason="CLIENT_CLOSED",
        )


class Unavailable(PlannerError, ConnectionError):
    """The server cannot be reached or is shutting down."""


class ServerError(PlannerError):
    """A fault of the server; its log has the details under the request id."""


_KINDS: dict[str, type[PlannerError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "OUT_OF_RANGE": InvalidRequest,
    "UNIMPLEMENTED": FeatureUnavailable,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": Conflict,
    "FAILED_PRECONDITION": Conflict,
    "ABORTED": Conflict,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "CANCELLED": Cancelled,
    "UNAVAILABLE": Unavailable,
}
#: names of the gRPC status codes by number
_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)


def error_from_status(
    code: str, message: str, details: StatusDetails, request_id: str, pushback: float | None = None
) -> PlannerError:
    """The error for a failed call.

    Args:
        pushback: seconds after which the server wants a retry, negative = none at all; None if it did not say.
    """
    wait = pushback if details.retry_after is None else details.retry_after
    return _KINDS.get(code, ServerError)(
        message,
        code=code,
        reason=details.reason,
        request_id=details.metadata.get("request_id", request_id),
        metadata=details.metadata,
        violations=[Violation(field=field, description=text) for field, text in details.violations],
        retry_after=wait if wait is None or wait >= 0 else None,
        temporary=False if pushback is not None and pushback < 0 else None,
    )


def error_from_detail(detail: pb.ErrorDetail, request_id: str) -> PlannerError:
    """The error of a failed job."""
    code = _CODES[detail.code] if 0 <= detail.code < len(_CODES) else "UNKNOWN"
    known = detail.reason in pb.ErrorReason.values()
    return _KINDS.get(code, ServerError)(
        detail.message,
        code=code,
        reason=pb.ErrorReason.Name(detail.reason).removeprefix("ERROR_REASON_") if known else "",
        request_id=detail.metadata.get("request_id", request_id),
        metadata=detail.metadata,
        violations=[Violation(field=v.field, description=v.description) for v in detail.field_violations],
    )


def invalid(field: str, description: str) -> InvalidRequest:
    """An error found before anything is sent."""
    return InvalidRequest(
        f"{field}: {description}",
        code="INVALID_ARGUMENT",
        reason="INVALID_REQUEST",
        violations=[Violation(field=field, description=description)],
    )
