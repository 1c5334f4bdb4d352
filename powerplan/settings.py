"""Settings of a calculation as one table: of each the range, the unit, the default and the words for every door.

A class of settings is a frozen dataclass whose fields are made by :func:`setting`. How an option is added:

1. one field of the class, here of :class:`powerplan.moments.settings.PredictionSettings`, and its use:

    sampling_error: float = setting(Number(above=0), 0.01, "Standard error of the MSE, as a part of it, ...")

2. where servers shall know it, one field of the same name in ``proto/powerplan/v1`` (``make proto``);
3. ``python scripts/generate_keywords.py`` writes what type checkers see, in the engine and in the client.

Everything else reads the table: ``plan``, ``frontier`` and ``predict`` check the value and tell of it in their
docstrings; the command line gets ``--sampling-error``, study files ``sampling_error``; the server and the client read
and send the field. ``tests/test_settings.py`` walks the table through all doors.

Why: docs/decisions/house.md.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

from powerplan.checks import Checker, choice_words, finite_number, nearest, number_words, whole_words

#: seeds go over the wire in 64 bits
MOST_SEED = 2**63 - 1
_WIDTH = 110
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Kind(Protocol):
    """What values a setting takes.

    Attributes:
        allowed: them, in words; "" if other checks say it, once more is known.
    """

    @property
    def allowed(self) -> str: ...

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        """The value as it is used, or a noted violation and the value as it is."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A finite number within bounds; where ``or_infinite``, infinity is the same as None: no limit."""

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    or_infinite: bool = False

    @property
    def allowed(self) -> str:
        words = number_words(above=self.above, at_least=self.at_least, at_most=self.at_most, unit=self.unit)
        return words + (", or infinity for no limit" if self.or_infinite else "")

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        if self.or_infinite and isinstance(value, float) and value == math.inf:
            return None
        good = check.number(name, value, above=self.above, at_least=self.at_least, at_most=self.at_most, unit=self.unit)
        return float(value) if good else value


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole number within bounds; with ``or_zero`` also 0. ``advice`` is for numbers out of range."""

    at_least: int
    at_most: int
    or_zero: bool = False
    unit: str = ""
    advice: str = ""

    @property
    def allowed(self) -> str:
        return ("0, or " if self.or_zero else "") + whole_words(self.at_least, self.at_most)

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        number = finite_number(value)
        in_range = number is not None and (self.at_least <= value <= self.at_most or (self.or_zero and value == 0))
        if number is None or not number.is_integer() or not in_range:
            check.fail(name, value, self.allowed, self.advice or f"Give {name} as {self.allowed}.")
            return value
        return int(value)


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return choice_words(self.names)

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in self.names:
            check.fail(name, value, self.allowed, nearest(str(value), self.names))
        return value


@dataclass(frozen=True)
class Names:
    """One or several of some names, each once; a tuple."""

    names: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return " or ".join(map(repr, self.names)) + (", or both" if len(self.names) == 2 else ", one or several")

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        listed = (value,) if isinstance(value, str) else value
        chosen = tuple(listed) if isinstance(listed, Iterable) else ()
        if not chosen or any(each not in self.names for each in chosen):
            check.fail(name, value, self.allowed, nearest(str(value), self.names))
        return tuple(dict.fromkeys(map(str, chosen)))


@dataclass(frozen=True)
class Flag:
    """True or False."""

    allowed: ClassVar[str] = "True or False"

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        if not isinstance(value, bool):
            check.fail(name, value, self.allowed, "Give a boolean.")
        return value


@dataclass(frozen=True)
class Unchecked:
    """A value that is checked where it is used, once network or machine are known."""

    allowed: ClassVar[str] = ""

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        return value


@dataclass(frozen=True)
class PerLayer(Unchecked):
    """Gains of every crossbar layer [unit per unit weight or activation]; checked with the network."""

    unit: str


@dataclass(frozen=True)
class StepValues(Unchecked):
    """Values that a gain can be set to [unit]; checked with the network."""

    unit: str


@dataclass(frozen=True)
class Weights(Unchecked):
    """Weights of the outputs; checked with the network."""


@dataclass(frozen=True)
class Corners(Unchecked):
    """Further hardware."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A row of the table.

    Attributes:
        name: the keyword.
        kind: values it takes.
        default: its value if it is left out.
        words: what it is, in a sentence or two, for every door.
        more: what the reference says beside that.
        otherwise: what happens if it is left out and the default is None.
        annotation: its type.
    """

    name: str
    kind: Kind
    default: Any
    words: str
    more: str
    otherwise: str
    annotation: str

    @property
    def default_words(self) -> str:
        """The default as a person reads it."""
        if self.default is None or self.default == ():
            return self.otherwise or "none"
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    @property
    def reference(self) -> str:
        """All of it: what it is, what is allowed and what is the default."""
        sentences = [f"{self.words} {self.more}".strip()]
        sentences += [f"Allowed: {self.kind.allowed}."] if self.kind.allowed else []
        return " ".join([*sentences, f"Default: {self.default_words}."])

    def checked(self, check: Checker, value: Any) -> Any:
        """The value as it is used, or a noted violation and the value as it is."""
        return None if value is None and self.default is None else self.kind.checked(check, self.name, value)

    def value(self, value: Any) -> Any:
        """The value as it is used.

        Raises:
            InvalidInput: it is not allowed.
        """
        check = Checker()
        checked = self.checked(check, value)
        check.done()
        return checked


def setting(kind: Kind, default: Any, words: str, *, more: str = "", otherwise: str = "") -> Any:
    """A field of a class of settings; see :class:`Setting`."""
    return field(default=default, metadata={"kind": kind, "words": words, "more": more, "otherwise": otherwise})


#: the seed, wherever there is one
SEED: Any = setting(Whole(at_least=0, at_most=MOST_SEED), 0, "Of every random number.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """Base of classes of settings: checked when built.

    Raises:
        InvalidInput: listing every value that is not allowed.
    """

    def __post_init__(self) -> None:
        check = Checker()
        for row in table(type(self)):
            object.__setattr__(self, row.name, row.checked(check, getattr(self, row.name)))
        check.done()

    @property
    def values(self) -> dict[str, Any]:
        """Every setting by name."""
        return {row.name: getattr(self, row.name) for row in table(type(self))}


def table(kind: type[Settings]) -> tuple[Setting, ...]:
    """Every setting of a class, in order."""
    if kind not in _TABLES:
        _TABLES[kind] = tuple(_row(entry) for entry in fields(kind))
    return _TABLES[kind]


_TABLES: dict[type[Settings], tuple[Setting, ...]] = {}


def _row(entry: Field[Any]) -> Setting:
    assert entry.default is not MISSING
    return Setting(name=entry.name, default=entry.default, annotation=str(entry.type), **entry.metadata)


def named(kind: type[Settings]) -> dict[str, Setting]:
    """Every setting of a class by name."""
    return {row.name: row for row in table(kind)}


def takes(kind: type[Settings], *, without: Sequence[str] = ()) -> Callable[[_Function], _Function]:
    """For functions that end in ``**settings``: their signature names every setting, their docstring explains it.

    A line ``{settings}`` of the docstring gives way to the table.
    """
    rows = [row for row in table(kind) if row.name not in without]

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        *own, _ = signature.parameters.values()
        keywords = [
            inspect.Parameter(row.name, inspect.Parameter.KEYWORD_ONLY, default=row.default, annotation=row.annotation)
            for row in rows
        ]
        positional = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        own_keywords = [p for p in own if p.kind is inspect.Parameter.KEYWORD_ONLY]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*positional, *keywords, *own_keywords]
        )
        function.__doc__ = (function.__doc__ or "").replace("{settings}", _listed(rows))
        return function

    return decorate


def _listed(rows: Iterable[Setting]) -> str:
    """Rows as entries of a docstring's list of arguments."""
    entries = (
        textwrap.wrap(f"{row.name}: {row.reference}", _WIDTH, subsequent_indent=" " * 12, break_long_words=False)
        for row in rows
    )
    return ("\n" + " " * 8).join("\n".join(lines) for lines in entries)
