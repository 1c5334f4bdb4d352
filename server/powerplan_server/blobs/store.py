"""Uploaded content on disk, addressed by its SHA-256, one namespace per tenant.

Layout: ``<folder>/<tenant>/<sha256>`` for verified content and ``<sha256>.part`` for what has arrived of an unfinished
upload; its length is the committed offset, so an upload continues there, also after a restart. Content becomes visible
by an atomic rename after its hash was checked. When a tenant's quota is full, its least recently used content that no
running request holds leaves first.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc

from powerplan.jobs.contents import SHA256, Damaged
from powerplan_server.blobs.upload import Upload
from powerplan_server.errors import Reason, ServiceError, invalid
from powerplan_server.storage import Storage


@dataclass(frozen=True, kw_only=True)
class BlobState:
    """How much of a blob is here, and when it was last used (seconds since the epoch)."""

    committed: int
    complete: bool
    touched: float = 0.0


def check_sha256(value: str, field: str) -> str:
    """``value`` if it is a hexadecimal SHA-256 (and so safe as a file name)."""
    if not SHA256.match(value):
        raise invalid(field, f"got {value[:80]!r}; allowed: 64 lower-case hexadecimal digits")
    return value


class BlobStore:
    """The uploads of all tenants.

    It is used on the event loop; only an upload's ``write`` and ``finish`` and :meth:`expire`, which move data, are
    called in a thread.

    Args:
        folder: where everything is kept; made if missing.
        quota: bytes that one tenant may keep, unfinished uploads included.
        largest: bytes of the largest blob.
        upload_retention: seconds after which an untouched unfinished upload is removed.
        storage: told when the disk fails.
    """

    _resumes = True  # an upload that broke off goes on where it was

    def __init__(self, folder: Path, *, quota: int, largest: int, upload_retention: float, storage: Storage) -> None:
        self.largest = largest
        self._storage = storage
        self._folder = folder
        self._quota = quota
        self._upload_retention = upload_retention
        self._pins: Counter[tuple[str, str]] = Counter()
        self._open: dict[tuple[str, str], int] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def status(self, tenant: str, digests: Sequence[str]) -> list[BlobState]:
        """How much of each blob the tenant has uploaded.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        elsewhere = await self._elsewhere(tenant, digests)
        return await asyncio.to_thread(
            lambda: [elsewhere.get(sha256) or self.state(tenant, sha256) for sha256 in digests]
        )

    def state(self, tenant: str, sha256: str) -> BlobState:
        """How much of a blob is in the folder."""
        path = self._path(tenant, sha256)
        for place, complete in ((path, True), (path.with_suffix(Upload.SUFFIX), False)):
            with suppress(FileNotFoundError):
                facts = place.stat()
                return BlobState(committed=facts.st_size, complete=complete, touched=facts.st_mtime)
        return BlobState(committed=0, complete=False)

    @contextmanager
    def held(self, tenant: str, sha256: str) -> Iterator[None]:
        """Keep a blob from eviction while the context lasts, whether or not it is here."""
        key = (tenant, sha256)
        self._pins[key] += 1
        try:
            yield
        finally:
            self._pins[key] -= 1
            if not self._pins[key]:
                del self._pins[key]

    @asynccontextmanager
    async def pinned(self, tenant: str, digests: Iterable[str]) -> AsyncIterator[dict[str, str]]:
        """Paths of complete blobs by SHA-256, kept from eviction while the context lasts.

        Raises:
            ServiceError: BLOB_NOT_FOUND, with the missing ones; STORAGE_UNAVAILABLE.
        """
        paths = {sha256: self._path(tenant, sha256) for sha256 in digests}
        with ExitStack() as stack:
            for sha256 in paths:
                stack.enter_context(self.held(tenant, sha256))
            if paths:
                await self._bring(tenant, list(paths))
            missing = await asyncio.to_thread(_used, paths) if paths else []
            if missing:
                raise ServiceError(
                    grpc.StatusCode.NOT_FOUND,
                    Reason.BLOB_NOT_FOUND,
                    f"{len(missing)} blobs that the request names are not on the server. Upload them and call again.",
                    metadata={"sha256": ",".join(missing[:32])},
                )
            yield {sha256: str(path) for sha256, path in paths.items()}

    @asynccontextmanager
    async def upload(self, tenant: str, sha256: str, size: int, offset: int) -> AsyncIterator[Upload | None]:
        """An upload to write chunks to, or None if the content is here already.

        Raises:
            ServiceError: UPLOAD_OFFSET_MISMATCH (with the committed length), REQUEST_TOO_LARGE, QUOTA_EXCEEDED; ABORTED
                if another call is uploading the same content; BLOB_MISMATCH for what is written within;
                STORAGE_UNAVAILABLE.
        """
        path = self._path(tenant, sha256)
        if size < 0 or offset < 0:
            raise invalid("start", f"got size {size} and offset {offset}; allowed: whole numbers >= 0")
        if size > self.largest:
            raise invalid(
                "start.blob.size_bytes",
                f"got {size}; allowed: at most {self.largest}",
                reason=Reason.REQUEST_TOO_LARGE,
            )
        (state,) = await self.status(tenant, [sha256])
        if state.complete:
            yield None
            return
        key = (tenant, sha256)
        if key not in self._open:
            _check_offset(offset, state.committed)
            await self._find_room(tenant, size)
        if key in self._open:
            raise _busy()
        self._make_room(tenant, size, keep=path.with_suffix(Upload.SUFFIX))
        self._open[key] = size
        try:
            publish = partial(self._publish, tenant, sha256)
            with self._storage.guarding(), told(), Upload(path, size, publish=publish) as upload:
                if not self._resumes:
                    upload.restart()
                _check_offset(offset, upload.committed)  # another server may have gone on in between
                yield upload
        finally:
            del self._open[key]

    async def try_writing(self) -> None:
        """Try what an upload needs beside the folder.

        Raises:
            OSError: it cannot be done now.
        """

    async def _elsewhere(self, tenant: str, digests: Sequence[str]) -> Mapping[str, BlobState]:
        """Which of the blobs are complete in a place that counts more than the folder."""
        return {}

    async def _bring(self, tenant: str, digests: Sequence[str]) -> None:
        """Bring what is elsewhere into the folder."""

    async def _find_room(self, tenant: str, needed: int) -> None:
        """Evict elsewhere what would be beyond the quota."""

    def _publish(self, tenant: str, sha256: str, whole: Path) -> None:
        """Store an upload elsewhere before it counts as complete."""

    def usage(self, tenant: str) -> int:
        """Bytes a tenant keeps."""
        return sum(size for _, size, _ in self._files(tenant))

    def expire(self) -> int:
        """Remove unfinished uploads that nobody continued; returns how many."""
        oldest = time.time() - self._upload_retention
        stale = [
            path
            for folder in self._folder.iterdir()
            for path, _, used in self._files(folder.name)
            if path.suffix == Upload.SUFFIX and used < oldest and (folder.name, path.stem) not in self._open
        ]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def _path(self, tenant: str, sha256: str) -> Path:
        return self._folder / tenant / check_sha256(sha256, "blob.sha256")

    def _files(self, tenant: str) -> list[tuple[Path, int, float]]:
        """Path, size and time of last use of everything a tenant keeps."""
        folder = self._folder / tenant
        if not folder.is_dir():
            return []
        files = []
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # an upload in a thread has just given it its name
                    if entry.is_file(follow_symlinks=False):
                        facts = entry.stat()
                        files.append((Path(entry.path), facts.st_size, facts.st_mtime))
        return files

    def _make_room(self, tenant: str, needed: int, keep: Path) -> None:
        """Evict until ``needed`` bytes fit beside what is kept and what open uploads will still write."""
        files = sorted(self._files(tenant), key=lambda file: file[2])
        idle = [(p, size) for p, size, _ in files if p != keep and (tenant, p.stem) not in self._open]
        excess = sum(size for _, size in idle) + needed - self._quota
        excess += sum(size for (owner, _), size in self._open.items() if owner == tenant)
        for path, size in idle:
            if excess <= 0:
                return
            if not self._pins[tenant, path.stem]:
                path.unlink(missing_ok=True)
                excess -= size
        if excess > 0:
            raise full(excess, self._quota)


