"""The failures of a study by their cause."""

from __future__ import annotations

from dataclasses import dataclass

from powerplan.batch.results import StudyResult, by_cause
from powerplan.report.text import typeset, without_paths

#: points of a cause that are named at once, and in all
FIRST_NAMES, MOST_NAMES = 3, 100


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Failures of one kind: their explanation, how many points, the names of a few of them and of more."""

    code: str
    message: str
    count: int
    names: tuple[str, ...]
    more: tuple[str, ...]


def failure_groups(study: StudyResult) -> list[FailureGroup]:
    """Failures with the same code and explanation, the most frequent first."""
    named = []
    for point in study.failed:
        failure = point.failure
        cause = (failure.code, without_paths(failure.message)) if failure is not None else ("unknown", "")
        tried = f" ({failure.attempts} attempts)" if failure is not None and failure.attempts > 1 else ""
        named.append((cause, without_paths(point.name) + tried))
    return [
        FailureGroup(
            code=code,
            message=typeset(message),
            count=len(names),
            names=tuple(names[:FIRST_NAMES]),
            more=tuple(names[FIRST_NAMES:MOST_NAMES]),
        )
        for (code, message), names in by_cause(named)
    ]
