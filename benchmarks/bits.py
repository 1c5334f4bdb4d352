"""Bits of converters planned by layer: against every choice, against one width for all layers, and against their time.

    python -m benchmarks.bits [brute|widths ...] [--only NAME ...] [--json FILE]

*brute*: every choice of 4 to 9 bits, with gains planned for each, is either planned or proven to take more energy than
the best one (:mod:`benchmarks.every_choice`). *widths*: the plan against the best single width for all layers, for
a two-layer transformer and ResNet-18 at 64 px. Both tell what the plan took beside one without bits, in processor time.
Settings that are left out keep the results they have in the file. The MNIST networks need the data at hand
(POWERPLAN_DATA); two and a half hours of processor time.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import powerplan as pp
from benchmarks.common import machine
from benchmarks.every_choice import EveryChoice
from benchmarks.real_networks import Encoder, random_case
from benchmarks.report import RESULTS
from benchmarks.scale import torchvision_network

LEAST, MOST = 4, 9
CONVERTERS: dict[str, dict[str, Any]] = {
    "capacitor": {"type": "capacitor"},
    "survey": {"type": "survey", "node": 32e-9},
}
#: tolerance of the plans that choices are compared by: their energies are within 1e-5 of the least
NEARLY = 1e-3
#: choices up to which all are planned
FEW = 216
#: inputs by network
BATCH = {"iris": 32, "digits": 32, "mnist": 16, "mnist_cnn": 8, "encoder": 8, "resnet18": 2}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A network, its target, its converters and the noise that makes the target worth planning."""

    network: str
    target: float
    converter: str = "capacitor"
    noise: float = 1e-6
    fields: dict[str, Any] = field(default_factory=lambda: {"conductance_min": 1e-6})
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As rows are told apart."""
        given = "".join(f", {key} {value:g}" for key, value in self.fields.items())
        return f"{self.network}, {self.target:.0%}, {self.converter}, {self.noise:g} S{given}"

    def case(self) -> tuple[pp.Network, np.ndarray, pp.Hardware]:
        """Network, inputs and a hardware with 8 bits everywhere."""
        costs = pp.Costs.from_dict({"adc": CONVERTERS[self.converter]})
        hardware = pp.Hardware(programming_noise_std=self.noise, adc_bits=8, costs=costs, **self.fields)
        network, inputs = NETWORKS.get(self.network, _example)(self.network)
        return network, inputs[: BATCH[self.network]], hardware

    @property
    def wanted(self) -> pp.MaxNMSE:
        """The target."""
        return pp.MaxNMSE(self.target)


def _example(name: str) -> tuple[pp.Network, np.ndarray]:
    example = pp.load_example(name)
    return example.network, example.inputs


def _encoder(name: str) -> tuple[pp.Network, np.ndarray]:
    case = random_case(name, Encoder, (12, 8))
    return case.network, case.inputs


def _resnet18(name: str) -> tuple[pp.Network, np.ndarray]:
    network = pp.from_torch(torchvision_network(name, 64), (3, 64, 64))
    return network, np.random.default_rng(0).normal(size=(BATCH[name], 3, 64, 64)).astype(np.float32)


NETWORKS: dict[str, Callable[[str], tuple[pp.Network, np.ndarray]]] = {"encoder": _encoder, "resnet18": _resnet18}

#: for large networks: single precision, few combinations of the outputs, and no more digits than the table has
LARGE = {"dtype": "float32", "output_combinations": 4, "tolerance": 1e-3}
BRUTE = (
    *(
        Setting(network="iris", target=target, converter=converter, fields={})
        for converter in CONVERTERS
        for target in (0.01, 0.05)
    ),
    *(Setting(network=network, target=target) for network in ("iris", "digits") for target in (0.01, 0.05)),
    Setting(network="mnist", target=0.01, noise=3e-7),
    Setting(network="mnist", target=0.05),
    *(Setting(network="mnist_cnn", target=target, noise=noise) for target, noise in ((0.01, 3e-7), (0.05, 1e-6))),
)
WIDTHS = (
    *(Setting(network="encoder", target=target, noise=noise) for target, noise in ((0.01, 2e-7), (0.05, 5e-7))),
    Setting(network="resnet18", target=0.05, noise=5e-8, options=LARGE),
)


def planned(setting: Setting) -> dict[str, Any]:
    """The plan with bits, and what it and one with 8 bits took."""
    network, inputs, hardware = setting.case()
    started = time.process_time()
    eight = pp.plan(network, hardware, inputs, setting.wanted, **setting.options)
    alone = time.process_time() - started
    started = time.process_time()
    free: dict[str, Any] = {"optimize": ("conductance", "adc_bits"), "least_bits": LEAST, "most_bits": MOST}
    plan = pp.plan(network, hardware, inputs, setting.wanted, **free, **setting.options)
    seconds = time.process_time() - started
    assert plan.costs is not None
    assert plan.bits is not None, plan.termination.message
    return {
        "bits": [layer.adc_bits for layer in plan.hardware.of_layers(network.layer_names)],
        "energy": plan.costs.energy,
        "bound": plan.bits.bound,
        "eight": energy_of(eight),
        "seconds": seconds,
        "without_bits_s": alone,
    }


def energy_of(plan: pp.Plan) -> float:
    """Energy of an inference [J]; infinite where the target is missed."""
    assert plan.costs is not None
    return plan.costs.energy if plan.meets_target else float("inf")


def widths(setting: Setting) -> dict[str, Any]:
    """The plan beside the best single width: they are tried from that of the plan's middle layer on, one bit further
    as long as they take less."""
    network, inputs, hardware = setting.case()
    row = planned(setting)
    single = {8: row["eight"]}

    def energy(bits: int) -> float:
        if bits not in single and LEAST <= bits <= MOST:
            options = {"tolerance": NEARLY, **setting.options}
            single[bits] = energy_of(
                pp.plan(network, hardware.replace(adc_bits=bits), inputs, setting.wanted, **options)
            )
        return float(single.get(bits, float("inf")))

    width = int(np.median(row["bits"]))
    while not np.isfinite(energy(width)) and width < MOST:
        width += 1
    for step in (-1, 1):
        while energy(width + step) < energy(width):
            width += step
    return row | {"width": width, "single": single[width]}


def brute(setting: Setting) -> dict[str, Any]:
    """The plan beside all choices."""
    network, inputs, hardware = setting.case()
    row = widths(setting)
    options = {"tolerance": NEARLY, **setting.options}
    every = EveryChoice(
        lambda bits: pp.plan(network, hardware.replace(adc_bits=bits), inputs, setting.wanted, **options),
        network,
        hardware,
        range(LEAST, MOST + 1),
    )
    return row | every.searched(whole=every.count <= FEW)


def _said(setting: Setting, row: dict[str, Any]) -> str:
    """A row of the table in docs/bits.md, and how much was planned for it."""
    energies = (row["energy"], row["eight"])
    cells = [setting.name, ", ".join(map(str, row["bits"])), *(f"{1e12 * energy:.4g} pJ" for energy in energies)]
    cells.append(f"{row['width']}: {1e12 * row['single']:.4g} pJ")
    slower = f"{row['seconds'] / row['without_bits_s']:.1f}"
    if "best" not in row:
        return f"| {' | '.join([*cells, format(row['bound'] / row['energy'], '.3f'), slower])} |"
    cells += [f"{1e12 * row['best']:.4g} pJ", f"{row['bound'] / row['best']:.3f}", slower]
    whole = row["every_s"] / row["planned"] * row["choices"]
    cells.append(f"{whole / row['seconds']:.0f}")
    counts = ("planned", "choices", "pruned_by_energy", "pruned_infeasible", "pairs", "pairs_violated")
    return f"| {' | '.join(cells)} |\n{ {name: row[name] for name in counts} }"


KINDS: dict[str, tuple[tuple[Setting, ...], Callable[[Setting], dict[str, Any]]]] = {
    "brute": (BRUTE, brute),
    "widths": (WIDTHS, widths),
}


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="brute|widths", default=list(KINDS))
    parser.add_argument("--only", nargs="*", metavar="NAME", default=list(BATCH), help="of these networks")
    parser.add_argument("--json", type=Path, default=RESULTS / "bits.json", help="results [default: %(default)s]")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    results = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    for kind in arguments.kinds:
        settings, measure = KINDS[kind]
        rows = results.setdefault(kind, {})
        for setting in settings:
            if setting.network in arguments.only:
                rows[setting.name] = row = measure(setting)
                print(_said(setting, row), flush=True)
                results[kind] = {each.name: rows[each.name] for each in settings if each.name in rows}
                arguments.json.write_text(json.dumps(results | {"machine": machine()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
