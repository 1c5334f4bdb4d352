"""docs/benchmarks.md from the JSON files in benchmarks/results.

python -m benchmarks.report
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

How long simulations, predictions, plans and solvers take, and how accurate predictions are. `make bench` makes this
page; a single part is run by `python -m benchmarks NAME`, after which the page is rewritten from
`benchmarks/results/*.json`. Every part runs on one thread. Things that are compared are timed alternately; times are
the shortest measured, ratios the median over the rounds. Predictions and plans are timed in processor time, which
equals wall time on an idle machine.
"""

AGAINST_SIMULATION = """### `linearized` against simulating to 1 % standard error

One prediction gives the total MSE, the MSE of every output and the output covariance of every input at once. How long
a simulation takes for an accuracy of 1 % depends on which of these is needed. All outputs of all inputs share a
draw's devices, so the total MSE averages over many errors and needs few draws, whereas the variance of one output for
one input needs about 2 / 0.01² = 20 000, whatever the network. The number of draws is computed from the measured
standard deviation between draws (for the variances: 1 % rms over inputs and outputs); the time of a simulation is this
number times the time of a draw."""

METHODS = """### `linearized` against `covariance`

ReLU networks with three layers of width × width and ten outputs, float64. Memory is the increase of the peak memory of
the process during the call."""

PASSES = """### One prediction in passes of the network

Passes: one forward and n_out backward passes of the same batch by torch's autograd, with the gradients of the weights
as in training; in the last column with the gradient of the inputs only. Evaluation: the part of a prediction that a
plan repeats, without checks of the inputs, output covariance and report. For small networks the time is dominated by
the number of operations, not by arithmetic."""

PLANS = """The time of a plan includes scaling the baseline to the target and the final report; predictor evaluations
are those of the optimisation, with or without derivatives."""

ALLOCATION = """Separable problems solved by bisection on the multiplier and by cvxpy, each to a certified optimum.
cvxpy recentres its problem in several rounds; "one conic solve" is the last round, the least time that any
formulation in cvxpy would need."""

COLUMNS = """Every plan starts from the plan by layer or from the baseline, uses gradients only, and ends at a KKT
residual (summed over all gains) of 1e-7. Memory is the increase during the whole call; the method itself keeps about a
hundred vectors with one entry per gain."""

SAVINGS = """### Finer gains

Power saved at the same target, relative to the baseline (one conductance range for all layers, scaled to the target; a
negative saving means more power). Programming noise is 0.5 % of the conductance range. In the last columns both kinds
of gains are free, with read noise of 20 nA, which sets a lower limit to the voltages; there the saving is relative to
the plan with one gain of each kind per layer. "signal" gives every row its own voltage."""

ACCURACY = """Method `linearized`, all layers using the full conductance range, constant programming noise chosen to
give the NMSE. Deviations are predicted / simulated − 1, with the simulation's standard error; median and worst are over
the MSE of single outputs (absolute values)."""

ACCURACY_TARGETS = """Plans for an accuracy drop as `pp.plan` makes them by default, verified and calibrated: one gain
per layer, programming noise of 2 % of the conductance range, held-out inputs. "Predicted" is the predicted drop of the
plan's gains, "simulated" that of a simulation with fresh draws, with its standard error. Excess power is relative to
the cheaper of two families of gains, at the point whose drop in the same simulation equals the target: the plan's gains
times a common factor, and plans of least power for an NMSE, interpolated between six (negative: the plan is cheaper
because it misses the target). Times are processor time for plan, verification and calibration."""

REAL_NETWORKS = """Constant programming noise, and read noise [A] of 0.4 times its value [S], chosen to give the NMSE
with the full conductance range; tiled rows have the noise of the row above them. Deviations are predicted / simulated
− 1 in float32, with the simulation's standard error; for the power, that of the layer with the largest deviation.
"Without samples" is `marginal_fields=0`. The examples mnist_cnn and mnist_resnet are trained, the other networks have
random weights."""

AIHWKIT = """Presets compared with aihwkit's own models of the same devices, on the digits network: aihwkit maps the
weights of every layer to the full range and draws devices; powerplan predicts with full-range gains. For CMO/HfOx
devices aihwkit's clipping to the range is turned off, as in the preset. The ratio is aihwkit's MSE over the predicted
one, with its standard error."""

