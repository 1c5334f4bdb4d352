"""The one writer: regular files whole or not at all, links and modes kept, pipes and devices written into."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
from powerplan.batch.blobs import Blobs
from powerplan.files import write_bytes


@pytest.fixture
def umask() -> Callable[[int], None]:
    """Set the umask; it is put back after the test."""
    before = os.umask(0o022)
    yield os.umask  # type: ignore[misc]
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("mask", "wanted"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_that_the_umask_leaves(
    tmp_path: Path, umask: Callable[[int], None], mask: int, wanted: int
) -> None:
    umask(mask)
    write_bytes("file", tmp_path / "new", b"x")
    assert mode(tmp_path / "new") == wanted


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o755])
def test_an_existing_file_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "old"
    file.write_bytes(b"old")
    file.chmod(kept)
    write_bytes("file", file, b"new")
    assert mode(file) == kept
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "results" / "target", tmp_path / "latest"
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    (tmp_path / "middle").symlink_to("results/target")
    link.symlink_to("middle")
    write_bytes("file", link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "middle").is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(p.name for p in target.parent.iterdir()) == ["target"]


def test_a_named_pipe_is_written_into(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = bytes(range(256)) * 1000  # more than a pipe holds
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_bytes("file", pipe, content)
    reader.join(20)
    assert read == [content]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_written_into() -> None:
    write_bytes("file", "/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_open_file_is_written_into_not_replaced(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w+b") as log:
        log.write(b"before ")
        log.flush()
        write_bytes("file", f"/dev/fd/{log.fileno()}", b"answer")
        assert os.fstat(log.fileno()).st_ino == (tmp_path / "log").stat().st_ino
    assert (tmp_path / "log").read_bytes() == b"before answer"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(pp.InvalidInput, match=os.strerror(number)):
        write_bytes("plan file", file, b"new")
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_where_nothing_can_be_moved_the_file_itself_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mounted"
    file.write_bytes(b"old and longer")

    def busy(source: str, target: str) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(os, "replace", busy)
    write_bytes("file", file, b"new")
    assert file.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["mounted"]


def test_folders_are_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "It is a folder"), (tmp_path / "missing" / "file", "No such file")):
        with pytest.raises(pp.InvalidInput, match=reason):
            write_bytes("file", path, b"x")
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(pp.InvalidInput, match="symbolic links"):
        write_bytes("file", loop, b"x")


@pytest.mark.slow
def test_everything_that_is_saved_goes_through_it(tmp_path: Path, umask: Callable[[int], None]) -> None:
    umask(0o077)
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(3, 4))])
    inputs = rng.normal(size=(4, 4))
    plan = pp.plan(network, pp.Hardware(), inputs, pp.MaxNMSE(0.2))
    writers: dict[str, Callable[[Path], object]] = {
        "net.npz": network.save,
        "plan.json": plan.save,
        "plan.png": lambda file: plan.plot(file),
        "plan.html": lambda file: plan.report(file),
        "tiles.npz": lambda file: pp.export(plan, network).save(file, overwrite=True),
    }
    for name, write in writers.items():
        (tmp_path / "real").mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(Path("real") / name)
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink(), name
        assert mode(tmp_path / "real" / name) == 0o600, name
        before = (tmp_path / "real" / name).read_bytes()
        write(tmp_path / name)
        assert (tmp_path / "real" / name).read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == sorted(writers)
    blob = Blobs(tmp_path / "blobs").put(b"x")
    assert mode(tmp_path / "blobs" / blob) == 0o600
