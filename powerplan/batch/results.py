"""What a study gives: one result per point, either a plan or a failure that says why."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from powerplan.shown import Tabled, view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from powerplan.planning import Plan


class PointState(enum.Enum):
    """Where a point of a study stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a point has no plan.

    Attributes:
        code: stable word for programs: "invalid" (settings that cannot be planned), "unreadable" (a network or
            inputs that cannot be read), "solver" (an optimiser gave up), "crashed" (the worker died),
            "time_limit" (killed for taking too long), "memory" (more than there is), "unavailable" (something it
            needs is not installed or not at hand), "damaged" (its plan in the ledger cannot be read),
            "internal" (a fault of powerplan).
        message: what happened and what to do next, for a person.
        attempts: how often it was tried.
    """

    code: str
    message: str
    attempts: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class PointResult:
    """One point of a study.

    Attributes:
        name: readable, unique in the study.
        settings: what was asked, as plain values: "network", "inputs" and "hardware" (names of the study),
            "override" (hardware fields changed on top), "target" ({kind: value}, with "chips" where it is on a part of
            them), "granularity", "optimize", "method", "verify_draws", "calibrate", "seed", ...
        state: done, failed, or not there yet.
        source: the plan of a point that is done, or what reads it; else None. See :attr:`plan`.
        failure: why a failed point failed, else None.
        seconds: wall time of the calculation [s]; None unless done.
        attempts: how often the calculation was begun.
        key: content hash of the job (SHA-256, hexadecimal); points that ask the same share it.
    """

    name: str
    settings: Mapping[str, Any]
    state: PointState
    source: Plan | Callable[[], Plan] | None = field(default=None, repr=False)
    failure: Failure | None = None
    seconds: float | None = None
    attempts: int = 0
    key: str = ""

    @property
    def plan(self) -> Plan | None:
        """The plan of a point that is done, else None. An infeasible target is done: its plan says so.

        The plan of a study is read from the ledger when it is asked for: hold it as long as you need it.

        Raises:
            InvalidInput, CorruptFile: the ledger that holds it is gone or damaged.
        """
        return self.source() if callable(self.source) else self.source


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StudyResult(Tabled):
    """A study and what is known of its points, in the order of the study file.

    Attributes:
        name: of the study.
        description: free text of the study file, may be empty.
        points: every point.
        axes: names of the settings that differ between points ("network", "hardware", "override.read_noise_std",
            "target", ...), in the order of the study.
        started: when the first calculation began, seconds since the epoch; None if none has.
        ended: when the last calculation ended, likewise.
        provenance: powerplan version, digests of networks and inputs by name, sizes of the networks by name
            ("network_sizes"), digest of the study.
    """

    name: str
    description: str = ""
    points: tuple[PointResult, ...]
    axes: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def done(self) -> tuple[PointResult, ...]:
        """The points with a plan."""
        return tuple(point for point in self.points if point.state is PointState.DONE)

    @property
    def failed(self) -> tuple[PointResult, ...]:
        """The points with a failure."""
        return tuple(point for point in self.points if point.state is PointState.FAILED)

    @property
    def complete(self) -> bool:
        """True if every point has a plan."""
        return len(self.done) == len(self.points)

    def __repr__(self) -> str:
        counts = f"{len(self.points)} points, {len(self.done)} done, {len(self.failed)} failed"
        return f"StudyResult({self.name!r}: {counts}; axes {', '.join(self.axes) or 'none'})"

    def plot(self, file: str | os.PathLike[str] | None = None, *, title: str = "") -> Figure:
        """Power against error, or against the numbers of a sweep, as a figure (matplotlib, extra ``plot``).

        Args:
            file: also write it: .png, .svg or .pdf.
            title: what was planned, instead of the study's name.
        """
        figure: Figure = view("plot_study")(self, title=title, file=file)
        return figure

    def report(self, file: str | os.PathLike[str], *, title: str = "") -> None:
        """Write the study as one self-contained HTML page."""
        view("write_report")(self, file, title=title)


def by_cause(failures: Iterable[tuple[tuple[str, str], str]]) -> list[tuple[tuple[str, str], list[str]]]:
    """Names of points by the code and message of their failure, the most frequent cause first."""
    causes: dict[tuple[str, str], list[str]] = {}
    for cause, name in failures:
        causes.setdefault(cause, []).append(name)
    return sorted(causes.items(), key=lambda item: -len(item[1]))
