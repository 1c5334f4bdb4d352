"""Bits of converters planned with the gains: against every other choice, their bound, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.planning import BitGap
from powerplan_client.building import plan_settings
from powerplan_server.wire.plans import plan_to_proto

COSTS = {"adc": {"type": "capacitor"}}


@pytest.fixture(scope="module")
def case() -> tuple[pp.Network, np.ndarray, pp.Hardware]:
    example = pp.load_example("iris")
    return example.network, example.inputs[:8], pp.Hardware(programming_noise_std=1e-6, adc_bits=8, costs=COSTS)


@pytest.fixture(scope="module")
def planned(case: tuple[pp.Network, np.ndarray, pp.Hardware]) -> pp.Plan:
    network, inputs, hardware = case
    target = pp.MaxNMSE(0.02)
    return pp.plan(network, hardware, inputs, target, optimize=("conductance", "adc_bits"), least_bits=4, most_bits=6)


def energy(plan: pp.Plan) -> float:
    assert plan.prediction.costs is not None
    return plan.prediction.costs.energy


def test_no_other_bits_are_better(case: tuple[pp.Network, np.ndarray, pp.Hardware], planned: pp.Plan) -> None:
    """Brute force: gains planned at every choice of bits."""
    network, inputs, hardware = case
    plans = (
        pp.plan(network, hardware.replace(adc_bits=bits), inputs, pp.MaxNMSE(0.02))
        for bits in itertools.product(range(4, 7), repeat=2)
    )
    energies = [energy(plan) for plan in plans if plan.meets_target]
    assert planned.meets_target
    assert planned.prediction.nmse == pytest.approx(0.02, rel=1e-3)
    assert len(energies) > 4
    assert max(energies) > 1.1 * min(energies)
    assert energy(planned) <= 1.005 * min(energies)
    assert planned.bits is not None
    assert planned.bits.bound <= min(energies)
    assert planned.bits.gap == pytest.approx(energy(planned) / planned.bits.bound - 1)
    assert "adc_bits" in planned.termination.message


def test_the_plan_is_that_of_its_bits(case: tuple[pp.Network, np.ndarray, pp.Hardware], planned: pp.Plan) -> None:
    network, inputs, hardware = case
    assert planned.optimize == ("conductance", "adc_bits")
    again = pp.plan(network, hardware.replace(adc_bits=planned.hardware.adc_bits), inputs, pp.MaxNMSE(0.02))
    assert again.power == planned.power
    assert again.bits is None


def test_files_and_the_wire_carry_the_bound(planned: pp.Plan, tmp_path: object) -> None:
    assert pp.Plan.from_dict(pp.planning.plan_file.plan_to_dict(planned)).bits == planned.bits
    assert isinstance(planned.bits, BitGap)
    assert plan_to_proto(planned).bits.bound_joules == planned.bits.bound
    settings = plan_settings({"optimize": ("conductance", "dac_bits"), "least_bits": 3, "most_bits": 9})
    assert (list(settings.optimize), settings.least_bits, settings.most_bits) == ([1, 4], 3, 9)


def test_explanations_tell_what_other_bits_would_do(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], planned: pp.Plan
) -> None:
    """Where the energy goes, and the plan's bits are better than those next to them."""
    network, inputs, hardware = case
    explanation = planned.explain(network, inputs)
    assert sum(each.share for each in explanation.energy) == pytest.approx(1)
    first = explanation.energy[0]
    assert planned.costs is not None
    assert first.share == pytest.approx(planned.costs.energy_by_component.max() / planned.costs.energy)
    own = planned.hardware.of_layers(network.layer_names)
    for change in explanation.bits:
        bits = [layer.adc_bits for layer in own]
        bits[network.layer_names.index(change.layer)] = change.bits
        other = pp.plan(network, hardware.replace(adc_bits=bits), inputs, pp.MaxNMSE(0.02))
        assert (change.change is not None) == other.meets_target
        if change.change is not None:
            assert change.change == pytest.approx(energy(other) / energy(planned) - 1, abs=1e-3)
    assert len(explanation.bits) == 4
    assert any("To improve first" in sentence for sentence in explanation.sentences)
    (more,) = (each for each in explanation.relaxations if each.parameter == "adc_bits")
    finer = hardware.replace(adc_bits=[layer.adc_bits + 1 for layer in own if layer.adc_bits])
    finer_plan = pp.plan(network, finer, inputs, pp.MaxNMSE(0.02))
    assert more.energy == pytest.approx(energy(finer_plan) / energy(planned) - 1, abs=1e-3)
    assert more.resolved is not None
    assert more.resolved < 0 < more.energy
    words = f"of the arrays by {100 * more.resolved:+.2f} %, the energy of an inference by {100 * more.energy:+.2f} %"
    assert any(words in sentence for sentence in explanation.sentences)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"costs": None}, {}, r"optimize: .*without hardware\.costs"),
        ({"costs": {"adc": 1e-12}}, {}, r"optimize: .*only where the energy of a conversion depends on its bits"),
        ({}, {"least_bits": 8, "most_bits": 6}, r"most_bits: got 6; allowed: at least 8"),
        ({}, {"optimize": "adc_bits"}, r"optimize: got \('adc_bits',\); allowed: with 'conductance' or 'voltage'"),
        ({}, {"optimize": ("adc_headroom", "columns_per_adc")}, r"optimize: .*; allowed: with 'conductance'"),
        ({}, {"conductance": (3e-4, 3e-4)}, r"conductance: .*only without 'conductance' in optimize"),
        ({}, {"optimize": "conductance", "least_bits": 5}, r"least_bits: got 5; allowed: only with 'adc_bits'"),
        ({}, {"optimize": ("conductance", "adc_headroom"), "most_bits": 8}, r"most_bits: got 8; allowed: only with"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], changes: dict, options: dict, message: str
) -> None:
    network, inputs, hardware = case
    options = {"optimize": ("conductance", "adc_bits"), **options}
    with pytest.raises(pp.InvalidInput, match=message):
        pp.plan(network, hardware.replace(**changes), inputs, pp.MaxNMSE(0.02), **options)


