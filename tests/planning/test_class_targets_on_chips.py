"""Classes of single chips: drawn as simulated, planned for, told by files and clients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.examples import Example

HARDWARE = pp.Hardware(programming_noise_std=2e-6)
DRAWS = 6000


def test_rates_of_wrong_classes_are_spread_as_simulated(iris_example: Example) -> None:
    network, inputs, labels = iris_example.network, iris_example.inputs, iris_example.labels
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    predicted = pp.predict(network, HARDWARE, gains, inputs, chip_spread=True)
    simulated = pp.simulate(network, HARDWARE, gains, inputs, draws=DRAWS, seed=1)
    for wanted in (labels, None):
        ours, theirs = predicted.wrong_by_chip(wanted), simulated.wrong_by_chip(wanted)
        assert ours.mean == pytest.approx(theirs.mean, rel=0.05, abs=3e-4)
        assert ours.std == pytest.approx(theirs.std, rel=0.05)
        for few in range(4):
            assert ours.yield_at(few / len(inputs)) == pytest.approx(theirs.yield_at(few / len(inputs)), abs=0.025)


def test_a_single_output_has_the_class_of_its_sign() -> None:
    rng = np.random.default_rng(3)
    network = pp.Network.mlp([rng.normal(size=(6, 5)) / 2, rng.normal(size=(1, 6))])
    inputs = rng.normal(size=(40, 5))
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    predicted = pp.predict(network, HARDWARE, gains, inputs, chip_spread=True).wrong_by_chip()
    simulated = pp.simulate(network, HARDWARE, gains, inputs, draws=DRAWS).wrong_by_chip()
    assert simulated.mean > 0.01
    assert predicted.mean == pytest.approx(simulated.mean, rel=0.06)
    assert predicted.quantile(0.9) == pytest.approx(simulated.quantile(0.9), abs=1.5 / 40)


def test_as_many_chips_lose_no_more_than_planned(iris_example: Example) -> None:
    """Of a rate whose steps are 3 %; the expected rate alone would be met by half of the chips."""
    network, inputs, labels, chips = iris_example.network, iris_example.inputs, iris_example.labels, 0.9
    for target in (pp.MaxAccuracyDrop(0.01, labels, chips=chips), pp.MaxFlipRate(0.04, chips=chips)):
        plan = pp.plan(network, HARDWARE, inputs, target, verify_draws=0)
        assert plan.termination.outcome is pp.Outcome.OPTIMAL
        assert plan.reached == pytest.approx(target.value, rel=1e-6)
        simulated = pp.simulate(network, HARDWARE, plan.gains, inputs, draws=DRAWS, seed=1)
        share = target.chip_yield(simulated, None)
        assert abs(share - chips) < 0.015 + 3 * (chips * (1 - chips) / DRAWS) ** 0.5


def test_every_output_of_as_many_chips_as_planned(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxOutputMSE(0.1, chips=0.9), verify_draws=3000)
    simulated = pp.simulate(network, HARDWARE, plan.gains, inputs, draws=DRAWS, seed=1)
    share = (simulated.worst_mse_by_draw <= 0.1).mean()
    assert share == pytest.approx(0.9, abs=0.015 + 3 * 0.004)
    assert plan.verification is not None
    assert plan.verification.chip_yield == pytest.approx(share, abs=0.03)
    assert plan.verification.ratio == pytest.approx(1, abs=0.05)


def test_calibration_moves_the_part_of_the_chips(iris_example: Example) -> None:
    """Where the prediction is off, as of a network that errs much: the bound itself is a whole number of inputs."""
    network, inputs, labels = iris_example.network, iris_example.inputs, iris_example.labels
    target = pp.MaxAccuracyDrop(0.1, labels, chips=0.9)
    plan = pp.plan(network, HARDWARE, inputs, target, verify_draws=4000, calibrate=True)
    assert plan.verification is not None
    assert plan.target == target
    assert abs(plan.verification.ratio - 1) < 3 * plan.verification.ratio_standard_error
    assert plan.verification.chip_yield == pytest.approx(0.9, abs=0.02)


def test_files_and_clients_tell_classes_of_chips(iris_example: Example, tmp_path: Path) -> None:
    network, inputs, labels = iris_example.network, iris_example.inputs, iris_example.labels
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxAccuracyDrop(0.04, labels, chips=0.9), verify_draws=0)
    plan.save(tmp_path / "plan.json")
    again = pp.Plan.load(tmp_path / "plan.json")
    assert again.target == plan.target
    chips = [each.prediction.chips for each in (again, plan)]
    wrong = [each.wrong for each in chips if each is not None and each.wrong is not None]
    assert wrong[0].quantile(0.9) == pytest.approx(wrong[1].quantile(0.9), abs=1 / 32)
    client = pc.PlannerClient.local()
    answer = client.plan(network, HARDWARE, inputs, pc.MaxAccuracyDrop(0.04, labels, chips=0.9), verify_draws=0)
    assert answer.target == pc.MaxAccuracyDrop(0.04, tuple(labels), chips=0.9)
    assert answer.gains.conductance == plan.gains.conductance
    told = client.predict(network, HARDWARE, plan.gains, inputs, labels=labels, chip_spread=True)
    assert told.chips is not None
    assert told.chips.wrong is not None
    assert told.chips.wrong.mean == pytest.approx(wrong[1].mean)
    seen = client.simulate(network, HARDWARE, plan.gains, inputs, labels=labels, draws=200)
    assert seen.chips is not None
    assert seen.chips.wrong is not None
    assert seen.chips.wrong.mean == pytest.approx(1 - seen.accuracy)
    assert seen.chips.wrong_by_chip() is seen.chips.wrong
    untold = client.simulate(network, HARDWARE, plan.gains, inputs, draws=10)
    assert untold.chips is not None
    assert untold.chips.wrong is None
    here = pp.simulate(network, HARDWARE, plan.gains, inputs, draws=200)
    for refusal, unlabelled in ((pc.InvalidRequest, untold.chips), (pp.InvalidInput, here.chips)):
        with pytest.raises(refusal, match=r"chips\.wrong.*with labels.*classes of the ideal outputs"):
            unlabelled.wrong_by_chip()
    ideal = here.ideal_output.argmax(1)
    flips = client.simulate(network, HARDWARE, plan.gains, inputs, labels=ideal, draws=200).chips
    assert flips is not None
    assert flips.wrong_by_chip().mean == pytest.approx(here.wrong_by_chip().mean)
    mean = client.plan(
        network, HARDWARE, inputs, pc.MaxAccuracyDrop(0.04, labels), verify_draws=0, chip_spread=True
    ).prediction.chips
    assert mean is not None
    assert 1 - mean.wrong_by_chip().mean == pytest.approx(here.ideal_accuracy(labels) - 0.04, abs=0.01)


def test_random_combinations_of_the_outputs_tell_no_classes(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    prediction = pp.predict(network, HARDWARE, gains, inputs, chip_spread=True, output_combinations=2)
    with pytest.raises(pp.InvalidInput, match=r"output_combinations: got 2; allowed: 0"):
        prediction.wrong_by_chip()
    with pytest.raises(pp.InvalidInput, match="chip_spread=True"):
        pp.predict(network, HARDWARE, gains, inputs).wrong_by_chip()
