"""Help of commands with many options: every option once, in the section where a reader looks for it."""

from __future__ import annotations

import re
from collections.abc import Callable

import click
import pytest
from click.testing import Result

from powerplan.cli import main

SECTIONED = ("plan", "predict", "simulate", "frontier", "compare", "explain")


def sections(text: str) -> dict[str, list[str]]:
    """The flags of every section of a help, in their order."""
    found = {}
    for part in re.split(r"\n(?=[A-Z][\w ]+:\n)", text)[1:]:
        title, _, rows = part.partition(":\n")
        found[title] = re.findall(r"^  (?:-\w, )?(--[\w-]+)", rows, re.MULTILINE)
    return found


@pytest.mark.parametrize("name", SECTIONED)
def test_every_option_is_listed_once(run: Callable[..., Result], name: str) -> None:
    listed = sections(run(name, "--help").stdout)
    command = main.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    flags = [max(p.opts, key=len) for p in command.params if isinstance(p, click.Option)]
    assert sorted(flag for rows in listed.values() for flag in rows) == sorted([*flags, "--help"])
    assert next(iter(listed)) == "Network and inputs"


def test_options_stand_where_they_are_looked_for(run: Callable[..., Result]) -> None:
    listed = sections(run("plan", "--help").stdout)
    assert list(listed)[-1] == "Hardware"
    expected = {
        "Network and inputs": "--batch",
        "Target": "--max-nmse",
        "Gains": "--voltage",
        "Answer": "--plot",
        "Planning": "--verify",
        "Prediction": "--method",
        "Server": "--server",
        "Hardware": "--adc-bits",
    }
    assert {title: flag for title, flag in expected.items() if flag in listed[title]} == expected
    assert "Planning" not in sections(run("predict", "--help").stdout)


@pytest.mark.parametrize("name", [*SECTIONED, "export", "report", "serve"])
def test_help_has_no_markup_of_docstrings(run: Callable[..., Result], name: str) -> None:
    text = run(name, "--help").stdout
    assert "``" not in text
    assert "None" not in text
