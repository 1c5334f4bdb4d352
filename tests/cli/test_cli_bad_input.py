"""Bad files and values: exit 2, one line per violation, no traceback, nothing on stdout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from powerplan.hardware.describe import described_fields
from powerplan.hardware.hardware import Hardware


def refused(result: Result, *messages: str) -> None:
    """The result is exit 2 with exactly these error lines (parts of them)."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(messages), result.stderr
    for line, message in zip(errors, messages, strict=True):
        assert message in line


def test_unknown_hardware_key_names_the_nearest(run: Callable[..., Result], files: Any) -> None:
    Path("hw.toml").write_text("programming_noise_sdt = 1e-6\nvoltage_mx = 1.0\n")
    refused(
        run("predict", files.problem, "--hardware", "hw.toml"),
        "Did you mean 'programming_noise_std'?",
        "Did you mean 'voltage_max'?",
    )


def test_every_violated_field_has_its_line(run: Callable[..., Result], files: Any) -> None:
    refused(
        run("predict", files.problem, "--conductance-max=-1", "--read-noise-std=nan", "--voltage-max", "0V"),
        "hardware.conductance_max: got -1.0",
        "hardware.read_noise_std: got nan",
        "hardware.voltage_max: got 0.0",
    )


def test_every_hardware_field_is_an_option_with_its_unit(run: Callable[..., Result]) -> None:
    text = " ".join(run("plan", "--help").stdout.split())
    described = described_fields(Hardware)
    assert list(described) == [field.name for field in fields(Hardware)]
    for name in described:
        assert "--" + name.replace("_", "-") in text
    units = {"conductance_max": "S", "read_noise_std": "A", "voltage_max": "V", "feedback_resistance": "ohm"}
    assert {name: described[name][0] for name in units} == units


@pytest.mark.parametrize("option", ["--network", "--inputs", "--hardware", "--gains", "--labels"])
def test_missing_file_is_named(run: Callable[..., Result], files: Any, option: str) -> None:
    name = {"--network": "no.npz", "--hardware": "no.toml", "--gains": "no.json"}.get(option, "no.npy")
    others = [
        word for pair in zip(files.problem[::2], files.problem[1::2], strict=True) if pair[0] != option for word in pair
    ]
    refused(run("predict", others, option, name), f"got '{name}'; allowed: an existing file")


def test_truncated_network(run: Callable[..., Result], files: Any) -> None:
    content = Path(files.network).read_bytes()
    Path("cut.npz").write_bytes(content[: len(content) // 2])
    refused(run("predict", "--network", "cut.npz", "--inputs", files.inputs), "cut.npz")


def test_foreign_network(run: Callable[..., Result], files: Any) -> None:
    np.savez("foreign.npz", a=np.zeros(3))
    refused(run("show", "foreign.npz"), "foreign.npz")


@pytest.mark.parametrize(
    ("suffix", "content"), [(".npy", b"\x93NUMPY\x01\x00"), (".npz", b"PK\x03\x04 no"), (".csv", b"1,2\n3\n")]
)
def test_damaged_inputs(run: Callable[..., Result], files: Any, suffix: str, content: bytes) -> None:
    Path("x" + suffix).write_bytes(content)
    refused(run("predict", "--network", files.network, "--inputs", "x" + suffix), f"inputs: got 'x{suffix}")


def test_pickled_inputs_are_not_loaded(run: Callable[..., Result], files: Any) -> None:
    np.save("x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(run("predict", "--network", files.network, "--inputs", "x.npy"), "inputs: got 'x.npy'")


def test_unknown_suffix(run: Callable[..., Result], files: Any) -> None:
    refused(run("predict", "--network", files.network, "--inputs", "x.mat"), "a .npy, .npz or .csv file")


def test_nan_in_inputs(run: Callable[..., Result], files: Any) -> None:
    x = np.load(files.inputs).copy()
    x[3, 1] = np.nan
    np.save("x.npy", x)
    refused(run("predict", "--network", files.network, "--inputs", "x.npy"), "1 of its")


def test_wrong_width(run: Callable[..., Result], files: Any) -> None:
    np.save("x.npy", np.zeros((5, 7)))
    refused(run("predict", "--network", files.network, "--inputs", "x.npy"), "shape (B, 4)")


def test_npz_without_inputs(run: Callable[..., Result], files: Any) -> None:
    np.savez("x.npz", a=np.zeros((5, 4)), b=np.zeros((5, 4)))
    refused(run("predict", "--network", files.network, "--inputs", "x.npz"), "an array named 'inputs'")


@pytest.mark.parametrize("labels", [np.zeros(3), np.full(32, 0.5), np.zeros((32, 2))])
def test_labels_that_do_not_fit(run: Callable[..., Result], files: Any, labels: np.ndarray) -> None:
    np.save("y.npy", labels)
    refused(run("predict", files.problem, "--labels", "y.npy"), "32 integer classes")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--max-nmse", "0", "--max-nmse: got 0.0"),
        ("--max-mse", "-1", "--max-mse: got -1.0"),
        ("--max-power", "nan", "--max-power: got nan"),
        ("--max-output-mse", "0", "--max-output-mse: got 0.0"),
        ("--max-flip-rate", "2", "--max-flip-rate: got 2.0"),
        ("--max-mse", "much", "'--max-mse': got 'much'"),
    ],
)
def test_target_not_positive(run: Callable[..., Result], files: Any, option: str, value: str, message: str) -> None:
    said = run("plan", files.problem, option, value)
    refused(said, message)
    assert "Max" not in said.stderr


@pytest.mark.parametrize("option", ["--chips", "--target-inputs", "--max-energy", "--max-area"])
def test_bounds_beside_the_target_are_named_as_options(run: Callable[..., Result], files: Any, option: str) -> None:
    said = run("plan", files.problem, "--max-nmse", "1%", option, "0")
    refused(said, f"{option}: got 0.0")
    assert "target." not in said.stderr
    assert "max_" not in said.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--granularity", "rows"], "granularity"),
        (["--optimize", "resistance"], "optimize"),
        (["--optimize", "voltage"], "voltage"),  # nothing bounds it from below without read noise
        (["--voltage", "0.1,0.1,0.1"], "one per crossbar layer (2: linear1, linear2)"),
        (["--deadline", "0"], "deadline"),
        (["--calibrate"], "calibrate"),
    ],
)
def test_options_of_the_planner(run: Callable[..., Result], files: Any, options: list[str], message: str) -> None:
    refused(run("plan", files.problem, "--max-nmse", "1%", options), message)