MEASURED_CELLS = """Networks of measured cells (16 292 RRAM cells programmed to 32 levels, from the repository
akashlevy/RRAM-Relaxation-Master-Model, MIT licence; errors are not Gaussian, with an excess kurtosis of up to 16). The
digits network with full-range gains, every device drawn from the cells of its level, is compared with predictions from
mean and spread of each level. *As measured* uses `measurements` as intended. The other columns show common mistakes in
describing the same cells: clipping at 0 again; in addition the 2 µS of noise that are the default without measurements;
and the lowest level entered at target 0 instead of the conductance it was programmed to."""

DEVICE_READ_OUTS = """Every published device at its time 0 with every kind of read-out, on the MNIST network:
`linearized` against the simulator, 64 inputs, row tiles of 128. Conductance gains are chosen so that differential pairs
have a predicted NMSE of 1 % or 10 % (or the largest gains, if these are not enough). Deviations are predicted /
simulated − 1, with the simulation's standard error."""

STUCK_DEVICES = """\
Networks where a few stuck devices cause much of the error, with full-range gains. Their effect is not Gaussian.
*Gaussian* is the prediction without error samples (`marginal_fields=0`); *MSE off by* is the default prediction, whose
error samples draw the stuck devices one by one. They have a sampling error: another seed changes a row of mnist_cnn,
whose first layer has 300 devices, by 1 to 2 %."""

STUCK_COLUMNS = """\
Six single columns of a passive divider, at four inputs: deviation of the MSE, and of the mean in standard deviations of
the error (to which 100,000 draws contribute 0.003). A stuck device can hold half of a column's conductance."""

READ_OUT = """Every weight mapping and read-out, `linearized` against the simulator: 64 inputs, all layers using the
full conductance range of 1 to 100 µS, programming noise of 1 % of it, read and row noise, row tiles of 128. Deviations
are predicted / simulated − 1, with the simulation's standard error. The rounding error of ADCs is predicted as uniform
and independent. If the step is not small compared with the outputs, as with an offset that takes most of the range,
columns have equal rounding errors and empty tiles have none, which the prediction does not model."""

SCALE = """Networks of torchvision with random weights, float32. A pass is a forward and a backward pass of the same
batch in torch, with the gradients of the weights. Predictions use 16 random combinations of the outputs if there are
1000 (4 in plans and in the growth with image size), and every output if there are ten; growth is measured with 16 error
samples. Times are processor time, the shortest of three passes and of two predictions. How many passes a prediction
takes depends on how fast a machine's convolutions are relative to its matrix products (21 to 32 were measured)."""

MSE_BOUNDS = {0.01: 0.02, 0.1: 0.03, 1.0: 0.1}
ENCODER_BOUNDS = MSE_BOUNDS | {0.1: 0.05}
POWER_BOUND = 0.01
DROP_BOUND, EXCESS_BOUND = 0.003, 0.05

READINGS = {
    "total_mse": "total MSE",
    "every_output_mse": "every output's MSE",
    "each_output_variance": "each input's output variances",
}


def simulate(result: Any) -> str:
    """Time per draw of the simulator against what it cannot do without."""
    rows = [
        [
            name,
            f"{r['devices']:.0f}",
            f"{r['batch']:.0f}",
            time_text(r["draw_s"]),
            time_text(r["normals_s"]),
            time_text(r["noiseless_pass_s"]),
            f"{r['ratio']:.2f}",
        ]
        for name, r in result.items()
        if isinstance(r, dict) and "ratio" in r
    ]
    headers = ["network", "devices", "batch", "draw", "normals", "noiseless pass", "draw / (normals + pass)"]
    return "A draw must at least sample a normal per device and do one forward pass of the batch.\n\n" + table(
        headers, rows
    )


def prediction(result: Any) -> str:
    """Prediction against simulation, against the covariance method, against passes in torch."""
    return "\n\n".join(
        [
            _against_simulation(result["against_simulation"]),
            METHODS,
            f"By width, batch {result['by_width'][0]['batch']}:",
            _methods(result["by_width"], "width"),
            f"By batch, width {result['by_batch'][0]['width']}:",
            _methods(result["by_batch"], "batch"),
            _passes(result["cost_in_passes"]),
            *(f"Not measured: {name} ({why})" for name, why in result["missing"].items()),
        ]
    )


