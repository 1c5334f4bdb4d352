"""Large networks: what a prediction and a plan cost, and how the cost grows with depth and image size.

Networks are torchvision's with random weights and the statistics of their batch normalisations set by one batch of
noise; inputs are noise. The pass that costs are compared with is a forward and a backward pass of the same batch in
torch, float32, gradients of the weights as in training. Every measurement is a process of its own, for its peak memory.

    python -m benchmarks.scale [--threads 1] [--only prediction|chips|growth|plans] [--size 224] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import powerplan as pp
from benchmarks.common import machine
from powerplan.examples.vision import import_torchvision

#: images, programming noise [S] of devices up to 100 µS
_BATCH, _NOISE = 8, 5e-8
#: random combinations of the outputs: for a prediction by itself, and for every prediction of a plan
_COMBINATIONS, _PLAN_COMBINATIONS = 16, 4
_PLAN_SECONDS = 1800.0
#: error samples of all networks whose growth is measured: by default small ones take more
_GROWTH_FIELDS = 16
_DEPTHS, _SIZES = (4, 8, 16, 32), (32, 64, 128, 256)
#: networks planned, with the programming noise [S] at which NMSE 1 % is within reach
_PLANNED = {"resnet18": 5e-8, "resnet50": 2e-8, "mobilenet_v2": 1e-8}


def torchvision_network(name: str, size: int) -> nn.Module:
    """A classifier of torchvision with random weights, its batch norms set."""
    torch.manual_seed(0)
    module: nn.Module = getattr(import_torchvision("models"), name)(weights=None)
    return with_statistics(module, (3, size, size))


def residual_chain(depth: int, channels: int = 32) -> nn.Module:
    """Residual blocks of one 3 x 3 convolution each, then a mean and ten outputs."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(channels)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.relu(self.norm(self.convolution(x)))

    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return with_statistics(
        nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), *(Block() for _ in range(depth)), *head), (3, 32, 32)
    )


