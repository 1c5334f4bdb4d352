"""The errors of single inputs: what predictions and simulations say of the calibration inputs and of others."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

import powerplan as pp
import powerplan_client as pc
import powerplan_client.per_input as clients
from powerplan import per_input as engines
from powerplan.examples import Example

HARDWARE = pp.Hardware(programming_noise_std=2e-6)


def _both(example: Example) -> tuple[pp.Prediction, pp.Simulation]:
    network, inputs = example.network, example.inputs
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    return pp.predict(network, HARDWARE, gains, inputs), pp.simulate(network, HARDWARE, gains, inputs, draws=3000)


def test_predicted_and_simulated_errors_of_single_inputs(iris_example: Example) -> None:
    predicted, simulated = _both(iris_example)
    assert predicted.inputs is not None
    assert simulated.inputs is not None
    for result in (predicted, simulated):
        assert result.inputs is not None
        assert result.inputs.mse_by_input.mean() == pytest.approx(result.mse, rel=1e-5)
        assert result.inputs.nmse_by_input.mean() == pytest.approx(result.nmse, rel=1e-5)
    # a standard error of 3000 draws is 3 % at most
    np.testing.assert_allclose(predicted.inputs.mse_by_input, simulated.inputs.mse_by_input, rtol=0.12)
    assert predicted.inputs.nmse_standard_error == pytest.approx(simulated.inputs.nmse_standard_error, rel=0.15)
    assert predicted.inputs.worst(1)[0] in simulated.inputs.worst(3)


def test_random_combinations_tell_single_inputs_too(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    exact = pp.predict(network, HARDWARE, gains, inputs).inputs
    combined = pp.predict(network, HARDWARE, gains, inputs, output_combinations=4096).inputs
    assert exact is not None
    assert combined is not None
    np.testing.assert_allclose(combined.mse_by_input, exact.mse_by_input, rtol=0.1)


@pytest.mark.parametrize("module", [engines, clients])
def test_standard_errors_quantiles_and_the_worst(module: ModuleType) -> None:
    """By hand: e = 1, 2, 6 and s = 1, 1, 4; R = 3/2, residuals -1/2, 1/2, 0 over s̄ = 2."""
    inputs = module.Inputs(mse_by_input=np.array([1.0, 2.0, 6.0]), signal_by_input=np.array([1.0, 1.0, 4.0]))
    assert inputs.mse_standard_error == pytest.approx(math.sqrt(7 / 3))
    assert inputs.nmse_standard_error == pytest.approx(0.25 / math.sqrt(3))
    low, high = inputs.nmse_interval()
    assert (low + high) / 2 == pytest.approx(1.5)
    wider = inputs.nmse_interval(fresh=3)
    assert wider[1] - 1.5 == pytest.approx(math.sqrt(2) * (high - 1.5))
    assert inputs.nmse_quantile(0.5) == 1.0
    assert inputs.worst(2) == (2, 1)
    with pytest.raises(ValueError, match="probability"):
        inputs.mse_quantile(95)
    with pytest.raises(ValueError, match="fresh"):
        inputs.mse_interval(fresh=0)


def test_one_input_tells_nothing_of_others() -> None:
    one = engines.Inputs(mse_by_input=np.array([1.0]), signal_by_input=np.array([2.0]))
    assert math.isnan(one.nmse_standard_error)
    assert all(map(math.isnan, one.nmse_interval()))


@pytest.mark.parametrize("freedom", [4, 15, 63, 1000])
def test_students_quantile(freedom: int) -> None:
    assert engines.student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.02)


def test_accuracy_has_a_standard_error_over_inputs(iris_example: Example) -> None:
    predicted, simulated = _both(iris_example)
    labels = iris_example.labels
    over_inputs = predicted.accuracy_input_error(labels)
    assert over_inputs == pytest.approx(simulated.accuracy_input_error(labels), rel=0.1)
    right = (simulated.classes == labels).mean(0)
    assert simulated.accuracy_input_error(labels) == pytest.approx(right.std(ddof=1) / math.sqrt(len(labels)))


def test_files_and_clients_tell_them(iris_example: Example, tmp_path: Path) -> None:
    network, inputs, labels = iris_example.network, iris_example.inputs, iris_example.labels
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.05))
    assert plan.prediction.inputs is not None
    plan.save(tmp_path / "plan.json")
    again = pp.Plan.load(tmp_path / "plan.json").prediction.inputs
    assert again is not None
    np.testing.assert_array_equal(again.mse_by_input, plan.prediction.inputs.mse_by_input)
    client = pc.PlannerClient.local()
    answer = client.predict(network, HARDWARE, plan.gains, inputs, labels=labels)
    assert answer.inputs is not None
    assert answer.inputs.nmse_standard_error == pytest.approx(again.nmse_standard_error, rel=1e-12)
    here = pp.predict(network, HARDWARE, plan.gains, inputs)
    assert answer.accuracy_input_standard_error == here.accuracy_input_error(labels)
    simulated = client.simulate(network, HARDWARE, plan.gains, inputs, labels=labels, draws=50)
    assert simulated.inputs is not None
    assert len(simulated.inputs.mse_by_input) == len(inputs)
    assert "other inputs  NMSE" in plan.table()


def test_fresh_inputs_are_within_the_stated_interval(iris_example: Example) -> None:
    """In 90 to 99 % of 200 splits of the flowers into halves; the standard error of that is 1.5 points."""
    network = iris_example.network
    flowers = np.concatenate([iris_example.inputs, iris_example.test_inputs])
    gains = pp.Gains.full_range(network, HARDWARE, flowers)
    told = pp.predict(network, HARDWARE, gains, flowers).inputs
    assert told is not None
    rng = np.random.default_rng(0)
    within = []
    for _ in range(200):
        order = rng.permutation(len(flowers))
        ours, fresh = (
            engines.Inputs(mse_by_input=told.mse_by_input[part], signal_by_input=told.signal_by_input[part])
            for part in np.split(order, [len(flowers) // 2])
        )
        low, high = ours.nmse_interval(fresh=len(fresh.mse_by_input))
        within.append(low <= fresh.nmse_by_input.mean() <= high)
    assert 0.9 <= np.mean(within) <= 0.99