def _used(paths: Mapping[str, Path]) -> list[str]:
    """Note that files are used, by their SHA-256; returns those that are not there."""
    for path in paths.values():
        with suppress(OSError):  # a folder that became read-only can still be read
            os.utime(path)
    return [sha256 for sha256, path in paths.items() if not path.exists()]


@contextmanager
def told() -> Iterator[None]:
    """Content that is not what was announced, or that another server takes, as the caller is told."""
    try:
        yield
    except BlockingIOError:
        raise _busy() from None
    except Damaged as error:
        what = f"{error.strerror}; the upload was discarded, start again"
        raise invalid("chunk", what, reason=Reason.BLOB_MISMATCH) from None


def full(excess: int, quota: int) -> ServiceError:
    """The error for an upload beyond a tenant's quota."""
    return ServiceError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.QUOTA_EXCEEDED,
        f"The upload needs {excess} bytes more than the quota of {quota} bytes leaves free.",
    )


def _check_offset(offset: int, committed: int) -> None:
    if offset != committed:
        raise ServiceError(
            grpc.StatusCode.FAILED_PRECONDITION,
            Reason.UPLOAD_OFFSET_MISMATCH,
            f"The upload must continue at byte {committed}, not {offset}.",
            metadata={"committed_bytes": str(committed)},
        )


def _busy() -> ServiceError:
    return ServiceError(
        grpc.StatusCode.ABORTED,
        Reason.UPLOAD_OFFSET_MISMATCH,
        "Another call is uploading the same content. Ask for its status and try again.",
        retry_after=1.0,
    )