#: a budget that does not bind
WIDE = pp.MaxPower(1.0)


def test_no_other_bits_err_less_within_an_energy(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], planned: pp.Plan
) -> None:
    """Brute force: the least error at the choices of bits within the limit; as much energy as a target takes meets
    that target."""
    network, inputs, hardware = case
    most = energy(planned)
    free = {"optimize": ("conductance", "adc_bits"), "least_bits": 4, "most_bits": 6}
    plan = pp.plan(network, hardware, inputs, WIDE, max_energy=most, **free)
    errors = []
    for bits in ((4, 4), (4, 5), (4, 6), (5, 4)):  # more of them take more in converters alone
        other = pp.plan(network, hardware.replace(adc_bits=bits), inputs, WIDE, max_energy=most)
        assert other.meets_target == (energy(other) <= most * (1 + 1e-6))
        errors += [other.prediction.nmse] if other.meets_target else []
    assert plan.meets_target
    assert energy(plan) <= most * (1 + 1e-6)
    assert len(errors) > 2
    assert max(errors) > 1.2 * min(errors)
    assert plan.prediction.nmse <= 1.005 * min(errors)
    assert plan.prediction.nmse == pytest.approx(0.02, rel=2e-2)
    assert plan.reached == plan.power
    assert plan.bits is not None
    assert plan.bits.bound <= energy(plan)
    assert "at this error" in plan.termination.message


