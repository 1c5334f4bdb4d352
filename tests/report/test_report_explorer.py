"""The slider over the plans of a page: its numbers are those of the plans, in the order of their error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
from html_pages import elements, parse

import powerplan as pp
from powerplan.batch.results import PointResult, PointState
from powerplan.planning import Plan
from powerplan.report import explorer as module
from powerplan.report.explorer import explorer
from powerplan.report.html import report_html


def _pairs(plans: list[Plan]) -> list[tuple[PointResult, Plan]]:
    state = PointState.DONE
    return [(PointResult(name=f"p{i}", settings={}, state=state, source=p), p) for i, p in enumerate(plans)]


def test_numbers_are_those_of_the_plans_by_rising_error(make_plan: Callable[..., Plan]) -> None:
    plans = [make_plan(error, 1e-8 / error) for error in (0.03, 0.01, 0.02)]
    view = explorer(_pairs(plans))
    assert view is not None
    data = json.loads(view.data)
    assert data["names"] == ["p1", "p2", "p0"]
    for place, plan in zip((0, 1, 2), (plans[1], plans[2], plans[0]), strict=True):
        power = plan.prediction.power_by_layer / plan.prediction.power
        error = plan.prediction.mse_by_layer / plan.prediction.mse
        largest = max(power.max(), error.max())
        layers = data["layers"][place]
        assert [layer[4] for layer in layers] == pytest.approx(100 * power / largest, abs=0.02)
        assert [layer[6] for layer in layers] == pytest.approx(100 * error / largest, abs=0.02)
    assert np.diff(np.array(data["places"])[:, 0]).min() > 0  # the larger the error, the further to the right
    assert (view.name, view.said) == ("p1", data["said"][0])


def test_every_hardware_has_its_look_and_its_marks_their_plans(make_plan: Callable[..., Plan]) -> None:
    made = [make_plan(error, 1e-8 / error) for error in (0.01, 0.02, 0.03, 0.04)]
    named = zip(made, ("a", "b", "a", "b"), strict=True)
    pairs = [
        (PointResult(name=f"p{i}", settings={"hardware": name}, state=PointState.DONE, source=plan), plan)
        for i, (plan, name) in enumerate(named)
    ]
    view = explorer(pairs)
    assert view is not None
    assert [(curve.name, curve.style, len(curve.marks)) for curve in view.chart.curves] == [("a", 0, 2), ("b", 1, 2)]
    data = json.loads(view.data)
    marks = [[mark.x, mark.y] for curve in view.chart.curves for mark in curve.marks]
    assert data["order"] == [0, 2, 1, 3]
    assert [data["places"][i] for i in data["order"]] == marks
    assert sorted(place[0] for place in data["places"]) == [place[0] for place in data["places"]]
    many = [
        (PointResult(name=f"p{i}", settings={"hardware": str(i)}, state=PointState.DONE, source=p), p)
        for i, p in enumerate(make_plan(0.01 * (i + 1), 1e-6) for i in range(7))
    ]
    view = explorer(many)
    assert view is not None
    assert [curve.name for curve in view.chart.curves] == ["plans"]


def test_plans_out_of_reach_and_of_other_networks_have_no_place(make_plan: Callable[..., Plan]) -> None:
    plans = [make_plan(error, 1e-8 / error) for error in (0.01, 0.02, 0.03)]
    assert explorer(_pairs(plans[:2])) is None
    network = pp.Network.mlp([np.eye(2)], [np.zeros(2)])
    other = pp.plan(network, pp.Hardware(), np.eye(2), pp.MaxNMSE(0.05))
    view = explorer(_pairs([*plans, other]))
    assert view is not None
    assert view.count == 3


def test_a_slider_has_an_end(make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PLANS", 5)
    plans = [make_plan(0.01 * 1.1**i, 1e-5 / 1.1**i) for i in range(12)]
    view = explorer(_pairs(plans))
    assert view is not None
    assert (view.count, view.left_out) == (5, 7)
    assert json.loads(view.data)["names"][::4] == ["p0", "p11"]


def test_names_cannot_end_the_script(make_plan: Callable[..., Plan]) -> None:
    plans = {f"</script><b>{i}": make_plan(0.01 * (i + 1), 1e-5 / (i + 1)) for i in range(3)}
    page = report_html(plans)
    data = re.search(r'id="explorer-data">(.*?)</script>', page)
    assert data is not None
    assert json.loads(data[1])["names"] == list(plans)
    (slider,) = [e for e in elements(parse(page), "input") if e.get("type") == "range"]
    assert slider.get("max") == "2"
