"""Uploads of several servers in an object store; each server's folder holds copies of what it uses.

What counts is the object store: an upload is complete when it is there, and what left it is gone. An upload that broke
off starts again: its next call may come to another server, which has nothing of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from powerplan.jobs.contents import Damaged
from powerplan_server.blobs.objects import Found, Objects
from powerplan_server.blobs.store import BlobState, BlobStore, full, told
from powerplan_server.blobs.upload import Upload
from powerplan_server.storage import Storage

_THREADS = 8
T = TypeVar("T")


class SharedBlobs(BlobStore):
    """The uploads of all tenants, in an object store.

    Args:
        objects: the object store.
        folder, quota, largest, upload_retention, storage: as for :class:`BlobStore`; the quota holds for the object
            store, where the oldest leave, and for the copies in the folder.
    """

    _resumes = False

    def __init__(
        self, objects: Objects, folder: Path, *, quota: int, largest: int, upload_retention: float, storage: Storage
    ) -> None:
        super().__init__(folder, quota=quota, largest=largest, upload_retention=upload_retention, storage=storage)
        self._objects = objects
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        self._bringing: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def try_writing(self) -> None:
        """Write to the object store."""
        await self._in_thread(self._objects.try_writing)

    async def _elsewhere(self, tenant: str, digests: Sequence[str]) -> Mapping[str, BlobState]:
        found = await self._found(tenant, digests)
        nothing = BlobState(committed=0, complete=False)  # whatever copies or parts are in the folder
        return dict.fromkeys(digests, nothing) | {
            sha256: BlobState(committed=object.size, complete=True, touched=object.stored)
            for sha256, object in found.items()
        }

    async def _bring(self, tenant: str, digests: Sequence[str]) -> None:
        found = await self._found(tenant, digests)
        for sha256 in digests:
            if sha256 not in found:
                self._path(tenant, sha256).unlink(missing_ok=True)
                continue
            lock = self._bringing.setdefault((tenant, sha256), asyncio.Lock())
            async with lock:
                if not self._copied(tenant, sha256):
                    self._make_room(tenant, found[sha256].size, keep=self._path(tenant, sha256))
                    await self._in_thread(self._copy, tenant, sha256, found[sha256].size)

    async def _find_room(self, tenant: str, needed: int) -> None:
        found = await self._in_thread(self._objects.found, tenant)
        excess = sum(object.size for object in found.values()) + needed - self._quota
        for sha256, object in sorted(found.items(), key=lambda item: item[1].stored):
            if excess > 0 and not self._pins[tenant, sha256]:
                await self._in_thread(self._objects.delete, tenant, sha256)
                self._path(tenant, sha256).unlink(missing_ok=True)
                excess -= object.size
        if excess > 0:
            raise full(excess, self._quota)

    def _publish(self, tenant: str, sha256: str, whole: Path) -> None:
        self._objects.write(tenant, sha256, whole)

    async def _found(self, tenant: str, digests: Sequence[str]) -> dict[str, Found]:
        """Which of the blobs the object store has."""
        found = await self._in_thread(self._objects.found, tenant)
        return {sha256: found[sha256] for sha256 in digests if sha256 in found}

    def _copied(self, tenant: str, sha256: str) -> bool:
        return self.state(tenant, sha256).complete

    def _copy(self, tenant: str, sha256: str, size: int) -> None:
        """Bring an object into the folder; one that is damaged is removed, and counts as missing."""
        while True:
            with Upload(self._path(tenant, sha256), size) as copy:
                begun = copy.committed  # of an earlier try, or of an upload that went on at another server
                try:
                    for chunk in self._objects.read(tenant, sha256, begun) if begun < size else ():
                        copy.write(chunk)
                    copy.finish()
                    return
                except FileNotFoundError:
                    return  # it has just left
                except Damaged:
                    if not begun:
                        self._objects.delete(tenant, sha256)
                        return

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        with self._storage.guarding(), told():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: function(*arguments))