def _against_simulation(networks: Mapping[str, Any]) -> str:
    rows = []
    for name, batches in networks.items():
        for batch, r in batches.items():
            for reading, words in READINGS.items():
                rows.append(
                    [
                        name,
                        batch,
                        words,
                        f"{r['draws_needed'][reading]:,}",
                        time_text(r["draws_needed"][reading] * r["draw_s"]),
                        time_text(r["prediction_s"]["float64"]),
                        f"{r['times_faster']['float64'][reading]:,.0f}",
                        f"{r['times_faster']['float32'][reading]:,.0f}",
                    ]
                )
    headers = ["network", "batch", "1 % standard error of", "draws", "simulation", "prediction", "times faster"]
    beside = "; ".join(
        f"{name}, batch {batch}: {time_text(r['draw_s'])} per draw, {r['draw_over_normals_and_pass']:.2f} times its "
        f"normals and one noiseless pass; NMSE {100 * r['nmse']:.2g} %"
        for name, batches in networks.items()
        for batch, r in batches.items()
    )
    return "\n\n".join(
        [
            AGAINST_SIMULATION,
            table([*headers, "times faster in float32"], rows),
            f"The simulator: {beside}.",
        ]
    )


def _methods(rows: Sequence[Mapping[str, Any]], by: str) -> str:
    def growth(method: str, what: str, i: int) -> str:
        return f"{rows[i][what][method] / rows[i - 1][what][method]:.1f} ×" if i else ""

    cells = [
        [
            str(r[by]),
            time_text(r["seconds"]["linearized"]),
            growth("linearized", "seconds", i),
            time_text(r["seconds"]["covariance"]),
            growth("covariance", "seconds", i),
            f"{r['times_faster']:.0f}",
            bytes_text(r["peak_bytes"]["linearized"]),
            bytes_text(r["peak_bytes"]["covariance"]),
        ]
        for i, r in enumerate(rows)
    ]
    headers = [by, "linearized", "growth", "covariance", "growth", "times faster"]
    return table([*headers, "linearized memory", "covariance memory"], cells)


def _passes(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            r["network"],
            str(r["batch"]),
            r["dtype"],
            time_text(r["prediction_s"]),
            time_text(r["passes_s"]),
            f"{r['multiple']:.2f}",
            f"{r['multiple_of_evaluation']:.2f}",
            f"{r['multiple_of_passes_without_weight_gradients']:.2f}",
        ]
        for r in rows
    ]
    headers = ["network", "batch", "precision", "prediction", "passes", "prediction / passes", "evaluation / passes"]
    return PASSES + "\n\n" + table([*headers, "prediction / passes to inputs"], cells)


def plan(result: Any) -> str:
    """A whole plan as a multiple of one prediction."""
    rows = [
        [
            r["network"],
            f"{100 * r['target_nmse']:g} %",
            r["outcome"],
            time_text(r["plan_s"]),
            time_text(r["prediction_s"]),
            f"{r['multiple']:.0f}",
            str(r["steps"]),
            str(r["predictor_evaluations"]),
            "-" if r["kkt_residual"] is None else f"{r['kkt_residual']:.0e}",
        ]
        for r in result["plans"]
    ]
    headers = ["network", "target NMSE", "outcome", "plan", "prediction", "plan / prediction", "steps"]
    return PLANS + "\n\n" + table([*headers, "predictor evaluations", "KKT residual"], rows)


def allocation(result: Any) -> str:
    """The KKT bisection against cvxpy on separable problems."""
    rows = [
        [
            f"{r['gains']:,}",
            time_text(r["kkt_seconds"]),
            time_text(r["cvxpy_seconds"]),
            time_text(r["one_conic_solve_seconds"]),
            f"{r['speedup']:.0f}",
            f"{r['speedup_over_one_conic_solve']:.0f}",
            f"{r['power_difference']:.0e}",
            f"{r['kkt_certificate']:.0e}",
            f"{r['cvxpy_certificate']:.0e}",
        ]
        for r in result["allocation"]
    ]
    headers = ["gains", "KKT", "cvxpy", "one conic solve", "times faster", "than one solve", "power difference"]
    return ALLOCATION + "\n\n" + table([*headers, "KKT certificate", "cvxpy certificate"], rows)


