"""Studies: speed with two workers against one, overhead of the runner per job, and twenty kills at random moments.

Overhead is the processor time of the runner's own process per job, and the wall time per job that is not spent
planning. The speed-up compares wall times of the same study without the start of the workers; since on a loaded machine
these are partly the times of others, beside it stand the part of the time that the workers were busy and the speed-up
that follows from the processor time that the same jobs took. The kill test runs the command line, kills it with SIGKILL
at random moments, lets it end, and compares the exported table with that of an undisturbed run.

    python -m benchmarks.batch [--jobs 2000] [--kills 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import powerplan as pp
from benchmarks.common import machine
from powerplan.batch import Study

_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


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


def _timed(study: Study, folder: Path, workers: int) -> dict[str, float]:
    """One run of the whole study."""
    from powerplan.batch.ledger import Ledger

    ledger = Ledger(folder)
    study.prepare(folder, ledger)  # so that the run below finds the networks stored
    ledger.close()
    first: list[float] = []
    own, children = _cpu()
    start = time.perf_counter()
    result = study.run(folder=folder, workers=workers, progress=lambda p: first.append(time.perf_counter()))
    wall = time.perf_counter() - start
    own_after, children_after = _cpu()
    assert result.complete
    seconds = [point.seconds or 0.0 for point in result.points]
    return {
        "wall_seconds": wall,
        "planning_wall_seconds": first[-1] - first[1],  # without the start of the workers
        # the first result marks the end of the start, so its job, the longest since it warms up, is left out
        "job_seconds": sum(seconds) - max(seconds),
        "runner_cpu_seconds": own_after - own,
        "worker_cpu_seconds": children_after - children,
    }


def _idle_start(study: Study, folder: Path) -> tuple[float, float]:
    """Processor seconds of a run that finds everything done: reading, registering and loading the results."""
    own, children = _cpu()
    study.run(folder=folder, workers=1)
    own_after, children_after = _cpu()
    return own_after - own, children_after - children


def measure_speed(file: Path, scratch: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What follows from runs with one and with two workers, and the runs."""
    study = Study.load(file)
    jobs = len(study)
    one, two = _timed(study, scratch / "one", 1), _timed(study, scratch / "two", 2)
    own, _ = _idle_start(study, scratch / "one")
    speed = {
        "jobs": jobs,
        "speedup_wall": one["planning_wall_seconds"] / two["planning_wall_seconds"],
        "speedup_processor_time": 2 * one["worker_cpu_seconds"] / two["worker_cpu_seconds"],
        "workers_busy": two["job_seconds"] / (2 * two["planning_wall_seconds"]),
        "runner_ms_per_job": 1e3 * (one["runner_cpu_seconds"] - own) / jobs,
        "overhead_wall_ms_per_job": 1e3 * (one["planning_wall_seconds"] - one["job_seconds"]) / jobs,
    }
    return speed, [{"workers": 1, **one}, {"workers": 2, **two}]


def measure_kills(file: Path, scratch: Path, kills: int, two: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """SIGKILL at random moments, again and again, then a run to the end; the table against an undisturbed one.

    The moments are drawn between half the time that a run needs to start and a little after it (both as measured
    without disturbance), so that the study is not over before the last kill.
    """
    folder, moments = scratch / "killed", random.Random(seed)
    start, work = two["wall_seconds"] - two["planning_wall_seconds"], two["planning_wall_seconds"]
    killed = done_at_kill = 0
    while killed < kills:
        process = subprocess.Popen(
            _command("run", file, "--folder", folder, "--workers", 2, "--quiet"),
            env=_ENVIRONMENT,
            stdout=subprocess.DEVNULL,
        )
        try:
            process.wait(moments.uniform(start / 2, 1.2 * start + work / 25))
            break  # it was faster than all kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            done_at_kill = _count(folder, "state = 'done'")
    subprocess.run(_command("run", file, "--folder", folder, "--workers", 2, "--quiet"), env=_ENVIRONMENT, check=True)
    tables = []
    for place in ("killed", "two"):
        table = scratch / f"{place}.csv"
        subprocess.run(
            _command("export", file, "--folder", scratch / place, "--output", table), env=_ENVIRONMENT, check=True
        )
        tables.append(table.read_bytes())
    return {
        "kills": killed,
        "done_at_last_kill": done_at_kill,
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
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="powerplan-bench-") as scratch:
        file = write_study(Path(scratch), arguments.jobs)
        speed, runs = measure_speed(file, Path(scratch))
        results: dict[str, Any] = {"machine": machine(), "speed": speed, "runs": runs}
        if arguments.kills:
            results["kills"] = measure_kills(file, Path(scratch), arguments.kills, runs[1])
    results["seconds"] = round(time.perf_counter() - start, 1)
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
