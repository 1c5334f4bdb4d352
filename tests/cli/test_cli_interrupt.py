"""Ctrl-C is an interruption, whatever a library makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import powerplan as pp
from powerplan.cli import main
from powerplan.examples import Example


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


def interrupt(*args: object, **options: object) -> None:
    """A calculation that is stopped on the way."""
    progress = options["progress"]
    if callable(progress):
        progress("verifying", 0.4)
    raise KeyboardInterrupt


def test_a_plan_that_is_stopped_says_how_far_it_was_and_how_to_have_one_in_time(
    monkeypatch: pytest.MonkeyPatch, files: Any
) -> None:
    monkeypatch.setattr("powerplan.plan", interrupt)
    result = CliRunner().invoke(main, ["plan", *files.problem, "--max-nmse", "1%"])
    assert result.exit_code == 130
    assert "interrupted at verifying: 40 % after 0 s" in result.stderr
    assert "--deadline" in result.stderr


@pytest.mark.parametrize("command", [["compare", "--sweep", "adc_bits=6,8"], ["frontier"]])
def test_what_was_planned_before_the_interrupt_is_shown(
    monkeypatch: pytest.MonkeyPatch, files: Any, iris_example: Example, command: list[str]
) -> None:
    targets = ["--max-nmse", "20%" if command[0] == "compare" else "20%,5%"]
    planned = pp.plan(iris_example.network, pp.Hardware(), iris_example.inputs, pp.MaxNMSE(0.2))

    def first_only(*args: Any, **options: Any) -> pp.Plan:
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        if command[0] == "frontier":
            options["on_point"](0, planned)
            raise KeyboardInterrupt
        return planned

    calls: list[object] = []
    monkeypatch.setattr("powerplan.plan" if command[0] == "compare" else "powerplan.frontier", first_only)
    result = CliRunner().invoke(main, [*command, *files.problem, *targets])
    assert result.exit_code == 130
    assert "NMSE <= 20.00 %" in result.stdout
    assert "1 plan" in result.stderr
    assert "powerplan batch run" in result.stderr


def test_a_study_that_is_stopped_says_what_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: Any) -> None:
    study = tmp_path / "study.toml"
    study.write_text(
        f'name = "s"\n[networks.a]\nfile = "{files.network}"\n[inputs.x]\nfile = "{files.inputs}"\n'
        "[grid]\ntarget.max_nmse = [0.01, 0.05]\n"
    )

    def stopped(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("powerplan.batch.runner.Runner.run", stopped)
    result = CliRunner().invoke(main, ["batch", "run", str(study)])
    assert result.exit_code == 130
    assert "0 of 2 points are planned and kept. Run the same command to go on." in result.stderr
