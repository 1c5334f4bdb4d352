"""Text of HTML reports: the micro sign and comparison signs, and free text without the paths of a machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from powerplan.report.units import si

_MICRO = re.compile(r"(?<=\d )u(?=[A-Za-z])")
_OHM = re.compile(r"(?<=\d )([kMGmµ]?)ohm\b")
# a number and its unit or sign stay on one line
_GLUE = re.compile(r"(?<=\d) (?=(?:[afpnµmkMG]?[SAVWJsΩ]|[%×])(?![\w])|±)|(?<=±) (?=\d)|(?<=[≤≥]) (?=\d)")
# a path from the root, a home or a drive; what follows a letter, digit or colon is a URL or a ratio
_PATH = re.compile(r"(?<![\w:/.])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\"<>|:,;()\[\]]+)*[/\\](?=[^\s/\\'\"<>|:,;()\[\]])")
_SIGNS = ((" <= ", " ≤ "), (" >= ", " ≥ "))

#: values of a list that are shown
MOST_VALUES = 12


def typeset(text: str) -> str:
    """Numbers and units as print has them: ``7 uW`` becomes ``7 µW`` that no line break parts, ``<=`` becomes ``≤``."""
    for plain, sign in _SIGNS:
        text = text.replace(plain, sign)
    return _GLUE.sub("\N{NO-BREAK SPACE}", _OHM.sub(r"\1Ω", _MICRO.sub("µ", text)))


def without_paths(text: str) -> str:
    """Absolute paths cut to their last part: a report is passed on, the folders of a machine are not its business."""
    return _PATH.sub("", text)


def value_text(value: Any, unit: str = "") -> str:
    """A setting as text: numbers with an SI prefix, long lists cut, models as ``type (name value, ...)``."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | float() if unit:
            return typeset(si(float(value), unit))
        case float():
            return f"{value:.6g}"
        case list() | tuple():
            shown = ", ".join(value_text(v, unit) for v in value[:MOST_VALUES])
            return shown if len(value) <= MOST_VALUES else f"{shown}, ... ({len(value)} values)"
        case Mapping():
            parts = [f"{key.replace('_', ' ')} {value_text(v)}" for key, v in value.items() if key != "type"]
            name = str(value.get("type", "")).replace("_", " ")
            return f"{name} ({', '.join(parts)})".strip()
        case _:
            return without_paths(str(value))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of nested mappings, keys joined by dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
