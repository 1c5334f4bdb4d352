"""Uploaded content as the wire conversion sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from powerplan.jobs.contents import SHA256, is_intact

Content = bytes | memoryview | Path


class BlobResolver(Protocol):
    """Finds uploaded content by its SHA-256 (64 lower-case hexadecimal digits)."""

    def get(self, sha256: str) -> Content | None:
        """The content in memory or as a path to a file; None if it is not there."""
        ...


@dataclass(frozen=True)
class MemoryBlobs:
    """Blobs in memory, by SHA-256."""

    contents: Mapping[str, bytes | memoryview] = field(default_factory=dict)

    def get(self, sha256: str) -> Content | None:
        """The content, or None."""
        return self.contents.get(sha256)


class FileBlobs:
    """Blobs in files, by SHA-256. Each is checked when it is first asked for; a damaged one is removed.

    Then its owner is told that it is missing, and repairs it by uploading it again.
    """

    def __init__(self, paths: Mapping[str, str | os.PathLike[str]]) -> None:
        self._paths = paths
        self._intact: set[str] = set()

    def get(self, sha256: str) -> Content | None:
        """The path of the content, or None."""
        if sha256 not in self._paths:
            return None
        path = Path(self._paths[sha256])
        if sha256 not in self._intact:
            if not is_intact(path, sha256):
                path.unlink(missing_ok=True)
                return None
            self._intact.add(sha256)
        return path


def content_size(content: Content) -> int:
    """Number of bytes."""
    if isinstance(content, Path):
        return content.stat().st_size
    return content.nbytes if isinstance(content, memoryview) else len(content)


def blob_refs(message: object) -> set[str]:
    """SHA-256 of every blob a message refers to, anywhere in it; malformed ones are left out."""
    digests: set[str] = set()
    stack = [message]
    while stack:
        item = stack.pop()
        if type(item).__name__ == "BlobRef":
            sha256 = item.sha256  # type: ignore[attr-defined]
            if SHA256.match(sha256):
                digests.add(sha256)
            continue
        for descriptor, value in item.ListFields():  # type: ignore[attr-defined]
            if descriptor.message_type is None:
                continue
            if descriptor.message_type.GetOptions().map_entry:
                if descriptor.message_type.fields_by_name["value"].message_type is not None:
                    stack.extend(value.values())
            elif descriptor.is_repeated:
                stack.extend(value)
            else:
                stack.append(value)
    return digests
