"""Errors of reading requests, all kinds of InvalidInput, and the stable reason that goes with every error."""

from __future__ import annotations

from powerplan.errors import CorruptFile, InvalidInput, MissingExtra, SolverFailed, UnsupportedOperation


class BlobNotFound(InvalidInput):
    """A blob that the request refers to is not there; each violation's ``value`` is its SHA-256."""


class TooLarge(InvalidInput):
    """A request beyond a limit."""


class Implausible(InvalidInput):
    """Numbers that are most likely in another unit, and that the caller has not confirmed."""


class FeatureUnavailable(InvalidInput):
    """A part of the request needs a feature that is not there."""


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (BlobNotFound, "BLOB_NOT_FOUND"),
    (TooLarge, "REQUEST_TOO_LARGE"),
    (Implausible, "IMPLAUSIBLE"),
    (FeatureUnavailable, "FEATURE_UNAVAILABLE"),
    (MissingExtra, "FEATURE_UNAVAILABLE"),
    (UnsupportedOperation, "UNSUPPORTED_OPERATION"),
    (CorruptFile, "CORRUPT_FILE"),
    (InvalidInput, "INVALID_REQUEST"),
    (SolverFailed, "SOLVER_FAILED"),
    (MemoryError, "OUT_OF_MEMORY"),
)


def reason_of(error: Exception) -> str:
    """Name of the ErrorReason (without prefix) of an exception; "INTERNAL" for one that is not foreseen."""
    return next((name for kind, name in _REASONS if isinstance(error, kind)), "INTERNAL")
