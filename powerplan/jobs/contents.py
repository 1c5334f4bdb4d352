"""Content on disk, named by its SHA-256: what is read is what was stored, or it counts as lost."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

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
