"""The examples in the documentation run as they stand; every page that people start from has some."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import blocks, run_page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in (*DOCS.glob("*.md"), *(DOCS / "guides").glob("*.md"))
    if any(b.language == "python" or (b.language in ("", "bash") and "powerplan " in b.text) for b in blocks(page))
)
#: pages whose blocks show forms, outputs or servers; what runs in them is tested elsewhere
SHOWN = {"cli.md", "service.md", "examples.md", "benchmarks.md", "mathematics.md", "gallery.md"}


def test_the_pages_people_start_from_are_run() -> None:
    names = {page.name for page in PAGES}
    assert {"quickstart.md", "reports.md", "hardware-designer.md", "ml-engineer.md", "tool-integrator.md"} <= names


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a page may show a warning
@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in SHOWN], ids=lambda page: page.name)
def test_page_runs(workers_in_threads: None, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(page) > 0
