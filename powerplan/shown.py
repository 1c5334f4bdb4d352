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


def view(name: str) -> Callable[..., Any]:
    """The function of :mod:`powerplan.report.views` with this name."""
    shown: Callable[..., Any] = getattr(import_module("powerplan.report.views"), name)
    return shown