def test_an_energy_limit_binds_gains_too(case: tuple[pp.Network, np.ndarray, pp.Hardware]) -> None:
    """With the power budget or the energy binding; and by hand, the energy is conversions and arrays."""
    network, inputs, hardware = case
    free = pp.plan(network, hardware, inputs, WIDE)
    most = energy(free) - 0.5 * free.power * hardware.read_time
    plan = pp.plan(network, hardware, inputs, WIDE, max_energy=most)
    assert energy(plan) == pytest.approx(most, rel=1e-9)
    assert plan.power == pytest.approx(0.5 * free.power, rel=1e-6)
    assert plan.prediction.mse == pytest.approx(
        pp.plan(network, hardware, inputs, pp.MaxPower(plan.power)).prediction.mse, rel=1e-5
    )
    bound = pp.plan(network, hardware, inputs, pp.MaxPower(0.8 * plan.power), max_energy=most)
    assert bound.power == pytest.approx(0.8 * plan.power, rel=1e-9)
    none = pp.plan(network, hardware, inputs, WIDE, max_energy=1e-13)
    assert none.termination.outcome is pp.Outcome.INFEASIBLE
    assert "No gains keep the limits: max_energy is 100.0 fJ" in none.termination.message
    again = pp.Plan.from_dict(pp.planning.plan_file.plan_to_dict(plan))
    assert again.provenance["max_energy"] == most


@pytest.mark.slow
def test_explanations_keep_the_energy_limit(case: tuple[pp.Network, np.ndarray, pp.Hardware]) -> None:
    """Other bits change the error within the same energy, as plans with them say."""
    network, inputs, hardware = case
    hardware = hardware.replace(adc_bits=5)
    most = 1.2 * energy(pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02)))
    plan = pp.plan(network, hardware, inputs, WIDE, max_energy=most)
    explanation = plan.explain(network, inputs)
    for change in explanation.bits:
        bits = [change.bits if change.layer == name else 5 for name in network.layer_names]
        other = pp.plan(network, hardware.replace(adc_bits=bits), inputs, WIDE, max_energy=most)
        assert (change.change is not None) == other.meets_target
        if change.change is not None:
            assert change.change == pytest.approx(other.prediction.mse / plan.prediction.mse - 1, abs=2e-2)
    assert any("the error changes by" in sentence and " adc_bits in " in sentence for sentence in explanation.sentences)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimize": ("conductance", "adc_bits")}, "bits take no part of the power of arrays"),
        ({"objective": "energy"}, "objective: got 'energy'; allowed: None with a power budget"),
    ],
)
def test_what_says_nothing_within_a_power_budget_is_refused(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], options: dict, message: str
) -> None:
    network, inputs, hardware = case
    with pytest.raises(pp.InvalidInput, match=message):
        pp.plan(network, hardware, inputs, pp.MaxPower(1e-4), **options)


def test_bits_of_rows_and_columns_for_a_target_on_classes(
    case: tuple[pp.Network, np.ndarray, pp.Hardware],
) -> None:
    """What is chosen for the error that goes with the target meets the target itself."""
    network, inputs, hardware = case
    hardware = hardware.replace(costs={**COSTS, "dac": {"type": "capacitor"}}, dac_bits=8)
    options = {"optimize": ("conductance", "adc_bits", "dac_bits"), "verify_draws": 0, "calibrate": False}
    plan = pp.plan(network, hardware, inputs, pp.MaxFlipRate(0.01), **options)
    assert plan.meets_target
    assert plan.bits is not None
    assert plan.bits.bound <= energy(plan) < 1.1 * plan.bits.bound


@pytest.fixture(scope="module")
def shared() -> pp.Hardware:
    """Columns may share a converter, which takes area and time."""
    return pp.Hardware(programming_noise_std=1e-6, adc_bits=6, costs={**COSTS, "leakage_power": 1e-6})


