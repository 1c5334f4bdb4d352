"""Numbers with units on the command line."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from click.testing import Result
from hypothesis import given, strategies as st

from powerplan.cli.output import with_options
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


def test_a_prefix_alone_is_told_its_unit(run: Callable[..., Result]) -> None:
    said = run("predict", "--example", "iris", "--feedback-resistance", "10k")
    assert said.exit_code == 2
    assert "The unit of '10k' is missing: write '10kohm'." in said.stderr
    with pytest.raises(ValueError, match="write '5ms' or '5min'"):
        parse_quantity("5m", "s")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("set hardware.predistort to True; or", "set --predistort; or"),
        ("set hardware.clip_conductance\n    to False", "set --no-clip-conductance"),
        ("set hardware.column_scale to 'least_bias', or", "set --column-scale least_bias, or"),
        ("lower hardware.drift to 0.5 of what it is", "lower --drift to 0.5 of what it is"),
        ("raise hardware.adc_bits to 9", "raise --adc-bits to 9"),
        ("target.MaxOutputMSE: got -1; allowed", "--max-output-mse: got -1; allowed"),
        ("target.MaxNMSE: got 5.0", "--max-nmse: got 5.0"),
        ("hardware.adc_bits: got 99", "hardware.adc_bits: got 99"),
    ],
)
def test_advice_names_options(text: str, said: str) -> None:
    assert with_options(text) == said


def test_nan_is_a_number_that_later_checks_refuse() -> None:
    assert math.isnan(parse_quantity("nan", "S"))


@given(st.floats(allow_nan=False))
def test_every_float_reads_back(value: float) -> None:
    assert parse_quantity(repr(value), "S") == value
