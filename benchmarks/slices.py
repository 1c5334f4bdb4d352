"""Plans with inputs and weights in slices: prediction against simulation in twelve settings.

Every setting is planned for its target on the NMSE, or on the drop of accuracy, and simulated with draws that no plan
has seen until the MSE has a standard error of 0.5 %. Power is that of devices.

    python -m benchmarks.slices [NUMBER ...] [--json FILE]

Settings that are left out keep the results they have in the file. About twenty processor minutes.
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

HARDWARE = pp.Hardware(conductance_min=1e-6, programming_noise_std=1e-6, costs="node_32nm", dac_bits=8)
#: inputs of a plan, by example
BATCH = {"iris": 64, "digits": 64, "mnist_cnn": 16}
DRAWS = {"iris": 20000, "digits": 6000, "mnist_cnn": 1500}
#: seed of the simulations that judge: no plan has seen its draws
SEED, ERROR = 1000, 0.005


@dataclass(frozen=True)
class Setting:
    """One plan: network, slices, what else the hardware has, and the target."""

    example: str
    nmse: float | None
    weight_slices: tuple[int, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    drop: float | None = None


SETTINGS = (
    Setting("iris", 0.003, fields={"input_slice_bits": 1, "adc_bits": 8}),
    Setting("digits", 0.01, fields={"input_slice_bits": 1, "adc_bits": 8, "read_noise_std": 1e-7}),
    Setting("digits", 0.03, fields={"input_slice_bits": 4, "adc_bits": 6, "array_rows": 32}),
    Setting("digits", 0.1, fields={"input_slice_bits": 2, "adc_bits": 6, "weight_mapping": "offset"}),
    Setting("mnist_cnn", 0.03, fields={"input_slice_bits": 1, "adc_bits": 8}),
    Setting("digits", None, fields={"input_slice_bits": 1, "adc_bits": 6}, drop=0.01),
    Setting("iris", 0.003, (4, 4), {"adc_bits": 8}),
    Setting("digits", 0.01, (2, 2, 2, 2), {"adc_bits": 7, "read_noise_std": 1e-7}),
    Setting("digits", 0.1, (2, 6), {"adc_bits": 6, "weight_mapping": "offset"}),
    Setting("mnist_cnn", 0.03, (4, 4), {"adc_bits": 8}),
    Setting("digits", None, (3, 5), {"adc_bits": 6}, drop=0.02),
    Setting("digits", 0.03, (4, 4), {"input_slice_bits": 1, "adc_bits": 6}),
)


def measured(setting: Setting) -> dict[str, Any]:
    """One row."""
    example, start = pp.load_example(setting.example), time.process_time()
    network, inputs = example.network, example.inputs[: BATCH[setting.example]]
    labels = None
    if setting.drop is not None:
        inputs, labels = example.test_inputs[:256], example.test_labels[:256]
    if setting.weight_slices:
        network = network.with_weight_slices(setting.weight_slices)
    hardware = HARDWARE.replace(**setting.fields)
    target: Any = pp.MaxAccuracyDrop(setting.drop, labels) if setting.drop else pp.MaxNMSE(setting.nmse or 0.0)
    plan = pp.plan(network, hardware, inputs, target, verify_draws=0, calibrate=False)
    seconds = time.process_time() - start
    draws, error = DRAWS[setting.example], ERROR
    simulated = pp.simulate(
        network, hardware, plan.gains, inputs, draws=draws, relative_standard_error=error, seed=SEED
    )
    row = {
        "example": setting.example,
        "weight_slices": list(setting.weight_slices),
        "fields": setting.fields,
        "nmse": setting.nmse,
        "drop": setting.drop,
        "outcome": plan.termination.outcome.value,
        "predicted_nmse": plan.prediction.nmse,
        "simulated_nmse": simulated.nmse,
        "mse": plan.prediction.mse / simulated.mse - 1,
        "mse_se": simulated.mse_standard_error / simulated.mse,
        "power": plan.prediction.power / simulated.power - 1,
        "energy": None if plan.prediction.costs is None else plan.prediction.costs.energy,
        "plan_s": seconds,
    }
    if labels is not None:
        right = (simulated.classes == labels).mean(1)
        row["simulated_drop"] = float((simulated.ideal_output.argmax(1) == labels).mean() - right.mean())
        row["drop_se"] = float(right.std(ddof=1) / len(right) ** 0.5)
    return row


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
