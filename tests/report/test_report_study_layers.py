"""Reports of studies by layer: shares, gains and prices over the plans of a network; the networks themselves."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from html_pages import assert_accessible, visible_text

from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.hardware import Gains
from powerplan.network import Network
from powerplan.planning import LimitPrice, MaxPower, Outcome, Plan, ShadowPrices
from powerplan.report.html import report_html
from powerplan.report.study_layers import limit_prices, network_layers, target_prices
from powerplan.report.study_networks import networks
from powerplan.report.thin_plans import thin


def plain(page: str) -> str:
    return html.unescape(visible_text(page)).replace("\N{NO-BREAK SPACE}", " ")


def of(*plans: Plan, network: str = "a") -> list[tuple[PointResult, Plan]]:
    return [
        (PointResult(name=f"p{i}", settings={"network": network}, state=PointState.DONE, source=plan), plan)
        for i, plan in enumerate(plans)
    ]


def study_of(pairs: list[tuple[PointResult, Plan]], **values: Any) -> StudyResult:
    return StudyResult(name="s", points=tuple(point for point, _ in pairs), **values)


def with_shares(plan: Plan, first: float) -> Plan:
    """The first layer draws this part of the power, the others half of the rest each."""
    shares = np.array([first, (1 - first) / 2, (1 - first) / 2])
    return replace(plan, prediction=replace(plan.prediction, power_by_layer=shares * plan.power))


def test_layers_have_median_and_range_over_the_plans_that_meet_their_target(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    out = replace(plan, termination=replace(plan.termination, outcome=Outcome.INFEASIBLE))
    (found,) = network_layers(of(*(with_shares(plan, s) for s in (0.2, 0.4, 0.9)), with_shares(out, 0.99)))
    assert found.plans == 3
    assert found.layers[0].power.median.replace("\N{NO-BREAK SPACE}", " ") == "40.0 %"
    assert found.layers[0].power.ends.replace("\N{NO-BREAK SPACE}", " ") == "20.0 % to 90.0 %"
    spread = found.layers[0].power.spread
    assert (spread.low, spread.middle, spread.high) == pytest.approx((20, 40, 90))
    assert found.layers[1].error.median.startswith("30.0")
    assert found.layers[0].gain.median.startswith("25.00")


def test_networks_have_tables_of_their_own(make_plan: Callable[..., Plan]) -> None:
    pairs = of(make_plan(), network="a") + of(make_plan(), make_plan(0.02), network="b")
    assert [(n.network, n.plans) for n in network_layers(pairs)] == [("a", 1), ("b", 2)]
    assert network_layers(pairs)[0].layers[0].power.ends == ""  # a single plan has no range
    page = report_html(study_of(pairs))
    assert_accessible(page)
    assert "Power, error and gains by layer" in plain(page)


def test_price_of_the_target_is_told_by_network_and_bounded_quantity(make_plan: Callable[..., Plan]) -> None:
    prices = [-0.9, -0.5, -0.7]
    pairs = of(*(make_plan(shadow_prices=ShadowPrices(target=p)) for p in prices))
    pairs += of(make_plan(target=MaxPower(7e-6), shadow_prices=ShadowPrices(target=-1.2)))
    nmse, power = target_prices(pairs)
    assert (nmse.bounded, nmse.objective, nmse.plans) == ("NMSE", "power", 3)
    assert nmse.median.replace("\N{NO-BREAK SPACE}", " ") == "\N{MINUS SIGN}0.70 %"
    assert nmse.ends.count("\N{MINUS SIGN}") == 2
    assert (power.bounded, power.objective, power.plans) == ("power", "MSE", 1)
    assert "What a target looser by 1 % changes" in plain(report_html(study_of(pairs)))


def test_limits_that_bind_are_added_up_over_columns_and_survive_thinning(make_plan: Callable[..., Plan]) -> None:
    limits = tuple(LimitPrice(layer="linear1", limit="conductance_max", price=-0.1, column=c) for c in range(3))
    limits += (LimitPrice(layer="linear2", limit="voltage_max", price=-0.01),)
    plan = make_plan(shadow_prices=ShadowPrices(target=-1.0, limits=limits))
    for pairs in (of(plan, plan), of(thin(plan), thin(plan))):
        (first, second), more = limit_prices(pairs)
        assert more == 0
        assert (first.layer, first.limit, first.plans) == ("linear1", "conductance_max", 2)
        assert first.median == "\N{MINUS SIGN}0.3000"
        assert second.layer == "linear2"
    many = tuple(LimitPrice(layer=f"l{i}", limit="conductance_max", price=-0.1) for i in range(25))
    listed, more = limit_prices(of(make_plan(shadow_prices=ShadowPrices(target=-1.0, limits=many))))
    assert (len(listed), more) == (20, 5)


def test_networks_are_told_from_the_study_and_its_plans(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(provenance={"inputs_shape": [50, 4], "network_sha256": "ab" * 32})
    pairs = of(plan, plan, network="a") + of(plan, network="b")
    study = study_of(
        pairs,
        provenance={
            "networks": {"a": "cd" * 32},
            "network_sizes": {"a": {"weights": 12345, "input_shape": [4], "output_shape": [2]}},
        },
    )
    found = networks(study, pairs, None)
    rows = {row[0]: dict(zip((name for name, _ in found.columns), row, strict=True)) for row in found.rows}
    assert rows["a"]["Points"] == "2"
    assert rows["a"]["Crossbar layers"] == "3"
    assert rows["a"]["Weights on crossbars"].replace("\N{NO-BREAK SPACE}", " ") == "12 345"
    assert rows["a"]["Calibration inputs"] == "50 × 4"
    assert rows["a"]["SHA-256"] == "cd" * 32
    assert (rows["b"]["SHA-256"], rows["b"]["Weights on crossbars"]) == ("ab" * 32, "–")
    assert "Arrays" not in rows["a"]  # known of none


def test_network_that_is_given_adds_its_operations(make_plan: Callable[..., Plan], network: Network) -> None:
    page = report_html(study_of(of(make_plan(), make_plan(0.02))), network=network)
    assert "Operations of the network" in plain(page)
    assert "4 2 " in plain(page)  # shapes of input and output
    assert_accessible(page)


def test_columns_of_a_layer_count_by_their_median(make_plan: Callable[..., Plan]) -> None:
    gains = Gains(conductance=(np.array([1e-6, 2e-6, 9e-6]), 4e-6, 5e-6), voltage=(0.1, 0.1, 0.1))
    plan = make_plan(gains=gains)
    assert network_layers(of(plan)) == network_layers(of(thin(plan)))
    assert network_layers(of(plan))[0].layers[0].gain.median.startswith("2.000")
