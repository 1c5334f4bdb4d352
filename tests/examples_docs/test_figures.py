"""Figures of the documentation: each is drawn by a command that stands in the repository, and is what it draws now."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import draw_architecture, draw_diagrams, draw_gallery

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs" / "figures"
DIAGRAMS = (draw_architecture.architecture, *draw_diagrams.DIAGRAMS)
#: of the 200 to 300 points that a panel is high: another processor trains networks that differ in the third digit
_POINTS = 3.0


def figures_of(page: str) -> set[str]:
    """Files that a page shows, from the folder of figures."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return set(re.findall(r"!\[[^]]*\]\((?:docs/)?figures/([^)]+)\)", text))


@pytest.mark.parametrize("draw", DIAGRAMS, ids=lambda draw: draw.__name__)
def test_diagrams_are_those_that_the_scripts_draw(draw: draw_diagrams.Draw, tmp_path: Path) -> None:
    draw().write(tmp_path / "drawn.svg")
    assert (tmp_path / "drawn.svg").read_text() == (FIGURES / f"{draw.__name__}.svg").read_text()


def lines_of(svg: str) -> list[np.ndarray]:
    """The places of every bar and line of a plot."""
    paths = re.findall(r'<g id="(?:patch|line2d)_\d+">\s*<path d="([^"]+)"', svg)
    return [np.array(re.findall(r"-?\d+\.?\d*", path), float) for path in paths]


@pytest.mark.slow
@pytest.mark.parametrize("folder", draw_gallery.PAGES)
def test_pages_draw_the_figures_that_they_show(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page, heading = draw_gallery.PAGES[folder]
    draw_gallery.draw(page, heading)
    drawn = list(tmp_path.iterdir())
    assert "plan.svg" in {file.name for file in drawn}
    for file in drawn:
        lines, kept = lines_of(file.read_text()), lines_of((ROOT / folder / file.name).read_text())
        assert [len(line) for line in lines] == [len(line) for line in kept], file.name
        assert len(lines) > 10
        np.testing.assert_allclose(np.concatenate(lines), np.concatenate(kept), atol=_POINTS, rtol=0, err_msg=file.name)


def test_every_figure_has_a_command_and_a_page() -> None:
    drawn = {f"{draw.__name__}.svg" for draw in DIAGRAMS}
    for folder, (page, _) in draw_gallery.PAGES.items():
        written = re.findall(r"\"(\w+\.svg)\"", (ROOT / page).read_text(encoding="utf-8"))
        drawn |= {(Path(folder) / name).relative_to("docs/figures").as_posix() for name in written}
    for page in (ROOT / "docs").glob("*.md"):  # commands that pages show
        drawn |= set(re.findall(r"--plot\S* docs/figures/(\S+)", page.read_text(encoding="utf-8")))
    for script in (*(ROOT / "benchmarks").glob("draw_*.py"), ROOT / "examples" / "reproduce_paper.py"):
        for name in re.findall(r"[\"/]((?:\{name\})?\w+\.(?:svg|png))\"", script.read_text(encoding="utf-8")):
            drawn |= {name.replace("{name}", example) for example in ("iris", "digits", "mnist")}
    files = {file.relative_to(FIGURES).as_posix() for file in FIGURES.rglob("*.*")}
    assert files - drawn == set()
    shown = set().union(
        *map(figures_of, ("README.md", *(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md"))))
    )
    assert shown == files
