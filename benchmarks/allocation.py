"""How much faster is KKT bisection than cvxpy on the same separable program?

Power p c + q c² and error k c^-2 per gain, coefficients over 12 orders of magnitude, limits of which some bind.
One thread; medians of the repeats; both answers carry a certificate. "one conic solve" is the last of the
centred solves that cvxpy_solve makes: the least that any cvxpy formulation would pay.

    python benchmarks/allocation.py [--gains 1000 10000 100000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# read when numpy is imported
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

from powerplan.allocation import AllocationResult, GeometricProgram, convex, cvxpy_solve, kkt_bisection  # noqa: E402
from powerplan.allocation.conic import solve_conic  # noqa: E402


def program(gains: int) -> GeometricProgram:
    """Two power terms and one error term per gain, limits about the middle of the trade."""
    rng = np.random.default_rng(0)
    p = 10 ** rng.uniform(-6, 6, (gains, 2))
    k = 10 ** rng.uniform(-6, 6, (gains, 1))
    terms: dict[str, Any] = {
        "power_coefficients": p,
        "power_exponents": [1.0, 2.0],
        "error_coefficients": k,
        "error_exponents": [2.0],
    }
    free = kkt_bisection(GeometricProgram.separable(**terms, bound=1.0)).x
    lower = free + rng.uniform(-3, 0.5, gains)
    return GeometricProgram.separable(**terms, bound=1.0, lower=lower, upper=lower + 3.5)


def timed(call: Callable[[], AllocationResult], repeats: int) -> tuple[float, AllocationResult]:
    """Median seconds, and the last answer."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), answer


def one_conic_solve(problem: GeometricProgram, x: np.ndarray) -> float:
    """Seconds to build and solve cvxpy's form in powers once, centred on the optimum x."""
    start = time.perf_counter()
    model, variable, _ = convex.in_powers(problem, problem.objective, problem.constraint, x)
    solve_conic(model, variable)
    return time.perf_counter() - start


def measure(gains: int) -> dict[str, float]:
    problem = program(gains)
    kkt_seconds, kkt = timed(lambda: kkt_bisection(problem), 5)
    cvxpy_seconds, conic = timed(lambda: cvxpy_solve(problem), 3 if gains <= 10_000 else 1)
    single = one_conic_solve(problem, conic.x)
    assert kkt.certificate is not None
    assert conic.certificate is not None
    return {
        "gains": gains,
        "kkt_seconds": kkt_seconds,
        "cvxpy_seconds": cvxpy_seconds,
        "one_conic_solve_seconds": single,
        "speedup": cvxpy_seconds / kkt_seconds,
        "speedup_over_one_conic_solve": single / kkt_seconds,
        "power_difference": abs(kkt.objective / conic.objective - 1),
        "kkt_certificate": kkt.certificate.worst,
        "cvxpy_certificate": conic.certificate.worst,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gains", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args()
    import cvxpy  # noqa: F401  (its import is not part of a solve)

    print(
        f"{'gains':>8}{'kkt [s]':>10}{'cvxpy [s]':>11}{'conic [s]':>11}{'faster':>8}"
        f"{'than conic':>12}{'difference':>12}{'kkt proof':>11}{'cvxpy proof':>13}"
    )
    rows = []
    for gains in arguments.gains:
        row = measure(gains)
        rows.append(row)
        print(
            f"{gains:8d}{row['kkt_seconds']:10.4f}{row['cvxpy_seconds']:11.3f}{row['one_conic_solve_seconds']:11.3f}"
            f"{row['speedup']:8.0f}{row['speedup_over_one_conic_solve']:12.0f}{row['power_difference']:12.1e}"
            f"{row['kkt_certificate']:11.1e}{row['cvxpy_certificate']:13.1e}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"allocation": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
