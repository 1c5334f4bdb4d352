"""Answers: text on stdout, JSON with the documented keys, files, and every exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import powerplan as pp
from powerplan.examples import Example
from powerplan.units import percent

PLAN_KEYS = {
    "format", "schema_version", "target", "granularity", "optimize", "hardware", "gains", "prediction", "termination",
    "certificate", "shadow_prices", "baseline_gains", "baseline_power", "baseline_mse", "saving", "verification",
    "provenance", "reached", "output_weights", "corners", "discrete", "arrays", "calibration", "bits", "ideal_accuracy",
}  # fmt: skip


CLI = [sys.executable, "-m", "powerplan.cli"]


@contextmanager
def on_terminal(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A command whose stderr is a terminal, and the other end of that terminal; killed at the end if need be."""
    outer, inner = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=inner, text=True) as process:
        os.close(inner)
        try:
            yield process, outer
        finally:
            process.kill()
            os.close(outer)


def read_all(terminal: int) -> bytes:
    """What is written to a terminal until it is closed, which Linux reports as an error."""
    drawn = b""
    with suppress(OSError):
        while chunk := os.read(terminal, 4096):
            drawn += chunk
    return drawn


def document(result: Result, code: int = 0) -> Any:
    """The JSON document on stdout; NaN and infinity are refused."""
    assert result.exit_code == code, result.output

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(result.stdout, parse_constant=refuse)


# ---------------------------------------------------------------- plan


def test_plan_prints_the_table_and_nothing_else(run: Callable[..., Result], files: Any) -> None:
    result = run("plan", files.problem, "--max-nmse", "1%")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "linear2" in result.stdout
    assert "NMSE <= 1.000 %" in result.stdout
    assert "range used" in result.stdout


def test_plan_json_is_the_plan_file(run: Callable[..., Result], files: Any) -> None:
    """--json on stdout and --output hold the same plan, and both load."""
    arguments = ["plan", *files.problem, "--max-nmse", "1%", "--verify", "200", "--programming-noise-std", "3uS"]
    result = run(arguments, "--json", "--output", "plan.json")
    values = document(result)
    assert values.keys() == PLAN_KEYS
    assert values == json.loads(Path("plan.json").read_text())
    Path("stdout.json").write_text(result.stdout)
    plan = pp.Plan.load("stdout.json")
    assert plan.hardware.programming_noise_std == 3e-6
    assert plan.nmse == pytest.approx(0.01, rel=1e-6)
    assert plan.verification is not None
    assert plan.verification.draws == 200
    assert "wrote plan.json" in result.stderr


def test_a_plan_states_its_arrays(run: Callable[..., Result], files: Any) -> None:
    arguments = ["plan", *files.problem, "--max-nmse", "1%", "--array-rows", "2", "--array-columns", "8"]
    values = document(run(arguments, "--json"))["arrays"]
    assert values["total"] == sum(layer["arrays"] for layer in values["by_layer"])
    assert values["by_layer"][0]["row_tiles"] == 2  # four features on arrays of two rows
    text = run(arguments).stdout
    assert f"{values['total']}, at most 2 rows and at most 8 columns each" in text
    assert text.splitlines()[0].endswith("arrays")


def test_plan_equals_the_python_call(run: Callable[..., Result], files: Any, iris_example: Example) -> None:
    values = document(run("plan", files.problem, "--max-mse", "0.1", "--json", "--granularity", "network"))
    plan = pp.plan(iris_example.network, pp.Hardware(), iris_example.inputs, pp.MaxMSE(0.1), granularity="network")
    assert values["gains"] == plan.gains.to_dict()


def test_plan_for_a_power_budget(run: Callable[..., Result], files: Any) -> None:
    free = document(run("plan", files.problem, "--max-nmse", "1%", "--json"))
    power = free["prediction"]["power"]
    values = document(run("plan", files.problem, "--max-power", repr(power), "--json"))
    assert values["prediction"]["nmse"] == pytest.approx(0.01, rel=1e-3)


def test_held_gains_are_held(run: Callable[..., Result], files: Any) -> None:
    values = document(run("plan", files.problem, "--max-nmse", "5%", "--voltage", "10mV", "--json"))
    assert values["gains"]["voltage"] == [0.01, 0.01]


def test_hardware_file_and_options_that_override_it(run: Callable[..., Result], files: Any) -> None:
    Path("hw.toml").write_text("[hardware]\nprogramming_noise_std = 4e-6\nvoltage_max = 0.5\n")
    arguments = ["--hardware", "hw.toml", "--voltage-max", "0.1", "--no-clip-conductance", "--json"]
    values = document(run("predict", files.problem, arguments))
    assert values["hardware"]["programming_noise_std"] == 4e-6
    assert values["hardware"]["voltage_max"] == 0.1
    assert values["hardware"]["clip_conductance"] is False


