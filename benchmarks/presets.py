"""Prediction against simulation for every published technology, on the digits network.

    python -m benchmarks.presets            a table in markdown, as in docs/hardware.md

All layers at the largest conductance gain, at the first time that was measured and a day later where that is known,
with and without drift compensation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import powerplan as pp

DAY = 86400.0
BATCH = 32


def settings() -> Iterator[tuple[str, pp.Hardware]]:
    """Name and hardware of every row."""
    for preset in pp.presets():
        yield preset.name, preset.hardware
        if not (preset.hardware.drift or preset.hardware.measurements or preset.hardware.low_frequency_noise):
            continue
        aged = preset.hardware.replace(time=preset.hardware.time + (DAY if preset.hardware.time == 0 else DAY - 1))
        yield f"{preset.name}, 1 day", aged
        yield f"{preset.name}, 1 day, compensated", aged.replace(drift_compensation=True)


def main() -> None:
    """Measure, print the table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000, help="of every simulation")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    example = pp.load_example("digits")
    inputs = example.inputs[:BATCH]
    results = {}
    print("| preset | NMSE predicted | simulated | predicted / simulated − 1 | standard error |\n|---|---|---|---|---|")
    for name, hardware in settings():
        gains = pp.Gains.uniform(example.network, hardware, inputs=inputs)
        predicted = pp.predict(example.network, hardware, gains, inputs)
        simulated = pp.simulate(example.network, hardware, gains, inputs, draws=arguments.draws)
        off = predicted.mse / simulated.mse - 1
        error = simulated.mse_standard_error / simulated.mse
        results[name] = {"predicted_nmse": predicted.nmse, "simulated_nmse": simulated.nmse, "error": error}
        print(f"| {name} | {predicted.nmse:.2%} | {simulated.nmse:.2%} | {off:+.1%} | {error:.1%} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
