"""What goes to stdout and to files: text, or one JSON document."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import click

from powerplan._version import __version__


def document(kind: str, **content: Any) -> dict[str, Any]:
    """A JSON document of a kind ("prediction", "simulation", ...): format, versions, then the content."""
    return {"format": f"powerplan.{kind}", "schema_version": 1, "powerplan_version": __version__, **content}


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses as objects, arrays as lists, NaN and infinity as null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return plain(value.tolist())  # numpy arrays and numbers


#: advice of the engine, which names fields of the hardware as Python does; the value that one is to be set to
_ADVICE = re.compile(r"\b(set|lower|raise)(\s+)hardware\.(\w+)(?:(\s+)to\s+(True|False|'\w+'))?")


#: the words of the name of a class: MaxOutputMSE
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+")
#: a target in an error, by its class
_TARGET = re.compile(r"\btarget\.(Max[A-Za-z]+)(?=: got)")
#: bounds of a plan that an error is about, as Python has them, and their options
_BOUNDS = {
    "target.chips": "--chips",
    "target.inputs": "--target-inputs",
    **{f"max_{bound}": f"--max-{bound}" for bound in ("energy", "latency", "area")},
}


def with_options(text: str) -> str:
    """A text, its advice and targets as options of the command line: "set hardware.predistort to True" is "set
    --predistort", "target.MaxNMSE: got" is "--max-nmse: got"."""

    def option(found: re.Match[str]) -> str:
        verb, space, field, more, value = found.groups()
        name = ("no-" if value == "False" else "") + field.replace("_", "-")
        value = value.strip("'") if value and value[0] == "'" else ""
        return f"{verb}{space}--{name}{more + value if value else ''}"

    bound = text.partition(": got ")[0]
    text = text.replace(bound, _BOUNDS[bound]) if bound in _BOUNDS else text
    return _TARGET.sub(lambda found: "--" + "-".join(_WORDS.findall(found[1])).lower(), _ADVICE.sub(option, text))


def write_text(text: str) -> None:
    """An answer on stdout, its advice as options of the command line."""
    click.echo(with_options(text))


def write_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(plain(value), indent=2, allow_nan=False))
