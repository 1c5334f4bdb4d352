"""Running the examples of a Markdown page: its files, commands and Python, in the order of the page, in one folder."""

from __future__ import annotations

import re
import shlex
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from shown import is_shown

from powerplan.cli import main

_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: a block that a paragraph with a colon at its end introduces is the file that it names last
_NAMED = re.compile(r"`(?:[\w-]+/)*([\w.-]+\.(?:toml|json|yaml|csv))`")
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
        before = text[: match.start()].rstrip("\n").rpartition("\n\n")[2]
        named = _NAMED.findall(before) if before.endswith(":") else []
        found.append(
            Block(
                language=match[1],
                text=match[2],
                line=text[: match.start()].count("\n") + 1,
                file=named[-1] if named else "",
            )
        )
    return found


def run_page(page: Path) -> int:
    """Run a page in the current folder; returns how many blocks were run.

    An example that fails raises, and so does a block of language ``text``, or lines under a command, that differ from
    what the examples before it printed.
    """
    names: dict[str, Any] = {"__name__": page.stem}
    count, printed = 0, ""
    for block in blocks(page):
        if block.language == "python":
            code = "\n" * block.line + block.text  # so that a traceback shows the line of the page
            with redirect_stdout(StringIO()) as said:
                exec(compile(code, str(page), "exec"), names)
            printed += said.getvalue()
        elif block.file and block.language in ("toml", "json", "yaml", "text"):
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language in ("", "bash"):
            ran, said_here = run_commands(block.text)
            printed += said_here
            if not ran:
                continue
        elif block.language == "text":
            assert is_shown(block.text, printed), (
                f"{page.name}:{block.line} shows\n{block.text}\nprinted was\n{printed}"
            )
        else:
            continue
        count += 1
    return count


def run_commands(text: str) -> tuple[int, str]:
    """Run the commands of powerplan in a block, stdout to a file where it says so; other commands are not run. How many
    ran, and what they printed.

    Lines that start with "$ " are commands and the others what they print; one that prints an error has to fail.
    """
    count, printed = 0, ""
    typed, shown = [], []
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith(("$ ", "powerplan ")):
            typed.append(line.removeprefix("$ "))
            shown.append("")
        elif typed:
            shown[-1] += line + "\n"
    for line, output in zip(typed, shown, strict=True):
        if not line.startswith("powerplan ") or any(words in line for words in _ELSEWHERE):
            continue
        command, _, file = line.partition(" > ")
        words = shlex.split(command.partition(" | ")[0], comments=True)[1:]
        result = CliRunner().invoke(main, words)
        assert (result.exit_code != 0) == output.startswith("error:"), f"{line}\n{result.output}"
        if f"$ {line}\n{output}" in text:
            assert is_shown(output, result.output), f"{line}\nshown is\n{output}\nprinted was\n{result.output}"
        if file:
            Path(file.strip()).write_text(result.stdout, encoding="utf-8")
        printed += result.stdout
        count += 1
    return count, printed