def test_objectives_choose_what_they_name(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], shared: pp.Hardware
) -> None:
    """Every objective is lowest in its own plan; limits are kept and cost energy."""
    network, inputs, _ = case
    free = ("conductance", "adc_headroom", "columns_per_adc")
    target = pp.MaxNMSE(0.03)
    costs = {}
    for name in ("energy", "area"):
        plan = pp.plan(network, shared, inputs, target, optimize=free, objective=name)
        assert plan.meets_target
        assert plan.prediction.costs is not None
        costs[name] = plan.prediction.costs
    assert costs["area"].area < 0.5 * costs["energy"].area
    assert costs["energy"].energy < costs["area"].energy
    assert costs["energy"].latency < costs["area"].latency
    most = 0.5 * costs["energy"].area
    limited = pp.plan(network, shared, inputs, target, optimize=free, max_area=most)
    assert limited.meets_target
    assert limited.prediction.costs is not None
    assert limited.prediction.costs.area <= most
    assert costs["energy"].energy <= limited.prediction.costs.energy <= costs["area"].energy


def test_a_limit_that_is_not_kept_is_told(case: tuple[pp.Network, np.ndarray, pp.Hardware]) -> None:
    network, inputs, hardware = case
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), max_latency=1e-9)
    assert not plan.meets_target
    message = plan.termination.message
    assert "max_latency is 1.000 ns, at any gains the latency is" in message
    assert "Raise max_latency, or free options of converters in optimize" in message
    with pytest.raises(pp.InvalidInput, match=r"max_area: .*without hardware\.costs"):
        pp.plan(network, hardware.replace(costs=None), inputs, pp.MaxNMSE(0.02), max_area=1e-9)


def test_where_limits_are_out_of_reach_the_least_is_told(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], planned: pp.Plan, shared: pp.Hardware
) -> None:
    """Of energy, that of the plan without the limit; of area, that of the plan for it."""
    network, inputs, hardware = case
    free: dict[str, Any] = {"optimize": ("conductance", "adc_bits"), "least_bits": 4, "most_bits": 6}
    beyond = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), max_energy=1e-13, **free)
    assert beyond.termination.outcome is pp.Outcome.INFEASIBLE
    assert energy(beyond) == pytest.approx(energy(planned), rel=1e-6)
    assert (
        f"max_energy is 100.0 fJ, the least energy found is {1e12 * energy(planned):.3f} pJ"
        in beyond.termination.message
    )
    free = {"optimize": ("conductance", "columns_per_adc")}
    least = pp.plan(network, shared, inputs, pp.MaxNMSE(0.03), objective="area", **free)
    assert least.prediction.costs is not None
    beyond = pp.plan(network, shared, inputs, pp.MaxNMSE(0.03), max_area=1e-12, **free)
    assert f"the least area found is {1e12 * least.prediction.costs.area:.0f} um2" in beyond.termination.message
    assert beyond.termination.message.endswith("Raise max_area.")


def test_the_objective_is_named(case: tuple[pp.Network, np.ndarray, pp.Hardware], planned: pp.Plan) -> None:
    network, inputs, hardware = case
    assert "at the least energy with these converters" in planned.termination.message
    assert "which changed the energy of the arrays by" in planned.termination.message
    latency = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), objective="latency")
    assert "at the least energy (no gains change the latency)" in latency.termination.message
    assert "at the least power" in pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02)).termination.message


def test_plans_far_from_their_bound_are_not_called_optimal(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], planned: pp.Plan, shared: pp.Hardware
) -> None:
    network, inputs, _ = case
    free: dict[str, Any] = {"optimize": ("conductance", "adc_bits", "columns_per_adc"), "most_bits": 6}
    far = pp.plan(network, shared, inputs, pp.MaxNMSE(0.03), objective="energy_delay", **free)
    for plan in (planned, far):
        assert plan.bits is not None
        assert (plan.termination.outcome is pp.Outcome.OPTIMAL) == (plan.bits.gap <= 1e-3)
        assert plan.meets_target
        assert plan.termination.outcome.is_settled
    assert far.bits is not None
    assert far.bits.gap > 1e-3
