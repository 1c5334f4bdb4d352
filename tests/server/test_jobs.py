"""Jobs: their states and events, watching from any event, cancelling, paging, expiry; and after kill -9."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import Process, Running, assert_idle, failure, wait_for

from powerplan.errors import CorruptFile
from powerplan_client._generated import v1
from powerplan_server.jobs import MAX_ATTEMPTS, JobLimits, JobState, JobStore
from powerplan_server.jobs.sqlite import SqliteJobs

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = (v1.PlanJobState.values()[i] for i in range(1, 6))


def _limits(**changed: float) -> JobLimits:
    plenty = {"unfinished": 10, "unfinished_of_tenant": 10, "running_of_tenant": 10, "outcomes_of_tenant": 2**20}
    return JobLimits(**{**plenty, "retention": 100.0} | changed)  # type: ignore[arg-type]


def _submission(what: str = "", *, label: str | None = None, salt: float = 1.0, **more: float) -> v1.SubmitPlanRequest:
    request = v1.SubmitPlanRequest(task=plan_request(what, salt=salt).task, **more)  # type: ignore[arg-type]
    if label is not None:
        request.request_id = label
    return request


def _submit(server: Running | Process, what: str = "", **more: object) -> v1.PlanJob:
    job: v1.PlanJob = server.stub.SubmitPlan(_submission(what, **more), timeout=5).job  # type: ignore[arg-type]
    return job


def _get(server: Running | Process, job: v1.PlanJob) -> v1.PlanJob:
    found: v1.PlanJob = server.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=job.job_id), timeout=5).job
    return found


def _watch(server: Running | Process, job: v1.PlanJob, after: int = 0) -> list[v1.WatchPlanJobResponse]:
    return list(server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id, after_sequence=after), timeout=30))


def test_job_runs_and_tells(server: Running) -> None:
    job = _submit(server, "sleep 0.2", label="first")
    assert (job.state, job.sequence, job.request_id) == (QUEUED, 1, "first")
    events = _watch(server, job)
    assert [e.sequence for e in events] == list(range(1, len(events) + 1))
    assert [e.state for e in events] == [QUEUED, RUNNING, RUNNING, SUCCEEDED]
    assert events[2].progress.stage == "plan"
    assert events[-1].job.response.HasField("profile_plan")
    done = _get(server, job)
    assert done == events[-1].job
    assert done.response.info.request_id == "first"
    assert done.create_time.ToNanoseconds() <= done.start_time.ToNanoseconds() < done.end_time.ToNanoseconds()
    assert done.expire_time.seconds - done.end_time.seconds == pytest.approx(7 * 86400, abs=1)


def test_watching_resumes_after_any_event(server: Running) -> None:
    job = _submit(server, "sleep 0.1", salt=2.0)
    events = _watch(server, job)
    for after in range(len(events) + 1):
        assert [e.sequence for e in _watch(server, job, after)] == list(range(after + 1, len(events) + 1))
    assert _watch(server, job, len(events) - 1)[0].job == _get(server, job)


def test_failed_job_says_why(server: Running) -> None:
    for what, reason, code in (
        ("crash SIGKILL", "ERROR_REASON_WORKER_CRASHED", grpc.StatusCode.INTERNAL),
        ("refuse 2", "ERROR_REASON_INVALID_REQUEST", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        error = _watch(server, _submit(server, what))[-1].job.error
        assert (v1.ErrorReason.Name(error.reason), error.code) == (reason, code.value[0])
    assert [v.field for v in error.field_violations] == ["task.field0", "task.field1"]


def test_run_limit_ends_a_job(server: Running) -> None:
    ended = _watch(server, _submit(server, "burn 10", run_limit_seconds=0.3))[-1].job
    assert (ended.state, v1.ErrorReason.Name(ended.error.reason)) == (FAILED, "ERROR_REASON_DEADLINE_EXCEEDED")
    failed = failure(lambda: _submit(server, run_limit_seconds=1e9))
    assert (failed.code, failed.bad.field_violations[0].field) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "run_limit_seconds",
    )


def test_cancel_stops_a_running_job_and_a_queued_one(server: Running) -> None:
    running, queued = _submit(server, "burn 20"), _submit(server, "burn 20", salt=3.0)
    wait_for(lambda: _get(server, running).state == RUNNING and server.server.admission.running == 1)
    pids = server.server.pool.pids()
    for job in (queued, running):
        answer = server.stub.CancelPlanJob(v1.CancelPlanJobRequest(job_id=job.job_id), timeout=5).job
        assert answer.state == CANCELLED
        assert _watch(server, job)[-1].job.error.reason == v1.ErrorReason.ERROR_REASON_CANCELLED
    assert_idle(server, pids)
    done = _submit(server, salt=4.0)
    _watch(server, done)
    assert server.stub.CancelPlanJob(v1.CancelPlanJobRequest(job_id=done.job_id), timeout=5).job.state == SUCCEEDED


def test_a_deleted_job_is_gone(server: Running) -> None:
    """An ended one, and a running one, whose worker is stopped and whose watcher is told."""
    ended = _submit(server, label="delete-me")
    _watch(server, ended)
    running = _submit(server, "sleep 60", salt=2.0)
    watch = server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=running.job_id), timeout=30)
    wait_for(lambda: _get(server, running).state == RUNNING)
    for job in (ended, running):
        server.stub.DeletePlanJob(v1.DeletePlanJobRequest(job_id=job.job_id), timeout=5)
        for call in (server.stub.GetPlanJob, server.stub.DeletePlanJob):
            failed = failure(lambda job=job, call=call: call(v1.GetPlanJobRequest(job_id=job.job_id), timeout=5))
            assert failed.reason == "JOB_NOT_FOUND"
    assert failure(lambda: watch).reason == "JOB_NOT_FOUND"
    wait_for(lambda: server.server.admission.running == 0)
    assert not _submit(server, label="delete-me").response.HasField("info")  # the request id is free again


def test_submitting_again_gives_the_same_job(server: Running) -> None:
    first = server.stub.SubmitPlan(_submission(label="again", salt=5.0), timeout=5)
    second = server.stub.SubmitPlan(_submission(label="again", salt=5.0), timeout=5)
    assert (first.existing, second.existing) == (False, True)
    assert first.job.job_id == second.job.job_id
    failed = failure(lambda: server.stub.SubmitPlan(_submission(label="again", salt=6.0), timeout=5))
    assert (failed.code, failed.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")


def test_validating_makes_no_job(server: Running) -> None:
    request = _submission("refuse 1")
    request.validate_only = True
    assert failure(lambda: server.stub.SubmitPlan(request, timeout=5)).reason == "INVALID_REQUEST"
    request = _submission()
    request.validate_only = True
    assert not server.stub.SubmitPlan(request, timeout=5).HasField("job")


def test_pages_go_through_all_jobs_once(start: Callable[..., Running]) -> None:
    server = start(workers=1)
    made = [_submit(server, salt=float(i + 1)).job_id for i in range(7)]
    wait_for(lambda: server.server.jobs.unfinished == 0)
    listed, token = [], ""
    while True:
        page = server.stub.ListPlanJobs(v1.ListPlanJobsRequest(page_size=3, page_token=token), timeout=5)
        listed += [job.job_id for job in page.jobs]
        assert not any(job.HasField("response") for job in page.jobs)
        token = page.next_page_token
        if not token:
            break
    assert listed == made[::-1]
    assert not server.stub.ListPlanJobs(v1.ListPlanJobsRequest(states=[FAILED]), timeout=5).jobs
    for bad in (
        {"page_size": -1},
        {"page_size": 1001},
        {"page_token": "x"},
        {"page_token": "9" * 30},
        {"states": [99]},
    ):
        failed = failure(lambda bad=bad: server.stub.ListPlanJobs(v1.ListPlanJobsRequest(**bad), timeout=5))
        assert failed.code is grpc.StatusCode.INVALID_ARGUMENT


def test_unfinished_jobs_are_bounded(start: Callable[..., Running]) -> None:
    server = start(workers=1, job_queue_size=2)
    jobs = [_submit(server, "sleep 0.3", salt=float(i + 1)) for i in range(2)]
    failed = failure(lambda: _submit(server, salt=9.0))
    assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    assert failed.retry.HasField("retry_delay")
    assert [_watch(server, job)[-1].state for job in jobs] == [SUCCEEDED] * 2
    assert _watch(server, _submit(server, salt=9.0))[-1].state == SUCCEEDED


def test_direct_calls_find_a_worker_beside_jobs(start: Callable[..., Running]) -> None:
    server = start(workers=2)
    for i in range(3):
        _submit(server, "sleep 5", salt=float(i + 1))
    wait_for(lambda: server.server.admission.running == 1)
    assert server.stub.Plan(plan_request(), timeout=2).HasField("profile_plan")


def test_ended_jobs_expire(tmp_path: Path) -> None:
    store = JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(retention=-1.0))
    store.add(tenant="a", request_id="x", digest="d", request=b"", blobs=[], run_limit=1.0)
    job = store.claim()
    assert job is not None
    assert store.expire() == 0
    assert store.end(job, JobState.SUCCEEDED, response=b"r")
    assert not store.end(job, JobState.FAILED)
    assert store.expire() == 1
    assert store.get("a", job.id) is None
    assert not store.events(job, 0)
    _, existing = store.add(tenant="a", request_id="x", digest="d", request=b"", blobs=[], run_limit=1.0)
    assert not existing
    store.database.close()


def test_job_that_kills_the_server_again_and_again_is_given_up(start: Callable[..., Running], tmp_path: Path) -> None:
    """After several starts the job is reported failed and not tried for ever."""
    store = JobStore(SqliteJobs(tmp_path / "data0" / "jobs.sqlite"), limits=_limits(retention=100))
    job, _ = store.add(tenant="anonymous", request_id=None, digest="d", request=b"", blobs=["ab" * 32], run_limit=1.0)
    for attempt in range(MAX_ATTEMPTS):
        claimed = store.claim()
        assert claimed is not None
        assert claimed.id == job.id
        if attempt < MAX_ATTEMPTS - 1:
            assert store.requeue(claimed, count_attempt=True)
    store.database.close()
    found = _get(start(workers=1), v1.PlanJob(job_id=job.id))
    assert (found.state, found.error.reason) == (FAILED, v1.ErrorReason.ERROR_REASON_SERVER_RESTARTED)


def test_kill_of_the_server_loses_no_job_and_no_upload(tmp_path: Path) -> None:
    """kill -9 with one job running and three waiting: after the restart all are there and end well."""
    log = tmp_path / "log"
    first = Process.fake(tmp_path / "data", log, "workers=1")
    jobs = [_submit(first, "sleep 1", salt=float(i + 1), label=f"job{i}") for i in range(4)]
    wait_for(lambda: _get(first, jobs[0]).state == RUNNING)
    half = v1.UploadBlobRequest(start=v1.UploadStart(blob=v1.BlobRef(sha256="ab" * 32, size_bytes=10)))
    first.stub.UploadBlob(iter([half, v1.UploadBlobRequest(chunk=b"12345")]), timeout=5)
    workers = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _is_descendant(p, first)]
    assert first.kill(signal.SIGKILL) == -signal.SIGKILL
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5)
    second = Process.fake(tmp_path / "data", log, "workers=2", "job_workers=2")
    try:
        assert [_watch(second, job)[-1].state for job in jobs] == [SUCCEEDED] * 4
        events = _watch(second, jobs[0])
        states = [e.state for e in events]
        changes = [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]]
        assert changes == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED]
        assert second.stub.SubmitPlan(_submission("sleep 1", label="job0"), timeout=5).existing
        status = second.stub.GetBlobStatus(v1.GetBlobStatusRequest(blobs=[half.start.blob]), timeout=5).statuses[0]
        assert (status.committed_bytes, status.complete) == (5, False)
    finally:
        second.kill(signal.SIGKILL)


def test_kill_of_the_server_ends_workers_in_the_middle_of_a_calculation(tmp_path: Path) -> None:
    """The fork server is their parent, and lives as long as they do: they see that the server hung up."""
    server = Process.fake(tmp_path / "data", tmp_path / "log", "workers=2", "job_workers=2")
    try:
        for what in ("sleep 300", "burn 300"):
            job = _submit(server, what)
            wait_for(lambda job=job: _get(server, job).state == RUNNING)
        children = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _is_descendant(p, server)]
        assert len(children) >= 3  # the fork server and its two
    finally:
        server.kill(signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 5)


def _is_descendant(process: Path, server: Process) -> bool:
    try:
        parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        while parent > 1 and parent != server.process.pid:
            parent = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return False
    return parent == server.process.pid


def test_watcher_learns_of_the_shutdown(start: Callable[..., Running]) -> None:
    server = start(workers=1)
    job = _submit(server, "sleep 20")
    failed = []
    watcher = threading.Thread(target=lambda: failed.append(failure(lambda: _watch(server, job))))
    watcher.start()
    wait_for(lambda: server.server.admission.running == 1)
    server.do(server.server.stop(0.1))
    watcher.join(5)
    assert (failed[0].code, failed[0].reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    server.loop.call_soon_threadsafe(server.loop.stop)
    server.thread.join(5)
    server.channel.close()
    server.loop.close()


def test_a_job_store_from_before_its_mark_is_taken_up(tmp_path: Path) -> None:
    """Its jobs are still there, and from then on it is told from other databases and from newer ones."""
    store = JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(retention=100.0))
    job, _ = store.add(tenant="a", request_id=None, digest="d", request=b"r", blobs=[], run_limit=1.0)
    store.database.close()
    _set(tmp_path / "jobs", application_id=0, user_version=0)
    store = JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(retention=100.0))
    assert store.unfinished() == [job]
    store.database.close()
    _set(tmp_path / "jobs", user_version=99)
    with pytest.raises(CorruptFile, match=r"job store.*Upgrade powerplan"):
        JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(retention=100.0))


def test_a_database_of_something_else_stops_the_server_with_the_next_step(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "jobs")) as db:
        db.execute("CREATE TABLE photos (a)")
    with pytest.raises(CorruptFile, match=r"job store.*another database. Move it"):
        JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(retention=100.0))
    (tmp_path / "jobs").write_bytes(b"no database at all, and rather long" * 100)
    with pytest.raises(CorruptFile, match=r"undamaged job store.*restore a copy"):
        JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(retention=100.0))


def _set(path: Path, **pragmas: int) -> None:
    with closing(sqlite3.connect(path)) as db:
        for name, value in pragmas.items():
            db.execute(f"PRAGMA {name} = {value}")
