"""The page about a new error source: its diff applies, touches five files, and the source is there at every door."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOORS = Path(__file__).parent / "new_source_doors.py"
DIFF = re.search(r"```diff\n(.*?)```", (ROOT / "docs" / "new-source.md").read_text(encoding="utf-8"), re.DOTALL)


def test_five_files_are_written_by_hand() -> None:
    assert DIFF is not None
    assert len(re.findall(r"^\+\+\+ ", DIFF[1], re.MULTILINE)) == 5


@pytest.mark.slow
def test_the_new_source_is_at_every_door(tmp_path: Path) -> None:
    assert DIFF is not None
    ignored = shutil.ignore_patterns("__pycache__", ".venv")
    for folder in ("powerplan", "client", "server", "proto", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    (tmp_path / "docs").mkdir()
    paths = [str(tmp_path / folder) for folder in ("", "client", "server")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}

    def run(*command: str, text: str | None = None) -> None:
        done = subprocess.run(command, cwd=tmp_path, env=environment, input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("git", "apply", "-", text=DIFF[1])
    for script in ("generate_proto.py", "document_wire.py", "generate_client.py"):
        run(sys.executable, str(tmp_path / "scripts" / script))
    run(sys.executable, str(DOORS))
