"""Ctrl-C is an interruption, whatever a library makes of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from powerplan.cli import main


def test_an_interrupt_wrapped_in_another_error_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(*args: object, **options: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("Error calling __set_name__") from interrupt

    monkeypatch.setattr("powerplan.examples.load_example", wrapped)
    result = CliRunner().invoke(main, ["predict", "--example", "iris"])
    assert result.exit_code == 130
    assert "interrupted" in result.output


def test_an_interrupt_while_the_command_line_is_imported_exits_with_130() -> None:
    script = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
import powerplan.cli
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")
