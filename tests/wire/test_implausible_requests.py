"""Numbers that are most likely in another unit are refused on the wire, by path, unless confirmed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as client
from powerplan_client.errors import InvalidRequest

NETWORK = pp.Network.mlp([np.random.default_rng(0).normal(size=(3, 4))])
INPUTS = np.random.default_rng(1).uniform(0, 1, (6, 4))
GAINS = pp.Gains(conductance=(1e-5,), voltage=(0.1,))
WRONG = {"programming_noise_std": 2.0}
Calculate = Callable[..., object]


def _plan(there: client.PlannerClient, hardware: object, **options: bool) -> object:
    return there.plan(NETWORK, hardware, INPUTS, client.MaxNMSE(1.5), **options)  # type: ignore[arg-type]


def _predict(there: client.PlannerClient, hardware: object, **options: bool) -> object:
    return there.predict(NETWORK, hardware, GAINS, INPUTS, **options)  # type: ignore[arg-type]


def _simulate(there: client.PlannerClient, hardware: object, **options: bool) -> object:
    return there.simulate(NETWORK, hardware, GAINS, INPUTS, draws=4, **options)  # type: ignore[arg-type]


def _frontier(there: client.PlannerClient, hardware: object, **options: bool) -> object:
    targets = [client.MaxNMSE(0.02), client.MaxNMSE(1.5), client.MaxPower(1e9)]
    return list(there.frontier(NETWORK, hardware, INPUTS, targets, **options))  # type: ignore[arg-type]


def _profile_frontier(there: client.PlannerClient, hardware: object, **options: bool) -> object:
    profile = client.Profile(
        power_coefficients=[[1.0]], power_exponents=[1.0], mse_coefficients=[[1.0]], mse_exponents=[1.0], signal_power=1
    )
    targets = [client.MaxNMSE(0.02), client.MaxNMSE(1.5), client.MaxNMSE(1.6)]
    return list(there.frontier(profile, None, None, targets, **options))


@pytest.mark.parametrize(
    ("calculate", "fields"),
    [
        (_plan, {"task.hardware.programming_noise_std_siemens", "task.target.max_nmse"}),
        (_predict, {"hardware.programming_noise_std_siemens"}),
        (_simulate, {"hardware.programming_noise_std_siemens"}),
        (
            _frontier,
            {"task.hardware.programming_noise_std_siemens", "targets[1].max_nmse", "targets[2].max_power_watts"},
        ),
        (_profile_frontier, {"targets[1].max_nmse", "targets[2].max_nmse"}),
    ],
)
def test_doubts_are_errors_until_they_are_confirmed(calculate: Calculate, fields: set[str]) -> None:
    hardware = client.Hardware(**WRONG)
    with client.PlannerClient.local() as there:
        for checked_only in (True, False):
            with pytest.raises(InvalidRequest) as refused:
                calculate(there, hardware, validate_only=checked_only)
            assert refused.value.reason == "IMPLAUSIBLE"
            assert refused.value.code == "INVALID_ARGUMENT"
            assert {v.field for v in refused.value.violations} == fields
            assert "Did you mean" in str(refused.value)
        assert calculate(there, hardware, accept_implausible=True)


def test_confirmed_doubts_of_a_frontier_are_told_once_with_their_target() -> None:
    with client.PlannerClient.local() as there:
        points = list(_frontier(there, client.Hardware(**WRONG), accept_implausible=True))  # type: ignore[call-overload]
    (warning,) = {each for point in points for each in point.info.warnings if "max_" in each}
    assert [line.split(":")[0] for line in warning.splitlines()] == [
        "hardware.programming_noise_std",
        "targets[1].max_nmse",
        "targets[2].max_power",
    ]


def test_doubts_name_fields_as_the_message_does() -> None:
    far = client.Hardware(voltage_max=2000.0)
    with client.PlannerClient.local() as there:
        with pytest.raises(InvalidRequest) as of_a_plan:
            there.plan(NETWORK, client.Hardware(), INPUTS, client.MaxPower(1e9), corners=[far])  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest) as of_gains:
            there.predict(NETWORK, client.Hardware(), pp.Gains(conductance=(1e-5,), voltage=(1e4,)), INPUTS)  # type: ignore[arg-type]
    assert {v.field for v in of_a_plan.value.violations} == {
        "task.corners[0].voltage_max_volts",
        "task.target.max_power_watts",
    }
    assert {v.field for v in of_gains.value.violations} == {"gains.voltage_volts[0]"}


def test_confirmed_doubts_are_among_the_warnings() -> None:
    with client.PlannerClient.local() as there:
        answer = there.predict(
            NETWORK, client.Hardware(temperature=25.0), GAINS, INPUTS, accept_implausible=True
        )  # fmt: skip
    assert any("25 degrees Celsius" in warning for warning in answer.info.warnings)


def test_an_answer_beyond_the_plausible_is_refused() -> None:
    """The hardware alone would pass: the noise is below ten times the range."""
    hardware = client.Hardware(programming_noise_std=9e-4)
    tiny = pp.Gains(conductance=(1e-9,), voltage=(0.1,))
    with client.PlannerClient.local() as there, pytest.raises(InvalidRequest, match=r"prediction\.nmse"):
        there.predict(NETWORK, hardware, tiny, INPUTS)  # type: ignore[arg-type]


def test_limits_of_plans_are_asked_about() -> None:
    hardware = client.Hardware(programming_noise_std=1e-6, adc_bits=8, costs={"adc": 1e-12})
    with client.PlannerClient.local() as there:
        for checked_only in (True, False):
            with pytest.raises(InvalidRequest, match="Did you mean 5 pJ") as refused:
                there.plan(NETWORK, hardware, INPUTS, client.MaxNMSE(0.1), max_energy=5.0, validate_only=checked_only)
            assert [v.field for v in refused.value.violations] == ["task.settings.max_energy_joules"]
            assert refused.value.reason == "IMPLAUSIBLE"
