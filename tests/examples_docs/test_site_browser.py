"""Pages of the documentation in a real browser: no wider than a phone, and usable by keyboard and screen reader."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM, DARK, LIGHT, is_too_wide, serious

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: with wide tables, formulas, figures, commands and code, and signatures
PAGES = ("hardware", "mathematics", "gallery", "cli", "api/errors")

pytestmark = [pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"), pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of these pages alone; their links to others are not followed."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "docs"
    for part in ("static", "templates", "figures"):
        shutil.copytree(DOCS / part, source / part)
    for name in ("conf.py", *(f"{page}.md" for page in PAGES)):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(DOCS / name, source / name)
    (source / "index.md").write_text("# Start\n\n```{toctree}\n" + "\n".join(PAGES) + "\n```\n")
    command = [sys.executable, "-m", "sphinx", "-Q", "-b", "html", str(source), str(folder / "html")]
    subprocess.run(command, cwd=DOCS.parent, check=True)
    return folder / "html"


@pytest.mark.parametrize(("page", "scheme"), [(page, (LIGHT, DARK)[i % 2]) for i, page in enumerate(PAGES)], ids=str)
def test_axe_finds_nothing_serious(site: Path, page: str, scheme: str) -> None:
    assert serious(site / f"{page}.html", scheme) == []


@pytest.mark.parametrize("page", PAGES)
def test_page_is_no_wider_than_its_window(site: Path, page: str) -> None:
    assert not is_too_wide(site / f"{page}.html", 500)


def test_the_checks_find_what_is_wrong(tmp_path: Path) -> None:
    page = tmp_path / "wrong.html"
    body = '<img src="x.png"><p style="width: 900px">wide</p>'
    page.write_text(f'<!DOCTYPE html><html lang="en"><title>wrong</title><body>{body}</body></html>')
    assert "critical image-alt" in serious(page)
    assert is_too_wide(page, 500)
