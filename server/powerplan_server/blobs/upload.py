"""An upload as a file that grows: what has arrived of it is its length, also after a crash."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from powerplan.jobs.contents import Damaged, is_intact


class Upload:
    """Content that arrives in parts, kept in ``<digest>.part``; its length is where to go on.

    Args:
        path: where it will be when it is whole, named by its SHA-256.
        size: bytes of the whole.
        publish: called with the checked file before it gets its name.

    Attributes:
        committed: bytes that have arrived.

    Raises:
        BlockingIOError: somebody else takes it, in this process or on a server that shares the folder.
        OSError: the folder cannot be written.
    """

    SUFFIX = ".part"

    def __init__(self, path: Path, size: int, *, publish: Callable[[Path], None] = lambda whole: None) -> None:
        self._publish = publish
        self._path = path
        self._part = path.with_suffix(self.SUFFIX)
        self._size = size
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = open(self._part, "ab")  # noqa: SIM115 - closed by __exit__
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            facts = os.fstat(self._file.fileno())
            if not (self._part.exists() and os.path.samestat(facts, os.stat(self._part))):
                raise BlockingIOError("somebody else has just finished it")
        except OSError:
            self._file.close()
            raise
        self.committed = facts.st_size

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def restart(self) -> None:
        """Throw away what has arrived."""
        self._file.truncate(0)
        self.committed = 0

    def write(self, chunk: bytes) -> None:
        """Append a part and hand it to the operating system, so that a broken stream or a crash keeps it.

        Raises:
            Damaged: more arrives than announced; all of it is thrown away.
        """
        if self.committed + len(chunk) > self._size:
            raise self._discarded(f"more than the announced {self._size} bytes arrived")
        self._file.write(chunk)
        self._file.flush()
        self.committed += len(chunk)

    def finish(self) -> bool:
        """Check and publish the content; False if bytes are still missing.

        Raises:
            Damaged: the content has another digest; all of it is thrown away.
        """
        if self.committed < self._size:
            return False
        os.fsync(self._file.fileno())
        if not is_intact(self._part, self._path.name):
            raise self._discarded("the bytes have another SHA-256 than announced")
        self._publish(self._part)
        os.replace(self._part, self._path)
        return True

    def _discarded(self, reason: str) -> Damaged:
        self._part.unlink(missing_ok=True)
        return Damaged(0, reason)
