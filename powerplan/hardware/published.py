"""Published values of some fields of a hardware, each with its source and what to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Published:
    """Published values.

    Attributes:
        name: what they are asked for by.
        kind: what they are of.
        fields: the values.
        citation: where the numbers come from.
        caveats: what to know before relying on them.
    """

    name: str
    kind: str
    fields: Mapping[str, Any]
    citation: str
    caveats: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.kind}", f"    source: {self.citation}"]
        return "\n".join(lines + [f"    note: {caveat}" for caveat in self.caveats])


class PublishedValues(tuple[Published, ...]):
    """Several of them; printed as a readable list."""

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(values.name for values in self)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))
