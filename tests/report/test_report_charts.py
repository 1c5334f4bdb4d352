"""Layout of charts: scales hold their values, ticks are round and few, points lie where their numbers say."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from powerplan.report.charts import Chart, Curve, Point, Scale
from powerplan.report.svg import Layout, lay_out

POSITIVE = st.floats(1e-15, 1e15)


@given(st.lists(POSITIVE, min_size=1, max_size=20))
def test_logarithmic_scale_holds_its_values_in_order(values: list[float]) -> None:
    scale = Scale.around(values, log=True)
    places = [scale.at(v) for v in sorted(values)]
    assert all(0 < place < 1 for place in places)
    assert places == sorted(places)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_linear_scale_holds_its_values_in_order(values: list[float]) -> None:
    scale = Scale.around(values, log=False)
    places = [scale.at(v) for v in sorted(values)]
    assert all(0 <= place <= 1 for place in places)
    assert places == sorted(places)


@given(st.floats(1e-9, 1e9), st.floats(1.02, 1e12), st.booleans())
def test_ticks_are_few_different_and_inside(low: float, factor: float, log: bool) -> None:
    scale = Scale.around([low, low * factor], log=log)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    assert len({f"{t:.4g}" for t in ticks}) == len(ticks)
    assert all(scale.low * (1 - 1e-9) <= t <= scale.high * (1 + 1e-9) for t in ticks)


def _laid_out(curve: Curve) -> Layout:
    return lay_out(Chart(curves=(curve,), title="t", description="d", x_label="x", y_label="y"))


def test_points_lie_on_the_grid_lines_of_their_numbers() -> None:
    points = tuple(Point(x=10.0**i, y=10.0**-i, text=str(i)) for i in range(4))
    drawn = _laid_out(Curve(name="a", points=points))
    at = {tick.text: tick.at for tick in drawn.x_ticks}
    assert [mark.x for mark in drawn.curves[0].marks] == pytest.approx([at["1"], at["10"], at["100"], at["1000"]])
    ys = [mark.y for mark in drawn.curves[0].marks]
    assert ys == sorted(ys)  # smaller values lie lower, where y is larger
    assert drawn.curves[0].path.startswith(f"M{drawn.curves[0].marks[0].x:g},")


def test_points_without_a_place_on_a_logarithmic_axis_are_left_out() -> None:
    points = tuple(Point(x=1.0, y=y, text="") for y in (1.0, 0.0, -1.0, math.nan, math.inf))
    drawn = _laid_out(Curve(name="a", points=points))
    assert len(drawn.curves[0].marks) == 1
    assert not drawn.curves[0].path


def test_error_bars_that_reach_zero_end_at_the_edge() -> None:
    point = Point(x=1.0, y=1.0, text="", x_error=2.0, y_error=0.1)
    drawn = _laid_out(Curve(name="a", points=(point,)))
    mark = drawn.curves[0].marks[0]
    assert mark.x_range is not None
    assert mark.x_range[0] == pytest.approx(drawn.left)
