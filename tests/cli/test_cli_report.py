"""``powerplan report``: from plan and frontier files to one page that tells nothing about the machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def plan_file(run: Run, files: Any, tmp_path: Path) -> Path:
    file = tmp_path / "my plan.json"
    options = ["--max-nmse", "2%", "--programming-noise-std", "1uS", "--output", str(file)]
    assert run("plan", *files.problem, *options).exit_code == 0
    return file


def test_page_of_a_plan_names_the_file_and_no_folder(run: Run, files: Any, plan_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = run("report", str(plan_file), "--network", files.network, "--output", str(page), "--title", "iris")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "wrote" in result.stderr
    text = page.read_text(encoding="utf-8")
    assert "<h1>iris: NMSE ≤" in text
    assert "Range used" in text
    for folder in (tmp_path, files.folder, Path.home(), Path.cwd()):
        assert str(folder) + "/" not in text


def test_page_of_several_plans_names_each_after_its_file(run: Run, plan_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / plan_file.name).write_bytes(plan_file.read_bytes())
    result = run("report", str(plan_file), str(other / plan_file.name), "--output", "report.html")
    assert result.exit_code == 0, result.output
    text = Path("report.html").read_text(encoding="utf-8")
    assert ">my plan</a>" in text
    assert ">my plan (2)</a>" in text
    assert str(tmp_path) not in text


def test_page_of_a_frontier(run: Run, files: Any) -> None:
    result = run("frontier", *files.problem, "--programming-noise-std", "1uS", "--max-nmse", "2%,5%", "--json")
    Path("frontier.json").write_text(result.stdout)
    assert len(json.loads(result.stdout)["points"]) == 2
    assert run("report", "frontier.json", "--output", "report.html").exit_code == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "Least power for an error" in page
    named = [f">NMSE ≤ {bound} %</" in page.replace("\N{NO-BREAK SPACE}", " ") for bound in ("2.000", "5.000")]
    assert named == [True, True]  # a frontier's plans are called by their targets


def test_bad_use_is_refused_before_anything_is_written(run: Run, files: Any, plan_file: Path) -> None:
    Path("not.json").write_text("{")
    for name, format in (("other", "prediction"), ("compared", "comparison"), ("what", "what")):
        Path(f"{name}.json").write_text(json.dumps({"format": f"powerplan.{format}"}))
    for arguments, words in (
        (["--output", "r.html"], "files: got none"),
        ([str(plan_file)], "--output"),
        (["missing.json", "--output", "r.html"], "file: got 'missing.json'"),
        (["not.json", "--output", "r.html"], "does not parse"),
        (["other.json", "--output", "r.html"], "powerplan predict ... --html FILE.html"),
        (["compared.json", "--output", "r.html"], "powerplan compare ... --html FILE.html"),
        (["what.json", "--output", "r.html"], "plan.format"),
        ([str(plan_file), "--output", "nowhere/r.html"], "output: got"),
        ([str(plan_file), "--network", "missing.npz", "--output", "r.html"], "network: got"),
    ):
        result = run("report", *arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
        assert not Path("r.html").exists()
