"""Numbers of the hardware that may differ from layer to layer: one for all, one per layer in order, or by name.

Layers are the arrays of a network (:attr:`~powerplan.network.Network.layer_names`). A hardware is made before it meets
a network, so that how many there are is checked when it does: :meth:`powerplan.hardware.Hardware.of_layers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass
from typing import Any, TypeVar

from powerplan.checks import Checker, nearest
from powerplan.settings import Kind

_Value = TypeVar("_Value")

#: layers of which a hardware has values
MOST_LAYERS = 10_000
#: no value, in files that have no other word for it
NONE = "none"
#: names that an error lists
_SHOWN = 8


class ByName(Mapping[str, Any]):
    """Values by the name of the layer; never changes and can be hashed."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


@dataclass(frozen=True)
class OneOrByLayer:
    """One value of a kind, a list with one per layer, or a table by the names of the layers.

    Attributes:
        each: kind of one value.
        or_none: None is a value too, or "none" in text: of a layer that has none.
    """

    each: Kind
    or_none: bool = False

    @property
    def unit(self) -> str:
        return str(getattr(self.each, "unit", ""))

    @property
    def allowed(self) -> str:
        return f"{self.each.allowed}; one, or one per layer"

    def checked(self, check: Checker, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            named = {str(layer): self._one(check, f"{name}.{layer}", entry) for layer, entry in value.items()}
            return self._collapsed(check, name, value, ByName(named), list(named.values()))
        if isinstance(value, list | tuple) or getattr(value, "ndim", 0) > 0:
            listed = tuple(self._one(check, f"{name}[{i}]", entry) for i, entry in enumerate(value))
            return self._collapsed(check, name, value, listed, listed)
        return self.each.checked(check, name, value)

    def _one(self, check: Checker, name: str, value: Any) -> Any:
        return None if self.or_none and value in (None, NONE) else self.each.checked(check, name, value)

    def _collapsed(self, check: Checker, name: str, given: Any, values: Any, entries: Sequence[Any]) -> Any:
        """The values, or None if no layer has one."""
        if not 1 <= len(entries) <= MOST_LAYERS:
            check.fail(name, given, f"values of 1 to {MOST_LAYERS:,} layers", "Give one value, or one per layer.")
        return values if any(entry is not None for entry in entries) else None


def is_by_layer(field: Field[Any]) -> bool:
    """Whether a field of the hardware may differ from layer to layer."""
    return isinstance(field.metadata.get("kind"), OneOrByLayer)


def differs(value: Any) -> bool:
    """Whether a value of the hardware is given by layer."""
    return isinstance(value, tuple | ByName)


def one_by_one(value: Any) -> Iterator[tuple[str, Any]]:
    """The values of a field, with what to put behind its name."""
    if isinstance(value, ByName):
        yield from ((f".{name}", entry) for name, entry in value.items())
    elif isinstance(value, tuple):
        yield from ((f"[{i}]", entry) for i, entry in enumerate(value))
    else:
        yield "", value


def as_text(value: Any) -> Any:
    """A value for files that know no None in lists and tables."""
    if isinstance(value, ByName):
        return {name: NONE if entry is None else entry for name, entry in value.items()}
    return tuple(NONE if entry is None else entry for entry in value) if isinstance(value, tuple) else value


def each_changed(value: Any, change: Any) -> Any:
    """A value, or those of all layers but None, changed by a function."""
    match value:
        case None:
            return None
        case ByName():
            return {name: each_changed(entry, change) for name, entry in value.items()}
        case tuple():
            return tuple(each_changed(entry, change) for entry in value)
    return change(value)


def for_layers(check: Checker, field: str, value: Any, names: Sequence[str]) -> list[Any]:
    """The value of a field for every layer, or a noted violation."""
    listed = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    layers = f"one value for each of the {len(names)} crossbar layers ({listed})"
    if isinstance(value, ByName):
        unknown = next((name for name in value if name not in names), None)
        missing = next((name for name in names if name not in value), None)
        if unknown is not None:
            check.fail(f"{field}.{unknown}", value[unknown], layers, nearest(unknown, names))
        elif missing is not None:
            check.fail(f"{field}.{missing}", None, layers, f"Add a value for {missing!r}.")
        return [value.get(name) for name in names]
    if isinstance(value, tuple):
        if len(value) != len(names):
            check.fail(field, f"{len(value)} values", layers, "Give one value, one per layer, or a table by name.")
            return [value[0]] * len(names)
        return list(value)
    return [value] * len(names)
