"""The examples on the page about networks run, and print what the page says they print."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"


def test_examples_print_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(python|text)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 8
    names: dict[str, object] = {"__name__": "page"}
    printed = ""
    for kind, content in blocks:
        if kind == "text":
            assert printed == content
            continue
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(compile(content, str(PAGE), "exec"), names)
        printed = stream.getvalue()
    assert not list(tmp_path.iterdir())  # what was refused left nothing behind
