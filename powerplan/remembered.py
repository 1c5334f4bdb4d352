"""Values that are worked out once for a thing that never changes, and kept as long as it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

_Thing = TypeVar("_Thing")
_Rest = TypeVarTuple("_Rest")
_Value = TypeVar("_Value")


def remembered(function: Callable[[_Thing, *_Rest], _Value]) -> Callable[[_Thing, *_Rest], _Value]:
    """A function that works its value out once for a thing, its first argument, and hashable others.

    The value must not refer to the thing, which would then live as long as the function.
    """
    values: WeakKeyDictionary[_Thing, dict[tuple[*_Rest], _Value]] = WeakKeyDictionary()

    @wraps(function)
    def known(thing: _Thing, *rest: *_Rest) -> _Value:
        of_thing = values.get(thing)
        if of_thing is None:
            of_thing = values[thing] = {}
        if rest not in of_thing:
            of_thing[rest] = function(thing, *rest)
        return of_thing[rest]

    return known
