"""Run the benchmarks and rewrite docs/benchmarks.md.

    python -m benchmarks                 all that take minutes together (make bench)
    python -m benchmarks accuracy        by name; accuracy, accuracy_targets, aihwkit_devices (needs
                                         aihwkit), batch, bits, cost, device_read_outs, measured_cells (needs
                                         POWERPLAN_CELLS), read_out, real_networks, scale, slices and
                                         stuck_devices: only by name

Each is a program of its own that writes JSON; benchmarks/results keeps the last result of each, and the document
is made from these files.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import RESULTS, write_report

HERE = Path(__file__).resolve().parent
DEFAULT = ("simulate", "prediction", "plan", "columns", "allocation", "service")
BY_NAME = (
    *("accuracy", "accuracy_targets", "aihwkit_devices", "batch", "bits", "cost", "device_read_outs"),
    *("measured_cells", "read_out", "real_networks", "scale", "slices", "stuck_devices"),
)


def main() -> int:
    """Run the named benchmarks, then write the report; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="benchmark", help=f"{', '.join((*DEFAULT, *BY_NAME))}")
    names = parser.parse_args().names or [name for name in DEFAULT if (HERE / f"{name}.py").is_file()]
    unknown = [name for name in names if name not in (*DEFAULT, *BY_NAME)]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]!r}: use {', '.join((*DEFAULT, *BY_NAME))}")
    RESULTS.mkdir(exist_ok=True)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    failed = []
    for name in names:
        print(f"{name} ...", end=" ", flush=True)
        start = time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(RESULTS / f"{name}.json")]
        done = subprocess.run(command, cwd=HERE.parent, env=one_thread, capture_output=True, text=True, check=False)
        print(f"{time.perf_counter() - start:.0f} s" + ("" if done.returncode == 0 else ", failed"), flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stderr, file=sys.stderr)
    print(f"wrote {write_report()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
