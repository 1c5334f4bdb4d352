"""Small frozen values as plain ones and back: {"type": name, field: value, ...}, for JSON, TOML and the wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, ClassVar

from powerplan.checks import Checker, nearest, unknown_keys
from powerplan.errors import InvalidInput


def to_plain(value: Any) -> Any:
    """A value with its type name and its fields, those that are None left out; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(to_plain(item) for item in value)
    if isinstance(value, Mapping):
        return dict(value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    name = getattr(value, "type", None)
    entries = {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    return ({} if name is None else {"type": name}) | {
        key: entry for key, entry in entries.items() if entry is not None
    }


def from_plain(value: Any, kinds: Mapping[str, type], what: str) -> Any:
    """A value of one of ``kinds`` (by type name), itself or as a mapping of its fields.

    A mapping without "type" is of the only kind, if there is only one.

    Raises:
        InvalidInput: another value, an unknown type or field (with the nearest valid name), bad values.
    """
    if isinstance(value, tuple(kinds.values())):
        return value
    allowed = f"{what}: " + ", ".join(kind.__name__ for kind in kinds.values()) + ", or a mapping of its fields"
    if not isinstance(value, Mapping):
        raise InvalidInput.of("", value, allowed, "Build it from its class, or give a table with a type.")
    entries = dict(value)
    name = entries.pop("type", next(iter(kinds)) if len(kinds) == 1 else None)
    if not isinstance(name, str) or name not in kinds:
        raise InvalidInput.of(
            "type", name, "one of " + ", ".join(repr(key) for key in kinds), nearest(str(name), kinds)
        )
    kind = kinds[name]
    check = Checker()
    known = fields(kind)
    unknown_keys(check, entries, [f.name for f in known])
    for f in known:
        if f.name not in entries and f.default is MISSING:
            check.fail(f.name, None, f"a value: {name} needs it", "Give it.")
    check.done()
    return kind(**entries)


@contextmanager
def part_of(check: Checker, field: str) -> Iterator[None]:
    """Note every violation raised inside under ``field``."""
    try:
        yield
    except InvalidInput as error:
        for violation in error.violations:
            path = f"{check.prefix}{field}.{violation.field}".rstrip(".")
            check.violations.append(replace(violation, field=path))


class Typed:
    """A frozen value that is known by its type name."""

    type: ClassVar[str]

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
