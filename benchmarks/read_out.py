"""Prediction against simulation for every way to map weights and to read columns.

For each example network and read-out the simulation runs until the MSE has a standard error of 0.5 %; errors are
(predicted − simulated) / simulated. All layers use the whole conductance range.

    python -m benchmarks.read_out [digits mnist] [--error 0.005] [--json FILE]

The MNIST network takes several minutes on one core; its data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import powerplan as pp
from benchmarks.common import machine

#: inputs of every network
BATCH = 64
MOST_DRAWS = 20_000

BASE: dict[str, Any] = {
    "conductance_min": 1e-6,
    "programming_noise_std": 1e-6,
    "read_noise_std": 1e-8,
    "input_noise_std": 1e-4,
    "array_rows": 128,
}
DIVIDER: dict[str, Any] = {"read_out": "divider", "load_conductance": 1e-3}
TRACKING: dict[str, Any] = {"feedback_tracking": True, "adc_range": 1.0}
NOISE: dict[str, Any] = {"thermal_noise": True, "shot_noise": True, "bandwidth": 1e8}
READ_OUTS: dict[str, dict[str, Any]] = {
    "differential pairs": {"feedback_resistance": 1e3},
    "bias row": {"bias_mapping": "row", "feedback_resistance": 1e3},
    "offset": {"weight_mapping": "offset", "feedback_resistance": 1e3},
    "offset, bias row": {"weight_mapping": "offset", "bias_mapping": "row"},
    "divider": DIVIDER,
    "divider, bias row, column gains": {**DIVIDER, "bias_mapping": "row", "column_gain_std": 0.01},
    "6-bit DAC": {"dac_bits": 6},
    "8-bit ADC, tracking": {**TRACKING, "adc_bits": 8},
    "8-bit ADC, saturating": {**TRACKING, "adc_bits": 8, "adc_headroom": 0.5},
    "thermal and shot noise": NOISE,
    "offset, 8-bit DAC and ADC, noise": {**TRACKING, **NOISE, "weight_mapping": "offset", "dac_bits": 8, "adc_bits": 8},
    "divider, 8-bit DAC and ADC": {**DIVIDER, "dac_bits": 8, "adc_bits": 8, "adc_range": 0.2},
}


def compare(example: pp.Example, hardware: pp.Hardware, *, error: float) -> dict[str, float]:
    """Relative errors of a prediction, with that of the simulation it is held against."""
    network, inputs = example.network, example.inputs[:BATCH]
    gains = pp.Gains.full_range(network, hardware, inputs)
    start = time.process_time()
    predicted = pp.predict(network, hardware, gains, inputs)
    middle = time.process_time()
    simulated = pp.simulate(network, hardware, gains, inputs, draws=MOST_DRAWS, relative_standard_error=error, seed=1)
    return {
        "nmse": simulated.nmse,
        "draws": simulated.draws,
        "mse": predicted.mse / simulated.mse - 1,
        "mse_se": simulated.mse_standard_error / simulated.mse,
        "power": predicted.power / simulated.power - 1,
        "power_w": simulated.power,
        "prediction_s": middle - start,
        "draw_s": (time.process_time() - middle) / simulated.draws,
    }


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", default=["digits", "mnist"])
    parser.add_argument("--error", type=float, default=0.005, help="relative standard error of the simulated MSE")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in arguments.examples:
        example = pp.load_example(name)
        for title, fields in READ_OUTS.items():
            row = compare(example, pp.Hardware(**BASE, **fields), error=arguments.error)
            rows.append({"network": name, "read_out": title, **row})
            print(
                f"{name:<8}{title:<36}NMSE {row['nmse']:8.3%}  MSE {row['mse']:+.2%} ± {row['mse_se']:.2%}"
                f"  power {row['power']:+.3%}  {row['draws']} draws",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "networks": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