def columns(result: Any) -> str:
    """Plans with many gains, and what finer gains save."""
    rows = [
        [
            r["network"],
            f"{r['gains']:,}",
            str(r["batch"]),
            f"{100 * r['target_nmse']:g} %",
            r["outcome"],
            time_text(r["plan_s"]),
            bytes_text(r["peak_bytes"]),
            str(r["predictor_evaluations"]),
            "-" if r["kkt_residual"] is None else f"{r['kkt_residual']:.0e}",
            "-" if r["duality_gap"] is None else f"{r['duality_gap']:.0e}",
        ]
        for r in result["columns"]
    ]
    headers = ["network", "gains", "batch", "target NMSE", "outcome", "plan", "memory", "predictor evaluations"]
    plans = table([*headers, "KKT residual", "duality gap"], rows)
    savings = {(r["network"], r["target_nmse"], r["free"], r["granularity"]): r for r in result["savings"]}
    cases = list(dict.fromkeys((r["network"], r["target_nmse"]) for r in result["savings"]))
    saved = [
        [
            name,
            f"{100 * nmse:g} %",
            *(_saved(savings[name, nmse, "conductance", g]) for g in ("network", "layer", "column")),
            *(
                _saved(savings[name, nmse, "both", g], savings[name, nmse, "both", "layer"])
                for g in ("network", "column", "signal")
            ),
        ]
        for name, nmse in cases
    ]
    titles = ["network", "layer", "column", "network, both gains", "column, both gains", "signal, both gains"]
    return "\n\n".join([COLUMNS, plans, SAVINGS, table(["network", "target NMSE", *titles], saved)])


def _saved(row: Mapping[str, Any], reference: Mapping[str, Any] | None = None) -> str:
    """The part of the reference's power that a plan saves; None = of the baseline's."""
    if row["outcome"] == "infeasible":
        return "unreachable"
    if reference is not None:
        return f"{100 * (1 - row['power_w'] / reference['power_w']):.1f} %"
    return "-" if row["saving"] is None else f"{100 * row['saving']:.1f} %"


def accuracy(result: Any) -> str:
    """Predicted against simulated error, power and accuracy."""
    rows = [
        [
            r["network"],
            "yes" if r["clipped"] else "no",
            f"{100 * r['nmse']:.3g} %",
            f"{r['draws']:,}",
            mse_cell(r),
            f"{100 * r['median']:.2f} %",
            f"{100 * r['worst']:.2f} ± {100 * r['worst_se']:.2f} %",
            f"{100 * r['power']:+.3f} %",
            f"{100 * r['accuracy']:.2f} %",
            f"{100 * r['simulated']:.2f} %",
        ]
        for r in result["networks"]
    ]
    headers = ["network", "clipping", "NMSE", "draws", "MSE off by", "outputs' MSE: median", "worst", "power off by"]
    return ACCURACY + "\n\n" + table([*headers, "accuracy predicted", "accuracy simulated"], rows)


def mse_cell(record: Mapping[str, Any]) -> str:
    """By how much a predicted MSE is off, with the standard error of the simulation."""
    return f"{100 * record['mse']:+.2f} ± {100 * record['mse_se']:.2f} %"


def read_out(result: Any) -> str:
    """Predicted against simulated error and power by mapping and read-out."""
    rows = [
        [
            r["network"],
            r["read_out"],
            f"{100 * r['nmse']:.3g} %",
            f"{r['draws']:,}",
            mse_cell(r),
            f"{100 * r['power']:+.3f} %",
            time_text(r["prediction_s"]),
            time_text(r["draw_s"]),
        ]
        for r in result["networks"]
    ]
    headers = ["network", "read-out", "NMSE", "draws", "MSE off by", "power off by", "prediction", "draw"]
    return READ_OUT + "\n\n" + table(headers, rows)


def aihwkit_devices(result: Any) -> str:
    """Predicted error against that of aihwkit's device models."""
    rows = [
        [
            r["preset"],
            f"{r['time_s']:,.0f} s",
            f"{100 * r['predicted_nmse']:.3g} %",
            f"{100 * r['aihwkit_nmse']:.3g} %",
            f"{r['ratio']:.4f} ± {r['standard_error']:.4f}",
        ]
        for r in result["devices"]
    ]
    headers = ["preset", "time", "predicted NMSE", "aihwkit's NMSE", "ratio"]
    return AIHWKIT + "\n\n" + table(headers, rows)