def with_statistics(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """The network with statistics of its batch normalisations as a batch of noise has them."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    module.train()
    with torch.no_grad():
        module(torch.randn(_BATCH, *shape))
    return module.eval()


def _prepared(module: nn.Module, size: int, batch: int = _BATCH) -> tuple[pp.Network, np.ndarray, float]:
    """The imported network, inputs, and the seconds of processor time of a forward and backward pass."""
    x = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = pp.from_torch(module, (3, size, size))
    seconds = []
    for _ in range(3):
        module.zero_grad()
        start = time.process_time()
        module(torch.as_tensor(x)).sum().backward()
        seconds.append(time.process_time() - start)
    return network, x, min(seconds)


def measure_prediction(module: nn.Module, size: int, combinations: int, samples: int | None = None) -> dict[str, Any]:
    """One prediction in float32 at gains of the whole range; ``samples``: error samples, None = as many as it takes."""
    network, x, step = _prepared(module, size)
    hardware = pp.Hardware(programming_noise_std=_NOISE)
    gains = pp.Gains.full_range(network, hardware, x)
    times = []
    for _ in range(2):  # the first one warms up, as that of the passes does
        start = time.process_time()
        prediction = pp.predict(
            network, hardware, gains, x, dtype="float32", output_combinations=combinations, marginal_fields=samples
        )
        times.append(time.process_time() - start)
    seconds = min(times)
    error = prediction.mse_standard_error
    return {
        "layers": len(network.crossbars),
        "outputs": int(np.prod(network.output_shape)),
        "size": size,
        "pass_s": step,
        "prediction_s": seconds,
        "passes": seconds / step,
        "nmse": prediction.nmse,
        "standard_error": None if error is None else error / prediction.mse,
    }


def measure_chips(size: int = 224) -> dict[str, Any]:
    """What the distribution over chips of ResNet-18 takes beyond a prediction, in processor time."""
    network, x, _ = _prepared(torchvision_network("resnet18", size), size)
    hardware = pp.Hardware(programming_noise_std=_NOISE)
    gains = pp.Gains.full_range(network, hardware, x)

    def seconds(call: Callable[[], Any]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    module, batch = torchvision_network("resnet18", size), torch.as_tensor(x)
    step = min(seconds(lambda: module(batch).sum().backward()) for _ in range(5))
    options: dict[str, Any] = {"dtype": "float32", "output_combinations": _COMBINATIONS, "marginal_fields": 0}
    alone, chips = (
        seconds(lambda spread=spread: pp.predict(network, hardware, gains, x, chip_spread=spread, **options))  # type: ignore[misc]
        for spread in (False, True)
    )
    return {"size": size, "pass_s": step, "chips_s": chips - alone, "passes": (chips - alone) / step}


def measure_precision(size: int = 64) -> dict[str, Any]:
    """By how much float32 changes a prediction of ResNet-18, relative to float64 with the same combinations."""
    network, x, _ = _prepared(torchvision_network("resnet18", size), size, batch=2)
    gains = pp.Gains.full_range(network, pp.Hardware(), x)
    by_precision: dict[float, dict[str, Any]] = {}
    for noise in (_NOISE, 20 * _NOISE):
        hardware = pp.Hardware(programming_noise_std=noise)
        single, double = (
            pp.predict(network, hardware, gains, x, dtype=dtype, output_combinations=_COMBINATIONS, marginal_fields=0)
            for dtype in ("float32", "float64")
        )
        by_precision[noise] = {
            "nmse": double.nmse,
            "mse": abs(single.mse / double.mse - 1),
            "power": abs(single.power / double.power - 1),
        }
    return {"size": size, "noise": [{"noise_s": noise, **values} for noise, values in by_precision.items()]}


def measure_plan(name: str, noise: float, size: int = 224) -> dict[str, Any]:
    """A layer-wise plan to NMSE 1 %, with a deadline."""
    network, x, step = _prepared(torchvision_network(name, size), size)
    start = time.process_time()
    plan = pp.plan(
        network,
        pp.Hardware(programming_noise_std=noise),
        x,
        pp.MaxNMSE(0.01),
        dtype="float32",
        output_combinations=_PLAN_COMBINATIONS,
        tolerance=1e-3,
        deadline=_PLAN_SECONDS,
    )
    seconds = time.process_time() - start
    error = plan.prediction.mse_standard_error
    return {
        "layers": len(network.crossbars),
        "pass_s": step,
        "plan_s": seconds,
        "passes": seconds / step,
        "termination": plan.termination.outcome.value,
        "kkt_residual": plan.certificate.kkt_residual if plan.certificate else None,
        "nmse": plan.prediction.nmse,
        "standard_error": None if error is None else error / plan.prediction.mse,
        "saving": plan.saving,
    }


def _child(send: Any, threads: int, function: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    result = function(*arguments)
    send.send(result | {"peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})


def _apart(threads: int, function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The result of a measurement in a fresh process, with its peak of resident memory."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, threads, function, arguments))
    process.start()
    sender.close()
    try:
        result: dict[str, Any] = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{function.__name__}{arguments} ended without a result") from None
    process.join()
    print(function.__name__, *arguments, json.dumps(result), flush=True)
    return result


def _resnet_prediction() -> dict[str, Any]:
    return measure_prediction(torchvision_network("resnet18", 224), 224, _COMBINATIONS)


def _by_depth(depth: int) -> dict[str, Any]:
    return measure_prediction(residual_chain(depth), 32, 0, _GROWTH_FIELDS) | {"depth": depth}


def _by_size(size: int) -> dict[str, Any]:
    return measure_prediction(torchvision_network("resnet18", size), size, _PLAN_COMBINATIONS, _GROWTH_FIELDS)


def main() -> None:
    """Measure, print, write; parts that are not measured keep the numbers of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("prediction", "chips", "growth", "plans"))
    parser.add_argument("--size", type=int, default=224, help="of the images that chips are measured with")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    threads, only = arguments.threads, arguments.only
    results: dict[str, Any] = {}
    if only is not None and arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text())
    results |= {"machine": machine(), "batch": _BATCH}
    if only in (None, "prediction"):
        results["prediction"] = _apart(threads, _resnet_prediction) | {"threads": threads}
        results["precision"] = _apart(threads, measure_precision)
    if only in (None, "chips"):
        results["chips"] = _apart(threads, measure_chips, arguments.size) | {"threads": threads}
    if only in (None, "growth"):
        results["by_depth"] = [_apart(threads, _by_depth, depth) for depth in _DEPTHS]
        results["by_size"] = [_apart(threads, _by_size, size) for size in _SIZES]
    if only in (None, "plans"):
        results["plans"] = {
            name: _apart(threads, measure_plan, name, noise) | {"threads": threads, "noise_s": noise}
            for name, noise in _PLANNED.items()
        }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
