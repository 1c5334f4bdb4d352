"""Content on disk, named by its SHA-256: what is read is what was stored, or it counts as lost."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from types import TracebackType

from powerplan.files import put

#: a hexadecimal SHA-256, and so safe as a file name
SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Damaged(OSError):
    """Bytes that do not have the SHA-256 they should have."""


def is_intact(path: Path, digest: str) -> bool:
    """Whether a file is there and has this SHA-256."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


class Contents:
    """Files named by the SHA-256 of their content (64 lower-case hexadecimal digits), in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the content of a digest is."""
        return self.folder / digest

    def put(self, content: bytes) -> str:
        """Store bytes unless they are here undamaged; returns their digest. A reader sees all of them or nothing.

        Raises:
            OSError: the folder cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        if not is_intact(self.path(digest), digest):
            self.folder.mkdir(parents=True, exist_ok=True)
            put(self.path(digest), content)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes stored under a digest.

        Raises:
            OSError: they are gone.
            Damaged: they are others.
        """
        content = self.path(digest).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise Damaged(0, "The file is damaged")
        return content

    def arriving(self, digest: str, size: int) -> Arrival:
        """What has arrived of a content that comes in parts, to be continued."""
        return Arrival(self.path(digest), size)


class Arrival:
    """Content that arrives in parts, kept in ``<digest>.part``; its length is where to go on, also after a crash.

    Attributes:
        committed: bytes that have arrived.
    """

    SUFFIX = ".part"

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._part = path.with_suffix(self.SUFFIX)
        self._size = size
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = open(self._part, "ab")  # noqa: SIM115 - closed by __exit__
        self.committed = self._file.tell()

    def __enter__(self) -> Arrival:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

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
        os.replace(self._part, self._path)
        return True

    def _discarded(self, reason: str) -> Damaged:
        self._part.unlink(missing_ok=True)
        return Damaged(0, reason)
