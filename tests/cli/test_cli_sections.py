"""Help of commands with many options: every option once, in the section where a reader looks for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import click
import pytest
from click.testing import Result

from powerplan.cli import main
from powerplan.cli.command import takes_one

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


Tree = Iterator[tuple[tuple[str, ...], click.Command]]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Tree:
    """All commands, those of groups too."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield (*path, name), command


@pytest.mark.parametrize(
    ("path", "command"), list(commands(main)), ids=lambda x: " ".join(x) if isinstance(x, tuple) else ""
)
def test_a_second_value_of_any_option_is_an_error(
    run: Callable[..., Result], path: tuple[str, ...], command: click.Command
) -> None:
    for option in command.params:
        if isinstance(option, click.Option) and takes_one(option):
            flag = max(option.opts, key=len)
            said = run(*path, flag, "a", f"{flag}=b")
            assert said.exit_code == 2
            assert f"error: {flag}: got a and b; give one." in said.stderr, path


def test_repeatable_options_and_flags_may_be_repeated(run: Callable[..., Result]) -> None:
    said = run("compare", "--example", "iris", "--preset", "a", "--preset", "b", "--json", "--json")
    assert "give one" not in said.stderr
