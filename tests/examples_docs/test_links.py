"""Links between the pages, and from the README: to files that exist and headings that they have."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "client" / "README.md", *ROOT.glob("docs/**/*.md")])
_CODE = re.compile(r"^(```+|~~~+).*?^\1[^\n]*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_TARGET = re.compile(r"^\(([\w-]+)\)=$|<a (?:id|name)=\"([\w-]+)\"", re.MULTILINE)


def slug(heading: str) -> str:
    """The anchor of a heading, as on GitHub and on the site."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    """Anchors of a page: its headings, of equal ones the later with a number, and places that are named."""
    text = page.read_text(encoding="utf-8")
    without_code = re.sub(r"^(```+|~~~+).*?^\1[^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    found: dict[str, int] = {}
    for heading in _HEADING.findall(without_code):
        name = slug(heading)
        found[name] = found.get(name, -1) + 1
    names = {name if k == 0 else f"{name}-{k}" for name, most in found.items() for k in range(most + 1)}
    return frozenset(names | {a or b for a, b in _TARGET.findall(without_code)})


def links(page: Path) -> list[str]:
    """What a page links to, beside other sites."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    found = [unquote(target) for target in _LINK.findall(text)]
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def broken(page: Path) -> list[str]:
    """Links of a page to files or headings that are not there."""
    wrong = []
    for target in links(page):
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_the_check_sees_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One *thing*: `c`, twice\n\n## Again\n\n## Again\n\n(named)=\ntext\n")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#one-thing-c-twice) [c](other.md#again-1) [d](other.md#named) [e](https://x.y#z)"
    page.write_text(f"{good} ![f](none.png) [g](other.md#again-2) `[h](code.md)` [i](#own)\n\n```\n[j](code.md)\n```\n")
    assert broken(page) == ["none.png", "other.md#again-2", "#own"]
    assert sum(len(links(each)) for each in PAGES) > 300
