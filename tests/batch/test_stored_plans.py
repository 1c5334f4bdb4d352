"""The plans of a study stay in the ledger: they are read when they are asked for, and few are kept."""

from __future__ import annotations

import gc
import shutil
import sqlite3
import weakref
from pathlib import Path
from typing import Any

import pytest
from study_values import make_jobs, register, study_values

import powerplan as pp
from powerplan.batch import PointState, Study, export, stored
from powerplan.batch.ledger import FILE, Ledger
from powerplan.batch.stored import StoredPlans
from powerplan.batch.table import rows
from powerplan.errors import CorruptFile, InvalidInput
from powerplan.report.html import report_html

pytestmark = pytest.mark.usefixtures("workers_in_threads")
COUNT = stored.LAST_PLANS + 20


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A ledger with many plans, and the keys of their jobs."""
    jobs = make_jobs(COUNT)
    ledger = Ledger(tmp_path)
    register(ledger, jobs)
    ledger.join()
    ledger.lease([job.key for job in jobs])
    for job in jobs:
        assert ledger.done(job.key, (small / "plan.json").read_text(), 1.0)
    ledger.close()
    return tmp_path, [job.key for job in jobs]


def test_few_plans_are_kept_and_those_in_use_are_the_same_object(folder: tuple[Path, list[str]]) -> None:
    place, keys = folder
    plans = StoredPlans(place)
    held = plans.read(keys[0])
    seen = [weakref.ref(plans.read(key)) for key in keys]
    gc.collect()
    assert sum(ref() is not None for ref in seen) == stored.LAST_PLANS + 1
    assert plans.reader(keys[0])() is held
    assert plans.read(keys[1]).power == held.power


def test_a_plan_can_be_read_while_a_run_writes(folder: tuple[Path, list[str]]) -> None:
    place, keys = folder
    writer = Ledger(place)
    try:
        with writer._transaction():
            assert StoredPlans(place).read(keys[3]).power > 0
    finally:
        writer.close()


def test_what_is_gone_or_damaged_is_an_error_that_says_so(folder: tuple[Path, list[str]]) -> None:
    place, keys = folder
    plans = StoredPlans(place)
    with pytest.raises(InvalidInput, match="a ledger that holds the plan 000000"):
        plans.read("0" * 64)
    with sqlite3.connect(place / FILE) as db:
        db.execute("UPDATE plans SET content = x'00' WHERE key = ?", (keys[0],))
    db.close()
    with pytest.raises(CorruptFile, match=r"an undamaged plan.*powerplan batch retry STUDY"):
        plans.read(keys[0])
    (place / FILE).write_bytes(b"no database at all, but long enough to look like one" * 10)
    with pytest.raises(CorruptFile):
        plans.read(keys[1])
    shutil.rmtree(place)
    with pytest.raises(InvalidInput, match="Run the study again"):
        plans.read(keys[1])


@pytest.mark.parametrize(
    "damage", ["UPDATE plans SET content = x'0102' WHERE key = ?", "DELETE FROM plans WHERE key = ?"]
)
def test_a_damaged_plan_costs_only_its_own_point_and_retry_repairs_it(small: Path, tmp_path: Path, damage: str) -> None:
    """Its point counts as failed in status, table and report; running again changes nothing, retry does."""
    values = study_values()
    values["grid"] = {"target": {"max_nmse": [0.1, 0.2]}, "hardware": "quiet"}
    study = Study.from_dict(values, base=small)
    power = [point.plan.power for point in study.run(folder=tmp_path, workers=1).done if point.plan]
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(damage, (study.results(folder=tmp_path).points[0].key,))
    db.close()
    for result in (study.results(folder=tmp_path), study.run(folder=tmp_path, workers=1)):
        (failed,) = result.failed
        assert failed.failure is not None
        assert failed.failure.code == "damaged"
        assert "powerplan batch retry STUDY" in failed.failure.message
        assert [row["state"] for row in rows(result)] == ["failed", "done"]
        assert rows(result)[1]["power_W"] == power[1]
        assert "powerplan batch retry STUDY" in report_html(result)
    assert [entry.state for entry in study.entries(folder=tmp_path)[0]] == [PointState.FAILED, PointState.DONE]
    assert study.retry(folder=tmp_path) == 1
    assert [point.plan.power for point in study.run(folder=tmp_path, workers=1).done if point.plan] == power
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("SELECT min(completions), max(completions) FROM jobs").fetchone() == (1, 1)
    db.close()


def test_networks_and_inputs_that_were_damaged_are_stored_again(small: Path, tmp_path: Path) -> None:
    """A new run reads the sources and mends what is stored of them, also where the size is right."""
    values = study_values()
    values["grid"] = {"target": {"max_nmse": [0.1]}, "hardware": "quiet"}
    study = Study.from_dict(values, base=small)
    prepared = study.prepare(tmp_path)
    files = sorted(prepared.blobs.folder.iterdir())
    whole = [file.read_bytes() for file in files]
    for file, content in zip(files, whole, strict=True):
        file.write_bytes(content[:-1] + b"?")
        with pytest.raises(CorruptFile, match=rf"blobs/{file.name}.*damaged.*powerplan batch retry STUDY"):
            prepared.blobs.get(file.name)
    assert study.run(folder=tmp_path, workers=1).complete
    assert [file.read_bytes() for file in files] == whole


def test_a_result_reads_no_plan_by_itself(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = study_values()
    values["grid"] = {"target": {"max_nmse": [0.1, 0.2, 1e-9]}, "hardware": "quiet"}
    study = Study.from_dict(values, base=small)
    reads: list[str] = []

    def counted(folder: Path, key: str) -> str:
        reads.append(key)
        return read_plan(folder, key)

    read_plan = stored.read_plan
    monkeypatch.setattr(stored, "read_plan", counted)
    result = study.run(folder=tmp_path / "kept", workers=1)
    assert [point.state for point in result.points] == [PointState.DONE] * 3
    assert result.complete
    assert reads == []
    first: Any = result.points[0].plan
    assert isinstance(first, pp.Plan)
    assert result.points[0].plan is first
    export(result, tmp_path / "table.csv")
    assert sorted(reads) == sorted(point.key for point in result.points)
    later = study.results(folder=tmp_path / "kept")
    assert [point.plan.power for point in later.points if point.plan] == [
        point.plan.power for point in result.points if point.plan
    ]
    assert "plan" not in repr(later.points[0])
