"""Uploads resume where they broke, are checked, kept apart by tenant, and make room for each other."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import Process, Running, failure

from powerplan_client._generated import v1


def _ref(content: bytes) -> v1.BlobRef:
    return v1.BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def _parts(
    content: bytes, offset: int = 0, step: int = 1000, stop: int | None = None
) -> Iterator[v1.UploadBlobRequest]:
    yield v1.UploadBlobRequest(start=v1.UploadStart(blob=_ref(content), offset_bytes=offset))
    for at in range(offset, len(content) if stop is None else stop, step):
        yield v1.UploadBlobRequest(chunk=content[at : at + step])


def _status(server: Running, content: bytes) -> v1.BlobStatus:
    return server.stub.GetBlobStatus(v1.GetBlobStatusRequest(blobs=[_ref(content)]), timeout=5).statuses[0]


def test_uploaded_content_reaches_the_worker(server: Running) -> None:
    content = os.urandom(12_345)
    status = server.stub.UploadBlob(_parts(content), timeout=5).status
    assert (status.complete, status.committed_bytes) == (True, 12_345)
    answer = server.stub.Plan(plan_request(blob=_ref(content).sha256), timeout=10)
    assert answer.profile_plan.power_watts == 12_345
    assert server.stub.UploadBlob(_parts(content, stop=0), timeout=5).status.complete


def test_broken_upload_continues(server: Running) -> None:
    """A stream that breaks in the middle keeps what arrived; the rest continues there and nowhere else."""
    content = os.urandom(10_000)

    def breaking() -> Iterator[v1.UploadBlobRequest]:
        yield from _parts(content, stop=4000)
        time.sleep(0.3)
        raise RuntimeError

    with pytest.raises(grpc.RpcError):
        server.stub.UploadBlob(breaking(), timeout=5)
    status = _status(server, content)
    assert (status.complete, status.committed_bytes) == (False, 4000)
    assert status.HasField("expire_time")
    failed = failure(lambda: server.stub.UploadBlob(_parts(content, offset=5000), timeout=5))
    assert (failed.code, failed.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_OFFSET_MISMATCH")
    assert failed.info.metadata["committed_bytes"] == "4000"
    assert server.stub.UploadBlob(_parts(content, offset=4000), timeout=5).status.complete


@pytest.mark.parametrize("change", ["other", "longer"])
def test_wrong_content_is_thrown_away(server: Running, change: str) -> None:
    content = os.urandom(3000)
    parts = list(_parts(content))
    parts[-1].chunk = os.urandom(1000) if change == "other" else parts[-1].chunk + b"!"
    failed = failure(lambda: server.stub.UploadBlob(iter(parts), timeout=5))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BLOB_MISMATCH")
    assert _status(server, content).committed_bytes == 0


def test_missing_blobs_are_named(server: Running) -> None:
    failed = failure(lambda: server.stub.Plan(plan_request(blob="ab" * 32), timeout=5))
    assert (failed.code, failed.reason) == (grpc.StatusCode.NOT_FOUND, "BLOB_NOT_FOUND")
    assert failed.info.metadata["sha256"] == "ab" * 32


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "a" * 63, "a" * 65, "", "a" * 63 + "\n", "/" * 64])
def test_only_a_digest_is_a_name(server: Running, name: str) -> None:
    start = v1.UploadBlobRequest(start=v1.UploadStart(blob=v1.BlobRef(sha256=name, size_bytes=1)))
    calls = [
        lambda: server.stub.UploadBlob(iter([start]), timeout=5),
        lambda: server.stub.GetBlobStatus(v1.GetBlobStatusRequest(blobs=[v1.BlobRef(sha256=name)]), timeout=5),
        lambda: server.stub.Plan(plan_request(blob=name), timeout=5),
    ]
    for call in calls:
        assert failure(call).code is grpc.StatusCode.INVALID_ARGUMENT


def test_streams_out_of_order_are_refused(server: Running) -> None:
    content = b"abc"
    start, chunk = _parts(content)
    for parts in (
        [],
        [chunk],
        [start, start],
        [start, v1.UploadBlobRequest()],
        [start, v1.UploadBlobRequest(chunk=b"")],
    ):
        failed = failure(lambda parts=parts: server.stub.UploadBlob(iter(parts), timeout=5))
        assert failed.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.slow
def test_memory_of_the_server_does_not_grow_with_an_upload(tmp_path: Path) -> None:
    """200 MB go to disk as they arrive: the peak of the listening process stays below 150 MB, the file handles few."""
    server = Process.fake(tmp_path / "data", tmp_path / "log")
    content = os.urandom(2**20) * 200
    blob = _ref(content)

    def parts() -> Iterator[v1.UploadBlobRequest]:
        yield v1.UploadBlobRequest(start=v1.UploadStart(blob=blob))
        for at in range(0, len(content), 2**20):
            yield v1.UploadBlobRequest(chunk=content[at : at + 2**20])

    assert server.stub.UploadBlob(parts(), timeout=60).status.complete
    answer = server.stub.Plan(plan_request(blob=blob.sha256), timeout=10)
    assert answer.profile_plan.power_watts == len(content)
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 150_000
    assert len(os.listdir(f"/proc/{server.process.pid}/fd")) < 60
    assert server.kill(15) == 0
