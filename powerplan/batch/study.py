"""A study: many plans described by one file, and everything one can do with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from powerplan._version import __version__
from powerplan.batch.executors import local_executor
from powerplan.batch.executors.base import Executor
from powerplan.batch.hardware import HardwareTable, check_hardware
from powerplan.batch.ledger import Entry, Ledger
from powerplan.batch.points import Point, make_points
from powerplan.batch.prepare import Prepared, prepare
from powerplan.batch.pruning import without
from powerplan.batch.quantities import in_si
from powerplan.batch.reading import read_study_file
from powerplan.batch.results import Failure, PointResult, PointState, StudyResult
from powerplan.batch.runner import Progress, Runner
from powerplan.batch.stored import StoredPlans
from powerplan.batch.targets import check_targets
from powerplan.batch.validate import check_run, check_structure, raise_all
from powerplan.errors import InvalidInput

_DAMAGED = "The plan in the ledger is gone or damaged. Plan it again: powerplan batch retry STUDY."


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """Many plans: networks, hardware, targets and options, every combination or single points.

    Make one with :meth:`load` or :meth:`from_dict`; both check everything and list every error.

    Attributes:
        name: of the study; the file's name if it gives none.
        description: free text.
        points: what is planned, in order.
        axes: names of the settings that differ between points.
        values: the plain values of the study file.
        base: folder that the paths in it are relative to.
        folder: where :meth:`run` keeps its ledger unless told otherwise: ``NAME.powerplan`` beside the file.
        digest: SHA-256 of the study's values, hexadecimal.
    """

    name: str
    description: str
    points: tuple[Point, ...]
    axes: tuple[str, ...]
    values: Mapping[str, Any]
    base: Path
    folder: Path
    digest: str
    hardware: HardwareTable = field(repr=False)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Study:
        """Read a study file (.toml, .yaml, .yml).

        Raises:
            InvalidInput: everything that is wrong with it.
            CorruptFile: not TOML or YAML.
            MissingExtra: YAML without its reader.
        """
        path = Path(file)
        return cls.from_dict(read_study_file(path), base=path.parent, name=path.stem)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, base: str | os.PathLike[str] = ".", name: str = "study") -> Study:
        """The study with the same content as a file of these values.

        Args:
            base: folder that the paths in it are relative to.
            name: if the values give none.

        Raises:
            InvalidInput: everything that is wrong with it.
        """
        values, mistaken = in_si(values)
        broken, cuts = check_structure(values)
        sound = without(values, cuts)  # what can be checked although other places break the schema
        points, axes, wrong = make_points(sound, cuts)
        hardware = HardwareTable(sound.get("hardware", {}), Path(base))
        targets = [point.settings["target"] for point in points if point.settings["target"]]
        raise_all([*mistaken, *broken, *wrong, *check_hardware(hardware, points, cuts), *check_targets(targets)])
        title = values.get("name", name)
        planned = {key: value for key, value in values.items() if key != "run"}
        digest = hashlib.sha256(json.dumps([title, planned], default=list).encode()).hexdigest()
        return cls(
            name=title,
            description=values.get("description", ""),
            points=points,
            axes=axes,
            values=values,
            base=Path(base),
            folder=Path(base) / f"{title}.powerplan",
            digest=digest,
            hardware=hardware,
        )

    def __len__(self) -> int:
        return len(self.points)

    def run(
        self,
        *,
        folder: str | os.PathLike[str] | None = None,
        workers: int | None = None,
        executor: Callable[[Path], Executor] | None = None,
        time_limit: float | None = None,
        attempts: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> StudyResult:
        """Plan every point that is not done yet.

        Args:
            folder: where ledger, networks and inputs are kept; None = :attr:`folder`.
            workers: processes of this machine; None = the study's, else one per processor.
            executor: who plans, if not processes of this machine: what :func:`powerplan.batch.server_executor` or
                :func:`powerplan.batch.ray_executor` give.
            time_limit: seconds after which a plan ends with the best gains until then (outcome "deadline"); a job that
                does not end soon after is stopped. None = the study's, else no limit.
            attempts: how often a job whose worker crashed is begun; None = the study's, else 3.
            progress: told how far it is.

        Returns:
            every point with its plan, read from the folder when it is asked for, or its failure.

        Raises:
            InvalidInput: the folder or the ledger cannot be used.
            PowerplanError: no worker can be had.
        """
        options = {
            "workers": workers,
            "time_limit": time_limit,
            "attempts": attempts,
        }
        chosen = {**self.values.get("run", {}), **{k: v for k, v in options.items() if v is not None}}
        check_run(chosen)
        chosen |= {name: int(chosen[name]) for name in ("workers", "attempts") if name in chosen}  # 2.0 is an integer
        place = self.folder if folder is None else Path(folder)
        ledger = Ledger(place)

        def tell(doing: str) -> None:
            if progress is not None:
                told = Progress(total=len(self.points), done=0, failed=0, rate=0.0, seconds_left=None, doing=doing)
                progress(told)

        try:
            prepared = self.prepare(place, ledger, tell)
            blobs = prepared.blobs.folder
            pool = (executor or local_executor(workers=chosen.get("workers")))(blobs)
            try:
                Runner(
                    ledger,
                    self.digest,
                    pool,
                    time_limit=chosen.get("time_limit"),
                    attempts=chosen.get("attempts", 3),
                    progress=progress,
                ).run()
            finally:
                pool.close()
            return self._result(ledger)
        finally:
            ledger.close()

    def prepare(
        self, folder: Path, ledger: Ledger | None = None, tell: Callable[[str], None] | None = None
    ) -> Prepared:
        """Read networks and inputs, telling ``tell`` what is read, and note the points in a ledger if one is given."""
        prepared = prepare(self, folder, tell)
        if ledger is not None:
            ledger.register(
                digest=self.digest,
                name=self.name,
                provenance=prepared.provenance,
                keys=prepared.keys,
                jobs=prepared.jobs.values(),
                failures=prepared.failures,
            )
        return prepared

    def results(self, *, folder: str | os.PathLike[str] | None = None) -> StudyResult:
        """What the ledger knows of every point, also while a run is going on.

        Raises:
            InvalidInput: the study has not been run in this folder.
        """
        ledger = self._opened(folder)
        try:
            return self._result(ledger)
        finally:
            ledger.close()

    def entries(self, *, folder: str | os.PathLike[str] | None = None) -> tuple[list[Entry], int]:
        """State of every point, without plans, and how many runners are at work."""
        ledger = self._opened(folder)
        try:
            return self._entries(ledger), ledger.runners()
        finally:
            ledger.close()

    def retry(self, *, folder: str | os.PathLike[str] | None = None) -> int:
        """Queue points that failed or whose plan is damaged again, for the next :meth:`run`; returns how many jobs."""
        ledger = self._opened(folder)
        try:
            return ledger.retry(self.digest)
        finally:
            ledger.close()

    def _opened(self, folder: str | os.PathLike[str] | None) -> Ledger:
        place = self.folder if folder is None else Path(folder)
        ledger = Ledger(place, create=False)
        if ledger.provenance(self.digest) is None:
            ledger.close()
            raise InvalidInput.of(
                "study", self.name, f"a study that was run in {place}", "Run it: it is new, or was changed since."
            )
        return ledger

    def _entries(self, ledger: Ledger) -> list[Entry]:
        """What is known of every point; one whose plan is damaged counts as failed, so that the others can be had."""
        entries, damaged = ledger.entries(self.digest), ledger.damaged(self.digest)
        return [
            replace(
                entry,
                state=PointState.FAILED,
                failure=Failure(code="damaged", message=_DAMAGED, attempts=entry.attempts),
                seconds=None,
            )
            if entry.key in damaged
            else entry
            for entry in entries
        ]

    def _result(self, ledger: Ledger) -> StudyResult:
        entries = self._entries(ledger)
        stored = StoredPlans(ledger.path.parent)
        points = [
            PointResult(
                name=point.name,
                settings=point.settings,
                state=entry.state,
                source=stored.reader(entry.key) if entry.state is PointState.DONE else None,
                failure=entry.failure,
                seconds=entry.seconds,
                attempts=entry.attempts,
                key=entry.key,
            )
            for point, entry in zip(self.points, entries, strict=True)
        ]
        return StudyResult(
            name=self.name,
            description=self.description,
            points=tuple(points),
            axes=self.axes,
            started=min((e.started for e in entries if e.started is not None), default=None),
            ended=max((e.ended for e in entries if e.ended is not None), default=None),
            provenance={
                "powerplan_version": __version__,
                "study_sha256": self.digest,
                **(ledger.provenance(self.digest) or {}),
            },
        )
