"""An answer that cannot be written is an error, not success."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = f"{sys.executable} -m powerplan"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize("words", ["presets", "presets --json", "batch schema", "--help", "--version", "serve --help"])
@pytest.mark.parametrize(("to", "why"), [("/dev/full", "No space left"), ("&-", "it is closed")])
def test_full_and_closed_stdout(words: str, to: str, why: str) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = f"{COMMAND} {words} >{to}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, env=buffered)
    assert done.returncode == 2
    assert "error: stdout: " in done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal" not in done.stderr