def test_polynomial_noise_from_the_command_line(run: Callable[..., Result], files: Any) -> None:
    arguments = ["--programming-noise-polynomial", "0.26uS,1.96uS,-1.17uS", "--json"]
    values = document(run("predict", files.problem, arguments))
    assert values["hardware"]["programming_noise_polynomial"] == pytest.approx([0.26e-6, 1.96e-6, -1.17e-6])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_plot_of_a_plan_is_an_image(run: Callable[..., Result], files: Any, suffix: str) -> None:
    result = run("plan", files.problem, "--max-nmse", "1%", "--plot", f"plan{suffix}")
    assert result.exit_code == 0
    content = Path(f"plan{suffix}").read_bytes()
    assert content.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
    assert len(content) > 5000


# ---------------------------------------------------------------- exit codes


def test_infeasible_target_is_exit_3_with_the_lowest_reachable_error_and_the_limit(
    run: Callable[..., Result], files: Any
) -> None:
    result = run("plan", files.problem, "--max-nmse", "1e-9")
    assert result.exit_code == 3
    values = document(run("plan", files.problem, "--max-nmse", "1e-9", "--json"), code=3)
    reachable = values["termination"]["best_reachable"]
    assert reachable == pytest.approx(values["prediction"]["nmse"], rel=1e-3)
    assert values["certificate"] is None
    error = next(line for line in result.stderr.splitlines() if line.startswith("error: infeasible: "))
    assert f"NMSE is {percent(reachable)}, above" in error
    assert "conductance_max" in error
    assert values["termination"]["binding_limits"] != []


def test_deadline_is_exit_4(run: Callable[..., Result], files: Any) -> None:
    result = run("plan", files.problem, "--max-nmse", "1%", "--deadline", "1e-6")
    assert result.exit_code == 4
    assert "error: deadline: " in result.stderr
    assert "linear1" in result.stdout  # the best gains found are still printed


