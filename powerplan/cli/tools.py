"""Commands as tools for assistants: a JSON schema of their options, and a run of one in a process of its own.

A tool takes what the command takes, checks it in the same way and gives the document that ``--json`` prints.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from powerplan.cli.group import COMMANDS
from powerplan.errors import InvalidInput

#: commands that are tools
TOOLS = ("presets", "predict", "simulate", "plan", "explain")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_NOT_SHOWN = frozenset({"as_json", "quiet", "verbose", "help"})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a tool ended.

    Attributes:
        document: what it found; None if it failed.
        notes: what it said beside it, or why it failed.
    """

    document: dict[str, Any] | None
    notes: str


def command_of(tool: str) -> click.Command:
    """The command behind a tool.

    Raises:
        InvalidInput: there is no such tool.
    """
    if tool not in TOOLS:
        raise InvalidInput.of("tool", tool, ", ".join(TOOLS), "Use one of these.")
    command: click.Command = import_module(COMMANDS[tool][0]).command
    return command


def schema(command: click.Command) -> dict[str, Any]:
    """JSON schema of a command's options and arguments."""
    shown = _parameters(command)
    return {
        "type": "object",
        "properties": {name: _property(parameter) for name, parameter in shown.items()},
        "required": [name for name, parameter in shown.items() if parameter.required],
        "additionalProperties": False,
    }


def command_line(command: click.Command, values: Mapping[str, Any]) -> list[str]:
    """The words of a command line for the values of its options.

    Raises:
        InvalidInput: a name that the command does not have.
    """
    shown = _parameters(command)
    words, arguments = ["--json"], []
    for name, value in values.items():
        if name not in shown:
            raise InvalidInput.of(name, value, ", ".join(shown), "Use one of these names.")
        parameter = shown[name]
        given = [str(part) for part in (value if isinstance(value, list) else [value])]
        if isinstance(parameter, click.Argument):
            arguments += given
        elif not _is_flag(parameter):
            words += [f"{parameter.opts[0]}={part}" for part in given]  # never a word of its own: it could be an option
        elif value or parameter.secondary_opts:
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
    return [*words, "--", *arguments]


async def run(tool: str, values: Mapping[str, Any]) -> Outcome:
    """Run a tool; a cancel ends its process.

    Raises:
        InvalidInput: no such tool, or option of it.
    """
    command = command_of(tool)
    words = command_line(command, values)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "powerplan", tool, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, notes = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = notes.decode(errors="replace").strip()
    return Outcome(document=json.loads(printed) if printed else None, notes=with_tool_names(command, told))


def with_tool_names(command: click.Command, text: str) -> str:
    """A text with the options of a command under the names that a tool takes: "--accept-implausible" is
    "accept_implausible=true"."""
    names: dict[str, str] = {}
    for name, parameter in _parameters(command).items():
        if isinstance(parameter, click.Option):
            flag = _is_flag(parameter)
            names |= dict.fromkeys(parameter.opts, f"{name}=true" if flag else name)
            names |= dict.fromkeys(parameter.secondary_opts, f"{name}=false")
    return _OPTION.sub(lambda found: names.get(found[0], found[0]), text)


def _parameters(command: click.Command) -> dict[str, click.Parameter]:
    """What a tool may be given, by the names of the options without their dashes."""
    return {
        parameter.opts[0].lstrip("-").replace("-", "_"): parameter
        for parameter in command.params
        if parameter.name not in _NOT_SHOWN
    }


def _is_flag(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and bool(parameter.is_flag)


def _property(parameter: click.Parameter) -> dict[str, Any]:
    one: dict[str, Any] = {"type": "boolean"} if _is_flag(parameter) else {"type": ["string", "number"]}
    if isinstance(parameter.type, click.Choice):
        one = {"enum": list(parameter.type.choices)}
    several = parameter.multiple or parameter.nargs == -1
    words = getattr(parameter, "help", None) or f"{parameter.human_readable_name}."
    return ({"type": "array", "items": one} if several else one) | {"description": words}
