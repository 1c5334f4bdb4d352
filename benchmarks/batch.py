"""Studies: speed with two workers against one, overhead of the runner per job, and twenty kills all over a run.

For the speed, one worker and two plan the same part of the study in turn, part after part, so that a machine that
becomes faster or slower does not decide the ratio; what is reported are medians over the rounds. Every time is taken
from the ledger, from the moment when a tenth of the part is done: starts and first jobs of the workers are not in it.
Overhead is the processor time of the runner's own process per job, and the wall time per job that is not spent
planning. Since wall times on a loaded machine are partly the times of others, beside them stand the part of the time
that the workers were busy and the speed-up that follows from the processor time that the same jobs took.

The kill test runs the command line and kills it with SIGKILL when certain numbers of jobs are done, drawn at random
over the whole study, and a random moment later; where the next number is passed already, somewhere in the start. Then
it lets the run end and compares the exported table with that of an undisturbed run.

    python -m benchmarks.batch [--jobs 2000] [--kills 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import powerplan as pp
from benchmarks.common import machine
from powerplan.batch import Study

_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
#: parts of the study, of which so many are timed with one worker and with two
_PARTS, _ROUNDS = 10, 4
#: folder of the runs with one worker and with two
_PLACES = {1: "one", 2: "two"}
#: seconds between two looks at a run that is to be killed, and that a run takes to start
_POLL, _START = 0.2, 5.0


def write_study(folder: Path, jobs: int, seed: int = 0) -> Path:
    """A study of small plans: a 4-6-5-3 network, ten hardware settings, and targets to make up the number."""
    rng = np.random.default_rng(seed)
    shapes = [(6, 4), (5, 6), (3, 5)]
    pp.Network.mlp([rng.normal(0, 1 / np.sqrt(n), (m, n)) for m, n in shapes]).save(folder / "small.npz")
    np.save(folder / "x.npy", rng.normal(size=(8, 4)))
    file = folder / "study.toml"
    file.write_text(
        '[networks.small]\nfile = "small.npz"\n[inputs.batch]\nfile = "x.npy"\n[hardware.base]\n'
        "[grid]\noverride.programming_noise_std = {from = 2e-7, to = 2e-6, points = 10}\n"
        f"target.max_nmse = {{from = 0.05, to = 0.5, points = {jobs // 10}}}\n"
    )
    return file


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "powerplan.cli", "batch", *map(str, arguments)]


def _cpu() -> tuple[float, float]:
    """Processor seconds of this process, and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


def _parts(study: Study, base: Path) -> list[Study]:
    """Parts of the study with every tenth target each, so that all are alike; their jobs are those of the study."""
    targets = list(dict.fromkeys(point.settings["target"]["max_nmse"] for point in study.points))
    return [
        Study.from_dict(
            {**study.values, "grid": {**study.values["grid"], "target": {"max_nmse": targets[i::_PARTS]}}}, base=base
        )
        for i in range(_ROUNDS)
    ]


