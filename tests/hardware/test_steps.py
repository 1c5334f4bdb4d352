"""Steps: the values a gain can be set to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import powerplan as pp


def test_linear_steps_have_an_offset_and_a_range() -> None:
    np.testing.assert_allclose(pp.Steps.linear(0.1, 0.5, 0.1).values, [0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(pp.Steps.linear(0.1, 0.55, 0.2).values, [0.1, 0.3, 0.5])


def test_geometric_steps_by_ratio_and_by_decibel_agree() -> None:
    by_ratio = pp.Steps.geometric(1e-6, 8e-6, ratio=2)
    np.testing.assert_allclose(by_ratio.values, [1e-6, 2e-6, 4e-6, 8e-6])
    by_decibel = pp.Steps.geometric(1e-6, 8.001e-6, decibel=20 * math.log10(2))
    np.testing.assert_allclose(by_decibel.values, by_ratio.values)


def test_steps_over_the_range_follow_each_gains_limit() -> None:
    steps = pp.Steps.over_range(4)
    np.testing.assert_allclose(steps.of(8e-6), [2e-6, 4e-6, 6e-6, 8e-6])
    assert pp.Steps.over_range(5, spacing="geometric", smallest=0.1).of(1.0)[0] == pytest.approx(0.1)


def test_steps_beyond_the_limit_are_left_out() -> None:
    assert pp.Steps(values=[1e-6, 2e-6, 3e-6]).of(2e-6).tolist() == [1e-6, 2e-6]
    assert pp.Steps(values=[1e-6]).of(1e-7).size == 0


@given(st.lists(st.floats(1e-12, 1.0, allow_subnormal=False), min_size=1, max_size=20), st.booleans())
def test_steps_survive_plain_values(values: list[float], relative: bool) -> None:
    steps = pp.Steps(values=values, relative=relative)
    assert pp.Steps.from_dict(steps.to_dict()) == steps
    assert hash(pp.Steps.from_dict(steps.to_dict())) == hash(steps)
    assert (np.diff(steps.values) > 0).all()


@pytest.mark.parametrize(
    "build",
    [
        lambda: pp.Steps(values=[]),
        lambda: pp.Steps(values=[0.0, 1.0]),
        lambda: pp.Steps(values=[-1.0]),
        lambda: pp.Steps(values=[float("nan")]),
        lambda: pp.Steps(values=[[1.0]]),
        lambda: pp.Steps(values="abc"),
        lambda: pp.Steps(values=[2.0], relative=True),
        lambda: pp.Steps(values=[1.0], relative=1),
        lambda: pp.Steps(values=np.ones(10_001) + np.arange(10_001)),
        lambda: pp.Steps.linear(1, 2, 0),
        lambda: pp.Steps.linear(2, 1, 0.1),
        lambda: pp.Steps.linear(1e-9, 1, 1e-9),
        lambda: pp.Steps.linear(float("nan"), 1, 1e-9),
        lambda: pp.Steps.geometric(1, 2),
        lambda: pp.Steps.geometric(1, 2, ratio=2, decibel=6),
        lambda: pp.Steps.geometric(1, 2, ratio=1),
        lambda: pp.Steps.geometric(0, 2, ratio=2),
        lambda: pp.Steps.geometric(1e-30, 1, decibel=1e-6),
        lambda: pp.Steps.over_range(0),
        lambda: pp.Steps.over_range(2.5),
        lambda: pp.Steps.over_range(3, spacing="lin"),
        lambda: pp.Steps.over_range(3, spacing="geometric", smallest=0),
        lambda: pp.Steps.from_dict({"value": [1.0]}),
        lambda: pp.Steps.from_dict([1.0]),
    ],
)
def test_nonsense_is_refused(build: object) -> None:
    with pytest.raises(pp.InvalidInput):
        build()  # type: ignore[operator]
