"""Numbers for people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from powerplan.reading.quantities import parse_quantity
from powerplan.units import (
    duration,
    gain_text,
    part_with_error,
    percent,
    quantity,
    share,
    si,
    si_with_error,
    significant,
    with_error,
)

PREFIX = {"a": 1e-18, "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-6, "2.000 uS"),
        (123.456e-6, "123.5 uS"),
        (999.96e-9, "1.000 uS"),
        (0.0, "0 S"),
        (-3e-3, "-3.000 mS"),
        (None, "-"),
        (math.nan, "-"),
        (math.inf, "inf S"),
    ],
)
def test_si_text(value: float | None, text: str) -> None:
    assert si(value, "S") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(2e-9, "2000 um2"), (1e-4, "100.0 mm2"), (999_960e-12, "1.000 mm2"), (1e-12, "1.000 um2"), (2000.0, "2000 m2")],
)
def test_prefixes_of_squares_are_squared(value: float, text: str) -> None:
    assert si(value, "m2") == text
    assert parse_quantity(text.replace(" ", ""), "m2") == pytest.approx(value, rel=1e-4)


@given(st.floats(1e-18, 1e11))
def test_si_text_reads_back_to_the_value(value: float) -> None:
    """The number and prefix shown are the value to four significant digits, the number in [1, 1000)."""
    number, unit = si(value, "W").split()
    assert float(number) * PREFIX[unit.removesuffix("W")] == pytest.approx(value, rel=6e-4)
    assert 1 <= float(number) < 1000


def test_percent_and_share() -> None:
    assert percent(0.01) == "1.000 %"
    assert percent(math.nan) == "-"
    assert share(1.0, 3.0) == "33.3 %"
    assert share(0.0, 0.0) == "-"
    assert significant(1.2345678e-7) == "1.235e-07"


def test_error_decides_the_digits() -> None:
    assert with_error(1.00123, 0.0073) == "1.0012 ± 0.0073"
    assert with_error(0.0100123, 0.000073, 100) == "1.0012 ± 0.0073"
    assert with_error(1.5, 0.0) == "1.500 ± 0.0"
    assert si_with_error(12.3456e-6, 0.05e-6, "W") == "12.346 ± 0.050 uW"
    assert part_with_error(0.94, 0.021) == "94.0 ± 2.1 %"
    assert part_with_error(0.97, 0.061) == "97 % (90.9 to 100 %)"
    assert si_with_error(0.0, 0.0, "W") == "0 ± 0 W"


def test_column_gains_are_summarised() -> None:
    assert gain_text(2e-6, "S") == "2.000 uS"
    assert gain_text(np.array([1e-6, 2e-6, 9e-6]), "S") == "2.000 uS (1.00 uS - 9.00 uS)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.01, "10.0 ms"), (4.0, "4 s"), (3600.0, "1 h"), (86400.0, "1 d"), (1e5, "27.8 h"), (30 * 86400.0, "30 d")],
)
def test_times_have_the_unit_that_a_person_takes(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(3.27e-6, "S", "3.27 uS"), (1e-9, "A", "1 nA"), (0.125, "", "0.125"), (0.0, "V", "0 V"), (86400.0, "s", "1 d")],
)
def test_settings_are_written_as_they_are_typed(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text
    assert parse_quantity(text, unit) == value
