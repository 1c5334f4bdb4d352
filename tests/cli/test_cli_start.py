"""The command line starts fast, says what it can do, and refuses wrong use."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result

import powerplan
from powerplan.cli.group import COMMANDS

HEAVY = ("numpy", "torch", "cvxpy", "scipy", "sklearn", "matplotlib", "grpc")


def processor_time_of_programs() -> float:
    """Seconds that the programs started and ended so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"]])
def test_first_answer_is_fast_and_imports_nothing_heavy(arguments: list[str]) -> None:
    """Under half a second of a processor (the best of five), without numpy, torch or cvxpy."""
    code = (
        "import sys, atexit; "
        f"atexit.register(lambda: print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)); "
        f"sys.argv = ['powerplan', *{arguments!r}]; from powerplan.cli import main; main()"
    )
    times = []
    for _ in range(5):
        start = processor_time_of_programs()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        times.append(processor_time_of_programs() - start)
        assert done.stderr.strip() == "[]"
        if times[-1] < 0.5:
            break
    assert min(times) < 0.5


def test_no_command_loads_the_engine_to_explain_itself_or_to_refuse_wrong_use() -> None:
    code = (
        "import sys; from importlib import import_module; from powerplan.cli import main; "
        f"[import_module(module) for module, _ in {list(COMMANDS.values())!r}]; "
        "exits = [main(use, standalone_mode=False) for use in (['plan', '--help'], ['plan', '--max-nmse', '1%'])]; "
        f"print([m for m in {HEAVY!r} if m in sys.modules], exits)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "['numpy', 'grpc'] [0, 2]"


def test_bare_command_shows_the_help(run: Callable[..., Result]) -> None:
    result = run()
    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)
    assert "infeasible target" in result.stdout  # the exit codes


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(run: Callable[..., Result], name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: powerplan {name} ")
    assert ("--json" in result.stdout) is (name not in ("serve", "mcp"))  # they answer in another way


def test_version(run: Callable[..., Result]) -> None:
    assert powerplan.__version__ in run("--version").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plann"], "Did you mean 'plan'?"),
        (["plan", "--max-nsme", "0.1"], "--max-nmse"),
        (["plan", "--max-nmse", "much"], "got 'much'"),
        (["plan", "--example", "iris"], "target: got none"),
        (["plan", "--example", "iris", "--max-nmse", "1%", "--max-mse", "1"], "got --max-mse and --max-nmse"),
        (["plan", "--max-nmse", "1%"], "network: give exactly one of"),
        (["plan", "--example", "iris", "--network", "x.npz", "--max-nmse", "1%"], "network: give exactly one of"),
        (["plan", "--network", "x.npz", "--max-nmse", "1%"], "inputs: --network needs calibration inputs"),
        (["frontier", "--example", "iris"], "targets: give --max-nmse"),
        (["frontier", "--example", "iris", "--max-nmse", "1%", "--to", "1"], "not both"),
        (["predict", "--example", "iris", "--gains", "g.json", "--voltage", "1"], "not both"),
        (["simulate", "--example", "iris", "--draws", "0"], "draws: got 0"),
    ],
)
def test_wrong_use_is_exit_2_with_one_line(run: Callable[..., Result], arguments: list[str], message: str) -> None:
    result = run(arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    first, *rest = result.stderr.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert [line for line in rest if not line.startswith("Run 'powerplan")] == []
