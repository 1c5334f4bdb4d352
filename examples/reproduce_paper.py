"""The two claims of the source paper on real data: moments predict what simulation finds, and amplifying each
layer as much as it needs saves power.

    python examples/reproduce_paper.py [iris] [digits] [mnist]

Claim 1. Every layer uses the whole conductance range; the programming noise is swept so that the predicted NMSE goes
from 0.1 % to 100 %. Predicted and simulated moments, MSE, power and accuracy are put side by side.
Claim 2. Programming noise is 1 % of the conductance range. The least power that meets a target NMSE is planned with
one gain for the network and with one gain per layer, and compared with one conductance range for all layers.

Writes figures to docs/figures and tables into docs/examples.md, between the markers named after the example.
mnist needs its data files: see powerplan.load_example.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import optimize

import powerplan as pp
from powerplan.report.plots import plot_frontier, plot_predicted_simulated
from powerplan.units import percent, si, with_error

DOCS = Path(__file__).resolve().parent.parent / "docs"
SWEEP = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # predicted NMSE
TARGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # NMSE to plan for
PLANNED = pp.Hardware(programming_noise_std=1e-6)
METHODS = ("linearized", "covariance", "diagonal")
MOMENTS_AT = 0.1  # NMSE at which the moments of every layer are compared


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much to simulate: inputs of the sweep, draws of the sweep, inputs whose layer covariances are compared."""

    inputs: int
    draws: int
    moment_inputs: int


