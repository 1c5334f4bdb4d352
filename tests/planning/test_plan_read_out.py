"""Plans with converters, noise of the read-out and tracking feedback."""

import numpy as np
import pytest

import powerplan as pp

RNG = np.random.default_rng(8)
NETWORK = pp.Network.mlp([RNG.normal(size=(20, 24)) / 4, RNG.normal(size=(6, 20)) / 4])
INPUTS = RNG.uniform(0, 1, size=(16, 24))
SMALL = pp.Network.mlp([RNG.normal(size=(10, 12)) / 4, RNG.normal(size=(4, 10)) / 4])
LEVELS = RNG.integers(0, 9, size=(8, 12)) / 8
NOISE = {"thermal_noise": True, "shot_noise": True, "bandwidth": 5e6, "feedback_tracking": True, "adc_range": 1.0}
ENERGIES = {"dac_energy": 1e-13, "adc_energy": 1e-12}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("converters", "optimize"),
    [
        ({"dac_bits": 8, "adc_bits": 8}, ("conductance",)),
        ({"adc_bits": 7}, ("conductance", "voltage")),
        ({"adc_bits": 7, "dac_bits": 7}, ("conductance", "voltage")),
    ],
)
def test_plans_are_optimal_and_hold(converters: dict[str, int], optimize: tuple[str, ...]) -> None:
    """Proven optimal at the target, by the prediction at the very gains too, and simulated within 3 % of it."""
    hardware = pp.Hardware(programming_noise_std=1e-6, **converters, **NOISE, **ENERGIES)
    plan = pp.plan(NETWORK, hardware, INPUTS, pp.MaxNMSE(0.02), optimize=optimize)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.prediction.nmse == pytest.approx(0.02, rel=1e-6)
    assert plan.power > plan.prediction.converter_power_by_layer.sum() > 0
    assert pp.predict(NETWORK, hardware, plan.gains, INPUTS).nmse == pytest.approx(0.02, rel=1e-6)
    simulated = pp.simulate(NETWORK, hardware, plan.gains, INPUTS, draws=400)
    assert abs(simulated.nmse - 0.02) < 0.03 * 0.02 + 3 * simulated.nmse_standard_error
    assert simulated.power == pytest.approx(plan.power, rel=0.01)


@pytest.mark.parametrize(
    ("optimize", "granularity", "tight"),
    [(("voltage",), "layer", True), (("conductance", "voltage"), "layer", True), (("voltage",), "network", False)],
)
def test_voltages_are_fitted_to_the_levels_of_the_converters(
    optimize: tuple[str, ...], granularity: str, tight: bool
) -> None:
    """Equal inputs round alike, so the error jumps with the voltage: the target holds at the very gains, as predicted
    and in simulation, tightly where other gains are free to complete a voltage."""
    hardware = pp.Hardware(programming_noise_std=1e-6, dac_bits=6)
    plan = pp.plan(SMALL, hardware, LEVELS, pp.MaxNMSE(0.02), optimize=optimize, granularity=granularity)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.reached == pytest.approx(pp.predict(SMALL, hardware, plan.gains, LEVELS).nmse)
    assert (0.02 * (1 - 1e-6) if tight else 0) < plan.nmse < 0.02 * (1 + 1e-6)
    simulated = pp.simulate(SMALL, hardware, plan.gains, LEVELS, draws=2000)
    assert abs(simulated.nmse / plan.nmse - 1) < 0.03


def test_calibration_lands_on_the_target() -> None:
    """A plan with a converter of the rows and free voltages, corrected by simulation, simulates within 3 % of it."""
    hardware = pp.Hardware(programming_noise_std=1e-6, dac_bits=6)
    target = pp.MaxNMSE(0.02)
    plan = pp.plan(SMALL, hardware, LEVELS, target, optimize=("voltage",), verify_draws=2000, calibrate=True)
    assert plan.verification is not None
    assert abs(plan.verification.ratio - 1) < 0.03


def test_a_voltage_needs_something_that_holds_it_up() -> None:
    """A range that follows the signal does not; a converter of the rows, or one of fixed range, does."""
    quiet = pp.Hardware(feedback_tracking=True, adc_range=1.0, adc_bits=8)
    with pytest.raises(pp.InvalidInput, match="dac_bits"):
        pp.plan(NETWORK, quiet, INPUTS, pp.MaxNMSE(0.1), optimize=("voltage",))
    assert not quiet.holds_up_voltages
    assert not quiet.is_noiseless
    for change in ({"dac_bits": 8}, {"thermal_noise": True, "bandwidth": 1e6}, {"shot_noise": True, "bandwidth": 1e6}):
        assert quiet.replace(**change).holds_up_voltages
    assert pp.Hardware(feedback_resistance=1e4, adc_range=1.0, adc_bits=8).holds_up_voltages
    assert not pp.Hardware(feedback_resistance=1e4, adc_range=1.0).holds_up_voltages


def test_converter_power_survives_a_plan_file(tmp_path: object) -> None:
    """It is written and read again."""
    hardware = pp.Hardware(**ENERGIES)
    plan = pp.plan(NETWORK, hardware, INPUTS, pp.MaxNMSE(0.05))
    file = f"{tmp_path}/plan.json"
    plan.save(file)
    again = pp.Plan.load(file).prediction.converter_power_by_layer
    np.testing.assert_array_equal(again, plan.prediction.converter_power_by_layer)
