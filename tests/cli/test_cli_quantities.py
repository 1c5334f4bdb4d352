"""Numbers with units on the command line."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from powerplan.reading.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("2e-6", "S", 2e-6),
        ("2uS", "S", 2e-6),
        ("2 uS", "S", 2e-6),
        ("2µS", "S", 2e-6),
        ("0.2V", "V", 0.2),
        ("5 mW", "W", 5e-3),
        ("100ns", "s", 1e-7),
        ("10kohm", "ohm", 1e4),
        ("50fJ", "J", 5e-14),
        ("1.5 GHz", "Hz", 1.5e9),
        ("350K", "K", 350.0),
        ("1%", "", 0.01),
        ("1h", "s", 3600.0),
        ("2 days", "s", 172800.0),
        ("30min", "s", 1800.0),
        ("-3", "", -3.0),
        (".5", "", 0.5),
        ("1.", "", 1.0),
    ],
)
def test_si_prefixes_give_the_same_double_as_the_exponent(text: str, unit: str, value: float) -> None:
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"), [("2uA", "S"), ("1%", "S"), ("", "S"), ("uS", "S"), ("1,5", ""), ("2xS", "S")]
)
def test_other_units_are_refused(text: str, unit: str) -> None:
    with pytest.raises(ValueError):
        parse_quantity(text, unit)


def test_nan_is_a_number_that_later_checks_refuse() -> None:
    assert math.isnan(parse_quantity("nan", "S"))


@given(st.floats(allow_nan=False))
def test_every_float_reads_back(value: float) -> None:
    assert parse_quantity(repr(value), "S") == value
