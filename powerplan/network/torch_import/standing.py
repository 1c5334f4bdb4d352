"""How well the moments of an operation of ATen are known: what every rule declares, and docs/aten.md lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Standing(Enum):
    """What a prediction knows of an operation on Gaussian values; the text is that of the page."""

    EXACT = "exact"
    PARTS = "in parts"
    FIRST_ORDER = "first order"
    SIMULATED = "simulated only"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What an operation of ATen means, and how well its moments are known.

    Attributes:
        apply: takes the operation's arguments.
        standing: for independent Gaussian values as its arguments.
        note: where it differs.
    """

    apply: Callable[..., Any]
    standing: Standing
    note: str = ""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.apply(*arguments, **keywords)


def declared(standing: Standing, rules: Mapping[str, Callable[..., Any]], note: str = "") -> dict[str, Rule]:
    """Rules of one standing, by the names of their operations."""
    return {name: Rule(apply=rule, standing=standing, note=note) for name, rule in rules.items()}
