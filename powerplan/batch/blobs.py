"""Networks and inputs of a study, kept by content: what a job needs cannot change while the study runs."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.files import put


class Blobs:
    """Files named by the SHA-256 of their content, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> str:
        """Store bytes; returns their SHA-256, hexadecimal. A reader sees all of them or nothing.

        What is there already is read and, if it was damaged, written again.

        Raises:
            InvalidInput: the folder cannot be written.
        """
        digest = hashlib.sha256(content).hexdigest()
        path = self.path(digest)
        if path.is_file() and _holds(path, content):
            return digest
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            put(path, content)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        return digest

    def put_array(self, array: np.ndarray) -> str:
        """Store an array as npy."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return self.put(buffer.getvalue())

    def get(self, digest: str) -> bytes:
        """The bytes stored under a digest.

        Raises:
            CorruptFile: they are gone or damaged.
        """
        try:
            content = self.path(digest).read_bytes()
        except OSError as error:
            raise self._lost(digest, str(error.strerror)) from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise self._lost(digest, "The file is damaged")
        return content

    def _lost(self, digest: str, reason: str) -> InvalidInput:
        return CorruptFile.of(
            "study folder",
            f"{self.folder.name}/{digest}",
            "the network or inputs as they were stored",
            f"{reason}. Read them from their source again: powerplan batch retry STUDY.",
        )

    def path(self, digest: str) -> Path:
        """Where the content of a digest is."""
        return self.folder / digest


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content; one that cannot be read has not."""
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False


def read_array(content: bytes) -> np.ndarray:
    """The array of :meth:`Blobs.put_array`."""
    array: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def cannot_write(folder: Path, error: OSError) -> InvalidInput:
    """The error of a folder that takes no more."""
    return InvalidInput.of(
        "study folder",
        str(folder),
        "a folder that can be written, with room on the disk",
        f"{error.strerror}. Mend that, or name another one with --folder; what is done is kept.",
    )
