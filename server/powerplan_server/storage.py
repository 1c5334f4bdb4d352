"""Whether jobs and uploads can be stored, and what a caller is told while they cannot.

A failed write says so at once; from then on it is tried again until it works. A full disk, a folder that became
read-only or a database that is away is the operator's to mend: callers are asked to come back, and health checks say
NOT_SERVING.

Why: docs/decisions/service.md [0410].
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc

from powerplan.errors import CorruptFile, InvalidInput
from powerplan_server.errors import Reason, ServiceError

log = logging.getLogger(__name__)

_RETRY, _LOOK = 1.0, 10.0  # seconds between tries while writing fails, and between looks while it works


class Storage:
    """The state of what jobs and uploads are kept in.

    Args:
        folders: that are written to.
        room: bytes that must be free in each for it to count as writable.

    Attributes:
        works: the last write, or try of one, went well.
    """

    def __init__(self, *folders: Path, room: int) -> None:
        self.works = True
        self._folders = folders
        self._room = room
        self._failed = asyncio.Event()

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """What fails within, because of the disk or the database, is noted and told as STORAGE_UNAVAILABLE.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        try:
            yield
        except (OSError, InvalidInput, CorruptFile) as error:
            self._note(error)
            raise unavailable() from error

    async def watch(self, *tries: Callable[[], Awaitable[None]]) -> None:
        """Try to write from time to time, and often while it fails; ``tries`` are what else must work."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK if self.works else _RETRY):
                    await self._failed.wait()
            if self._failed.is_set():
                self._failed.clear()
                await asyncio.sleep(_RETRY)
            try:
                for folder in self._folders:
                    await asyncio.to_thread(reserve_room, folder, self._room)
                for attempt in tries:
                    await attempt()
            except (OSError, InvalidInput, CorruptFile, ServiceError) as error:
                self._note(error)
                continue
            if not self.works:
                log.warning("jobs and uploads can be stored again")
            self.works = True

    def _note(self, error: Exception) -> None:
        if self.works:
            log.error("jobs and uploads cannot be stored", extra={"error": str(error)})
        self.works = False
        self._failed.set()


def reserve_room(folder: Path, room: int) -> None:
    """Try to write so many bytes into a folder; nothing stays of it.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, room)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a data folder for this process: two servers on one job store would run jobs twice.

    Raises:
        OSError: it cannot be written, or another process holds it.
    """
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process holds a data folder.

    Raises:
        OSError: it cannot be written.
    """
    try:
        with locked(folder):
            return False
    except BlockingIOError:
        return True


def unavailable() -> ServiceError:
    """The error while nothing can be stored."""
    return ServiceError(
        grpc.StatusCode.UNAVAILABLE,
        Reason.STORAGE_UNAVAILABLE,
        "The server cannot store anything now: its disk is full, read-only or damaged, or its database is away; its "
        "operator is told in the log. Nothing that was accepted is lost. Try again after the delay given.",
        retry_after=_RETRY * 5,
    )
