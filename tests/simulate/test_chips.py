"""Spreads of simulated chips: intervals hold what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

import powerplan as pp
from powerplan.moments.chips.sampled import SampledSpread


def test_estimates_are_those_of_the_draws() -> None:
    chips = SampledSpread.of(np.arange(1.0, 101.0))
    assert (chips.mean, chips.yield_at(95.0), chips.yield_at(0.0)) == (50.5, 0.95, 0.0)
    assert chips.std == pytest.approx(np.arange(1.0, 101.0).std(ddof=1))
    assert chips.quantile(0.5) == 50.5
    assert chips.yield_interval(95.0) == pytest.approx((0.8871651, 0.9835681), rel=1e-5)
    assert chips.yield_interval(1000.0)[1] == 1.0
    assert chips.quantile_interval(0.999) == (99.0, math.inf)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = np.zeros(3)
    for _ in range(400):
        chips = SampledSpread.of(rng.exponential(size=300))
        around = 1.96 * chips.std_standard_error
        truths = (
            (chips.yield_interval(2.0), 1 - math.exp(-2)),
            (chips.quantile_interval(0.9), math.log(10)),
            ((chips.std - around, chips.std + around), 1.0),
        )
        held += [low <= truth <= high for (low, high), truth in truths]
    assert (held[:2] / 400 > 0.93).all()
    assert held[2] / 400 > 0.86  # that of the standard deviation is of first order


@pytest.mark.parametrize(("call", "value"), [("quantile", 95), ("quantile", 0), ("yield_at", -0.1), ("yield_at", "x")])
def test_bad_arguments_are_refused(call: str, value: object) -> None:
    chips = SampledSpread.of(np.arange(3.0))
    with pytest.raises(pp.InvalidInput, match="probability" if call == "quantile" else "bound"):
        getattr(chips, call)(value)


def test_one_chip_has_no_spread() -> None:
    chips = SampledSpread.of(np.ones(1))
    assert math.isnan(chips.std)
    assert math.isnan(chips.std_standard_error)