def test_missed_verification_is_exit_5(run: Callable[..., Result], files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan made for less noise than is simulated misses its target."""
    real = pp.simulate

    def noisier(network: Any, hardware: pp.Hardware, *rest: Any, **options: Any) -> Any:
        return real(network, hardware.replace(programming_noise_std=4e-6), *rest, **options)

    monkeypatch.setattr("powerplan.planning.verify.verify.simulate", noisier)
    result = run("plan", files.problem, "--max-nmse", "1%", "--verify", "300")
    assert result.exit_code == 5
    assert "error: verification: simulated / target = " in result.stderr
    assert "--calibrate" in result.stderr


def test_interrupt_is_exit_130(files: Any) -> None:
    """SIGINT in the middle of a long simulation: no traceback, exit 130, soon."""
    command = [*CLI, "simulate", *files.problem, "--draws", "10000000"]
    with on_terminal(command) as (process, outer):
        drawn = b""
        while b"simulating" not in drawn:  # it is under way
            drawn += os.read(outer, 4096)
        process.send_signal(signal.SIGINT)
        drawn += read_all(outer)
        assert process.wait(timeout=30) == 130
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert b"interrupted at simulating" in drawn
    assert b"Traceback" not in drawn


def test_module_and_script_give_the_same_answer() -> None:
    for module in ("powerplan", "powerplan.cli"):
        command = [sys.executable, "-m", module, "presets", "pcm_nandakumar2019"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.startswith("pcm_nandakumar2019: PCM")
        assert done.stderr == ""


# ---------------------------------------------------------------- predict, simulate


def test_predict_reports_and_json(run: Callable[..., Result], files: Any, iris_example: Example) -> None:
    text = run("predict", files.problem, "--labels", files.labels)
    assert text.exit_code == 0
    assert "accuracy" in text.stdout
    values = document(run("predict", files.problem, "--labels", files.labels, "--json"))
    assert values["format"] == "powerplan.prediction"
    assert {"schema_version", "powerplan_version", "network_sha256", "hardware", "gains", "accuracy"} <= values.keys()
    assert values["power"] == pytest.approx(sum(values["power_by_layer"]))
    assert values["mse"] == pytest.approx(sum(values["mse_by_layer"]))
    gains = pp.Gains.full_range(iris_example.network, pp.Hardware(), iris_example.inputs)
    assert values["gains"] == gains.to_dict()
    assert values["mse"] == pp.predict(iris_example.network, pp.Hardware(), gains, iris_example.inputs).mse


def test_predict_tells_chips_by_input_and_output(run: Callable[..., Result], files: Any, iris_example: Example) -> None:
    result = run("predict", files.problem, "--programming-noise-std", "2uS", "--chips-by-input", "--json")
    values = json.loads(result.stdout)
    assert len(values["chips_by_input"]) == len(iris_example.inputs)
    assert [each["mean"] for each in values["chips_by_input"]] == pytest.approx(values["inputs"]["mse_by_input"])
    assert all(each["q50"] < each["q95"] < each["q99"] for each in values["chips_by_input"])
    assert "chips_by_output" not in values
    assert values["chips"]["mse"]["std"] > 0
    text = run("predict", files.problem, "--programming-noise-std", "2uS", "--chips-by-output").stdout
    assert "MSE of output  mean over chips" in text


def test_predict_by_random_combinations(run: Callable[..., Result], files: Any, iris_example: Example) -> None:
    """The options reach the predictor; the MSE has a standard error; there is no accuracy, which needs every output."""
    arguments = [*files.problem, "--labels", files.labels, "--output-combinations", "4", "--seed", "3"]
    arguments += ["--marginal-fields", "0"]
    text = run("predict", arguments)
    assert text.exit_code == 0
    assert "±" in next(row for row in text.stdout.splitlines() if row.startswith("MSE"))
    assert "no accuracy" in text.stderr
    values = document(run("predict", arguments, "--json"))
    gains = pp.Gains.full_range(iris_example.network, pp.Hardware(), iris_example.inputs)
    expected = pp.predict(
        iris_example.network, pp.Hardware(), gains, iris_example.inputs, output_combinations=4, seed=3
    )
    assert (values["mse"], values["mse_standard_error"]) == (expected.mse, expected.mse_standard_error)
    assert values["accuracy"] is None
    refused = run("predict", files.problem, "--output-combinations", "1")
    assert refused.exit_code == 2
    assert "output_combinations: got 1; allowed: 0, or an integer from 2 to 4,096" in refused.stderr


@pytest.mark.parametrize("method", ["linearized", "covariance", "diagonal"])
def test_predict_method(run: Callable[..., Result], files: Any, method: str) -> None:
    assert document(run("predict", files.problem, "--method", method, "--json"))["method"] == method


def test_constant_zero_output_has_nan_nmse_and_null_in_json(run: Callable[..., Result], files: Any) -> None:
    """NMSE of a network whose ideal outputs are zero is undefined; JSON has no NaN."""
    pp.Network.mlp([np.ones((2, 3)), np.zeros((2, 2))]).save("zero.npz")
    np.save("x.npy", np.ones((2, 3)))
    values = document(run("predict", "--network", "zero.npz", "--inputs", "x.npy", "--json"))
    assert values["nmse"] is None


def test_simulate_reports_and_json(run: Callable[..., Result], files: Any) -> None:
    arguments = ["simulate", *files.problem, "--labels", files.labels, "--draws", "400", "--adc-energy", "1pJ"]
    text = run(arguments)
    assert "simulated" in text.stdout
    assert "accuracy" in text.stdout
    assert "of which converters" in text.stdout
    values = document(run(arguments, "--json"))
    assert 0 < sum(values["converter_power_by_layer"]) < values["power"]
    assert values["format"] == "powerplan.simulation"
    low, high = values["mse_confidence_interval"]
    assert low < values["mse"] < high
    assert values["draws"] == 400
    assert abs(values["predicted"]["mse"] - values["mse"]) < 5 * values["mse_standard_error"] + 0.02 * values["mse"]
    assert values == document(run(arguments, "--json"))  # the seed fixes every number
    assert values["mse"] != document(run(arguments, "--json", "--seed", "1"))["mse"]


def test_simulate_plots_predicted_against_simulated(run: Callable[..., Result], files: Any) -> None:
    result = run("simulate", files.problem, "--draws", "50", "--sweep", "1,0.5", "--plot", "check.png")
    assert result.exit_code == 0
    assert Path("check.png").read_bytes().startswith(b"\x89PNG")


def test_gains_of_a_plan_bring_its_hardware(run: Callable[..., Result], files: Any) -> None:
    run("plan", files.problem, "--max-nmse", "1%", "--programming-noise-std", "3uS", "--output", "plan.json")
    values = document(run("predict", files.problem, "--gains", "plan.json", "--json"))
    assert values["hardware"]["programming_noise_std"] == 3e-6
    assert values["nmse"] == pytest.approx(0.01, rel=1e-6)
    Path("gains.json").write_text(json.dumps(values["gains"]))
    again = document(
        run("predict", files.problem, "--gains", "gains.json", "--programming-noise-std", "3e-6", "--json")
    )
    assert again["nmse"] == values["nmse"]


def test_gains_planned_for_another_network_are_told(run: Callable[..., Result], files: Any) -> None:
    run("plan", files.problem, "--max-nmse", "1%", "--output", "plan.json")
    other = pp.Network.mlp([np.ones((16, 4)), np.ones((3, 16))])
    other.save("other.npz")
    Path("gains.json").write_text(
        Path("plan.json").read_text().replace('conductance_max": 0.0001', 'conductance_max": 0.01')
    )
    result = run("predict", "--network", "other.npz", "--inputs", files.inputs, "--gains", "gains.json")
    assert "planned for another network" in result.stderr


def test_one_gain_per_layer_or_one_for_all(run: Callable[..., Result], files: Any) -> None:
    one = document(run("predict", files.problem, "--conductance", "10uS", "--voltage", "0.01", "--json"))
    two = document(run("predict", files.problem, "--conductance", "10uS,10uS", "--voltage", "10mV,10mV", "--json"))
    assert one == two
    assert one["gains"] == {"conductance": [1e-5, 1e-5], "voltage": [0.01, 0.01]}


def test_rows_beyond_the_voltage_limit_warn(run: Callable[..., Result], files: Any) -> None:
    result = run("predict", files.problem, "--voltage", "1V")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: ")
    assert run("predict", files.problem, "--voltage", "1V", "--quiet").stderr == ""


# ---------------------------------------------------------------- inputs


def test_csv_and_npz_inputs_equal_npy(run: Callable[..., Result], files: Any) -> None:
    x, y = np.load(files.inputs).astype(float), np.load(files.labels)
    np.savetxt("x.csv", x, delimiter=",", header="a,b,c,d", comments="", fmt="%.17g")
    np.savetxt("y.csv", y, fmt="%d")
    np.savez("xy.npz", inputs=x, labels=y)
    wanted = document(run("predict", files.problem, "--labels", files.labels, "--json"))
    network = ["predict", "--network", files.network, "--json", "--inputs"]
    assert document(run(network, "x.csv", "--labels", "y.csv")) == wanted
    assert document(run(network, "xy.npz")) == wanted


def test_batch_uses_the_first_inputs(run: Callable[..., Result], files: Any) -> None:
    np.save("x.npy", np.load(files.inputs)[:5])
    wanted = document(run("predict", "--network", files.network, "--inputs", "x.npy", "--voltage", "1mV", "--json"))
    assert document(run("predict", files.problem, "--batch", "5", "--voltage", "1mV", "--json")) == wanted


# ---------------------------------------------------------------- frontier, example, show


def test_frontier_lists_and_draws_its_points(run: Callable[..., Result], files: Any) -> None:
    result = run("frontier", files.problem, "--from", "1%", "--to", "10%", "--points", "3", "--plot", "f.png")
    assert result.exit_code == 0
    rows = result.stdout.splitlines()[2:]
    assert [row.split()[2] for row in rows] == ["1.000", "3.162", "10.00"]
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")


def test_frontier_json_holds_plans_and_its_exit_code_the_first_failure(run: Callable[..., Result], files: Any) -> None:
    values = document(run("frontier", files.problem, "--max-nmse", "1e-9,1%,10%", "--json"), code=3)
    assert values["format"] == "powerplan.frontier"
    assert [point["target"]["value"] for point in values["points"]] == [1e-9, 0.01, 0.1]
    assert all(point.keys() == PLAN_KEYS for point in values["points"])
    powers = [point["prediction"]["power"] for point in values["points"]]
    assert powers == sorted(powers, reverse=True)


def test_example_writes_a_problem_that_predicts_like_the_example(run: Callable[..., Result], files: Any) -> None:
    result = run("example", "iris", "--output", "net.npz", "--inputs", "x.npy", "--labels", "y.npy", "--json")
    values = document(result)
    assert values["name"] == "iris"
    assert values["test_accuracy"] > 0.8
    mine = document(run("predict", "--network", "net.npz", "--inputs", "x.npy", "--labels", "y.npy", "--json"))
    assert mine == document(run("predict", "--example", "iris", "--json"))
    assert mine["network_sha256"] == values["network_sha256"]


def test_show_network_and_plan(run: Callable[..., Result], files: Any) -> None:
    assert "digest" in run("show", files.network).stdout
    values = document(run("show", files.network, "--json"))
    assert [node["name"] for node in values["nodes"] if node["crossbar"]] == ["linear1", "linear2"]
    plan = document(run("plan", files.problem, "--max-nmse", "1%", "--output", "plan.json", "--json"))
    assert document(run("show", "plan.json", "--json")) == plan
    assert "NMSE <= 1.000 %" in run("show", "plan.json").stdout


# ---------------------------------------------------------------- terminal


def test_progress_is_drawn_only_on_a_terminal(files: Any) -> None:
    """On a terminal stderr shows a bar with the stage; the answer on stdout is untouched."""
    command = [*CLI, "simulate", *files.problem, "--draws", "600", "--json"]
    with on_terminal(command) as (process, outer):
        drawn = read_all(outer)
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["draws"] == 600
        assert process.wait(timeout=30) == 0
    assert b"simulating" in drawn
    assert b"#" in drawn