def measured_cells(result: Any) -> str:
    """Networks of measured cells against predictions from their moments."""
    ways = {
        "as_measured": "as measured",
        "clipped": "clipped",
        "clipped_and_2uS": "clipped, 2 µS",
        "lowest_at_0": "lowest at 0",
    }
    rows = [
        [
            f"{r['time_s']:,g} s",
            f"{100 * r['cells_nmse']:.2f} ± {100 * r['standard_error']:.2f} %",
            *(f"{100 * r[way]:.2f} %" for way in ways),
        ]
        for r in result["times"]
    ]
    return MEASURED_CELLS + "\n\n" + table(["after programming", "NMSE of the cells", *ways.values()], rows)


def device_read_outs(result: Any) -> str:
    """Predicted against simulated error by device preset and read-out."""
    rows = [
        [
            r["preset"],
            r["read_out"],
            f"{100 * r['nmse']:.3g} %",
            f"{r['draws']:,}",
            mse_cell(r),
        ]
        for r in result["rows"]
    ]
    low = [abs(r["mse"]) for r in result["rows"] if r["nmse"] <= 0.1]
    summary = f"Largest difference where the NMSE is at most 10 %: {100 * max(low):.2f} %." if low else ""
    return "\n\n".join((DEVICE_READ_OUTS, summary, table(["preset", "read-out", "NMSE", "draws", "MSE off by"], rows)))


def stuck_devices(result: Any) -> str:
    """Predicted against simulated error where a few stuck devices make it, of networks and columns."""
    networks = [
        [
            r["network"],
            r["hardware"],
            f"{100 * r['nmse']:.3g} %",
            f"{r['draws']:,}",
            f"{100 * r['gaussian']:+.1f} %",
            mse_cell(r),
            f"{100 * r['power']:+.2f} %",
            f"{r['samples']:,}",
            time_text(r["seconds"]),
        ]
        for r in result["networks"]
    ]
    columns = [
        [
            f"{r['rows']}",
            f"{1e3 * r['load']:g} mS",
            f"{100 * r['on']:g} %",
            f"{100 * r['off']:g} %",
            f"{100 * r['nmse']:.3g} %",
            mse_cell(r),
            f"{r['mean']:.4f}",
        ]
        for r in result["columns"]
    ]
    return "\n\n".join(
        (
            STUCK_DEVICES,
            table(
                ["network", "hardware", "NMSE", "draws", "Gaussian", "MSE off by", "power", "samples", "prediction"],
                networks,
            ),
            STUCK_COLUMNS,
            table(["rows", "load", "stuck on", "stuck off", "NMSE", "MSE off by", "mean off by, in std"], columns),
        )
    )


def accuracy_targets(result: Any) -> str:
    """Simulated drop and excess power of plans for a drop of accuracy."""
    rows = [
        [
            r["network"],
            f"{r['inputs']}",
            f"{100 * r['asked_drop']:g} %",
            f"{100 * r['predicted_drop']:.2f} %",
            f"{100 * r['simulated_drop']:.2f} ± {100 * r['standard_error']:.2f} %",
            f"{100 * r['misses']:+.2f}",
            "yes" if r["misses"] <= DROP_BOUND else "no",
            f"{1e3 * r['power_w']:.4g}",
            f"{100 * r['excess_power']:+.1f} %",
            "yes" if r["excess_power"] <= EXCESS_BOUND else "no",
            f"{r['verify_draws']:,}",
            f"{r['calibrations']}",
            time_text(r["plan_s"]),
        ]
        for r in result["plans"]
    ]
    headers = ["network", "inputs", "asked drop", "predicted", "simulated", "beyond it (points)", "within 0.3 points"]
    headers += ["power [mW]", "excess power", "within 5 %", "draws", "calibrations", "time"]
    return ACCURACY_TARGETS + "\n\n" + table(headers, rows)


