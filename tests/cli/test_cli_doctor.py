"""``powerplan doctor``, what shells complete, and progress that nobody watches."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from click.testing import Result

import powerplan as pp
from powerplan.cli import progress as progress_module
from powerplan.cli.chat import Chat
from powerplan.cli.commands import doctor
from powerplan.errors import DISTRIBUTION, install_command

Run = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]


def test_all_is_well_here(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POWERPLAN_DATA", raising=False)
    said = run("doctor", "--json")
    assert said.exit_code == 0
    document = json.loads(said.stdout)
    assert document["format"] == "powerplan.doctor"
    found = {finding["name"]: finding for finding in document["findings"]}
    assert found["numpy"]["text"] == version("numpy")
    assert found["self-test"]["state"] == "ok"
    assert "KKT residual" in found["self-test"]["text"]
    assert found["MNIST"]["state"] == "absent"
    assert "server" not in found
    assert "ok     self-test" in run("doctor").stdout


def test_what_is_wrong_is_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("POWERPLAN_DATA", str(tmp_path))
    said = run("doctor", "--server", "localhost:1")
    assert said.exit_code == 1
    wrong = [line for line in said.stdout.splitlines() if line.startswith("WRONG")]
    assert [line.split()[1] for line in wrong] == ["MNIST", "server"]
    assert "something is wrong" in said.stderr


def test_a_plan_that_misses_is_noticed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise pp.SolverFailed("no solver")

    monkeypatch.setattr(pp, "plan", broken, raising=False)
    said = run("doctor")
    assert said.exit_code == 1
    assert "WRONG  self-test" in said.stdout
    assert "SolverFailed: no solver" in said.stdout


def test_parts_that_are_not_installed_say_how(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    assert {finding.state for finding in doctor._parts()} == {"absent"}
    assert "pip install 'powerplan-crossbar[plot]'" in doctor._parts()[0].text


def test_another_project_of_the_same_name_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"powerplan": "1.2.0"}
    monkeypatch.setattr(doctor, "version", lambda name: installed.get(name, "1.0"))
    (found,) = [finding for finding in doctor._versions() if finding.name == "namesake"]
    assert found.state == "wrong"
    assert "powerplan 1.2.0" in found.text
    assert found.text.endswith("pip install --force-reinstall --no-deps powerplan-crossbar")


def test_advice_names_the_package_that_this_is() -> None:
    """Wheels are built under the name that messages advise to install, with the extras that they name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == DISTRIBUTION
    assert install_command("plot") == f"pip install '{project['name']}[plot]'"
    extras = project["optional-dependencies"]
    assert doctor._OPTIONAL.keys() == extras.keys() - {"dev", "docs"}
    for extra, package in doctor._OPTIONAL.items():
        assert any(re.match(rf"{package}\b", requirement) for requirement in extras[extra])


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("powerplan plan --preset pcm_h", ["plain,pcm_hermes_1dev", "plain,pcm_hermes_2dev"]),
        ("powerplan plan --example dig", ["plain,digits"]),
        ("powerplan example ir", ["plain,iris"]),
        ("powerplan presets sonos", ["plain,sonos_agrawal2022"]),
        ("powerplan plan --hardware ch", ["file,ch"]),
        ("powerplan report pl", ["file,pl"]),
        ("powerplan comp", ["plain,compare"]),
        ("powerplan plan --method li", ["plain,linearized"]),
        ("powerplan plan --optimize conductance,adc_b", ["plain,conductance,adc_bits"]),
        ("powerplan simulate --read-out t", ["plain,tia"]),
        ("powerplan plan --wire-preset node_22", ["plain,node_22nm"]),
    ],
)
def test_shells_complete_names_and_files(words: str, completed: list[str]) -> None:
    """As bash asks for it."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_POWERPLAN_COMPLETE": "bash_complete"}
    code = "import sys; sys.argv = ['powerplan']; from powerplan.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == completed


def test_progress_that_is_piped_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also before the calculation says anything, and with the time left of what has begun, not of what came before."""
    now = 100.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now)
    lines, chat = progress_module.Lines(), Chat()
    monkeypatch.setattr(lines, "_run", lambda: None)
    chat._lines = lines
    chat.doing("reading net.npz")
    now = 110.0
    lines._write()
    with chat.progress() as progress:
        assert progress is not None
        progress("optimising", 0.0)
        for later, fraction in ((115.0, 0.05), (135.0, 0.25)):
            now = later
            progress("optimising", fraction)
            lines._write()
    assert capsys.readouterr().err.splitlines() == [
        "reading net.npz after 10 s",
        "optimising: 5 % after 15 s",
        "optimising: 25 % after 35 s, about 75 s left",
    ]


def test_the_time_left_falls_and_is_not_told_once_nothing_has_moved_for_longest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now)
    lines = progress_module.Lines()
    monkeypatch.setattr(lines, "_run", lambda: None)
    for later, fraction in ((0.0, 0.0), (30.0, 0.4), (40.0, 0.5), (60.0, 0.5), (80.0, 0.5), (82.0, 0.6)):
        now = later
        lines.doing("calibrating", fraction)
        lines._write()
    assert capsys.readouterr().err.splitlines() == [
        "calibrating after 0 s",
        "calibrating: 40 % after 30 s, about 45 s left",
        "calibrating: 50 % after 40 s, about 40 s left",
        "calibrating: 50 % after 60 s, about 20 s left",
        "calibrating: 50 % after 80 s",
        "calibrating: 60 % after 82 s, about 55 s left",
    ]


def test_the_first_line_comes_within_a_second_whatever_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert progress_module.FIRST < 1
    monkeypatch.setattr(progress_module, "FIRST", 0.01)
    chat = Chat()
    chat.doing("reading net.npz")
    begun = time.monotonic()
    said = ""
    while not said and time.monotonic() < begun + 20:
        said = capsys.readouterr().err
        time.sleep(0.01)
    assert said == "reading net.npz after 0 s\n"
    chat.hush()
    assert [thread for thread in threading.enumerate() if thread.name == "powerplan-progress"] == []


def test_progress_is_not_told_to_nobody() -> None:
    with Chat(quiet=True).progress() as progress:
        assert progress is None
