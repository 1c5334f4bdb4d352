"""Values show themselves (cards, figures, tables, pages), though what draws them lies above them.

Imports go one way, from the views to what they show. A value finds its view by name, when it is first asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


class Shown:
    """A value with a card for notebooks."""

    def _repr_html_(self) -> str:
        """A card for notebooks."""
        return str(view("card")(self))


class Tabled(Shown):
    """A value that is printed as a table."""

    def table(self) -> str:
        """The answer as text: a row per layer, or per point of a study, and below it what concerns all."""
        return str(view("table")(self))

    def __str__(self) -> str:
        return self.table()


def view(name: str) -> Callable[..., Any]:
    """The function of :mod:`powerplan.report.views` with this name."""
    shown: Callable[..., Any] = getattr(import_module("powerplan.report.views"), name)
    return shown
