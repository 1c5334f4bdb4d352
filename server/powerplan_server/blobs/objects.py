"""An object store (S3 and its kin) as a place for uploads: ``<address>/<tenant>/<sha256>``.

Every call waits for the network and is made in a thread; it ends within limits of time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from powerplan.errors import InvalidInput

_CONNECT, _REQUEST, _RETRIES = dt.timedelta(seconds=5), dt.timedelta(seconds=30), dt.timedelta(seconds=10)
_CHUNK = 2**20  # bytes
_TRIAL = "trial"  # an object that is written and removed to see whether the store works


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object: its bytes, and when it was stored (seconds since the epoch)."""

    size: int
    stored: float


class Objects:
    """The objects of one address.

    Args:
        address: as ``s3://BUCKET/PREFIX``, ``gs://BUCKET/PREFIX``, ``az://CONTAINER/PREFIX`` or ``file:///FOLDER``;
            credentials, region and endpoint come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
            ...).

    Raises:
        InvalidInput: it is none.
    """

    def __init__(self, address: str) -> None:
        limits: dict[str, Any] = {
            "client_options": {"connect_timeout": _CONNECT, "timeout": _REQUEST},
            "retry_config": {"max_retries": 3, "retry_timeout": _RETRIES},
        }
        if address.startswith("file:"):
            limits = {"mkdir": True}
        try:
            self._store = from_url(address, **limits)
        except (BaseError, ValueError) as error:
            allowed = "s3://BUCKET/PREFIX, gs://..., az://... or a folder"
            raise InvalidInput.of("serve.blob_store", address, allowed, f"{_first_line(error)}.") from error

    def found(self, tenant: str) -> dict[str, Found]:
        """What a tenant keeps, by SHA-256."""
        with _as_oserror():
            return {
                object["path"].rpartition("/")[2]: Found(
                    size=object["size"], stored=object["last_modified"].timestamp()
                )
                for page in obstore.list(self._store, prefix=tenant)
                for object in page
            }

    def read(self, tenant: str, sha256: str, offset: int) -> Iterator[bytes]:
        """The bytes of an object from an offset on.

        Raises:
            FileNotFoundError: it is gone.
        """
        with _as_oserror():
            options: Any = {"range": {"offset": offset}} if offset else None
            for chunk in obstore.get(self._store, f"{tenant}/{sha256}", options=options).stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def write(self, tenant: str, sha256: str, content: Path) -> None:
        """Store a file; it is there whole or not at all."""
        with _as_oserror():
            obstore.put(self._store, f"{tenant}/{sha256}", content)

    def delete(self, tenant: str, sha256: str) -> None:
        """Remove an object, if it is there."""
        with _as_oserror(), suppress(FileNotFoundError):
            obstore.delete(self._store, f"{tenant}/{sha256}")

    def try_writing(self) -> None:
        """Write and remove a small object."""
        with _as_oserror():
            obstore.put(self._store, _TRIAL, b"")
            with suppress(FileNotFoundError):  # another server has removed it
                obstore.delete(self._store, _TRIAL)


@contextmanager
def _as_oserror() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise OSError(0, f"The object store: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
