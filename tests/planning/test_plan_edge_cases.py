"""Unreachable targets, odd networks, held gains, deadlines and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp


def test_an_unreachable_target_is_an_answer_with_the_lowest_reachable_error(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(1e-7), verify_draws=100)
    end = plan.termination
    assert end.outcome is pp.Outcome.INFEASIBLE
    assert end.best_reachable == pytest.approx(plan.nmse)
    assert end.binding_limits == tuple(f"{name}: conductance_max" for name in network.layer_names)
    assert f"The lowest reachable NMSE is {100 * plan.nmse:.4g} %" in end.message
    assert "raise hardware.conductance_max" in end.message
    assert plan.certificate is None
    assert plan.baseline_power is None
    assert plan.saving is None
    assert plan.verification is None
    assert end.best_reachable is not None
    reachable = pp.plan(network, hardware, inputs, pp.MaxNMSE(end.best_reachable * 1.001))
    assert reachable.termination.outcome is pp.Outcome.OPTIMAL


def test_the_advice_for_an_unreachable_target_works(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    """Raising conductance_max as the message says makes the target reachable (to first order)."""
    target = pp.MaxNMSE(1e-5)
    plan = pp.plan(network, hardware, inputs, target)
    assert plan.termination.best_reachable is not None
    factor = np.sqrt(plan.termination.best_reachable / target.value)
    wider = hardware.replace(conductance_max=hardware.conductance_max * factor * 1.05)
    assert pp.plan(network, wider, inputs, target).termination.outcome is pp.Outcome.OPTIMAL


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
def test_an_unreachable_power_budget_is_an_answer(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxPower(1e-15))
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert plan.termination.best_reachable == pytest.approx(plan.power)
    assert "budget" in plan.termination.message
    assert "1e-06 of the largest gains, the least that are looked at" in plan.termination.message
    assert plan.termination.floor is None


def test_held_gains_are_kept(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.05), voltage=[0.01, 0.02, 0.03])
    assert plan.gains.voltage == (0.01, 0.02, 0.03)


def test_held_voltages_are_the_largest_the_limit_allows(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.05))
    assert plan.gains.voltage[0] == pytest.approx(hardware.voltage_max / np.abs(inputs).max())


def test_voltage_is_not_optimised_without_noise_that_holds_it_up(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    with pytest.raises(pp.InvalidInput, match="read noise"):
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.05), optimize=("voltage",))


@pytest.mark.parametrize("optimize", [("voltage",), ("conductance", "voltage")])
def test_voltage_and_conductance_are_optimised_with_read_noise(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, optimize: tuple[str, ...]
) -> None:
    noisy = hardware.replace(read_noise_std=1e-8)
    held = pp.plan(network, noisy, inputs, pp.MaxNMSE(0.02), optimize=("conductance",))
    plan = pp.plan(network, noisy, inputs, pp.MaxNMSE(0.02), optimize=optimize)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.nmse <= 0.02 * (1 + 1e-9)
    if "conductance" in optimize:
        assert plan.power < held.power


def test_a_deadline_returns_the_best_plan_so_far(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), deadline=1e-9)
    assert plan.termination.outcome is pp.Outcome.DEADLINE
    assert plan.nmse <= 0.02 * (1 + 1e-9)


def test_the_iteration_limit_returns_a_feasible_plan(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.3), max_iterations=1, tolerance=1e-15)
    assert plan.termination.outcome is pp.Outcome.ITERATION_LIMIT
    assert plan.nmse <= 0.3 * (1 + 1e-9)


def test_a_layer_of_zero_weights_is_planned(hardware: pp.Hardware, inputs: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(5, 6)), np.zeros((3, 5))], [None, np.ones(3)])
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(1e-3))
    assert np.isfinite(plan.power)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL


def test_a_dead_relu_layer_gets_the_smallest_gain(hardware: pp.Hardware, inputs: np.ndarray) -> None:
    """No error comes from a layer whose activations never leave zero, so its power is spared."""
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(5, 6)), rng.normal(size=(2, 5))], [np.full(5, -1e6), np.ones(2)])
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.01))
    assert np.isfinite(plan.power)
    assert plan.mse <= 0.01 * plan.prediction.signal_power


def test_constant_inputs_and_one_output_are_planned(hardware: pp.Hardware) -> None:
    network = small_network(widths=(4, 6, 1))
    plan = pp.plan(network, hardware, np.ones((3, 4)), pp.MaxNMSE(0.02))
    assert plan.termination.outcome is pp.Outcome.OPTIMAL


def test_a_single_layer_equals_the_closed_form(inputs: np.ndarray) -> None:
    """One layer, constant unclipped noise: MSE = 2 σ² Σ_j m_j / c²."""
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(3, 6))])
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False)
    plan = pp.plan(network, hardware, inputs, pp.MaxMSE(0.01))
    expected = np.sqrt(2 * 1e-12 * (inputs**2).sum(1).mean() / 0.01)
    assert plan.gains.conductance[0] == pytest.approx(expected, rel=1e-9)


def test_a_frontier_gets_cheaper_as_the_target_loosens(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    seen: list[int] = []
    points = pp.frontier(
        network,
        hardware,
        inputs,
        targets=[pp.MaxNMSE(t) for t in (0.01, 0.03, 0.1)],
        on_point=lambda i, plan: seen.append(i),
    )
    powers = [p.power for p in points]
    assert powers == sorted(powers, reverse=True)
    assert seen == [0, 1, 2]


def test_progress_is_reported_in_order(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    seen: list[float] = []
    pp.plan(
        network,
        hardware,
        inputs,
        pp.MaxNMSE(0.02),
        verify_draws=50,
        calibrate=True,
        progress=lambda what, done: seen.append(done),
    )
    assert seen
    assert min(seen) >= 0
    assert max(seen) <= 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"granularity": "colum"}, "granularity"),
        ({"optimize": ("conductances",)}, "optimize"),
        ({"optimize": ()}, "optimize"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"max_iterations": 2.5}, "max_iterations"),
        ({"verify_draws": 10.5}, "verify_draws"),
        ({"seed": 0.5}, "seed"),
        ({"calibrate": "yes"}, "calibrate"),
        ({"deadline": -1.0}, "deadline"),
        ({"verify_draws": -1}, "verify_draws"),
        ({"verify_draws": 1}, "verify_draws"),
        ({"calibrate": True}, "calibrate"),
        ({"seed": -1}, "seed"),
        ({"method": "linear"}, "method"),
        ({"voltage": [0.1]}, "voltage"),
        ({"conductance": [1e-5, 1e-5]}, "conductance"),
        ({"conductance": [1.0, 1.0, 1.0]}, "conductance"),
        ({"voltage": [0.1, -0.1, 0.1]}, "voltage"),
    ],
)
def test_bad_options_are_refused_by_name(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, options: dict[str, object], field: str
) -> None:
    with pytest.raises(pp.InvalidInput) as caught:
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), **options)
    assert field in str(caught.value)
    assert "allowed" in str(caught.value)


@pytest.mark.parametrize("kind", [pp.MaxMSE, pp.MaxNMSE, pp.MaxPower])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "0.1", None, True])
def test_targets_must_be_positive_numbers(kind: type, value: object) -> None:
    with pytest.raises(pp.InvalidInput, match=kind.__name__):
        kind(value)


def test_a_bare_number_is_not_a_target(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    with pytest.raises(pp.InvalidInput, match="target"):
        pp.plan(network, hardware, inputs, 0.01)  # type: ignore[arg-type]


def test_hardware_without_noise_is_refused(network: pp.Network, inputs: np.ndarray) -> None:
    with pytest.raises(pp.InvalidInput, match="without noise"):
        pp.plan(network, pp.Hardware(programming_noise_std=0.0), inputs, pp.MaxNMSE(0.01))


@pytest.mark.parametrize(
    "bad", [np.zeros((0, 6)), np.zeros((3, 5)), np.zeros(6), np.full((3, 6), np.nan), np.full((3, 6), np.inf), "x"]
)
def test_bad_inputs_are_refused(network: pp.Network, hardware: pp.Hardware, bad: object) -> None:
    with pytest.raises(pp.InvalidInput, match="inputs"):
        pp.plan(network, hardware, bad, pp.MaxNMSE(0.01))  # type: ignore[arg-type]


def test_an_empty_frontier_is_refused(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    with pytest.raises(pp.InvalidInput, match="targets"):
        pp.frontier(network, hardware, inputs, targets=[])


def test_ideal_outputs_of_zero_make_a_relative_target_meaningless(hardware: pp.Hardware) -> None:
    network = pp.Network.mlp([np.zeros((2, 3))])
    with pytest.raises(pp.InvalidInput, match="MaxMSE"):
        pp.plan(network, hardware, np.ones((2, 3)), pp.MaxNMSE(0.01))
