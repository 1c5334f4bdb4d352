"""What the benchmarks share: timing in alternation, peak memory, the machine, results as JSON.

Everything runs on one thread, and times are processor time: on an idle machine the same as wall time, on a busy one
without the time that others had the processor. Functions that are compared are timed in alternation, so that what
others do to the caches hits all of them alike; ratios are medians over the rounds, times the shortest seen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def alternate(
    functions: Mapping[str, Callable[[], object]], *, rounds: int = 15, budget: float = 3.0
) -> dict[str, list[float]]:
    """Processor seconds per call of every function, called in turn.

    Args:
        rounds: most rounds, after one to warm up.
        budget: seconds after which no further round begins; if the first takes longer, it is the one that counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    end = time.perf_counter() + budget
    for done in range(rounds + 1):
        if done == 1 and time.perf_counter() < end:
            seconds = {name: [] for name in functions}
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name].append(time.process_time() - start)
        if time.perf_counter() > end:
            break
    return seconds


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over the rounds of above / below."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "cvxpy", "clarabel")},
    }


def run(description: str | None, measure: Callable[[], dict[str, Any]]) -> None:
    """Entry point of a benchmark: one thread, measure, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    results = {"machine": machine(), **measure(), "seconds": round(time.perf_counter() - start, 1)}
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
