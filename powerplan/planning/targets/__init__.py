"""What a plan must reach: one class per target, which says all that is asked of it; and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from powerplan.checks import Checker, nearest, unknown_keys
from powerplan.errors import InvalidInput
from powerplan.planning.targets.classes import MaxAccuracyDrop, MaxFlipRate
from powerplan.planning.targets.errors import MaxMSE, MaxNMSE, MaxOutputMSE
from powerplan.planning.targets.power import MaxPower
from powerplan.planning.targets.target import Target

__all__ = [
    "TARGETS",
    "VERIFIED",
    "MaxAccuracyDrop",
    "MaxFlipRate",
    "MaxMSE",
    "MaxNMSE",
    "MaxOutputMSE",
    "MaxPower",
    "Target",
    "build_target",
    "further_fields",
    "target_from_dict",
    "target_name",
    "target_to_dict",
]

#: targets by name, for files, the command line and the wire
TARGETS: dict[str, type[Target]] = {
    kind.kind: kind for kind in (MaxMSE, MaxNMSE, MaxOutputMSE, MaxAccuracyDrop, MaxFlipRate, MaxPower)
}
#: names of the targets whose plans are verified and calibrated unless told otherwise
VERIFIED = frozenset(name for name, kind in TARGETS.items() if kind.is_verified)


def target_name(target: Target) -> str:
    """The name of a target's kind in :data:`TARGETS`."""
    return target.kind


def further_fields(name: str) -> tuple[str, ...]:
    """The fields of a kind of target beside its bound."""
    kind: Any = TARGETS[name]
    return tuple(field.name for field in fields(kind)[1:])


def build_target(name: str, value: float, labels: Any = None, **further: Any) -> Target:
    """The target of a kind in :data:`TARGETS`.

    Args:
        value: its bound.
        labels, further: its further fields; those of other kinds are ignored.

    Raises:
        InvalidInput: unknown name, value out of range, no labels where they are needed.
    """
    if name not in TARGETS:
        raise InvalidInput.of("target", name, "one of " + ", ".join(TARGETS), nearest(name, TARGETS))
    kind: Callable[..., Target] = TARGETS[name]
    parts = {"labels": labels, **further}
    return kind(value, **{field: parts[field] for field in further_fields(name) if field in parts})


def target_to_dict(target: Target) -> dict[str, Any]:
    """A target as plain JSON values."""
    further = {name: getattr(target, name) for name in further_fields(target.kind)}
    plain = {name: list(v) if isinstance(v, tuple) else v for name, v in further.items() if v is not None}
    return {"kind": target.kind, "value": target.value, **plain}


def target_from_dict(values: Mapping[str, Any]) -> Target:
    """Inverse of :func:`target_to_dict`.

    Raises:
        InvalidInput: unknown keys or kind, or values that the target refuses.
        KeyError: no kind or value.
    """
    check = Checker("target.")
    unknown_keys(check, values, ("kind", "value", *{name for kind in TARGETS for name in further_fields(kind)}))
    check.done()
    further = {name: value for name, value in values.items() if name not in ("kind", "value")}
    return build_target(values["kind"], values["value"], **further)
