"""``powerplan serve --check`` and ``--backup``: what a server would find, and a copy of its data folder."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import planner_postgres
import pytest
import trustme
from click.testing import CliRunner
from planner_fakes import plan_request
from planner_postgres import Postgres
from planner_running import Process, Running, wait_for

from powerplan.cli import main
from powerplan.errors import InvalidInput
from powerplan_client._generated import v1


def _serve(*arguments: object) -> tuple[int, list[str]]:
    """Exit code and lines of a command."""
    done = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    return done.exit_code, done.output.splitlines()


def _certificate(folder: Path, *, days: float) -> list[str]:
    """Settings with a certificate that holds for so long from now on."""
    now = dt.datetime.now(dt.UTC)
    issued = trustme.CA().issue_cert(
        "localhost", not_before=now - dt.timedelta(days=99), not_after=now + dt.timedelta(days=days)
    )
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return ["--tls-certificate", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]


def test_all_that_a_start_needs_is_checked(tmp_path: Path) -> None:
    code, lines = _serve(
        *("--check", "--listen", "127.0.0.1:0", "--http-listen", "[::1]:0", "--data-dir", tmp_path / "new" / "data"),
        *_certificate(tmp_path, days=10.5),
    )
    assert code == 0
    assert [line.split()[:2] for line in lines] == [
        ["ok", name] for name in ("listen", "http_listen", "tokens", "tls_certificate", "data_dir", "http_listen")
    ]
    assert lines[3].endswith("10 days: renew it soon")
    assert not (tmp_path / "new").exists()


def test_what_would_stop_a_start_is_said_together(start: Callable[..., Running], tmp_path: Path) -> None:
    running = start(workers=1)
    folder = running.config.data_path
    code, lines = _serve(
        *("--check", "--listen", f"127.0.0.1:{running.server.port}", "--data-dir", folder),
        *("--token-file", tmp_path / "nothing", *_certificate(tmp_path, days=-1)),
    )
    assert code == 2
    words = {line.split()[1]: line for line in lines if line.startswith("FAIL")}
    assert set(words) == {"listen", "tokens", "tls_certificate", "data_dir"}
    assert "in use" in words["listen"]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "socket"))
        other.listen()
        code, lines = _serve("--check", "--listen", f"unix:{tmp_path / 'socket'}", "--data-dir", tmp_path)
    assert (code, lines[0].split()[:2]) == (2, ["FAIL", "listen"])
    assert "has expired" in words["tls_certificate"]
    assert "A server uses it now" in words["data_dir"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")
@pytest.mark.parametrize("setting", ["--data-dir", "--blob-store"])
def test_a_folder_that_cannot_be_made_is_found(tmp_path: Path, setting: str) -> None:
    """By root as well, who may write everywhere; nothing is left of the try."""
    (tmp_path / "file").touch()
    for folder, near in ((Path("/proc/nope/data"), "/proc"), (tmp_path / "file" / "data", tmp_path / "file")):
        folders = {"--data-dir": tmp_path / "data", setting: folder}
        code, lines = _serve("--check", "--listen", "127.0.0.1:0", *(word for pair in folders.items() for word in pair))
        (failed,) = [line for line in lines if line.startswith("FAIL")]
        assert (code, failed.split()[1]) == (2, setting.removeprefix("--").replace("-", "_"))
        assert f"{near} is no folder that can be written: " in failed
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_use_keeps_a_second_server_from_starting(start: Callable[..., Running]) -> None:
    """Whose message says so; the folder that cannot be made says why."""
    running = start(workers=1)
    with pytest.raises(InvalidInput) as refused:
        start(workers=1, data_dir=running.config.data_dir)
    (violation,) = refused.value.violations
    assert (violation.field, violation.advice) == ("serve.data_dir", "A server uses it now.")
    assert running.config.data_dir in violation.value
    with pytest.raises(InvalidInput, match=r"serve\.data_dir: .*Not a directory"):
        start(workers=1, data_dir=str(Path(running.config.data_dir) / "lock" / "data"))
    assert running.health() == 1


def test_a_check_leaves_what_is_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "room").write_bytes(b"a file of somebody else")
    assert _serve("--check", "--listen", "127.0.0.1:0", "--data-dir", tmp_path)[0] == 0
    assert (tmp_path / "room").read_bytes() == b"a file of somebody else"


def test_a_damaged_store_is_found_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(damaged := b"SQLite format 3\0" + b"x" * 5000)
    code, lines = _serve("--check", "--listen", "127.0.0.1:0", "--data-dir", tmp_path)
    assert (code, [line.split()[1] for line in lines if line.startswith("FAIL")]) == (2, ["jobs"])
    assert (tmp_path / "jobs.sqlite").read_bytes() == damaged


@planner_postgres.needed
def test_what_servers_share_is_checked(postgres: Postgres, sharing: dict[str, str], tmp_path: Path) -> None:
    """Nothing of it is changed; where it cannot be used, that is said of each; backups are those of the database."""
    common = ("--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data")
    for store in (sharing["blob_store"], f"file://{tmp_path}/objects"):
        code, lines = _serve("--check", *common, "--database", sharing["database"], "--blob-store", store)
        found = {line.split()[1]: line for line in lines}
        assert (code, set(found)) == (0, {"listen", "tokens", "data_dir", "blob_store", "database"})
        assert "its tables will be made" in found["database"]
    (tmp_path / "file").touch()
    away = ("--database", postgres.address("nothing"), "--blob-store", tmp_path / "file" / "folder")
    code, lines = _serve("--check", *common, *away)
    assert (code, {line.split()[1] for line in lines if line.startswith("FAIL")}) == (2, {"blob_store", "database"})
    settings = ("--database", sharing["database"], "--blob-store", sharing["blob_store"])
    code, lines = _serve(*common, *settings, "--backup", tmp_path / "copy")
    assert (code, "pg_dump" in " ".join(lines)) == (2, True)


@pytest.mark.slow
def test_a_backup_is_a_data_folder(tmp_path: Path) -> None:
    """Made while jobs come and end; a server on the copy has what had ended and runs what had not."""
    server = Process.fake(tmp_path / "data", tmp_path / "log", "workers=1")
    content = os.urandom(10_000)
    blob = v1.BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    parts = [v1.UploadBlobRequest(start=v1.UploadStart(blob=blob)), v1.UploadBlobRequest(chunk=content)]
    assert server.stub.UploadBlob(iter(parts), timeout=5).status.complete
    ended, waiting = (
        server.stub.SubmitPlan(v1.SubmitPlanRequest(task=task), timeout=5).job
        for task in (plan_request(weights=blob.sha256).task, plan_request("sleep 60").task)
    )
    wait_for(lambda: _state(server, ended) == 3 and _state(server, waiting) == 2)
    code, lines = _serve("--data-dir", tmp_path / "data", "--backup", tmp_path / "copy")
    assert (code, lines) == (0, [f"{tmp_path / 'copy'}: 2 jobs, 1 uploads"])
    assert _serve("--data-dir", tmp_path / "data", "--backup", tmp_path / "copy")[0] == 2
    outcome = server.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=ended.job_id), timeout=5).job
    server.kill(signal.SIGKILL)
    restored = Process.fake(tmp_path / "copy", tmp_path / "log", "workers=1")
    assert restored.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=ended.job_id), timeout=5).job == outcome
    assert restored.stub.GetBlobStatus(v1.GetBlobStatusRequest(blobs=[blob]), timeout=5).statuses[0].complete
    wait_for(lambda: _state(restored, waiting) == 2)
    restored.kill(signal.SIGKILL)


@pytest.mark.parametrize("name", ["data", "copy"])
def test_folders_that_a_backup_cannot_use(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "something").touch()
    code, lines = _serve("--data-dir", tmp_path / "data", "--backup", tmp_path / "copy")
    assert code == 2
    assert "jobs.sqlite" in lines[0]


def _state(server: Process, job: v1.PlanJob) -> int:
    return server.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=job.job_id), timeout=5).job.state
