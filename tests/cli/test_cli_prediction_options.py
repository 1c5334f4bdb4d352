"""Options of predictions on the command line: plan, frontier and predict take the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

import powerplan as pp
from powerplan.examples import Example

OPTIONS = ["--dtype", "float32", "--output-combinations", "3", "--marginal-fields", "0", "--memory-limit", "10kB"]
VALUES: dict[str, Any] = {"dtype": "float32", "output_combinations": 3, "marginal_fields": 0, "memory_limit": 10_000}


def test_a_plan_and_a_frontier_equal_the_python_call(
    run: Callable[..., Result], files: Any, iris_example: Example
) -> None:
    more = ["--tolerance", "1e-4", "--max-iterations", "9", "--method", "linearized", "--seed", "3", "--json"]
    plan = pp.plan(
        iris_example.network, pp.Hardware(), iris_example.inputs, pp.MaxNMSE(0.02), tolerance=1e-4, seed=3, **VALUES
    )
    (answer, points) = (
        json.loads(run(command, files.problem, "--max-nmse", "2%", OPTIONS, more).stdout)
        for command in ("plan", "frontier")
    )
    assert answer["gains"] == points["points"][0]["gains"] == plan.gains.to_dict()
    assert plan.prediction.mse_standard_error > 0


def test_a_prediction_equals_the_python_call(run: Callable[..., Result], files: Any, iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    gains = pp.Gains.full_range(network, pp.Hardware(), inputs)
    answer = json.loads(run("predict", files.problem, OPTIONS, "--seed", "3", "--json").stdout)
    assert answer["mse"] == pp.predict(network, pp.Hardware(), gains, inputs, seed=3, **VALUES).mse


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dtype", "float16"], "dtype: got 'float16'"),
        (["--output-combinations", "1"], "output_combinations: got 1"),
        (["--marginal-fields", "99999999"], "marginal_fields: got 99999999"),
        (["--memory-limit", "0"], "memory_limit: got 0"),
        (["--memory-limit", "0.5kB", "--method", "x"], "method: got 'x'"),
        (["--memory-limit", "nan"], "memory_limit: got nan"),
        (["--memory-limit", "1 bit"], "--memory-limit"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "frontier", "predict"])
def test_bad_options_are_exit_2_with_the_reason(
    run: Callable[..., Result], files: Any, command: str, arguments: list[str], words: str
) -> None:
    target = [] if command == "predict" else ["--max-nmse", "2%"]
    result = run(command, files.problem, target, arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "internal" not in result.stderr


@pytest.mark.parametrize(("option", "value"), [("--tolerance", "0"), ("--tolerance", "nan"), ("--max-iterations", "0")])
def test_bad_limits_of_a_plan(run: Callable[..., Result], files: Any, option: str, value: str) -> None:
    result = run("plan", files.problem, "--max-nmse", "2%", option, value)
    assert result.exit_code == 2
    assert option.strip("-").replace("-", "_") in result.stderr.replace("-", "_")
