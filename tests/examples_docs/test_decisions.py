"""Chapters of decisions: every pointer to one resolves, and the numbers of the notes they were made of are kept."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHAPTERS = ROOT / "docs" / "decisions"
FOLDERS = ("powerplan", "server", "client", "proto", "scripts", "benchmarks", "tests", "docs", "examples", "deploy")
KINDS = ("*.py", "*.md", "*.toml", "*.proto", "Makefile")
#: numbered notes that the chapters were made of
NOTES = 130
#: docs/decisions/moments.md, or docs/decisions/moments.md [0078, 0091]
_POINTER = re.compile(r"docs/decisions/(?P<chapter>[\w-]+)\.md(?:\s+\[(?P<numbers>\d{4}(?:,\s*\d{4})*)\])?")
_HEADING = re.compile(r"^#+ .*\[(\d{4}(?:, \d{4})*)\]$", re.MULTILINE)


def _numbers(chapter: str) -> list[str]:
    """The numbers behind the headings of a chapter."""
    text = (CHAPTERS / f"{chapter}.md").read_text(encoding="utf-8")
    return [number for match in _HEADING.findall(text) for number in match.split(", ")]


def _pointers() -> list[tuple[str, str, str]]:
    """(file, chapter, numbers) of every pointer in code and documents."""
    files = [path for kind in KINDS for folder in FOLDERS for path in (ROOT / folder).rglob(kind)]
    files += [path for kind in KINDS for path in ROOT.glob(kind)]
    return [
        (str(path.relative_to(ROOT)), match["chapter"], match["numbers"] or "")
        for path in files
        if path != Path(__file__)
        for match in _POINTER.finditer(path.read_text(encoding="utf-8"))
    ]


def test_pointers_to_decisions_resolve() -> None:
    pointers = _pointers()
    assert len({chapter for _, chapter, _ in pointers}) >= 10  # code points to most chapters
    for name, chapter, numbers in pointers:
        assert (CHAPTERS / f"{chapter}.md").is_file(), f"{name} points to a chapter that is not there: {chapter}"
        unknown = set(re.findall(r"\d{4}", numbers)) - set(_numbers(chapter))
        assert not unknown, f"{name} points to numbers that {chapter}.md does not have: {sorted(unknown)}"


def test_a_number_is_of_one_chapter() -> None:
    chapters: dict[str, set[str]] = {}
    for path in CHAPTERS.glob("*.md"):
        if path.stem != "index":
            for numbers in re.findall(r"\[(\d{4}(?:, \d{4})*)\](?!\()", path.read_text(encoding="utf-8")):
                for number in numbers.split(", "):
                    chapters.setdefault(number, set()).add(path.stem)
    assert not {number: found for number, found in chapters.items() if len(found) > 1}


def test_the_numbers_of_all_notes_are_kept() -> None:
    assert len({number for chapter in CHAPTERS.glob("*.md") for number in _numbers(chapter.stem)}) >= NOTES
