"""The script behind docs/examples.md."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "reproduce_paper.py"
DOCUMENT = ROOT / "docs" / "examples.md"


@pytest.fixture(scope="module")
def script() -> dict[str, object]:
    return runpy.run_path(str(SCRIPT))


def test_text_between_markers_is_replaced_and_nothing_else(script):
    document = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"
    assert script["insert"](document, "a", "new") == "before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nafter\n"


@pytest.mark.parametrize("document", ["", "<!-- a: begin -->", "<!-- a: begin --><!-- a: end --><!-- a: end -->"])
def test_a_document_without_its_markers_is_refused(script, document):
    with pytest.raises(ValueError, match="a: begin"):
        script["insert"](document, "a", "new")


def test_the_document_shows_every_example_with_its_figures():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in ("iris", "digits", "mnist"):
        section = text.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]
        assert "| σ_p |" in section
        figures = re.findall(r"\]\((figures/[^)]+)\)", section)
        assert len(figures) == 2
        assert all((DOCUMENT.parent / figure).is_file() for figure in figures)


def test_the_documented_command_writes_tables_in_which_prediction_and_simulation_agree(script, tmp_path, monkeypatch):
    """Iris with few draws: every predicted MSE within five of the printed standard errors."""
    (tmp_path / "examples.md").write_text("".join(f"<!-- {n}: begin --><!-- {n}: end -->" for n in ("machine", "iris")))
    arguments = ["reproduce_paper.py", "iris", "--draws", "300", "--docs", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    script["main"]()
    text = (tmp_path / "examples.md").read_text(encoding="utf-8")
    off = re.findall(r"\| ([+-][\d.]+) ± ([\d.]+) % \| [+-][\d.]+ ± [\d.]+ % \|", text)
    assert len(off) == len(script["SWEEP"])
    assert all(abs(float(value)) < 5 * float(error) for value, error in off)
    assert len(list((tmp_path / "figures").iterdir())) == 2


def test_an_unknown_example_is_named_with_the_known_ones(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["reproduce_paper.py", "cifar"])
    with pytest.raises(SystemExit):
        script["main"]()
    assert "cifar" in capsys.readouterr().err
