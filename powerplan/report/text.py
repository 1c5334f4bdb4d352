"""Text of HTML reports: the micro sign and comparison signs, and free text without the paths of a machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from powerplan.units import duration, si

_MICRO = re.compile(r"(?<=\d )u(?=[A-Za-z])")
_OHM = re.compile(r"(?<=\d )([kMGmµ]?)ohm\b")
# a number and its unit or sign stay on one line; a line may break before the error of a number
_GLUE = re.compile(r"(?<=\d) (?=(?:[afpnµmkMG]?[SAVWJsΩ]|[%×])(?![\w]))|(?<=±) (?=\d)|(?<=[≤≥]) (?=\d)")
# a part of a path; a path from a root (in quotes with spaces too): file://, of a drive, UNC, of a home, upwards, POSIX
_PART = r"[^\s/\\'\"<>|:,;()\[\]]+"
_PATH = re.compile(
    r"(?P<quote>['\"])(?P<quoted>(?:file:/|~/|\.\./|/|\\\\|[A-Za-z]:[\\/])[^'\"\n]*)(?P=quote)"
    r"|(?<!\w)file:/+(?:[A-Za-z]:/+)?PART(?:/+PART)*/?"
    r"|(?<![\w\\])(?:\\{2,}\?\\+)?[A-Za-z]:(?:\\+|/(?!/))(?:PART[\\/]+)*(?:PART)?"
    r"|(?<![\w\\])\\{2,}PART(?:[\\/]+PART)+"
    r"|(?<![\w/])~(?:[A-Za-z_][\w.-]*)?/(?:PART/+)*(?:PART)?"
    r"|(?<![\w/.])(?:\.\./+)+(?:PART/+)*(?:PART)?"
    r"|(?<![\w/.<])/PART(?:/+PART)*/?".replace("PART", _PART)
)
#: folders at the root of a machine; what begins otherwise is a path if it is long or ends like the name of a file
_ROOTS = re.compile(
    r"Applications|Library|System|Users|Volumes|bin|boot|cluster|code|content|data|dev|etc|export|gpfs|home|lib|lustre|"
    r"media|mnt|net|nfs|opt|private|proc|projects?|root|run|sbin|scratch|shared|srv|storage|sys|tmp|usr|var|work(space)?"
)
_FILE = re.compile(r"\.[A-Za-z]\w*\.?$")
# a hyphen that is the sign of a number: not one inside a word, a name, a date or an exponent
_MINUS = re.compile(r"(?<![\w.\-/%)])-(?=\.?\d)")
_SIGNS = ((" <= ", " ≤ "), (" >= ", " ≥ "))

#: values of a list that are shown
MOST_VALUES = 12


def typeset(text: str) -> str:
    """Numbers and units as print has them: ``7 uW`` becomes ``7 µW`` that no line break parts, ``<=`` becomes ``≤``.

    Negative numbers get a minus sign.
    """
    for plain, sign in _SIGNS:
        text = text.replace(plain, sign)
    text = _MINUS.sub("\N{MINUS SIGN}", text)
    return _GLUE.sub("\N{NO-BREAK SPACE}", _OHM.sub(r"\1Ω", _MICRO.sub("µ", text)))


def without_paths(text: str) -> str:
    """Absolute paths cut to their last part: a report is passed on, the folders of a machine are not its business.

    Text can look like a path (``/hot/cold ratio``): it stays unless it begins at a usual root, has three parts or more,
    or ends like the name of a file.
    """
    return _PATH.sub(_last_part, text)


def _last_part(match: re.Match[str]) -> str:
    quote = match["quote"] or ""
    path = match["quoted"] or match[0]
    parts = [part for part in re.split(r"[/\\]+", path) if part]
    if path.startswith("/") and not (
        parts and (_ROOTS.fullmatch(parts[0]) or len(parts) > 2 or _FILE.search(parts[-1]))
    ):
        return match[0]
    return f"{quote}{parts[-1] if parts else ''}{quote}"


def value_text(value: Any, unit: str = "") -> str:
    """A setting as text: numbers with an SI prefix, long lists cut, models as ``type (name value, ...)``, the curves in
    them by their type."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | float() if unit == "s":
            return typeset(duration(float(value)))
        case int() | float() if unit:
            return typeset(si(float(value), unit))
        case float():
            return typeset(f"{value:.6g}")
        case int():
            return typeset(str(value))
        case list() | tuple():
            shown = ", ".join(value_text(v, unit) for v in value[:MOST_VALUES])
            return shown if len(value) <= MOST_VALUES else f"{shown}, ... ({len(value)} values)"
        case Mapping():
            inside = {key: v["type"] if isinstance(v, Mapping) and "type" in v else v for key, v in value.items()}
            parts = [f"{key.replace('_', ' ')} {value_text(v)}" for key, v in inside.items() if key != "type"]
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


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        return "  ".join(padded).rstrip()

    return "\n".join([line(headers), "  ".join("-" * w for w in widths), *map(line, rows)])
