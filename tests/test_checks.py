"""The shared checks say what is wrong, everything at once, and name what was probably meant."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from powerplan import CorruptFile, InvalidInput, MissingExtra, PowerplanError, UnsupportedOperation
from powerplan.checks import Checker, check_inputs, choice, frozen_array, nearest, real_array, unknown_keys
from powerplan.errors import show


@pytest.mark.parametrize("good", [1, 0.5, np.float32(2), np.int64(3), Fraction(1, 2)])
def test_numbers_of_every_kind(good: Any) -> None:
    check = Checker()
    assert check.number("x", good, above=0, at_most=3)
    check.done()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "1", None, True, 1j, [1], np.ones(1), 10**400, -1, 4, 0])
def test_what_is_no_number_or_out_of_bounds(bad: Any) -> None:
    check = Checker("part.")
    assert not check.number("x", bad, above=0, at_most=3, unit="S")
    with pytest.raises(InvalidInput, match=r"part\.x: got .*> 0 and <= 3 \[S\]"):
        check.done()


@given(x=st.floats(allow_nan=False, allow_infinity=False), bound=st.floats(-1e9, 1e9))
def test_bounds_are_exact(x: float, bound: float) -> None:
    assert Checker().number("x", x, above=bound) == (x > bound)
    assert Checker().number("x", x, at_least=bound) == (x >= bound)
    assert Checker().number("x", x, at_most=bound) == (x <= bound)


def test_every_violation_is_listed() -> None:
    check = Checker()
    for name in "abc":
        check.number(name, -1, above=0)
    with pytest.raises(InvalidInput) as caught:
        check.done()
    assert [v.field for v in caught.value.violations] == ["a", "b", "c"]
    assert len(str(caught.value).splitlines()) == 3


def test_nested_violations_carry_the_whole_path() -> None:
    check = Checker("network.")
    check.nested("nodes[1]", InvalidInput.of("weight", 1, "2", "3"))
    assert check.violations[0].field == "network.nodes[1].weight"


def test_names() -> None:
    assert nearest("relux", ["relu", "tanh"]) == "Did you mean 'relu'?"
    assert "allowed names" in nearest("zzz", ["relu", "tanh"])
    assert choice("kind", "tanh", ["relu", "tanh"]) == "tanh"
    for bad in ("tan", None, ["tanh"], 3):
        with pytest.raises(InvalidInput, match="kind"):
            choice("kind", bad, ["relu", "tanh"])
    check = Checker("table.")
    unknown_keys(check, ["voltage_mx", "voltage_max", "3"], ["voltage_max"])
    assert [v.field for v in check.violations] == ["table.voltage_mx", "table.3"]
    assert check.violations[0].advice == "Did you mean 'voltage_max'?"


def test_frozen_arrays_are_copies() -> None:
    original = np.zeros((2, 3))
    frozen = frozen_array(original.T)
    original[:] = 1
    assert not frozen.any()
    assert not frozen.flags.writeable
    assert frozen.flags.c_contiguous


def test_real_arrays() -> None:
    """float32 is kept, other numbers become float64; anything else is a violation, not an exception."""
    for value, dtype in (([1, 2], "f8"), (np.ones(2, "f4"), "f4"), (np.ones(2, ">f4"), "f8"), ([True], "f8")):
        array = real_array(Checker(), "x", value, ndim=1)
        assert array is not None
        assert array.dtype == np.dtype(dtype)
    for bad in ("x", None, [1j], [[1], [1, 2]], {}, object(), [np.nan], [10**400], np.array(["2020"], "M8[Y]")):
        check = Checker()
        assert real_array(check, "x", bad) is None
        assert check.violations[0].field == "x"


def test_inputs() -> None:
    assert check_inputs([[1, 2]], (2,)).shape == (1, 2)
    for bad in ([[1, 2, 3]], [1, 2], np.ones((0, 2)), np.ones((1, 2, 2)), [[1, np.inf]], "ab", None):
        with pytest.raises(InvalidInput, match="inputs"):
            check_inputs(bad, (2,))


def test_values_are_shown_short() -> None:
    """A message stays readable whatever was given."""
    assert show(np.ones((300, 400), np.float32)) == "float32 array of shape (300, 400)"
    assert len(show("x" * 10_000)) <= 160
    assert show(3.5) == "3.5"


def test_error_tree() -> None:
    """One root; bad values are also ValueErrors, a missing extra is also an ImportError."""
    for kind in (InvalidInput, UnsupportedOperation, CorruptFile):
        assert issubclass(kind, PowerplanError)
        assert issubclass(kind, ValueError)
    error = MissingExtra("matplotlib", "plot", "a plot")
    assert isinstance(error, ImportError)
    assert "pip install 'powerplan-crossbar[plot]'" in str(error)