SIZES = {
    "iris": Size(inputs=30, draws=20_000, moment_inputs=30),
    "digits": Size(inputs=256, draws=10_000, moment_inputs=16),
    "mnist": Size(inputs=128, draws=1_500, moment_inputs=8),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """One noise level: the hardware, what is predicted and what is simulated."""

    hardware: pp.Hardware
    prediction: pp.Prediction
    simulation: pp.Simulation


def hardware_at(network: pp.Network, inputs: np.ndarray, nmse: float) -> pp.Hardware:
    """The default hardware with the programming noise at which the predicted NMSE is ``nmse``."""

    def excess(log_std: float) -> float:
        hardware = pp.Hardware(programming_noise_std=float(np.exp(log_std)))
        gains = pp.Gains.full_range(network, hardware, inputs)
        return float(np.log(pp.predict(network, hardware, gains, inputs).nmse / nmse))

    root = optimize.brentq(excess, np.log(1e-8), np.log(1e-4), xtol=1e-4)
    return pp.Hardware(programming_noise_std=float(f"{np.exp(root):.3g}"))


def sweep(network: pp.Network, inputs: np.ndarray, draws: int) -> list[Point]:
    """Predict and simulate at every noise level, all layers on the whole conductance range."""
    points = []
    for nmse in SWEEP:
        hardware = hardware_at(network, inputs, nmse)
        gains = pp.Gains.full_range(network, hardware, inputs)
        points.append(
            Point(
                hardware=hardware,
                prediction=pp.predict(network, hardware, gains, inputs),
                simulation=pp.simulate(network, hardware, gains, inputs, draws=draws),
            )
        )
    return points


def sweep_table(points: Sequence[Point], labels: np.ndarray) -> str:
    """Error, power and accuracy, predicted and simulated."""
    rows = []
    for point in points:
        p, s = point.prediction, point.simulation
        off, error = p.mse / s.mse - 1, s.mse_standard_error / s.mse
        rows.append(
            [
                si(point.hardware.programming_noise_std, "S", 3).replace(" u", " µ"),
                percent(p.nmse, 3),
                f"{with_error(s.nmse, s.nmse_standard_error, 100)} %",
                f"{100 * off:+.2f} ± {100 * error:.2f} %",
                f"{100 * (p.power / s.power - 1):+.3f} ± {100 * s.power_standard_error / s.power:.3f} %",
                f"{100 * p.accuracy(labels):.2f} %",
                f"{100 * s.accuracy(labels):.2f} %",
            ]
        )
    headers = ["σ_p", "NMSE predicted", "NMSE simulated", "MSE off by", "power off by"]
    return table([*headers, "accuracy predicted", "accuracy simulated"], rows)


def output_moments_table(points: Sequence[Point]) -> str:
    """Correlation between predicted and simulated moments of the outputs, over inputs and outputs."""
    rows = []
    for point in points:
        p, s = point.prediction, point.simulation
        assert p.output_mean is not None
        assert p.output_covariance is not None
        assert p.ideal_output is not None
        assert s.output_covariance is not None
        pairs = upper(p.output_covariance), upper(s.output_covariance)
        variances = diagonal(p.output_covariance), diagonal(s.output_covariance)
        std = np.sqrt(variances[1])
        rows.append(
            [
                percent(p.nmse, 3),
                f"{correlation(p.output_mean, s.output_mean):.5f}",
                f"{correlation(p.output_mean - p.ideal_output, s.output_mean - s.ideal_output):.4f}",
                f"{rms((p.output_mean - s.output_mean) / std):.4f}",
                f"{correlation(*variances):.5f}",
                f"{100 * np.median(np.abs(variances[0] / variances[1] - 1)):.2f} %",
                f"{correlation(*pairs):.5f}",
            ]
        )
    headers = ["NMSE", "mean", "mean − ideal", "error of the mean / σ", "variance", "variance off by (median)"]
    return table([*headers, "covariance"], rows)


def layer_moments_tables(network: pp.Network, inputs: np.ndarray, draws: int) -> tuple[str, str]:
    """Against two independent simulations: moments of every layer, and the output MSE of the three methods."""
    hardware = hardware_at(network, inputs, MOMENTS_AT)
    gains = pp.Gains.full_range(network, hardware, inputs)
    predictions = {m: pp.predict(network, hardware, gains, inputs, method=m) for m in METHODS}
    layers = {m: prediction.layers for m, prediction in predictions.items()}
    one, two = (
        pp.simulate(network, hardware, gains, inputs, draws=draws, seed=seed, layer_moments="covariance")
        for seed in (1, 2)
    )
    rows = []
    for p, rough, a, b in zip(layers["covariance"], layers["linearized"], one.layers, two.layers, strict=True):
        variance = (a.variance + b.variance) / 2
        std = np.sqrt(variance)
        joint = [correlations(layer.covariance, variance) for layer in (p, a, b)]
        rows.append(
            [p.name]
            + [
                f"{rms(predicted - (first + second) / 2):.4f} ({rms(first - second) / 2:.4f})"
                for predicted, first, second in (
                    (p.mean / std, a.mean / std, b.mean / std),
                    (p.variance / variance, a.variance / variance, b.variance / variance),
                    (joint[0], joint[1], joint[2]),
                )
            ]
            + [f"{100 * np.mean(rough.variance / variance - 1):+.1f} %"]
        )
    headers = ["layer", "mean", "variance", "covariance", "variance by `linearized` off by (mean)"]
    mse = (one.mse + two.mse) / 2
    error = 100 * np.hypot(one.mse_standard_error, two.mse_standard_error) / 2 / mse
    off = [[f"`{m}`", f"{100 * (p.mse / mse - 1):+.2f} ± {error:.2f} %"] for m, p in predictions.items()]
    return table(headers, rows), table(["method", "output MSE off by"], off)


def savings(network: pp.Network, inputs: np.ndarray, draws: int) -> tuple[list[pp.Plan], list[pp.Plan]]:
    """Plans with one gain for the network, and with one gain per layer verified by simulation."""
    targets = [pp.MaxNMSE(target) for target in TARGETS]
    shared = pp.frontier(network, PLANNED, inputs, targets=targets, granularity="network")
    by_layer = pp.frontier(network, PLANNED, inputs, targets=targets, granularity="layer", verify_draws=draws)
    return list(shared), list(by_layer)


def savings_table(shared: Sequence[pp.Plan], by_layer: Sequence[pp.Plan]) -> str:
    """Power of the baseline and of both plans for every target, and what they save."""
    rows = []
    for one, many in zip(shared, by_layer, strict=True):
        feasible = [p.termination.outcome is not pp.Outcome.INFEASIBLE for p in (one, many)]
        check = many.verification
        simulated = "-" if check is None else f"{with_error(check.nmse, check.nmse_standard_error, 100)} %"
        rows.append(
            [
                percent(many.target.value, 3),
                power(many.baseline_power),
                power(one.power) if feasible[0] else "out of reach",
                power(many.power) if feasible[1] else "out of reach",
                "-" if many.saving is None else f"{100 * many.saving:.1f} %",
                f"{100 * (1 - many.power / one.power):.1f} %" if all(feasible) else "-",
                simulated,
            ]
        )
    headers = ["target NMSE", "one range (baseline)", "one gain (network)", "gain per layer (layer)"]
    return table([*headers, "layer saves of baseline", "layer saves of network", "layer simulated NMSE"], rows)


def reproduce(name: str, *, cache: Path | None, size: Size, figures: Path) -> str:
    """Run both claims on one example; writes its figures and returns its section of Markdown."""
    started = time.perf_counter()
    example = pp.load_example(name, cache=cache)
    inputs, labels = example.test_inputs[: size.inputs], example.test_labels[: size.inputs]
    points = sweep(example.network, inputs, size.draws)
    shared, by_layer = savings(example.network, inputs, size.draws)
    pairs = [(p.prediction, p.simulation) for p in points]
    plot_predicted_simulated({name: pairs}, file=figures / f"{name}_predicted_simulated.png")
    plot_frontier(by_layer, title=name, file=figures / f"{name}_frontier.png")
    few = inputs[: size.moment_inputs]
    ideal = percent(points[0].simulation.ideal_accuracy(labels), 4)
    return "\n\n".join(
        [
            f"{example.description} Accuracy without noise on the held-out set: {100 * example.test_accuracy:.1f} %. "
            f"Here: {len(inputs)} held-out inputs (without noise {ideal}), "
            f"{size.draws} draws per simulation.",
            "**Error, power and accuracy against programming noise.**",
            sweep_table(points, labels),
            f"![{name}: predicted against simulated error](figures/{name}_predicted_simulated.png)",
            "**Correlation of the predicted moments of the outputs with the simulated ones.**",
            output_moments_table(points),
            f"**Moments of every layer** by the `covariance` method at {percent(MOMENTS_AT, 3)} NMSE, "
            f"{len(few)} inputs, 2 × {size.draws} draws; in brackets the uncertainty of the simulation itself.",
            *layer_moments_tables(example.network, few, size.draws),
            "**Power at equal error.**",
            savings_table(shared, by_layer),
            f"![{name}: least power for a target error](figures/{name}_frontier.png)",
            f"{time.perf_counter() - started:.0f} s.",
        ]
    )


def insert(document: str, name: str, text: str) -> str:
    """``document`` with ``text`` between its markers ``<!-- name: begin -->`` and ``<!-- name: end -->``."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"the document must hold {begin} and {end} once each")
    head, _, rest = document.partition(begin)
    return f"{head}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [headers, ["---"] + ["---:"] * (len(headers) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def power(watts: float | None) -> str:
    """A power with its SI prefix."""
    return si(watts, "W").replace(" u", " µ")


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation over all entries."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def rms(a: np.ndarray) -> float:
    """Root mean square over all entries."""
    return float(np.sqrt(np.mean(np.square(a))))


def diagonal(covariance: np.ndarray) -> np.ndarray:
    """Variances (B, n) of covariances (B, n, n)."""
    return np.diagonal(covariance, axis1=1, axis2=2)


def upper(covariance: np.ndarray) -> np.ndarray:
    """The entries above the diagonal of covariances (B, n, n), (B, n (n − 1) / 2)."""
    rows, columns = np.triu_indices(covariance.shape[1], k=1)
    return np.asarray(covariance[:, rows, columns])


def correlations(covariance: np.ndarray | None, variance: np.ndarray) -> np.ndarray:
    """Entries above the diagonal of (B, n, n) covariances over σ_i σ_j, from variances (B, n)."""
    assert covariance is not None
    std = np.sqrt(variance)
    return upper(covariance / (std[:, :, None] * std[:, None, :]))


def machine() -> str:
    """Processor, threads and libraries."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.machine()
    return f"{name}, one thread, Python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    """Reproduce the named examples and write them into the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="example", help=f"{', '.join(SIZES)}; default: all")
    parser.add_argument("--cache", type=Path, help="folder in which trained networks are kept")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of examples.md and figures/")
    parser.add_argument("--draws", type=int, help="draws per simulation, instead of each example's own number")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in SIZES]
    if unknown:
        parser.error(f"unknown example {unknown[0]!r}: use {', '.join(SIZES)}")
    torch.set_num_threads(1)
    document = arguments.docs / "examples.md"
    figures = arguments.docs / "figures"
    figures.mkdir(exist_ok=True)
    for name in arguments.names or SIZES:
        size = SIZES[name]
        if arguments.draws:
            size = Size(inputs=size.inputs, draws=arguments.draws, moment_inputs=size.moment_inputs)
        text = reproduce(name, cache=arguments.cache, size=size, figures=figures)
        content = insert(document.read_text(encoding="utf-8"), name, text)
        content = insert(content, "machine", machine())
        document.write_text(content, encoding="utf-8")
        print(f"## {name}\n\n{text}\n")


if __name__ == "__main__":
    main()
