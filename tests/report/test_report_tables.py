"""Text reports hold the numbers of the results."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from powerplan.hardware import Gains, Hardware
from powerplan.hardware.tiling import LayerArrays
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.network import Network
from powerplan.planning import LimitPrice, MaxFlipRate, MaxMSE, MaxPower, Outcome, Plan, ShadowPrices, Termination
from powerplan.planning.explain.explanation import Relaxation
from powerplan.planning.explain.sentences import _relaxation_in_words
from powerplan.report.tables import (
    frontier_table,
    network_table,
    plan_table,
    prediction_table,
    ranges_used,
    simulation_table,
)


def line(table: str, start: str) -> str:
    """The first line of a table that starts so."""
    return next(row for row in table.splitlines() if row.startswith(start))


def test_plan_table_has_a_row_per_layer_and_the_answer(make_plan: Callable[..., Plan], network: Network) -> None:
    table = plan_table(make_plan(), network=network)
    row = line(table, "linear1")
    assert "25.00 uS" in row  # gain
    assert "50.0 uS (50 %)" in row  # 25 uS per unit weight times the largest weight, 2
    assert "200.0 mV" in row
    assert "4.900 uW" in row
    assert "70.0 %" in row
    assert "50.0 %" in row
    assert line(table, "target").endswith("NMSE <= 1.000 %")
    assert "7.000 uW predicted, 7.000 ± 0.014 uW simulated" in line(table, "power")
    assert "10.00 uW" in line(table, "baseline")
    assert "30.0 %" in line(table, "saving")
    assert "target 1.000 %, predicted 1.000 %, simulated 1.0100 ± 0.0098 %" in line(table, "NMSE")
    assert "target 0.04000, predicted 0.04000, simulated 0.04040 ± 0.00039" in line(table, "MSE")
    assert "optimal" in line(table, "outcome")
    assert "1.2e-09" in line(table, "certificate")
    assert "-0.5000" in line(table, "shadow price")
    assert "linear1 conductance_max -0.0200" in table


def test_arrays_and_standard_error_are_stated(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    assert not any(row.startswith("arrays") for row in plan_table(plan).splitlines())
    arrays = tuple(
        LayerArrays(name=name, groups=1, row_tiles=rows, column_tiles=2, copies=1, reads=1)
        for name, rows in zip(plan.prediction.layer_names, (3, 1, 1), strict=True)
    )
    prediction = replace(plan.prediction, mse_standard_error=0.001, marginal_fields=64, first_order=("softmax1",))
    hardware = plan.hardware.replace(array_rows=128)
    table = plan_table(replace(plan, arrays=arrays, prediction=prediction, hardware=hardware))
    assert line(table, "linear1").endswith(" 6")
    assert line(table, "arrays").endswith("10, at most 128 rows each")
    assert f"predicted {plan.mse:.4f} ± 0.0020" in line(table, "MSE")
    assert "softmax1" in line(table, "first order")
    assert "64 of the errors" in line(table, "samples")
    assert "samples" not in plan_table(plan)
    told = replace(prediction, sampling_limited=True)
    assert "more of them" in line(plan_table(replace(plan, prediction=told)), "samples")
    unknown = replace(prediction, mse_standard_error=float("nan"))
    table = plan_table(replace(plan, prediction=unknown))
    assert "too few" in line(table, "samples")
    assert "nan" not in table


def test_columns_line_up(make_plan: Callable[..., Plan]) -> None:
    rows = plan_table(make_plan()).split("\n\n")[0].splitlines()
    assert len({len(row) for row in rows}) == 1


def test_plan_without_network_verification_or_baseline(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(verification=None, baseline_gains=None, baseline_power=None, baseline_mse=None)
    table = plan.table()
    assert "simulated" not in table
    assert "range used" not in table
    assert "does not meet the target" in line(table, "baseline")


def test_infeasible_plan_says_what_is_reachable(make_plan: Callable[..., Plan]) -> None:
    end = Termination(
        outcome=Outcome.INFEASIBLE,
        message="Lowest reachable NMSE is 2.000 %; relax conductance_max of linear1.",
        solver_status="none",
        iterations=0,
        predictions=1,
        seconds=0.01,
        best_reachable=0.02,
        binding_limits=("linear1: conductance_max",),
    )
    table = plan_table(make_plan(termination=end, certificate=None, shadow_prices=None))
    assert "infeasible: Lowest reachable NMSE is 2.000 %; relax conductance_max" in line(table, "outcome")
    assert "certificate" not in table


def test_power_budget_compares_the_mse(make_plan: Callable[..., Plan]) -> None:
    table = plan_table(make_plan(target=MaxPower(7e-6), baseline_mse=0.05))
    assert line(table, "target").endswith("power <= 7.000 uW")
    assert "20.0 % of the baseline's MSE" in line(table, "saving")
    assert "MSE 0.05000" in line(table, "baseline")


def test_what_a_plan_for_other_inputs_bounds_is_the_upper_end(make_plan: Callable[..., Plan]) -> None:
    table = plan_table(replace(make_plan(), calibration="upper", reached=0.0123))
    assert re.search(r"NMSE, upper end +target \S+ %, predicted 1\.230 %", table)
    assert re.search(r"\nNMSE +predicted", table)


def test_mse_target_is_shown_as_nmse_too(make_plan: Callable[..., Plan]) -> None:
    table = plan_table(make_plan(target=MaxMSE(0.04)))
    assert line(table, "target").endswith("MSE <= 0.04000")
    assert "target 1.000 %" in line(table, "NMSE")


def test_long_lines_wrap_under_their_text(make_plan: Callable[..., Plan]) -> None:
    end = Termination(
        outcome=Outcome.INFEASIBLE, message="word " * 60, solver_status="", iterations=0, predictions=0, seconds=0.0
    )
    rows = plan_table(make_plan(termination=end)).split("\n\n")[1].splitlines()
    assert max(map(len, rows)) <= 110
    start = next(i for i, row in enumerate(rows) if row.startswith("outcome"))
    assert rows[start + 1].startswith(" " * rows[start].index("infeasible") + "word")


def test_many_active_limits_are_cut(make_plan: Callable[..., Plan]) -> None:
    limits = tuple(LimitPrice(layer="linear1", limit="conductance_max", price=-0.1, column=c) for c in range(50))
    table = plan_table(make_plan(shadow_prices=ShadowPrices(target=-1.0, limits=limits)))
    assert "linear1 column 0 conductance_max" in table
    assert "and 42 more active limits" in table


def test_the_price_of_a_rate_with_steps_is_that_without(make_plan: Callable[..., Plan]) -> None:
    prices = ShadowPrices(target=-1.0, limits=())
    for target, stepped in ((MaxFlipRate(0.01), False), (MaxFlipRate(0.01, chips=0.9), True)):
        price = line(plan_table(make_plan(target=target, shadow_prices=prices)), "shadow price")
        assert price.endswith("of the rate without its steps") is stepped
    again = Relaxation(parameter="target", factor=1.1, price=-1.0, predicted=-0.09, resolved=0.001, reaches_target=True)
    words = _relaxation_in_words(again, "the power", make_plan(target=target), reached=False)
    assert "+0.10 % (shadow price, of the rate without its steps" in words


def test_range_used_of_column_gains(network: Network) -> None:
    """Every column driven to its own limit uses the whole range, G_min included."""
    hardware = Hardware(conductance_min=10e-6)
    limits = [(90e-6) / np.abs(node.op.weight).max(axis=1) for node in network.crossbars]  # type: ignore[attr-defined]
    gains = Gains(conductance=tuple(limits), voltage=(0.1, 0.1, 0.1))
    assert ranges_used(network, hardware, gains) == pytest.approx([100e-6] * 3)


def test_a_prediction_of_means_names_what_tells_single_chips(make_prediction: Callable[..., Prediction]) -> None:
    table = " ".join(prediction_table(make_prediction()).split())
    assert "means over chips; how single ones differ: predict --chip-spread, simulate --yield-at" in table


def test_prediction_table(make_prediction: Callable[..., Prediction]) -> None:
    table = prediction_table(
        replace(make_prediction(), first_order=("softmax1",), marginal_fields=64),
        accuracy=(0.9512, 0.0),
        ideal_accuracy=0.9650,
    )
    assert "64 of the errors" in line(table, "samples")
    assert line(table, "accuracy").endswith("95.12 %; ideal network 96.50 %")
    assert "0.04000, of which squared bias 25.0 %" in line(table, "MSE")
    assert "softmax1" in line(table, "first order")
    assert "0.02000" in line(table, "linear1")


def test_simulation_table_beside_the_prediction(
    make_simulation: Callable[..., Simulation], make_prediction: Callable[..., Prediction]
) -> None:
    alone = simulation_table(make_simulation())
    assert "predicted" not in alone
    table = simulation_table(
        make_simulation(),
        prediction=make_prediction(),
        accuracy=(0.95, 0.004),
        predicted_accuracy=(0.9512, 0.0),
        ideal_accuracy=0.965,
    )
    assert "1.000 ± 0.020 % simulated, 1.000 % predicted" in line(table, "NMSE")
    assert "95.00 ± 0.78 % simulated, 95.12 % predicted; ideal network 96.50 %" in line(table, "accuracy")
    assert "1000, seed 3" in line(table, "draws")


def test_frontier_table_has_a_row_per_target(make_plan: Callable[..., Plan]) -> None:
    plans = [make_plan(0.001, 2e-5), make_plan(0.01), make_plan(0.1, 2e-6, verification=None, baseline_power=None)]
    rows = frontier_table(plans).splitlines()[2:]
    assert len(rows) == 3
    assert "0.1000 %" in rows[0]
    assert "1.0100 ± 0.0098 %" in rows[1]
    assert rows[2].split()[-1] == "optimal"
    assert "simulated" not in frontier_table(plans[2:])


def test_network_table(network: Network) -> None:
    table = network_table(network)
    assert line(table, "relu1").split() == ["relu1", "relu", "linear1", "3"]
    assert line(table, "linear3").endswith("yes")


def test_the_part_of_the_converters_is_said_where_there_is_one(
    make_plan: Callable[..., Plan], make_simulation: Callable[..., Simulation]
) -> None:
    converters = np.array([2e-6, 1e-6, 0.0])
    plan, simulation = make_plan(), make_simulation()
    assert not any("converters" in t for t in (plan_table(plan), simulation_table(simulation)))
    prediction = replace(plan.prediction, converter_power_by_layer=converters)
    assert "3.000 uW of it in the converters (42.9 %)" in plan_table(replace(plan, prediction=prediction))
    assert "3.000 uW of it in the converters (42.9 %)" in prediction_table(prediction)
    table = simulation_table(replace(simulation, converter_power_by_layer=converters), prediction=prediction)
    assert "of which converters" in table
    assert line(table, "linear1").endswith("2.000 uW")


def test_a_saving_below_zero_is_said_to_take_more_power(make_plan: Callable[..., Plan]) -> None:
    dear = make_plan(baseline_power=7e-6 / 1.39)
    spoiled = make_plan(target=MaxPower(7e-6), reached=7e-6, baseline_mse=0.04 / 1.39)
    table = frontier_table([dear, spoiled])
    assert "39.0 % more power" in table
    assert "39.0 % more error" in table
    assert "-39" not in table


def test_predictions_simulations_and_plans_are_printed_as_their_tables(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(0.01)
    assert str(plan) == plan.table() == plan_table(plan)
    assert str(plan.prediction) == plan.prediction.table() == prediction_table(plan.prediction)
