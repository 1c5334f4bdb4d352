"""``powerplan batch`` from end to end: run, status, retry, export, report, estimate, exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from powerplan.cli import main
from powerplan.cli.commands.batch import _print_failures

pytestmark = pytest.mark.usefixtures("workers_in_threads")

STUDY = """
name = "cli"
description = "two networks, one of which is not there"
[networks.small]
file = "small.npz"
[networks.broken]
file = "broken.npz"
[inputs.batch]
file = "x.npy"
[hardware.base]
programming_noise_std = 1e-6
[grid]
granularity = "layer"
target.max_nmse = [0.05, 0.1]
override.programming_noise_polynomial = [[1e-7, 1e-6], [2e-7]]
[run]
workers = 1
"""


@pytest.fixture(scope="module")
def folder(workers_in_threads: None, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study, run once."""
    folder = tmp_path_factory.mktemp("cli")
    for name in ("small.npz", "x.npy"):
        (folder / name).write_bytes((small / name).read_bytes())
    (folder / "broken.npz").write_bytes(b"not a network")
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> Result:
    return batch(folder, "run")


def batch(folder: Path, command: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["batch", command, str(folder / "study.toml"), *options])


def test_run_plans_what_it_can_and_explains_what_failed(ran: Result, folder: Path) -> None:
    """Exit code 6; the unreadable network is named once, with the points it costs; the ledger is beside the study."""
    assert ran.exit_code == 6
    assert "4 of 8 points planned, 4 failed" in ran.stdout
    assert ran.stdout.count("failed: ") == 1
    assert "failed: 4 points: unreadable: network file" in ran.stdout
    assert "broken/programming_noise_polynomial=[100nS,1uS]/max_nmse=0.05, " in ran.stdout
    assert " and 1 more" in ran.stdout
    assert (folder / "cli.powerplan" / "ledger.db").is_file()


def test_status_says_the_same(ran: Result, folder: Path) -> None:
    text = batch(folder, "status")
    assert text.exit_code == 6
    assert "8 points: 4 done, 4 failed, 0 running, 0 queued; runners at work: 0" in text.stdout
    found = json.loads(batch(folder, "status", "--json").stdout)
    assert found["points"] == {"done": 4, "failed": 4, "running": 0, "queued": 0}
    assert {failure["code"] for failure in found["failures"]} == {"unreadable"}


def test_tables_agree_in_all_formats(ran: Result, folder: Path) -> None:
    """CSV, JSON and Parquet hold the same rows; numbers come back exactly."""
    pa = pytest.importorskip("pyarrow.parquet")
    for suffix in ("csv", "json", "parquet"):
        assert batch(folder, "export", "--output", str(folder / f"table.{suffix}")).exit_code == 0
    with (folder / "table.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    document = json.loads((folder / "table.json").read_text())
    columns = pa.read_table(folder / "table.parquet").to_pylist()
    assert len(listed) == len(document["points"]) == len(columns) == 8
    assert columns == document["points"]
    for text, row in zip(listed, columns, strict=True):
        assert text["point"] == row["point"]
        assert (float(text["power_W"]) if text["power_W"] else None) == row["power_W"]
    assert columns[0]["override.programming_noise_polynomial"] == "[1e-07, 1e-06]"
    assert document["provenance"]["networks"]["broken"] is None


def test_times_are_left_out_unless_asked_for(ran: Result, folder: Path) -> None:
    batch(folder, "export", "--times", "--output", str(folder / "times.csv"))
    batch(folder, "export", "--output", str(folder / "plain.csv"))
    assert "seconds,attempts" in (folder / "times.csv").read_text().splitlines()[0]
    assert "seconds" not in (folder / "plain.csv").read_text().splitlines()[0]


def test_a_report_is_written(ran: Result, folder: Path) -> None:
    assert batch(folder, "report", "--output", str(folder / "report.html")).exit_code == 0
    assert "two networks, one of which is not there" in (folder / "report.html").read_text()
    assert "Weights on crossbars" in (folder / "report.html").read_text()
    assert batch(folder, "report", "--output", str(folder / "report.pdf")).exit_code == 2
    assert not (folder / "report.pdf").exists()


def test_retry_after_mending_plans_the_rest(ran: Result, folder: Path, tmp_path: Path) -> None:
    """With the network in place, running again plans what failed and nothing else."""
    (folder / "broken.npz").write_bytes((folder / "small.npz").read_bytes())
    done = batch(folder, "retry")
    assert done.exit_code == 0
    assert "8 of 8 points planned, 0 failed" in done.stdout


def test_dry_run_counts_measures_and_changes_nothing(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    found = batch(folder, "run", "--dry-run", "--json", "--folder", str(place))
    assert found.exit_code == 0
    answer = json.loads(found.stdout)
    assert (answer["points"], answer["workers"]) == (8, 1)
    assert answer["sample"] > 0
    assert answer["seconds"] > 0
    assert answer["memory"] > 50e6
    assert not place.exists()


def test_dry_run_of_what_is_done_says_so(ran: Result, folder: Path) -> None:
    """No times and no memory of a run that has nothing to do."""
    text = batch(folder, "run", "--dry-run")
    assert text.exit_code == 0
    assert "left to do      nothing" in text.stdout
    assert "MiB" not in text.stdout


def test_failures_are_listed_by_cause_the_most_frequent_first(capsys: pytest.CaptureFixture[str]) -> None:
    """A rare cause is not hidden behind a frequent one."""
    failures = [{"point": f"p{i}", "code": "invalid", "message": "voltage"} for i in range(120)]
    failures.insert(0, {"point": "alone", "code": "crashed", "message": "it died"})
    _print_failures(failures)
    assert capsys.readouterr().out.splitlines() == [
        "  failed: 120 points: invalid: voltage",
        "          p0, p1, p2 and 117 more",
        "  failed: alone: crashed: it died",
    ]


def test_errors_of_the_file_are_exit_2_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        '[networks.a]\nfle = "x"\n[grid]\ntarget.max_nsme = 0.1\ngranularity = "row"\n'
    )
    done = batch(tmp_path, "run")
    assert done.exit_code == 2
    for field in ("networks.a.fle", "grid.target.max_nsme", "grid.granularity"):
        assert f"error: {field}: " in done.stderr


def test_commands_on_a_study_that_was_not_run_say_so(small: Path, folder: Path, tmp_path: Path) -> None:
    for command in ("status", "retry"):
        done = batch(folder, command, "--folder", str(tmp_path))
        assert done.exit_code == 2
        assert "Run the study first" in done.stderr


@pytest.mark.parametrize(
    "options", [("--executor", "servers"), ("--executor", "ray", "--server", "a:1"), ("--executor", "moon")]
)
def test_options_that_contradict_each_other_are_exit_2(folder: Path, options: tuple[str, ...]) -> None:
    assert batch(folder, "run", *options).exit_code == 2


def test_the_schema_is_printed() -> None:
    done = CliRunner().invoke(main, ["batch", "schema"])
    assert json.loads(done.stdout)["title"] == "powerplan study"
