"""Networks and inputs of a study, kept by content: what a job needs cannot change while the study runs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.jobs.contents import Contents


class Blobs(Contents):
    """The contents of a study's folder, with errors that name it and the next step."""

    def put(self, content: bytes) -> str:
        """As :meth:`powerplan.jobs.contents.Contents.put`.

        Raises:
            InvalidInput: the folder cannot be written.
        """
        try:
            return super().put(content)
        except OSError as error:
            raise cannot_write(self.folder, error) from error

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
            return super().get(digest)
        except OSError as error:
            raise CorruptFile.of(
                "study folder",
                f"{self.folder.name}/{digest}",
                "the network or inputs as they were stored",
                f"{error.strerror}. Read them from their source again: powerplan batch retry STUDY.",
            ) from error


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