def test_gains_beyond_the_limits(run: Callable[..., Result], files: Any) -> None:
    refused(run("predict", files.problem, "--conductance", "1 S"), "gains.conductance[0]", "gains.conductance[1]")


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"conductance": 1, "voltage": 2}', '{"format": "powerplan.plan"}'])
def test_bad_gains_file(run: Callable[..., Result], files: Any, content: str) -> None:
    Path("g.json").write_text(content)
    result = run("predict", files.problem, "--gains", "g.json")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize("content", ['{"conductance": [1e-5, 1e-5]}', '{"conductance": [1e-5, 1e-5], "volt": [1, 1]}'])
def test_gains_file_without_voltages_is_not_taken_for_a_plan(
    run: Callable[..., Result], files: Any, content: str
) -> None:
    Path("g.json").write_text(content)
    refused(run("predict", files.problem, "--gains", "g.json"), "allowed: two lists, conductance and voltage")


@pytest.mark.parametrize("content", ["", "\n\n", "a,b,c,d\n"])
def test_csv_without_rows(run: Callable[..., Result], files: Any, content: str) -> None:
    Path("x.csv").write_text(content)
    result = run("predict", "--network", files.network, "--inputs", "x.csv")
    refused(result, "no rows")
    assert "warning" not in result.stderr


@pytest.mark.parametrize("file", ["plan.gif", "missing/plan.png"])
def test_plot_that_cannot_be_written_is_refused_before_the_work(
    run: Callable[..., Result], files: Any, file: str
) -> None:
    refused(run("plan", files.problem, "--max-nmse", "1%", "--plot", file), "plot: got")


@pytest.mark.parametrize("file", ["missing/plan.json", "."])
def test_output_that_cannot_be_written_is_refused_before_the_work(
    run: Callable[..., Result], files: Any, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setattr("powerplan.cli.commands.plan.plan_arguments", lambda *_: pytest.fail("the work began"))
    refused(run("plan", files.problem, "--max-nmse", "1%", "--output", file), f"output: got '{file}'")


def test_unknown_example_and_file(run: Callable[..., Result], files: Any) -> None:
    refused(run("example", "iriss"), "Did you mean 'iris'?")
    refused(run("predict", "--example", "iriss"), "Did you mean 'iris'?")
    refused(run("show", "no.npz"), "an existing network")


def test_mnist_without_its_files_says_where_to_put_them(
    run: Callable[..., Result], files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POWERPLAN_DATA", raising=False)
    result = run("predict", "--example", "mnist")
    assert result.exit_code == 2
    assert "POWERPLAN_DATA" in result.stderr


def test_missing_matplotlib_is_said_before_the_work(
    run: Callable[..., Result], files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    refused(run("plan", files.problem, "--max-nmse", "1%", "--plot", "p.png"), "pip install 'powerplan-crossbar[plot]'")


def test_internal_errors_are_exit_1_and_vv_shows_the_traceback(
    run: Callable[..., Result], files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("powerplan.predict", broken)
    result = run("predict", files.problem)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: internal error: RuntimeError: broken on purpose")
    assert "Traceback" not in result.stderr
    assert "Traceback" in run("predict", files.problem, "-vv").stderr
