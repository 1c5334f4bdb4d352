"""Errors for operations of a module or file that no operation of a network stands for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from powerplan.errors import UnsupportedOperation, Violation, show

#: the reason for what no rule knows
NO_MODEL = "there is no model of this operation"
_LISTED = "docs/networks.md, What can be imported"
#: names that an error offers, at most
_MOST_NAMES = 4
#: and how like they must be, of 1
_NEAR = 0.66


def refusal(
    field: str, what: str, reason: str, advice: str, *, name: str, known: Iterable[str]
) -> UnsupportedOperation:
    """The error for an operation that is not supported, or not in this way.

    Args:
        what: is refused.
        reason: why, as a clause.
        name: of the operation.
        known: names of those that are supported, of which the nearest ones are shown.
    """
    plain = {entry.strip("_").lower(): entry for entry in known if not entry.startswith("__")}
    asked = name.strip("_").lower()
    # what is supported in another way needs no other name
    near = [] if asked in plain else difflib.get_close_matches(asked, plain, n=_MOST_NAMES, cutoff=_NEAR)
    shown = f"; the nearest names are {', '.join(plain[entry] for entry in near)}" if near else ""
    return UnsupportedOperation(
        Violation(
            field=field,
            value=show(what),
            reason=reason.strip().rstrip("."),
            allowed=f"the operations of {_LISTED}{shown}",
            advice=advice,
        )
    )
