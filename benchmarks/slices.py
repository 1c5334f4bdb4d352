"""Inputs and weights in slices: prediction against simulation in twelve settings, two with coarse converters, four with
resistive wires and two with passive columns.

They are predicted at gains of the whole range, and simulated until the MSE has a standard error of 0.5 %; two are
planned for a drop of accuracy, without a verification, and simulated with draws that no plan has seen.

    python -m benchmarks.slices [NUMBER ...] [--json FILE]

Settings that are left out keep the results they have in the file. About five processor minutes; mnist_cnn needs the
MNIST data at hand (POWERPLAN_DATA). Draws behind wires are solved fast.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import powerplan as pp
from benchmarks.common import machine
from benchmarks.report import RESULTS

HARDWARE = pp.Hardware(conductance_min=1e-6, dac_bits=8)
#: inputs and most draws, by example
BATCH = {"iris": 96, "digits": 64, "mnist_cnn": 16}
DRAWS = {"iris": 40000, "digits": 4000, "mnist_cnn": 1500}
SEED, ERROR = 1000, 0.005


def wired(ohm: float, rows: int, columns: int) -> dict[str, Any]:
    """Arrays of this size with this resistance per cell, in drivers and in front of amplifiers."""
    resistances = ("wire_resistance_row", "wire_resistance_column", "driver_resistance", "sense_resistance")
    return {"array_rows": rows, "array_columns": columns, **dict.fromkeys(resistances, ohm)}


#: columns that end in a load
PASSIVE = {"read_out": "divider", "load_conductance": 1e-4, "adc_range": 0.1}


@dataclass(frozen=True)
class Setting:
    """One network, its slices, what else the hardware has, and the drop of accuracy it is planned for."""

    example: str
    noise: float
    fields: dict[str, Any] = field(default_factory=dict)
    weight_slices: tuple[int, ...] = ()
    drop: float = 0.0


SETTINGS = (
    Setting("digits", 1e-6, {"input_slice_bits": 1, "adc_bits": 8, "read_noise_std": 1e-7}),
    Setting("digits", 3e-6, {"input_slice_bits": 4, "adc_bits": 6, "array_rows": 32}),
    Setting("digits", 2e-6, {"input_slice_bits": 2, "adc_bits": 7, "weight_mapping": "offset"}),
    Setting("iris", 6e-6, {"input_slice_bits": 1, "adc_bits": 6, "input_noise_std": 5e-3}),
    Setting("mnist_cnn", 2e-6, {"input_slice_bits": 1, "adc_bits": 8}),
    Setting("digits", 1e-6, {"adc_bits": 8, "read_noise_std": 1e-7}, (4, 4)),
    Setting("digits", 3e-6, {"adc_bits": 7, "stuck_on_fraction": 1e-3}, (2, 2, 2, 2)),
    Setting("digits", 2e-6, {"adc_bits": 7, "weight_mapping": "offset"}, (2, 6)),
    Setting("mnist_cnn", 2e-6, {"adc_bits": 8}, (4, 4)),
    Setting("digits", 2e-6, {"input_slice_bits": 1, "adc_bits": 7}, (4, 4)),
    Setting("iris", 1e-6, {"input_slice_bits": 1, "adc_bits": 6}, drop=0.02),
    Setting("iris", 1e-6, {"adc_bits": 6}, (3, 5), drop=0.02),
    Setting("digits", 2e-6, {"input_slice_bits": 1, "adc_bits": 6}, (4, 4)),
    Setting("digits", 2e-6, {"input_slice_bits": 2, "adc_bits": 6, "weight_mapping": "offset"}),
    Setting("digits", 1e-6, {"input_slice_bits": 1, "adc_bits": 8, "read_noise_std": 1e-7, **wired(2.0, 64, 64)}),
    Setting("digits", 3e-6, {"input_slice_bits": 4, "adc_bits": 6, **wired(5.0, 32, 64)}),
    Setting("digits", 2e-6, {"input_slice_bits": 1, "adc_bits": 8, "column_scale": "least_bias", **wired(5.0, 64, 64)}),
    Setting("iris", 3e-6, {"input_slice_bits": 1, "adc_bits": 6, "input_noise_std": 5e-3, **wired(5.0, 16, 32)}),
    Setting("digits", 2e-6, {"input_slice_bits": 1, "adc_bits": 8, **PASSIVE}),
    Setting("digits", 2e-6, {"input_slice_bits": 4, "adc_bits": 6, "array_rows": 32, **PASSIVE}),
)


def measured(setting: Setting) -> dict[str, Any]:
    """One row."""
    example, start = pp.load_example(setting.example), time.process_time()
    network, batch = example.network, BATCH[setting.example]
    inputs, labels = example.inputs[:batch], example.labels[:batch]
    if setting.weight_slices:
        network = network.with_weight_slices(setting.weight_slices)
    hardware = HARDWARE.replace(programming_noise_std=setting.noise, **setting.fields)
    if setting.drop:
        target = pp.MaxAccuracyDrop(setting.drop, labels)
        plan = pp.plan(network, hardware, inputs, target, verify_draws=0, calibrate=False)
        gains, predicted = plan.gains, plan.prediction
    else:
        gains = pp.Gains.full_range(network, hardware, inputs)
        predicted = pp.predict(network, hardware, gains, inputs)
    simulated = pp.simulate(
        network,
        hardware,
        gains,
        inputs,
        draws=DRAWS[setting.example],
        relative_standard_error=ERROR,
        seed=SEED,
        wires="fast" if hardware.has_wires else "exact",
    )
    right = (simulated.classes == labels).mean(1)
    ideal = float((simulated.ideal_output.argmax(1) == labels).mean())
    return {
        "example": setting.example,
        "noise": setting.noise,
        "fields": setting.fields,
        "weight_slices": list(setting.weight_slices),
        "asked_drop": setting.drop,
        "nmse": simulated.nmse,
        "mse": predicted.mse / simulated.mse - 1,
        "mse_se": simulated.mse_standard_error / simulated.mse,
        "power": predicted.power / simulated.power - 1,
        "wire_drop": 0.0 if predicted.wire_drop_by_layer is None else float(predicted.wire_drop_by_layer.max()),
        "predicted_drop": ideal - predicted.accuracy(labels),
        "simulated_drop": ideal - float(right.mean()),
        "drop_se": float(right.std(ddof=1) / len(right) ** 0.5),
        "seconds": time.process_time() - start,
    }


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, default=list(range(1, len(SETTINGS) + 1)))
    parser.add_argument("--json", type=Path, default=RESULTS / "slices.json", help="results [default: %(default)s]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else {}
    for number in arguments.numbers:
        before[str(number)] = row = measured(SETTINGS[number - 1])
        print(number, {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        rows = {key: before[key] for key in sorted(before, key=int)}
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
