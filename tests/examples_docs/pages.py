"""Running the examples of a Markdown page: its files, commands and Python, in the order of the page, in one folder."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from powerplan.cli import main

_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: a block that a paragraph with a file's name and a colon at its end introduces is that file
_NAMED = re.compile(r"`(?:[\w-]+/)*([\w.-]+\.(?:toml|json|yaml|csv))`[^\n]*(?:\n[^\n]+)*:$")
#: what needs a server, or a study that the page does not hold
_ELSEWHERE = ("powerplan serve", "powerplan status", "--server")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: its language, its text, its line in the page, and the file it is (may be empty)."""

    language: str
    text: str
    line: int
    file: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        named = _NAMED.search(text[: match.start()].rstrip("\n").rpartition("\n\n")[2])
        found.append(
            Block(
                language=match[1],
                text=match[2],
                line=text[: match.start()].count("\n") + 1,
                file=named[1] if named else "",
            )
        )
    return found


def run_page(page: Path) -> int:
    """Run a page in the current folder; returns how many blocks were run. An example that fails raises."""
    names: dict[str, Any] = {"__name__": page.stem}
    count = 0
    for block in blocks(page):
        if block.language == "python":
            code = "\n" * block.line + block.text  # so that a traceback shows the line of the page
            exec(compile(code, str(page), "exec"), names)
        elif block.file and block.language in ("toml", "json", "yaml", "text"):
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language in ("", "bash"):
            if not run_commands(block.text):
                continue
        else:
            continue
        count += 1
    return count


def run_commands(text: str) -> int:
    """Run the commands of powerplan in a block, stdout to a file where it says so; other commands are not run.

    Lines that start with "$ " are commands and the others what they print; one that prints an error has to fail.
    """
    count = 0
    lines = text.replace("\\\n", " ").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        typed = line.removeprefix("$ ")
        if not typed.startswith("powerplan ") or any(words in typed for words in _ELSEWHERE):
            continue
        command, _, file = typed.partition(" > ")
        command = command.partition(" | ")[0]
        words = shlex.split(command, comments=True)[1:]
        result = CliRunner().invoke(main, words)
        assert (result.exit_code != 0) == following.startswith("error:"), f"{line}\n{result.output}"
        if file:
            Path(file.strip()).write_text(result.stdout, encoding="utf-8")
        count += 1
    return count
