"""What operations are, in words: read from their classes, for the reference of the wire and for who asks a server.

Every attribute and tensor stands in the docstring of its class; one that is missing there is an error.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields

from powerplan.network.ops.base import Op, operations
from powerplan.network.ops.elementwise import ACTIVATIONS, Activation

_FORMS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Shape": "list of whole numbers",
    "tuple[int, ...]": "list of whole numbers",
    "tuple[Shape, ...]": "list of lists of whole numbers",
    "tuple[tuple[int, int], ...]": "list of pairs [before, after]",
    "tuple[int | tuple[int, int], ...]": "list of whole numbers or pairs [before, after]",
    "tuple[tuple[str, tuple[Any, ...], Mapping[str, Any]], ...]": "list of [text, list, map]",
    "Mapping[str, float]": "map of numbers",
    "Mapping[str, Any]": "map",
    "np.ndarray": "tensor",
}
_ROLE = re.compile(r":\w+:`~?\.?([^`]*)`|`+([^`]*)`+")


@dataclass(frozen=True, kw_only=True)
class Part:
    """An attribute or a tensor of an operation.

    Attributes:
        name: in the maps of a node.
        form: what kind of value, in words; "tensor" for tensors.
        default: JSON of what it is if left out; None = it must be given.
        text: what it means, with its range.
    """

    name: str
    form: str
    default: str | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Description:
    """An operation in words.

    Attributes:
        type: its name.
        text: what it computes.
        fewest_inputs, most_inputs: how many values it reads; most is None where there is no limit.
        is_crossbar: it is computed on a crossbar.
        parts: attributes and tensors.
        kinds: of an activation: parameters with their defaults by kind.
    """

    type: str
    text: str
    fewest_inputs: int
    most_inputs: int | None
    is_crossbar: bool
    parts: tuple[Part, ...]
    kinds: dict[str, dict[str, float]]


def descriptions() -> tuple[Description, ...]:
    """Every operation that files and the wire can hold, sorted by type."""
    return tuple(_describe(cls) for cls in operations().values() if cls.portable)


def _describe(cls: type[Op]) -> Description:
    summary, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")
    texts = dict(_attributes(attributes))
    named = fields(cls)  # type: ignore[arg-type]
    undocumented = {field.name for field in named} ^ set(texts)
    if undocumented:
        raise TypeError(f"{cls.__name__}: {sorted(undocumented)} stand in the docstring or among the fields, not both")
    fewest, most = _inputs(cls)
    return Description(
        type=cls.type,
        text=_plain(summary),
        fewest_inputs=fewest,
        most_inputs=most,
        is_crossbar=cls.is_crossbar,
        parts=tuple(_part(field, texts[field.name]) for field in named),
        kinds=ACTIVATIONS if cls is Activation else {},
    )


def _inputs(cls: type[Op]) -> tuple[int, int | None]:
    """Fewest and most inputs: two or more where there is no number, one or more where each value has its own."""
    if cls.arity is None:
        return 2, None
    return (cls.arity, cls.arity) if isinstance(cls.arity, int) else (1, None)


def _part(field: Field[object], text: str) -> Part:
    kind = str(field.type).removesuffix(" | None")
    default = None if field.default is MISSING else json.dumps(field.default)
    return Part(name=field.name, form=_FORMS[kind], default=default, text=_plain(text))


def _attributes(block: str) -> Iterator[tuple[str, str]]:
    """Name and text of every attribute; several names may share a text."""
    for entry in re.split(r"\n(?=    \S)", block.rstrip()) if block.strip() else ():
        names, _, text = entry.strip().partition(": ")
        yield from ((name.strip(), text) for name in names.split(","))


def _plain(text: str) -> str:
    """A text without markup and words of Python, in one line."""
    words = _ROLE.sub(lambda found: found[1] or found[2], text).replace("None = ", "left out = ")
    return " ".join(words.split())
