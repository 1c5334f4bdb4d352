"""Study files: TOML or YAML 1.2 to plain values, trusting nothing in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from powerplan.errors import CorruptFile, InvalidInput, MissingExtra
from powerplan.reading.text import read_text, read_toml

MOST_BYTES = 2_000_000
_MOST_DEPTH = 12
_SUFFIXES = (".toml", ".yaml", ".yml")


def read_study_file(path: str | Path) -> Mapping[str, Any]:
    """The plain values of a study file.

    Raises:
        InvalidInput: another suffix, or not readable.
        CorruptFile: too large, or not TOML or YAML.
        MissingExtra: a YAML file without the YAML reader.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InvalidInput.of("study file", str(path), "a .toml, .yaml or .yml file", "Rename or convert it.")
    read = read_toml if suffix == ".toml" else _read_yaml
    values = read("study file", path, most_bytes=MOST_BYTES)
    if not isinstance(values, Mapping):
        raise CorruptFile.of("study file", type(values).__name__, "a table at the top", "Begin with networks: ...")
    _check_depth(values, str(path))
    return values


def _read_yaml(field: str, path: Path, *, most_bytes: int) -> Any:
    text = read_text(field, path, most_bytes=most_bytes)
    try:
        return _yaml(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise CorruptFile.of(field, str(path), "valid YAML", f"It does not parse: {reason}.") from error


def _yaml(text: str) -> Any:
    """A YAML 1.2 document: ``2e-6`` is a number and ``no`` a word. Aliases, tags and repeated keys are refused."""
    try:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError
        from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
    except ImportError as error:
        raise MissingExtra("ruamel.yaml", "yaml", "Reading a YAML study") from error
    depth = 0
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            if isinstance(event, AliasEvent):
                raise ValueError("aliases (*name) are not allowed in a study")
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > _MOST_DEPTH:
                raise ValueError(f"more than {_MOST_DEPTH} levels of nesting")
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(str(error)) from error


def _check_depth(values: Any, source: str) -> None:
    """Refuse nesting that no study has, without recursion."""
    level = [values]
    for _ in range(_MOST_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise CorruptFile.of("study file", source, f"at most {_MOST_DEPTH} levels of nesting", "Flatten it.")
