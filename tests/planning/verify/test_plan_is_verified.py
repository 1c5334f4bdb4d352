"""Monte Carlo at the plan agrees with the target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import powerplan as pp
from powerplan.examples import Example


def test_verification_reports_the_simulated_error_and_power(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.01), verify_draws=4000)
    check = plan.verification
    assert check is not None
    assert check.draws == 4000
    assert check.ratio == pytest.approx(check.nmse / 0.01)
    assert abs(check.nmse - 0.01) < 5 * check.nmse_standard_error + 0.02 * 0.01
    assert abs(check.power - plan.power) < 5 * check.power_standard_error + 0.01 * plan.power
    assert not check.calibrated


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
def test_calibration_moves_the_simulated_error_onto_the_target() -> None:
    """At high noise the prediction is off; one calibrated re-solve removes it."""
    rng = np.random.default_rng(3)
    network = pp.Network.mlp([rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), rng.normal(size=(2, 4))])
    inputs = rng.uniform(0, 1, (16, 4))
    hardware = pp.Hardware(programming_noise_std=2e-6)
    options = {"verify_draws": 30_000, "seed": 5}
    plain = pp.plan(network, hardware, inputs, pp.MaxNMSE(1.5), **options)
    tuned = pp.plan(network, hardware, inputs, pp.MaxNMSE(1.5), calibrate=True, **options)
    assert plain.verification is not None
    assert tuned.verification is not None
    assert tuned.verification.calibrated
    error = tuned.verification.nmse_standard_error / 1.5
    assert abs(plain.verification.ratio - 1) > 0.02, "the setting should show an error worth calibrating"
    assert abs(tuned.verification.ratio - 1) < 0.005 + 5 * error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "draws", "nmse"),
    [
        *(("iris", 32, 20_000, nmse) for nmse in (0.01, 0.1)),
        *(("digits", 32, 6_000, nmse) for nmse in (0.01, 0.1)),
    ],
)
def test_simulated_error_at_the_plan_is_within_3_percent_and_1_percent_after_calibration(
    example: Callable[[str], Example], name: str, count: int, draws: int, nmse: float
) -> None:
    network, inputs = example(name).network, example(name).inputs[:count]
    hardware, target = pp.Hardware(programming_noise_std=5e-7), pp.MaxNMSE(nmse)
    plan = pp.plan(network, hardware, inputs, target, verify_draws=draws, calibrate=True)
    gains = pp.plan(network, hardware, inputs, target).gains
    first = pp.simulate(network, hardware, gains, inputs, draws=draws, seed=11)
    assert abs(first.nmse / nmse - 1) < 0.03
    assert plan.verification is not None
    error = plan.verification.nmse_standard_error / nmse
    # two simulations enter: the one calibrated on and the one that checks
    assert abs(plan.verification.ratio - 1) < 0.01 + 2 * error
