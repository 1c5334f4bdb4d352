"""What every reader of a message shares: the path, the limits, the blobs, and the violations found so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from powerplan.checks import Checker
from powerplan.errors import InvalidInput, UnsupportedOperation, Violation, show
from powerplan_server.wire.blobs import BlobResolver, MemoryBlobs
from powerplan_server.wire.errors import BlobNotFound, FeatureUnavailable, TooLarge
from powerplan_server.wire.limits import WireLimits

T = TypeVar("T")

#: violations kept; a request with more is no clearer for listing them
MAX_VIOLATIONS = 1000

# If all violations are of one kind the error is of that kind; else the first of these that occurs decides.
_KINDS: tuple[type[InvalidInput], ...] = (
    InvalidInput,
    TooLarge,
    FeatureUnavailable,
    UnsupportedOperation,
    BlobNotFound,
)


@dataclass(frozen=True)
class Reader:
    """A place in a request, as a path, and what reading it needs.

    Args:
        path: field path of this place, "" at the top.
        limits, blobs: of the whole request.
        found: violations and their kinds, shared by all places of the request.
    """

    path: str
    limits: WireLimits
    blobs: BlobResolver
    found: list[tuple[Violation, type[InvalidInput]]]

    @classmethod
    def start(cls, limits: WireLimits | None = None, blobs: BlobResolver | None = None, path: str = "") -> Reader:
        """The top of a request."""
        return cls(path, limits or WireLimits(), blobs or MemoryBlobs(), [])

    def at(self, field: str) -> Reader:
        """A field of the message here."""
        return replace(self, path=f"{self.path}.{field}" if self.path else field)

    def item(self, index: int) -> Reader:
        """An entry of the repeated field here."""
        return replace(self, path=f"{self.path}[{index}]")

    def key(self, key: str) -> Reader:
        """An entry of the map here."""
        return replace(self, path=f'{self.path}["{key if len(key) <= 80 else key[:77] + "..."}"]')

    def fail(self, value: object, allowed: str, advice: str, kind: type[InvalidInput] = InvalidInput) -> None:
        """Note a violation here."""
        if len(self.found) < MAX_VIOLATIONS:
            violation = Violation(field=self.path, value=show(value), allowed=allowed, advice=advice)
            self.found.append((violation, kind))

    def too_large(self, value: object, limit: int, what: str) -> None:
        """Note that a limit is exceeded here."""
        self.fail(value, f"at most {limit:,} {what}", "Send less, or ask for a higher limit.", TooLarge)

    def take(self, build: Callable[[], T], rename: Callable[[str], str] = lambda field: field) -> T | None:
        """``build()``, its violations noted under this path with their fields renamed; None if it refused."""
        try:
            return build()
        except InvalidInput as error:
            self.note(error, rename)
            return None

    def note(self, error: InvalidInput, rename: Callable[[str], str] = lambda field: field) -> None:
        """Note the violations of an error under this path, with their fields renamed."""
        kind = UnsupportedOperation if isinstance(error, UnsupportedOperation) else type(error)
        for violation in error.violations[: MAX_VIOLATIONS - len(self.found)]:
            place = self.at(renamed) if (renamed := rename(violation.field)) else self
            self.found.append((replace(violation, field=place.path), kind))

    def number(
        self,
        value: object,
        *,
        above: float | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        unit: str = "",
    ) -> bool:
        """Note a violation unless ``value`` is a finite number within the bounds; True if it is."""
        check = Checker()
        good = check.number(self.path, value, above=above, at_least=at_least, at_most=at_most, unit=unit)
        self.found.extend((violation, InvalidInput) for violation in check.violations)
        return good

    @property
    def count(self) -> int:
        """Violations found so far in the whole request."""
        return len(self.found)

    def done(self) -> None:
        """Raise one error with every violation, if there is any."""
        if not self.found:
            return
        kinds = {kind for _, kind in self.found}
        first = next((kind for kind in _KINDS if kind in kinds), next(iter(kinds)))
        raise first(*(violation for violation, _ in self.found))


def printable(reader: Reader, text: str, *, empty: bool = False) -> bool:
    """Note a violation unless ``text`` is a name: not too long, no control characters; True if it is."""
    if len(text) > reader.limits.max_name_length:
        reader.too_large(f"{len(text)} characters", reader.limits.max_name_length, "characters")
    elif not text.isprintable() or (not text and not empty):
        reader.fail(text, "printable characters" + ("" if empty else ", at least one"), "Rename it.")
    else:
        return True
    return False


def unexpected(reader: Reader, fields: Iterable[str], advice: str) -> None:
    """Note a violation for every field that must not be set here."""
    for field in fields:
        reader.at(field).fail("a value", "unset", advice)
