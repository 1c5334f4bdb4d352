"""Prediction against simulation for every device preset with every read-out, on the MNIST network.

Every preset is taken at its time 0, in turn with conductance gains at which its NMSE with differential pairs is about
1 % and 10 %, by prediction; where 1 % is out of reach, with the largest, where 10 % is, with 5 % of it. The simulation
runs until the MSE has a standard error of 0.68 %.

    python -m benchmarks.device_read_outs [PRESET ...] [--error 0.0068] [--json FILE]

About ten processor minutes; the MNIST data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from scipy import optimize

import powerplan as pp
from benchmarks.common import machine
from benchmarks.read_out import DIVIDER, TRACKING

#: inputs of the network
BATCH = 64
MOST_DRAWS = 3000
LEVELS = (0.01, 0.1)
#: log of the least factor on full-range gains
_LOWEST = -3.0
COMMON: dict[str, Any] = {"array_rows": 128}
READ_OUTS: dict[str, dict[str, Any]] = {
    "pairs": {},
    "pairs, 8-bit DAC and ADC": {**TRACKING, "dac_bits": 8, "adc_bits": 8},
    "pairs, saturating 8-bit ADC": {**TRACKING, "adc_bits": 8, "adc_headroom": 0.5},
    "offset, bias row": {"weight_mapping": "offset", "bias_mapping": "row"},
    "divider": DIVIDER,
}


def scaled(gains: pp.Gains, factor: float) -> pp.Gains:
    """The gains with all conductance gains multiplied."""
    return pp.Gains(conductance=tuple(factor * c for c in gains.conductance), voltage=gains.voltage)


def at_level(example: pp.Example, hardware: pp.Hardware, level: float) -> float:
    """The factor on full-range gains at which differential pairs have this NMSE, at most 1."""
    network, inputs = example.network, example.inputs[:BATCH]
    full = pp.Gains.full_range(network, hardware, inputs)

    def excess(log_factor: float) -> float:
        gains = scaled(full, math.exp(log_factor))
        return math.log(pp.predict(network, hardware, gains, inputs).nmse / level)

    if excess(0.0) >= 0:
        return 1.0
    low = -1.0
    while excess(low) < 0:
        low -= 1.0
        if low < _LOWEST:  # noise in proportion to the conductance hardly cares
            return math.exp(_LOWEST)
    return math.exp(float(optimize.brentq(excess, low, 0.0, xtol=0.02)))


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=[preset.name for preset in pp.presets()])
    parser.add_argument("--error", type=float, default=0.0068, help="relative standard error of the simulated MSE")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    example = pp.load_example("mnist")
    network, inputs = example.network, example.inputs[:BATCH]
    start, rows = time.process_time(), []
    for number, preset in enumerate(preset.name for preset in pp.presets()):
        if preset not in arguments.presets:
            continue
        hardware = pp.Hardware.preset(preset, **COMMON)
        factors = [at_level(example, hardware, level) for level in LEVELS]
        for place, (title, fields) in enumerate(READ_OUTS.items()):
            changed, factor = hardware.replace(**fields), factors[(number + place) % len(LEVELS)]
            gains = scaled(pp.Gains.full_range(network, changed, inputs), factor)
            predicted = pp.predict(network, changed, gains, inputs)
            simulated = pp.simulate(
                network, changed, gains, inputs, draws=MOST_DRAWS, relative_standard_error=arguments.error, seed=1
            )
            row = {
                "preset": preset,
                "factor": factor,
                "read_out": title,
                "nmse": simulated.nmse,
                "draws": simulated.draws,
                "mse": predicted.mse / simulated.mse - 1,
                "mse_se": simulated.mse_standard_error / simulated.mse,
            }
            rows.append(row)
            print(
                f"{preset:<22}{title:<30}NMSE {row['nmse']:9.3%}  MSE {row['mse']:+.2%} ± {row['mse_se']:.2%}"
                f"  {row['draws']} draws",
                flush=True,
            )
    seconds = time.process_time() - start
    print(f"{seconds:.0f} s of processor time")
    if arguments.json:
        result = {"machine": machine(), "seconds": seconds, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
