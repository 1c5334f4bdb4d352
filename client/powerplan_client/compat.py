"""What old interpreters and an old protobuf lack.

Python 3.9 has no dataclasses whose fields are given by name only: there their fields may stand in any order, as by name
they may, and positions are refused likewise.
"""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):
    from typing import Self as Self, Unpack as Unpack
else:
    Self = Unpack = None  # annotations are not evaluated

if sys.version_info >= (3, 10):
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    import functools
    from collections.abc import Callable
    from typing import TypeVar

    C = TypeVar("C", bound=type)
    _LEFT_OUT = object()

    def dataclass(cls: Any = None, *, kw_only: bool = False, **options: Any) -> Any:
        """``dataclasses.dataclass`` of Python 3.10, as far as this package needs it."""
        if cls is None:
            return lambda wrapped: dataclass(wrapped, kw_only=kw_only, **options)
        if not kw_only:
            return dataclasses.dataclass(cls, **options)
        required = _give_defaults(cls)
        made = dataclasses.dataclass(cls, **options)
        for base in cls.__mro__[1:]:
            required |= getattr(base, "_required", frozenset()) - set(vars(cls).get("__annotations__", ()))
        made._required = required
        made.__init__ = _by_name(made.__init__, required)
        return made

    def _give_defaults(cls: type) -> frozenset[str]:
        """Give every field without a default one; returns their names."""
        required = set()
        for name, kind in vars(cls).get("__annotations__", {}).items():
            given = vars(cls).get(name, _LEFT_OUT)
            if str(kind).startswith("ClassVar"):
                continue
            if isinstance(given, dataclasses.Field):
                empty = given.default is dataclasses.MISSING and given.default_factory is dataclasses.MISSING
                if empty and given.init:
                    given.default = _LEFT_OUT
                    required.add(name)
            elif given is _LEFT_OUT:
                setattr(cls, name, _LEFT_OUT)
                required.add(name)
        return frozenset(required)

    def _by_name(init: Callable[..., None], required: frozenset[str]) -> Callable[..., None]:
        """An initialiser that takes names only, and all that are required."""

        @functools.wraps(init)
        def taken(self: Any, **values: Any) -> None:
            missing = sorted(required - set(values))
            if missing:
                raise TypeError(f"{type(self).__name__}() needs {', '.join(missing)}")
            init(self, **values)

        return taken


def is_repeated(field: Any) -> bool:
    """Whether a field of a message, given by its descriptor, is repeated."""
    told = getattr(field, "is_repeated", None)  # protobuf 6; the label before it warns since
    return bool(told) if told is not None else field.label == field.LABEL_REPEATED
