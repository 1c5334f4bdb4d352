"""Documentation of several versions: each of its own files, its version on every page, links to the others."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "document_versions.py"))


def git(folder: Path, *words: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two releases and what came after them: the project's settings of the site, with two pages and one docstring."""
    folder = tmp_path / "project"
    docs = folder / "docs"
    shutil.copytree(ROOT / "docs" / "static", docs / "static")
    shutil.copytree(ROOT / "docs" / "templates", docs / "templates")
    shutil.copy(ROOT / "docs" / "conf.py", docs)
    (docs / "index.md").write_text("# Start\n\n```{toctree}\nguides/page\n```\n")
    (docs / "guides").mkdir()
    (docs / "guides" / "page.md").write_text("# Page\n\n```{eval-rst}\n.. autofunction:: powerplan.work\n```\n")
    (folder / "powerplan").mkdir()
    git(folder, "init", "-q")
    for version in ("0.9.0", "0.10.0", "1.0.dev"):
        text = f'__version__ = "{version}"\n\n\ndef work():\n    """What it does in {version}."""\n'
        (folder / "powerplan" / "__init__.py").write_text(text)
        if "dev" not in version:
            git(folder, "add", "-A")
            git(folder, "commit", "-q", "-m", version)
            git(folder, "tag", f"v{version}")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_every_page_says_its_version_and_leads_to_the_others(repository: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    SCRIPT["main"](site, [], repository)
    assert "0.10.0/index.html" in (site / "index.html").read_text()  # the newest release
    folders = {"0.10.0": "0.10.0", "0.9.0": "0.9.0", "development": "1.0.dev"}
    for folder, version in folders.items():
        for page, root in (("index.html", ""), ("guides/page.html", "../")):
            html = (site / folder / page).read_text(encoding="utf-8")
            assert f"powerplan {version}" in html
            assert f'<strong aria-current="true">{folder}</strong>' in html
            for other in folders.keys() - {folder}:
                link = f"{root}../{other}/index.html"
                assert f'href="{link}"' in html or f'href="./{link}"' in html
                assert (site / folder / page).parent.joinpath(link).is_file()
        assert f"What it does in {version}." in html


def test_tags_are_ordered_as_versions(repository: Path) -> None:
    git(repository, "tag", "before-the-rewrite")
    assert SCRIPT["tags"](repository) == ["v0.10.0", "v0.9.0"]
