"""Targets of a study as plain values: ``{kind: bound}``, with further fields such as ``chips`` beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from powerplan.batch.schema import PARTS
from powerplan.batch.validate import violation
from powerplan.errors import InvalidInput, Violation
from powerplan.planning.targets import TARGETS, Target, build_target, further_fields


def parts_of(target: Mapping[str, Any]) -> tuple[str, float, dict[str, Any]]:
    """Kind, bound and further fields of a target.

    Raises:
        ValueError: not exactly one kind.
    """
    ((kind, value),) = ((name, each) for name, each in target.items() if name in TARGETS)
    return kind, value, {name: each for name, each in target.items() if name not in TARGETS}


def make_target(target: Mapping[str, Any], labels: np.ndarray | None) -> Target:
    """The target; a kind that needs the classes of the inputs gets them.

    Raises:
        InvalidInput: there are no classes, or a number is out of range.
    """
    kind, value, further = parts_of(target)
    return build_target(kind, value, labels, **further)


def needs_labels(target: Mapping[str, Any]) -> bool:
    """Whether a target is about the classes of the inputs."""
    return "labels" in further_fields(parts_of(target)[0])


def check_targets(targets: Iterable[Mapping[str, Any]]) -> Iterator[Violation]:
    """Targets out of range, each once."""
    for kind, value, further in dict.fromkeys((*parts_of(t)[:2], tuple(map(t.get, PARTS))) for t in targets):
        parts = {name: part for name, part in zip(PARTS, further, strict=True) if part is not None}
        try:
            build_target(kind, value, labels=np.zeros(1), **parts)  # any labels will do
        except InvalidInput as error:
            wrong = error.violations[0]
            name = next((part for part in parts if wrong.field.endswith(part)), kind)
            yield violation(("target", name), parts.get(name, value), wrong.allowed, wrong.advice)
        for name in parts.keys() - set(further_fields(kind)):
            advice = f"Only bounds on the error are on {name}."
            yield violation(("target", name), parts[name], f"nothing with {kind}", advice)
