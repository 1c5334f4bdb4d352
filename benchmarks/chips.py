"""How far is the predicted spread of errors over chips from that of simulated chips, and what does it cost?

For each network and hardware the constant programming noise is set so that the predicted NMSE is 1 % and 10 %; PCM is
taken as it is, after a day. Then the spread is predicted and as many chips as asked for are simulated. Errors are
predicted / simulated − 1.

    python -m benchmarks.chips [iris digits mnist mnist_cnn mnist_resnet encoder ...] [--hardware programming read ...]
        [--nmse 0.01 0.1] [--chips 4000] [--json FILE] [--cache FOLDER]

The MNIST networks take minutes to an hour on one core; their data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import powerplan as pp
from benchmarks import real_networks
from benchmarks.accuracy import noise_for_nmse
from benchmarks.common import machine

Network = pp.Example | real_networks.Case

#: parts of the chips whose error is compared
PARTS = (0.5, 0.9, 0.95, 0.99)
#: predictions timed
TIMED = 5
#: hardware by name: what it has beside programming noise
HARDWARE: dict[str, dict[str, Any]] = {
    "programming": {},
    "read": {"read_noise_std": 2e-7},
    "offset": {"weight_mapping": "offset"},
    "converters": {"dac_bits": 8, "adc_bits": 8},
    "stuck": {"stuck_on_fraction": 2e-4},
}
#: whose chips no prediction tells: only yields of plans for the mean are compared
UNTOLD = ("stuck",)
#: PCM a day after programming, whose noise is its own
PCM = "pcm"


def network_of(name: str, cache: str | None) -> Network:
    """A network with its inputs: an example, or a case of :mod:`benchmarks.real_networks`."""
    return real_networks.CASES[name](cache) if name in real_networks.CASES else pp.load_example(name, cache=cache)


def compare(example: Network, hardware: pp.Hardware, *, chips: int) -> dict[str, float]:
    """Relative errors of the spread, their standard errors, and the cost of it in predictions."""
    network, inputs = example.network, example.inputs
    gains = pp.Gains.full_range(network, hardware, inputs)
    predicted = pp.predict(network, hardware, gains, inputs, chip_spread=True)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=chips, seed=1)
    assert predicted.chips is not None
    ours, theirs = predicted.chips.nmse, simulated.chips.nmse
    figures = {
        "nmse": predicted.nmse,
        "std": ours.std / ours.mean,
        "std_error": ours.std / theirs.std - 1,
        "std_se": float(np.hypot(ours.std_standard_error / ours.std, theirs.std_standard_error / theirs.std)),
    }
    for part in PARTS:
        low, high = theirs.quantile_interval(part)
        figures[f"q{100 * part:g}"] = ours.quantile(part) / theirs.quantile(part) - 1
        figures[f"q{100 * part:g}_se"] = (high - low) / (2 * 1.96 * theirs.quantile(part))
    alone = _median_seconds(lambda: pp.predict(network, hardware, gains, inputs))
    return {
        **figures,
        "cost": _median_seconds(lambda: pp.predict(network, hardware, gains, inputs, chip_spread=True)) / alone - 1,
    }


def _median_seconds(call: Callable[[], object]) -> float:
    def once() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return statistics.median(once() for _ in range(TIMED))


def main() -> None:
    """Print a row per network and noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", default=["iris", "digits"])
    parser.add_argument("--nmse", nargs="+", type=float, default=[0.01, 0.1])
    known = [kind for kind in (*HARDWARE, PCM) if kind not in UNTOLD]
    parser.add_argument("--hardware", nargs="+", choices=known, default=["programming"])
    parser.add_argument("--chips", type=int, default=4000)
    parser.add_argument("--cache")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for name in asked.examples:
        example = network_of(name, asked.cache)
        for kind, hardware in _cases(example, asked.hardware, asked.nmse):
            row = compare(example, hardware, chips=asked.chips)
            rows.append({"example": name, "hardware": kind, **row})
            errors = [f"{label} {100 * row[label]:+.1f} ± {100 * row[f'{label}_se']:.1f} %" for label in _labels()]
            print(
                f"{name}, {kind}, at NMSE {row['nmse']:.2g}: std {100 * row['std']:.1f} % of the mean "
                f"({100 * row['std_error']:+.1f} ± {100 * row['std_se']:.1f} %), {', '.join(errors)}; "
                f"{row['cost']:.1f} predictions",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine(), "chips": asked.chips, "rows": rows}, indent=1))


def hardware_of(kind: str, example: Network, nmse: float, **further: Any) -> pp.Hardware:
    """The hardware of a name, with the noise that makes the error where it can be chosen."""
    if kind == PCM:
        return pp.Hardware.preset("pcm_nandakumar2019", time=86400.0, drift_compensation=True, **further)
    return noise_for_nmse(example, nmse, pp.Hardware(**HARDWARE[kind], **further))


def _cases(example: Network, kinds: Sequence[str], errors: Sequence[float]) -> Iterator[tuple[str, pp.Hardware]]:
    """The hardware asked for by name, with each error where that can be chosen."""
    for kind in kinds:
        for nmse in errors[:1] if kind == PCM else errors:
            yield kind, hardware_of(kind, example, nmse)


def _labels() -> list[str]:
    return [f"q{100 * part:g}" for part in PARTS]


if __name__ == "__main__":
    main()
