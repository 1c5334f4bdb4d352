"""What every place for uploads must do, tested on each; and what only one that is shared by servers must do."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import pytest

from powerplan.errors import InvalidInput
from powerplan_server.blobs import BlobState, BlobStore
from powerplan_server.blobs.objects import Objects
from powerplan_server.blobs.shared import SharedBlobs
from powerplan_server.errors import ServiceError
from powerplan_server.storage import Storage

T = TypeVar("T")
Opening = Callable[[str], BlobStore]
_LOOP = asyncio.new_event_loop()


@contextmanager
def _entered(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter a context of the event loop from here."""
    value = _LOOP.run_until_complete(context.__aenter__())
    try:
        yield value
    except BaseException:
        if not _LOOP.run_until_complete(context.__aexit__(*sys.exc_info())):
            raise
    else:
        _LOOP.run_until_complete(context.__aexit__(None, None, None))


def _state(store: BlobStore, tenant: str, digest: str) -> BlobState:
    return _LOOP.run_until_complete(store.status(tenant, [digest]))[0]


@pytest.fixture(params=["folder", "objects"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens one place for uploads as several servers would."""

    def opening(server: str) -> BlobStore:
        limits: dict[str, Any] = {"quota": 3000, "largest": 2500, "upload_retention": 100}
        if request.param == "folder":
            return BlobStore(tmp_path / "blobs", storage=Storage(tmp_path, room=1), **limits)
        objects = Objects(f"file://{tmp_path}/objects/prefix")
        return SharedBlobs(objects, tmp_path / server, storage=Storage(tmp_path, room=1), **limits)

    return opening


@pytest.fixture
def store(opening: Opening) -> BlobStore:
    return opening("one")


def _age(store: BlobStore, tenant: str, digest: str, age: float) -> None:
    """Let a blob be as old as that, wherever it is."""
    for path in store._folder.parent.rglob(digest):
        if path.parent.name == tenant:
            os.utime(path, (time.time() - age,) * 2)


def _put(store: BlobStore, content: bytes, tenant: str = "a") -> str:
    digest = hashlib.sha256(content).hexdigest()
    with _entered(store.upload(tenant, digest, len(content), 0)) as upload:
        assert upload is not None
        upload.write(content)
        assert upload.finish()
    return digest


def test_least_recently_used_content_leaves_first(store: BlobStore) -> None:
    digests = [_put(store, bytes([i]) * 1000) for i in range(3)]
    for age, digest in zip((10, 30, 20), digests, strict=True):
        _age(store, "a", digest, age)
    _put(store, b"new" * 300)
    assert [_state(store, "a", digest).complete for digest in digests] == [True, False, True]
    assert store.usage("a") <= 3000


def test_content_in_use_stays_and_a_full_quota_is_an_error(store: BlobStore) -> None:
    digests = [_put(store, bytes([i]) * 1000) for i in range(3)]
    with ExitStack() as stack:
        stack.enter_context(_entered(store.pinned("a", digests)))
        with pytest.raises(ServiceError, match="quota") as refused:
            _put(store, b"new" * 300)
        assert refused.value.reason == "QUOTA_EXCEEDED"
    _put(store, b"new" * 300)
    with pytest.raises(ServiceError) as large:
        _put(store, b"x" * 2501)
    assert large.value.reason == "REQUEST_TOO_LARGE"


def test_open_uploads_count_with_their_whole_size(store: BlobStore) -> None:
    with _entered(store.upload("a", "ab" * 32, 2500, 0)) as upload:
        assert upload is not None
        with pytest.raises(ServiceError, match="quota"):
            _put(store, b"x" * 600)
        with pytest.raises(ServiceError, match="Another call"), _entered(store.upload("a", "ab" * 32, 2500, 0)):
            pass
    _put(store, b"x" * 600)


def test_content_that_leaves_while_it_is_counted(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload in a thread renames its file between the listing of the folder and the look at its size."""
    _put(store, b"a" * 10)
    leaving = store._path("a", _put(store, b"b" * 20))
    listed = list(os.scandir(leaving.parent))
    leaving.unlink()
    monkeypatch.setattr(os, "scandir", lambda folder: nullcontext(listed))
    assert store.usage("a") == 10


def test_tenants_do_not_see_each_other(store: BlobStore) -> None:
    """Neither existence, nor content, nor quota."""
    digest = _put(store, b"x" * 2000, tenant="a")
    assert not _state(store, "b", digest).complete
    with pytest.raises(ServiceError, match="not on the server"), _entered(store.pinned("b", [digest])):
        pass
    _put(store, b"y" * 2500, tenant="b")
    assert _state(store, "a", digest).complete


def test_abandoned_uploads_expire(store: BlobStore) -> None:
    with _entered(store.upload("a", "ab" * 32, 100, 0)) as upload:
        assert upload is not None
        upload.write(b"x" * 50)
    assert store.expire() == 0
    os.utime(store._path("a", "ab" * 32).with_suffix(".part"), (time.time() - 200,) * 2)
    assert store.expire() == 1
    assert _state(store, "a", "ab" * 32).committed == 0


def test_what_one_server_takes_every_other_has(opening: Opening) -> None:
    """Its content, its quota; and what leaves is gone for all."""
    one, two = opening("one"), opening("two")
    digest = _put(one, b"x" * 2000)
    assert _state(two, "a", digest) == _state(one, "a", digest)
    with _entered(two.pinned("a", [digest])) as paths:
        assert Path(paths[digest]).read_bytes() == b"x" * 2000
        with pytest.raises(ServiceError, match="quota"):
            _put(two, b"y" * 1500)
    _age(one, "a", digest, 50)
    newer = _put(two, b"y" * 1500)  # the first leaves
    for server in (one, two):
        assert [_state(server, "a", name).complete for name in (digest, newer)] == [False, True]
        with pytest.raises(ServiceError, match="not on the server"), _entered(server.pinned("a", [digest])):
            pass
    assert _put(one, b"x" * 2000) == digest  # from its beginning


def test_an_upload_that_broke_off_goes_on_or_starts_again(opening: Opening) -> None:
    """In a folder it goes on, at either server; with an object store it starts again, at either."""
    one, two = opening("one"), opening("two")
    content = b"x" * 2000
    digest = hashlib.sha256(content).hexdigest()
    for store in (one, two, one):
        begun = _state(store, "a", digest).committed
        assert begun == _state(one, "a", digest).committed
        with _entered(store.upload("a", digest, 2000, begun)) as upload:
            assert upload is not None
            upload.write(content[begun : begun + 500])
    begun = _state(two, "a", digest).committed
    assert begun == (1500 if one._resumes else 0)
    with _entered(two.upload("a", digest, 2000, begun)) as upload:
        assert upload is not None
        upload.write(content[begun:])
        assert upload.finish()
    assert _state(one, "a", digest).complete


def test_one_of_two_uploads_at_once_is_turned_away(opening: Opening) -> None:
    """Of the same content, on one server or two, whoever comes first; and the other may come again."""
    content = b"x" * 2000
    digest = hashlib.sha256(content).hexdigest()

    async def upload(store: BlobStore, hold: float) -> bool:
        try:
            async with store.upload("a", digest, 2000, 0) as upload:
                await asyncio.sleep(hold)
                return upload is not None
        except ServiceError as error:
            return error.code.name != "ABORTED"

    async def both(one: BlobStore, two: BlobStore) -> list[bool]:
        return await asyncio.gather(upload(one, 0.3), upload(two, 0.3))

    one, two = opening("one"), opening("two")
    assert sorted(_LOOP.run_until_complete(both(one, one))) == [False, True]
    if one._resumes:  # an object store takes it of either: what is whole first counts
        assert sorted(_LOOP.run_until_complete(both(one, two))) == [False, True]
    _put(one, content)
    assert _state(two, "a", digest).complete


def test_damaged_objects_are_repaired_by_uploading_them_again(tmp_path: Path) -> None:
    """What comes from the object store is checked; what is not what it should be counts as missing."""
    limits: dict[str, Any] = {"quota": 3000, "largest": 2500, "upload_retention": 100}
    one, two = (
        SharedBlobs(Objects(f"file://{tmp_path}/objects"), tmp_path / name, storage=Storage(tmp_path, room=1), **limits)
        for name in ("one", "two")
    )
    digest = _put(one, b"x" * 2000)
    (tmp_path / "objects" / "a" / digest).write_bytes(b"x" * 1999 + b"y")
    with pytest.raises(ServiceError, match="not on the server"), _entered(two.pinned("a", [digest])):
        pass
    assert not _state(one, "a", digest).complete
    _put(two, b"x" * 2000)
    (tmp_path / "two" / "a" / digest).unlink()
    (tmp_path / "two" / "a" / f"{digest}.part").write_bytes(b"wrong")  # of an upload that went on elsewhere
    with _entered(two.pinned("a", [digest])) as paths:
        assert Path(paths[digest]).read_bytes() == b"x" * 2000


def test_an_object_store_that_is_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds, as storage that cannot be used now; an upload that could not be stored is not complete."""
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "r", "ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    storage = Storage(tmp_path, room=1)
    limits: dict[str, Any] = {"quota": 3000, "largest": 2500, "upload_retention": 100}
    store = SharedBlobs(Objects("s3://bucket/prefix"), tmp_path / "one", storage=storage, **limits)
    began = time.monotonic()
    with pytest.raises(ServiceError) as away:
        _put(store, b"x" * 10)
    assert (away.value.reason, storage.works) == ("STORAGE_UNAVAILABLE", False)
    assert time.monotonic() - began < 15
    with pytest.raises(InvalidInput, match=r"blob_store.*s3://BUCKET"):
        Objects("nonsense://bucket")