def _timed(study: Study, folder: Path, workers: int) -> dict[str, float]:
    """One run of a part of the study."""
    own, children = _cpu()
    start = time.perf_counter()
    result = study.run(folder=folder, workers=workers)
    wall = time.perf_counter() - start
    own_after, children_after = _cpu()
    assert result.complete
    ended = _ended(folder, {point.key for point in result.points})
    warm = max(workers, len(ended) // 10)
    counted = ended[warm:]
    return {
        "workers": workers,
        "jobs": len(ended),
        "wall_seconds": wall,
        "counted_jobs": len(counted),
        "counted_wall_seconds": counted[-1][0] - ended[warm - 1][0],
        "counted_job_seconds": sum(seconds for _, seconds in counted),
        "runner_cpu_seconds": own_after - own,
        "worker_cpu_seconds": children_after - children,
    }


def _ended(folder: Path, keys: set[str]) -> list[tuple[float, float]]:
    """When the jobs ended and how long each took, in the order in which they ended."""
    db = sqlite3.connect(folder / "ledger.db", timeout=60)
    try:
        rows = db.execute("SELECT key, ended, seconds FROM jobs WHERE state = 'done' ORDER BY ended").fetchall()
    finally:
        db.close()
    return [(ended, seconds) for key, ended, seconds in rows if key in keys]


def _idle(study: Study, folder: Path) -> tuple[float, float]:
    """Processor seconds of a run that finds everything done: of its own, and of the one process that reads for it."""
    own, children = _cpu()
    study.run(folder=folder, workers=1)
    own_after, children_after = _cpu()
    return own_after - own, children_after - children


def measure_speed(study: Study, scratch: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What follows from runs with one and with two workers in turn, and the runs."""
    runs: list[dict[str, Any]] = []
    pairs = []
    parts = _parts(study, scratch)
    for i, part in enumerate(parts):
        pair = {workers: _timed(part, scratch / _PLACES[workers], workers) for workers in ((1, 2), (2, 1))[i % 2]}
        runs += ({"round": i + 1, **run} for run in pair.values())
        pairs.append((pair[1], pair[2]))
    own, reading = _idle(parts[0], scratch / _PLACES[1])

    def median(value: Callable[[dict[str, float], dict[str, float]], float]) -> float:
        return statistics.median(value(one, two) for one, two in pairs)

    def planning_cpu(run: dict[str, float]) -> float:
        return run["worker_cpu_seconds"] - (1 + run["workers"]) * reading  # without the starts of the processes

    def wall_per_job(run: dict[str, float]) -> float:
        return run["counted_wall_seconds"] / run["counted_jobs"]

    ratios = [wall_per_job(one) / wall_per_job(two) for one, two in pairs]
    speed = {
        "rounds": len(pairs),
        "jobs_per_round": pairs[0][0]["jobs"],
        "speedup_wall": statistics.median(ratios),
        "speedup_wall_least": min(ratios),
        "speedup_wall_most": max(ratios),
        "speedup_processor_time": median(lambda one, two: 2 * planning_cpu(one) / planning_cpu(two)),
        "workers_busy": median(lambda _, two: two["counted_job_seconds"] / (2 * two["counted_wall_seconds"])),
        "runner_ms_per_job": 1e3 * median(lambda one, _: (one["runner_cpu_seconds"] - own) / one["jobs"]),
        "overhead_wall_ms_per_job": 1e3
        * median(lambda one, _: (one["counted_wall_seconds"] - one["counted_job_seconds"]) / one["counted_jobs"]),
    }
    return speed, runs


def measure_kills(study: Study, file: Path, scratch: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """SIGKILL again and again, all over the study, then a run to the end; the table against an undisturbed one."""
    folder, moments = scratch / "killed", random.Random(seed)
    study.run(folder=scratch / _PLACES[2], workers=2)  # what is left of it: the undisturbed run
    done_at: list[int] = []
    for wanted in sorted(moments.sample(range(len(study) - kills), kills)):
        process = subprocess.Popen(
            _command("run", file, "--folder", folder, "--workers", 2, "--quiet"),
            env=_ENVIRONMENT,
            stdout=subprocess.DEVNULL,
        )
        late = moments.uniform(0, _START if _count(folder, "state = 'done'") >= wanted else _POLL)
        while process.poll() is None and _count(folder, "state = 'done'") < wanted:
            time.sleep(_POLL)
        try:
            process.wait(late)
            break  # it was faster than all kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done_at.append(_count(folder, "state = 'done'"))
    subprocess.run(_command("run", file, "--folder", folder, "--workers", 2, "--quiet"), env=_ENVIRONMENT, check=True)
    tables = []
    for place in ("killed", _PLACES[2]):
        table = scratch / f"{place}.csv"
        subprocess.run(
            _command("export", file, "--folder", scratch / place, "--output", table), env=_ENVIRONMENT, check=True
        )
        tables.append(table.read_bytes())
    return {
        "kills": len(done_at),
        "done_at_first_kill": min(done_at, default=0),
        "done_at_median_kill": int(statistics.median(done_at)) if done_at else 0,
        "done_at_last_kill": max(done_at, default=0),
        "done_at_kills": done_at,
        "jobs_done_once": _count(folder, "completions = 1"),
        "jobs_done_more_often": _count(folder, "completions > 1"),
        "tables_equal": tables[0] == tables[1],
    }


def _count(folder: Path, condition: str) -> int:
    if not (folder / "ledger.db").exists():
        return 0
    db = sqlite3.connect(folder / "ledger.db", timeout=60)
    try:
        return int(db.execute(f"SELECT count(*) FROM jobs WHERE {condition}").fetchone()[0])
    finally:
        db.close()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000, help="at least 100, in tens")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="powerplan-bench-") as scratch:
        file = write_study(Path(scratch), arguments.jobs)
        study = Study.load(file)
        speed, runs = measure_speed(study, Path(scratch))
        results: dict[str, Any] = {"machine": machine(), "jobs": len(study), "speed": speed, "runs": runs}
        if arguments.kills:
            results["kills"] = measure_kills(study, file, Path(scratch), arguments.kills)
    results["seconds"] = round(time.perf_counter() - start, 1)
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
