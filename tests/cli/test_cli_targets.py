"""Targets on outputs and classes, corners and output weights on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import powerplan as pp
from powerplan.examples import Example


def answer(result: Result) -> Any:
    """The JSON document of a command that ended well."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_target_equals_the_python_call(run: Callable[..., Result], files: Any, iris_example: Example) -> None:
    example = iris_example
    for option, target in (
        ("--max-output-mse", pp.MaxOutputMSE(0.05)),
        ("--max-flip-rate", pp.MaxFlipRate(0.05)),
        ("--max-accuracy-drop", pp.MaxAccuracyDrop(0.05, example.labels)),
    ):
        values = answer(run("plan", files.problem, "--labels", files.labels, option, "0.05", "--json"))
        plan = pp.plan(example.network, pp.Hardware(), example.inputs, target)
        assert values["gains"] == plan.gains.to_dict()
        assert values["reached"] == plan.reached


def test_corners_and_weights_equal_the_python_call(
    run: Callable[..., Result], files: Any, iris_example: Example, tmp_path: Path
) -> None:
    corner = pp.Hardware(programming_noise_std=3e-6)
    Path("hot.toml").write_text("programming_noise_std = 3e-6\n")
    Path("cold.toml").write_text("programming_noise_std = 1e-6\n")
    arguments = ["plan", *files.problem, "--max-nmse", "2%", "--corner", "hot.toml", "--corner", "cold.toml"]
    values = answer(run(*arguments, "--output-weights", "1,2,3", "--json"))
    plan = pp.plan(
        iris_example.network,
        pp.Hardware(),
        iris_example.inputs,
        pp.MaxNMSE(0.02),
        corners=[corner, corner.replace(programming_noise_std=1e-6)],
        output_weights=(1, 2, 3),
    )
    assert values["gains"] == plan.gains.to_dict()
    assert len(values["corners"]) == 2
    text = run(*arguments, "--verify", "200")
    assert "corner 1" in text.stdout
    assert "binds" in text.stdout
    assert "differs in programming_noise_std" in " ".join(text.stdout.split())


def test_targets_on_classes_are_shown_with_their_own_quantity(run: Callable[..., Result], files: Any) -> None:
    shown = run("plan", files.problem, "--labels", files.labels, "--max-accuracy-drop", "2%", "--verify", "500")
    assert "accuracy drop <= 2.000 %" in shown.stdout
    assert "% simulated; ideal network " in shown.stdout
    assert "predicted 2.000 %" in shown.stdout
    shown = run("plan", files.problem, "--max-flip-rate", "2%")
    assert "flip rate <= 2.000 %" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-accuracy-drop", "1%"], "labels"),
        (["--max-flip-rate", "100%"], "--max-flip-rate: got 1.0"),
        (["--max-output-mse", "0"], "--max-output-mse: got 0.0"),
        (["--max-flip-rate", "1%", "--output-weights", "1,2,3"], "output_weights"),
        (["--max-nmse", "1%", "--output-weights", "1,2"], "output_weights"),
        (["--max-nmse", "1%", "--corner", "absent.toml"], "absent.toml"),
        (["--max-nmse", "1%", "--max-flip-rate", "1%"], "got --max-nmse and --max-flip-rate"),
    ],
)
def test_bad_targets_are_exit_2_with_the_reason(
    run: Callable[..., Result], files: Any, arguments: list[str], words: str
) -> None:
    result = run("plan", files.problem, arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_part_of_the_inputs_and_other_inputs_equal_the_python_call(
    run: Callable[..., Result], files: Any, iris_example: Example
) -> None:
    options = ("--max-nmse", "5%", "--target-inputs", "90%", "--json")
    values = answer(run("plan", files.problem, *options))
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, pp.Hardware(), inputs, pp.MaxNMSE(0.05, inputs=0.9))
    assert values["gains"] == plan.gains.to_dict()
    assert values["target"]["inputs"] == 0.9
    upper = answer(run("frontier", files.problem, "--max-nmse", "5%", "--calibration", "upper", "--json"))
    assert upper["points"][0]["calibration"] == "upper"
    refused = run("plan", files.problem, "--max-output-mse", "0.1", "--target-inputs", "90%")
    assert refused.exit_code == 2
    assert "--target-inputs: got 0.9 with --max-output-mse" in refused.output
