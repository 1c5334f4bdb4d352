"""Plan a torchvision classifier: the settings that large networks want, and what they cost.

    python examples/large_network.py [resnet18] [--size 224] [--images 8] [--max-nmse 0.01] [--minutes 10]

The network has random weights and the batch-norm statistics of noise, the inputs are noise: put a trained network and
real images in their place. Writes the plan to NETWORK.json in the current folder.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

import powerplan as pp
from powerplan.examples.vision import import_torchvision


def classifier(name: str, size: int, images: int) -> torch.nn.Module:
    """A classifier of torchvision with random weights, batch norms set by one batch of noise."""
    torch.manual_seed(0)
    module: torch.nn.Module = getattr(import_torchvision("models"), name)(weights=None)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    module.train()
    with torch.no_grad():
        module(torch.randn(max(2, images), 3, size, size))
    return module.eval()


def main() -> None:
    """Import, predict, plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="resnet18")
    parser.add_argument("--size", type=int, default=224, help="side of the images")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--max-nmse", type=float, default=0.01)
    parser.add_argument("--minutes", type=float, default=10.0, help="after which the best plan so far is taken")
    arguments = parser.parse_args()

    module = classifier(arguments.network, arguments.size, arguments.images)
    shape = (3, arguments.size, arguments.size)
    network = pp.from_torch(module, shape)
    inputs = np.random.default_rng(0).normal(size=(arguments.images, *shape)).astype(np.float32)
    hardware = pp.Hardware(programming_noise_std=5e-8)

    start = time.perf_counter()
    gains = pp.Gains.full_range(network, hardware, inputs)
    prediction = pp.predict(network, hardware, gains, inputs, dtype="float32", output_combinations=16)
    print(f"NMSE {prediction.nmse:.3e} on the whole conductance range, {time.perf_counter() - start:.0f} s")

    plan = pp.plan(
        network,
        hardware,
        inputs,
        pp.MaxNMSE(arguments.max_nmse),
        dtype="float32",
        output_combinations=4,
        tolerance=1e-3,
        deadline=60 * arguments.minutes,
        progress=lambda what, done: print(f"{what}, {100 * done:.0f} %", file=sys.stderr),
    )
    print(plan.table())
    print(plan.termination.message)
    plan.save(f"{arguments.network}.json")


if __name__ == "__main__":
    main()
