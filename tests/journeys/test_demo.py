"""What the README says that ``make demo`` prints is what it prints now."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from powerplan.cli import main
from powerplan.examples import Example

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: lines whose numbers are rounding, seconds, or places of inputs
_VARIES = ("worst inputs", "outcome", "1.0e", "certificate", "planned")
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]\d+)?")


def words_and_numbers(table: str) -> tuple[str, list[float]]:
    """What a table says without its numbers and spaces; the numbers of the lines that say the same everywhere."""
    lines = [line for line in table.splitlines() if not line.strip().startswith(_VARIES)]
    return re.sub(r"[ -]+", " ", _NUMBER.sub("", table)).strip(), [float(n) for n in _NUMBER.findall("\n".join(lines))]


@pytest.fixture
def trained_once(digits_example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powerplan.examples.load_example", lambda name, **_: digits_example)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.usefixtures("trained_once")
def test_the_readme_shows_what_make_demo_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^\S+/powerplan ((?:example|plan) .*)$", said, re.MULTILINE)
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for command in commands:
        result = CliRunner().invoke(main, shlex.split(command))
        assert result.exit_code == 0, result.output
    (shown,) = re.findall(r"^```\n(layer .*?)^```$", README, re.DOTALL | re.MULTILINE)
    (words, numbers), (printed, anew) = words_and_numbers(shown), words_and_numbers(result.stdout)
    assert words == printed
    assert len(numbers) > 50
    assert anew == pytest.approx(
        numbers, rel=0.03
    )  # another processor trains a network that differs in the third digit