def real_networks(result: Any) -> str:
    """Convolutional, residual and attention networks: error and power by layer, what error samples buy, plans."""
    rows = [
        [
            r["network"],
            r["mapping"],
            "whole" if r["array_rows"] is None else f"{r['array_rows']} rows",
            str(r["batch"]),
            f"{100 * r['nmse']:.3g} %",
            f"{r['draws']:,}",
            mse_cell(r),
            "yes" if _mse_holds(r) else "no",
            f"{100 * r['layer_power']:+.2f} ± {100 * r['layer_power_se']:.2f} %",
            "yes" if abs(r["layer_power"]) <= POWER_BOUND else "no",
            f"{100 * r['mse_without_samples']:+.2f} %",
            f"{100 * r['layer_power_without_samples']:+.2f} %",
        ]
        for r in result["networks"]
    ]
    headers = ["network", "mapping", "arrays", "inputs", "NMSE", "draws", "MSE off by", "in bounds", "power off by"]
    cells = table([*headers, "within 1 %", "MSE without samples", "power without samples"], rows)
    bounds = (
        "Bounds on the deviation of the MSE: 2 % at NMSE 1 %, 3 % at 10 % (encoder 5 %), 10 % at 100 %. "
        f"Within them: {sum(map(_mse_holds, result['networks']))} of {len(rows)} rows; layer power within 1 %: "
        f"{sum(abs(r['layer_power']) <= POWER_BOUND for r in result['networks'])}."
    )
    plans = [
        [
            r["network"],
            f"{100 * r['target_nmse']:g} %",
            f"{r['draws']:,}",
            f"{100 * r['ratio']:+.2f} ± {100 * r['ratio_se']:.2f} %",
            time_text(r["seconds"]),
        ]
        for r in result["plans"]
    ]
    parts = [REAL_NETWORKS, bounds, cells]
    if plans:
        titles = ["network", "target NMSE", "draws", "simulated off the target by", "plan and verification"]
        parts += ["### Plans verified", table(titles, plans)]
    parts += [f"Not measured: {missing}" for missing in result.get("not_measured", ())]
    return "\n\n".join(parts)


def _mse_holds(row: Mapping[str, Any]) -> bool:
    bounds = ENCODER_BOUNDS if row["network"] == "encoder" else MSE_BOUNDS
    return bool(abs(row["mse"]) <= bounds[row["target_nmse"]])


def scale(result: Any) -> str:
    """Large networks: a prediction, its growth, plans."""
    r = result["prediction"]
    parts = [
        SCALE,
        f"ResNet-18 at {r['size']} x {r['size']}, {result['batch']} images, {r['outputs']} outputs, {r['threads']} "
        f"thread(s): a prediction takes {time_text(r['prediction_s'])}, {r['passes']:.0f} forward-backward passes of "
        f"the same batch ({time_text(r['pass_s'])} each), with {bytes_text(r['peak_bytes'])} of peak memory, imports "
        f"and network included; its own standard error is {100 * r['standard_error']:.2f} % of the MSE.",
        f"ResNet-18 at {result['precision']['size']} x {result['precision']['size']} in float32 against float64, with "
        "the same combinations: "
        + "; ".join(
            f"at NMSE {100 * n['nmse']:.2g} % the MSE differs by {n['mse']:.0e} (relative), power by {n['power']:.0e}"
            for n in result["precision"]["noise"]
        )
        + ".",
    ]
    titles = ["pass", "prediction", "prediction / pass", "peak memory"]
    for key, by, words_of in (("by_depth", "depth", "layers"), ("by_size", "size", "image side")):
        if key in result:
            cells = [
                [
                    str(r[by]),
                    str(r["layers"]),
                    time_text(r["pass_s"]),
                    time_text(r["prediction_s"]),
                    f"{r['passes']:.1f}",
                    bytes_text(r["peak_bytes"]),
                ]
                for r in result[key]
            ]
            what = "Residual chains of 32 channels at 32 x 32" if key == "by_depth" else "ResNet-18"
            parts.append(f"{what}, by {words_of}:\n\n" + table([by, "crossbars", *titles], cells))
    if "plans" in result:
        cells = [
            [
                name,
                str(r["layers"]),
                time_text(r["plan_s"]),
                f"{r['passes']:.0f}",
                r["termination"],
                "-" if r["kkt_residual"] is None else f"{r['kkt_residual']:.0e}",
                f"{100 * r['nmse']:.3f} %",
                "-" if r["saving"] is None else f"{100 * r['saving']:.1f} %",
                bytes_text(r["peak_bytes"]),
                str(r["threads"]),
            ]
            for name, r in result["plans"].items()
        ]
        titles = ["network", "gains", "plan", "plan / pass", "outcome", "KKT residual", "NMSE", "saving", "peak memory"]
        parts.append("Layer-wise plans at 224 x 224:\n\n" + table([*titles, "threads"], cells))
    return "\n\n".join(parts)


