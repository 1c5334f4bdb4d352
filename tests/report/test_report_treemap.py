"""The treemap of power, plans side by side, and the bars of cards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from html_pages import assert_accessible, elements, parse

from powerplan.moments.prediction import Prediction
from powerplan.planning import Plan
from powerplan.report.cards import plan_card
from powerplan.report.html import report_html
from powerplan.report.treemap import MOST_LAYERS, power_treemap, squarified


def test_rectangles_fill_the_whole_in_proportion_and_are_near_to_squares() -> None:
    areas = [6, 6, 4, 3, 2, 2, 1]  # the example of the paper, 6 x 4
    places = np.array(squarified(areas, 6.0, 4.0))
    x, y, width, height = places.T
    assert width * height == pytest.approx(areas)
    assert (np.maximum(width / height, height / width) < 2.8).all()  # the paper's last rectangle is 25/9
    assert (places[:, :2] >= 0).all()
    assert ((x + width).max(), (y + height).max()) == pytest.approx((6, 4))
    for i in range(len(areas)):
        for j in range(i):
            across = min(x[i] + width[i], x[j] + width[j]) - max(x[i], x[j])
            up = min(y[i] + height[i], y[j] + height[j]) - max(y[i], y[j])
            assert min(across, up) < 1e-9  # no two overlap


def test_layers_are_divided_by_what_draws_the_power(make_prediction: Callable[..., Prediction]) -> None:
    layers = 2 * MOST_LAYERS
    array = np.linspace(1, 2, layers)
    prediction = make_prediction(
        layer_names=tuple(f"l{i}" for i in range(layers)),
        power_by_layer=1.25 * array,
        array_power_by_layer=array,
        tia_power_by_layer=0.25 * array,
        converter_power_by_layer=np.zeros(layers),
    )
    drawn = power_treemap(prediction)
    assert drawn is not None
    assert len(drawn.tiles) == 2 * MOST_LAYERS
    assert [name for _, name in drawn.sources] == ["devices", "feedback of amplifiers"]
    feedback = sum(tile.width * tile.height for tile in drawn.tiles if tile.look == "hollow")
    assert feedback / (drawn.width * drawn.height) == pytest.approx(0.2, abs=0.005)
    assert f"{layers - MOST_LAYERS + 1} more layers" in drawn.tiles[0].text + drawn.tiles[-1].text
    assert power_treemap(make_prediction(array_power_by_layer=np.array([1.0, 0, 0]))) is None


def test_a_few_plans_of_one_network_stand_side_by_side(make_plan: Callable[..., Plan]) -> None:
    page = report_html({f"p{i}": make_plan(0.01 * (i + 1)) for i in range(3)})
    assert_accessible(page)
    (table,) = (t for t in elements(parse(page), "table") if t.attrib.get("class") == "beside")
    text = ["".join(cell.itertext()).replace("\u00a0", " ") for cell in elements(table, "th", "td")]
    assert text[:4] == ["Plan", "p0", "p1", "p2"]
    assert "25.00 µSpower 4.900 µW, 70.0 %error 50.0 %" in text
    other = make_plan()
    other = replace(other, prediction=replace(other.prediction, layer_names=("a", "b", "c")))
    for plans in ([make_plan(), other], [make_plan(0.01 * (i + 1)) for i in range(7)]):
        assert "Side by side" not in report_html(plans)


def test_cards_have_bars(make_plan: Callable[..., Plan]) -> None:
    card = plan_card(make_plan())
    assert card.count('<rect width="70.0"') == 1
    assert card.count("powerplan-bar") == 1 + 2 * 3
