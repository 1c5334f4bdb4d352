"""Plans that would rest on the least gain considered are refused, with advice that bounds the power."""

from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
from powerplan.batch import Study
from powerplan.examples import Example

RNG = np.random.default_rng(0)
NETWORK = pp.Network.mlp([RNG.normal(size=(8, 6)) * 0.5, RNG.normal(size=(3, 8)) * 0.5])
INPUTS = RNG.normal(size=(8, 6))
PROPORTIONAL = pp.Hardware(programming_noise_std=0, programming_noise_proportional=0.05)
BOTH = ("conductance", "voltage")

SCALE_FREE = {
    "proportional": PROPORTIONAL,
    "tiny constant part": PROPORTIONAL.replace(programming_noise_std=1e-14),
    "device gains": pp.Hardware(programming_noise_std=0, device_gain_std=0.05),
    "column gains": pp.Hardware(programming_noise_std=0, column_gain_std=0.05),
    "ADC whose range follows the signal": pp.Hardware(programming_noise_std=0, adc_bits=8),
    "DAC": pp.Hardware(programming_noise_std=0, dac_bits=8),
    "stuck off": pp.Hardware(programming_noise_std=0, stuck_off_fraction=1e-3),
    "offset mapping": PROPORTIONAL.replace(weight_mapping="offset", programming_noise_proportional=0.02),
    "divider": PROPORTIONAL.replace(read_out="divider", load_conductance=1e-4),
    "curve through 0": pp.Hardware(
        programming_noise_std=0,
        programming_noise_curve=pp.hardware.curves.Polynomial(reference=1e-4, coefficients=(0, 5e-6)),
    ),
    "preset without read noise": pp.Hardware.preset("sonos_agrawal2022"),
}


@pytest.mark.parametrize("kind", SCALE_FREE)
def test_power_without_a_lower_bound_is_refused(kind: str) -> None:
    with pytest.raises(pp.InvalidInput, match=r"conductance_gain_min.*power has a lower bound"):
        pp.plan(NETWORK, SCALE_FREE[kind], INPUTS, pp.MaxNMSE(0.2))


@pytest.mark.parametrize(
    "options",
    [
        {"granularity": "network"},
        {"granularity": "column"},
        {"corners": [PROPORTIONAL.replace(programming_noise_proportional=0.06)]},
        {"output_weights": [1, 2, 3]},
    ],
    ids=str,
)
def test_whatever_the_options(options: dict[str, object]) -> None:
    with pytest.raises(pp.InvalidInput, match="power has a lower bound"):
        pp.plan(NETWORK, PROPORTIONAL, INPUTS, pp.MaxNMSE(0.2), **options)


@pytest.mark.parametrize("target", [pp.MaxMSE(1.0), pp.MaxOutputMSE(1.0), pp.MaxFlipRate(0.2)], ids=str)
def test_whatever_the_target(target: object) -> None:
    with pytest.raises(pp.InvalidInput, match="power has a lower bound"):
        pp.plan(NETWORK, PROPORTIONAL, INPUTS, target)


def test_free_voltages_with_nothing_to_hold_the_conductances_up() -> None:
    hardware = PROPORTIONAL.replace(input_noise_std=1e-3)
    with pytest.raises(pp.InvalidInput, match="power has a lower bound"):
        pp.plan(NETWORK, hardware, INPUTS, pp.MaxNMSE(0.2), optimize=BOTH)


@pytest.mark.parametrize("kind", ["proportional", "device gains", "divider", "preset without read noise"])
@pytest.mark.parametrize(
    ("named", "change"),
    [("conductance_min", None), ("read_noise_std", {"read_noise_std": 1e-9}), ("thermal_noise", {"bandwidth": 5e6})],
)
def test_what_the_refusal_names_helps(kind: str, named: str, change: dict[str, float] | None) -> None:
    hardware = SCALE_FREE[kind]
    with pytest.raises(pp.InvalidInput, match=named):
        pp.plan(NETWORK, hardware, INPUTS, pp.MaxNMSE(0.2))
    extra = {"conductance_min": 0.01 * hardware.conductance_max} if change is None else change
    stated = hardware.replace(**extra, thermal_noise="bandwidth" in extra)
    plan = pp.plan(NETWORK, stated, INPUTS, pp.MaxNMSE(0.2))
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.prediction.nmse == pytest.approx(0.2, rel=1e-6)


def test_what_does_not_help_is_not_named() -> None:
    """An idle conductance does not hold up the gains against rounding that scales with them."""
    with pytest.raises(pp.InvalidInput) as refused:
        pp.plan(NETWORK, SCALE_FREE["DAC"], INPUTS, pp.MaxNMSE(0.2))
    assert "conductance_min, " not in str(refused.value)
    assert "read_noise_std" in str(refused.value)


def test_steps_state_the_least_conductance() -> None:
    steps = pp.Steps.geometric(1e-6, 1e-4, decibel=3)
    plan = pp.plan(NETWORK, PROPORTIONAL, INPUTS, pp.MaxNMSE(0.2), conductance_steps=steps)
    assert plan.gains.conductance == pytest.approx((1e-6, 1e-6))


def test_a_layer_that_does_not_matter_may_rest_on_its_guard() -> None:
    """A layer whose outputs are multiplied by 0: its power is negligible, so its guard decides nothing."""
    network = pp.Network.mlp([np.eye(3), np.zeros((3, 3)), np.eye(3)], biases=[None, np.ones(3), None])
    plan = pp.plan(network, pp.Hardware(read_noise_std=1e-9), np.ones((2, 3)), pp.MaxNMSE(0.01))
    assert plan.termination.outcome is pp.Outcome.OPTIMAL


STUDY = Path(__file__).parents[3] / "examples" / "study_devices.toml"


@pytest.mark.parametrize("device", ["pcm", "reram", "sonos"])
def test_the_example_study_has_no_such_point(device: str, digits_example: Example) -> None:
    """At its loosest target, where a guard would decide first."""
    network, x = digits_example.network, digits_example.inputs[:32]
    plan = pp.plan(network, Study.load(STUDY).hardware.of(device, {}), x, pp.MaxNMSE(0.1))
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    limits = [price.limit for price in plan.shadow_prices.limits]
    assert "conductance_gain_min" not in limits


def test_a_budget_that_decides_nothing_is_said_to_be_so() -> None:
    rng = np.random.default_rng(0)
    network, inputs = pp.Network.mlp([rng.normal(size=(3, 4))]), rng.normal(size=(8, 4))
    scale_free = pp.Hardware(programming_noise_std=0, programming_noise_proportional=0.1)
    indifferent = pp.plan(network, scale_free, inputs, pp.MaxPower(1e-8)).termination.message
    assert indifferent.startswith("The plan keeps the budget with the least error")
    assert "The error is the same at any power" in indifferent
    bounded = pp.plan(network, pp.Hardware(), inputs, pp.MaxPower(2e-6)).termination.message
    assert "at any power" not in bounded


def test_constant_noise_in_another_unit_is_not_said_to_scale_with_the_conductances() -> None:
    """Noise of 100 pS in devices of 1 mS bounds the power, below the gains that are looked at."""
    rng = np.random.default_rng(0)
    network, inputs = pp.Network.mlp([rng.normal(size=(5, 6)), rng.normal(size=(3, 5))]), rng.normal(size=(8, 6))
    hardware = pp.Hardware(programming_noise_std=1e-10, conductance_max=1e-3)
    with pytest.raises(pp.InvalidInput, match=r"noise too small to hold the gains up.*Check the units of noise"):
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.3))