def any_result(result: Any) -> str:
    """Tables for a result of unknown form: lists and maps of records as tables, single values as a list."""
    if isinstance(result, list):
        result = {"results": result}
    parts, single = [], []
    for name, value in result.items():
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            parts.append(f"**{words(name)}**\n\n{_records(value)}")
        elif isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
            parts.append(f"**{words(name)}**\n\n{_records([{'name': k, **v} for k, v in value.items()])}")
        elif isinstance(value, dict):
            parts.append(f"**{words(name)}**\n\n{_records([value])}")
        else:
            single.append(f"- {words(name)}: {cell(value)}")
    return "\n\n".join([*(["\n".join(single)] if single else []), *parts])


def _records(records: Sequence[Mapping[str, Any]]) -> str:
    columns = list(
        dict.fromkeys(key for record in records for key, v in record.items() if not isinstance(v, (list, dict)))
    )
    return table([words(c) for c in columns], [[cell(record.get(c)) for c in columns] for record in records])


SECTIONS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("simulate", "The simulator", simulate),
    ("prediction", "Prediction", prediction),
    ("plan", "Plans", plan),
    ("columns", "Many gains", columns),
    ("allocation", "Allocation solvers", allocation),
    ("service", "The service", any_result),
    ("batch", "Studies", any_result),
    ("accuracy", "Accuracy of predictions", accuracy),
    ("aihwkit_devices", "Published devices against aihwkit", aihwkit_devices),
    ("measured_cells", "Measured cells", measured_cells),
    ("read_out", "Mappings and read-outs", read_out),
    ("device_read_outs", "Published devices with every read-out", device_read_outs),
    ("stuck_devices", "Stuck devices", stuck_devices),
    ("accuracy_targets", "Accuracy targets", accuracy_targets),
    ("real_networks", "Accuracy on real networks", real_networks),
    ("scale", "Scale", scale),
    ("cost", "What a prediction costs", any_result),
)


def document(results: Mapping[str, Any]) -> str:
    """The page for the results at hand."""
    parts = [HEAD.rstrip()]
    for name, title, render in SECTIONS:
        if name not in results:
            continue
        result = results[name]
        parts.append(f"## {title}\n\n`python -m benchmarks {name}`")
        if isinstance(result, dict):
            result = dict(result)
            about, seconds = result.pop("machine", None), result.pop("seconds", None)
            if isinstance(about, dict):
                parts[-1] += f" on {machine_text(about)}" + ("" if seconds is None else f"; took {seconds:.0f} s") + "."
        parts.append(render(result))
    return "\n\n".join(parts) + "\n"


def machine_text(about: Mapping[str, Any]) -> str:
    """The machine in a line."""
    versions = ", ".join(f"{k} {v}" for k, v in about.items() if k not in ("processor", "cores", "load"))
    return f"{about.get('processor')}, {about.get('cores')} cores, load {about.get('load')} at the start; {versions}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all but the first column to the right."""
    lines = [headers, ["---"] + ["---:"] * (len(headers) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def words(name: str) -> str:
    """A key as words."""
    return name.replace("_", " ")


def cell(value: object) -> str:
    """A value of unknown meaning."""
    if isinstance(value, bool) or not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.4g}"


def time_text(seconds: float) -> str:
    """A time with its unit: 12.3 ms."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def bytes_text(size: float) -> str:
    """A size in MiB."""
    return f"{size / 2**20:.3g} MiB"


def write_report() -> Path:
    """Rewrite the document from all results there are."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    DOCUMENT.write_text(document(results), encoding="utf-8")
    return DOCUMENT


if __name__ == "__main__":
    print(f"wrote {write_report()}")
