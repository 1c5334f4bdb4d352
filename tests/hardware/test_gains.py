"""Gains fit the network and the limits of the hardware, or are refused with the limit named."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from powerplan import Gains, Hardware, InvalidInput, Network
from powerplan.errors import LimitWarning
from powerplan.hardware.gains import (
    column_conductance_limits,
    conductance_limits,
    reference_voltage,
    row_conductance_limits,
    row_voltage_limits,
    voltage_limits,
)
from powerplan.hardware.operating_point import OperatingPoint

HARDWARE = Hardware(conductance_min=10e-6, conductance_max=110e-6, voltage_max=0.5)
NETWORK = Network.mlp([np.array([[1.0, -4.0], [2.0, 0.5], [0.0, 0.0]]), np.array([[0.1, 0.2, -0.25]])])


def test_conductance_limits_are_tight() -> None:
    """At the limit the largest weight of a layer (of a column) is programmed to exactly G_max."""
    np.testing.assert_allclose(conductance_limits(NETWORK, HARDWARE), [100e-6 / 4, 100e-6 / 0.25])
    columns = column_conductance_limits(NETWORK, HARDWARE)
    # The column of zeros takes the layer's limit.
    np.testing.assert_allclose(columns[0], [100e-6 / 4, 100e-6 / 2, 100e-6 / 4])
    np.testing.assert_allclose(columns[1], [100e-6 / 0.25])


def test_a_layer_of_zeros_has_a_finite_limit() -> None:
    network = Network.mlp([np.zeros((3, 2)), np.ones((1, 3))])
    np.testing.assert_allclose(conductance_limits(network, HARDWARE), [100e-6, 100e-6])
    assert all(np.isfinite(limit).all() for limit in column_conductance_limits(network, HARDWARE))


def test_voltage_limits_are_tight() -> None:
    """At the limit the largest ideal activation of a layer drives its row at exactly V_max."""
    inputs = np.array([[1.0, 0.0], [0.5, -2.0]])
    hidden = max(float(np.maximum(inputs @ np.array([[1.0, -4.0], [2.0, 0.5]]).T, 0).max()), 0)
    np.testing.assert_allclose(voltage_limits(NETWORK, HARDWARE, inputs), [0.5 / 2, 0.5 / hidden])


def test_zero_activations_have_a_finite_limit() -> None:
    """Zero inputs, and a hidden layer that never fires, get V_max."""
    np.testing.assert_allclose(voltage_limits(NETWORK, HARDWARE, np.zeros((4, 2))), [0.5, 0.5])
    dead = Network.mlp([-np.ones((3, 2)), np.ones((1, 3))])
    np.testing.assert_allclose(voltage_limits(dead, HARDWARE, np.ones((4, 2))), [0.5, 0.5])


def test_uniform() -> None:
    inputs = np.array([[1.0, -2.0]])
    assert Gains.uniform(NETWORK, HARDWARE).conductance == tuple(conductance_limits(NETWORK, HARDWARE))
    assert Gains.uniform(NETWORK, HARDWARE).voltage == (0.5, 0.5)
    assert Gains.uniform(NETWORK, HARDWARE, inputs=inputs).voltage == tuple(voltage_limits(NETWORK, HARDWARE, inputs))
    given = Gains.uniform(NETWORK, HARDWARE, conductance=1e-5, voltage=0.1)
    assert given.conductance == (1e-5, 1e-5)
    assert given.voltage == (0.1, 0.1)
    with pytest.raises(InvalidInput, match=r"gains\.conductance\[0\].*at most 2\.5e-05 S"):
        Gains.uniform(NETWORK, HARDWARE, conductance=1e-4)


def test_full_range() -> None:
    """Every layer reaches the same conductance."""
    for top in (None, 60e-6):
        gains = Gains.full_range(NETWORK, HARDWARE, np.ones((1, 2)), conductance_max=top)
        reached = [10e-6 + float(c) * w for c, w in zip(gains.conductance, (4.0, 0.25), strict=True)]
        np.testing.assert_allclose(reached, top or 110e-6)
    for bad in (10e-6, 5e-6, 120e-6, float("nan"), "x"):
        with pytest.raises(InvalidInput, match="conductance_max"):
            Gains.full_range(NETWORK, HARDWARE, np.ones((1, 2)), conductance_max=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1e-5, float("nan"), float("inf"), "x", None, [], [[1e-5]], [1e-5, 0.0], 1j])
def test_conductance_gains_are_positive(bad: Any) -> None:
    with pytest.raises(InvalidInput, match=r"gains\.conductance\[0\]"):
        Gains(conductance=(bad,), voltage=(1.0,))


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf"), "x", None, [], [[1.0]], [1.0, 0.0], 1j])
def test_voltage_gains_are_positive(bad: Any) -> None:
    with pytest.raises(InvalidInput, match=r"gains\.voltage\[0\]"):
        Gains(conductance=(1e-5,), voltage=(bad,))


def test_lists_are_checked() -> None:
    """Both are lists of one length, that of the network's crossbar layers; every violation is listed."""
    for bad in (1e-5, None, "x", np.float64(1e-5)):
        with pytest.raises(InvalidInput, match="one entry per crossbar layer"):
            Gains(conductance=bad, voltage=(1.0,))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"gains\.voltage: got 2"):
        Gains(conductance=(1e-5,), voltage=(1.0, 1.0))
    with pytest.raises(InvalidInput) as caught:
        Gains(conductance=(0, -1), voltage=(0, 1))
    assert len(caught.value.violations) == 3
    with pytest.raises(InvalidInput, match="one entry per crossbar layer, 2: linear1, linear2"):
        Gains(conductance=(1e-5,), voltage=(1.0,)).check(NETWORK, HARDWARE)


def test_columns() -> None:
    """One gain per column, each against its own limit."""
    good = Gains(conductance=(np.array([25e-6, 50e-6, 25e-6]), 1e-5), voltage=(1.0, 1.0))
    good.check(NETWORK, HARDWARE)
    over = Gains(conductance=(np.array([26e-6, 50e-6, 25e-6]), 1e-5), voltage=(1.0, 1.0))
    with pytest.raises(InvalidInput, match=r"conductance\[0\].*Divide it by 1\.04"):
        over.check(NETWORK, HARDWARE)
    wrong = Gains(conductance=(np.array([1e-6, 1e-6]), 1e-5), voltage=(1.0, 1.0))
    with pytest.raises(InvalidInput, match=r"shape \(3,\)"):
        wrong.check(NETWORK, HARDWARE)


def test_rows() -> None:
    """A row driven harder stores smaller conductances: limits and checks use c_i |W_ij| v_ref / v_j."""
    volts = np.array([0.1, 0.4])
    assert reference_voltage(volts) == pytest.approx(0.2)
    assert reference_voltage(0.3) == 0.3
    # |W| v_ref / v_j of the columns: (2, 2), (4, 0.25), 0
    limits = column_conductance_limits(NETWORK, HARDWARE, (volts, 1.0))
    np.testing.assert_allclose(limits[0], [100e-6 / 2, 100e-6 / 4, 100e-6 / 4])
    np.testing.assert_allclose(conductance_limits(NETWORK, HARDWARE, (volts, 1.0)), [100e-6 / 4, 100e-6 / 0.25])
    good = Gains(conductance=(25e-6, 1e-5), voltage=(volts, 1.0))
    good.check(NETWORK, HARDWARE)
    with pytest.raises(InvalidInput, match=r"conductance\[0\].*Divide it by 1\.04"):
        Gains(conductance=(26e-6, 1e-5), voltage=(volts, 1.0)).check(NETWORK, HARDWARE)
    with pytest.raises(InvalidInput, match=r"voltage\[0\].*shape \(2,\) for linear1"):
        Gains(conductance=(1e-6, 1e-5), voltage=(np.ones(3), 1.0)).check(NETWORK, HARDWARE)


def test_equal_rows_are_one_gain() -> None:
    """Row gains that are all equal have the limits of one gain for the layer."""
    rows = column_conductance_limits(NETWORK, HARDWARE, (np.full(2, 0.3), np.full(3, 0.2)))
    for by_row, by_layer in zip(rows, column_conductance_limits(NETWORK, HARDWARE), strict=True):
        np.testing.assert_allclose(by_row, by_layer, rtol=1e-15)


def test_row_limits_are_tight() -> None:
    """Every row by its own largest weight and largest activation; rows of zeros take the tightest limit."""
    rows = row_conductance_limits(NETWORK, HARDWARE)
    np.testing.assert_allclose(rows[0], [100e-6 / 2, 100e-6 / 4])
    np.testing.assert_allclose(rows[1], [100e-6 / 0.1, 100e-6 / 0.2, 100e-6 / 0.25])
    inputs = np.array([[1.0, 0.0], [-0.5, 0.0]])
    np.testing.assert_allclose(row_voltage_limits(NETWORK, HARDWARE, inputs)[0], [0.5 / 1, 0.5 / 1])
    inputs = np.array([[1.0, 0.0], [0.5, -2.0]])
    np.testing.assert_allclose(row_voltage_limits(NETWORK, HARDWARE, inputs)[0], [0.5 / 1, 0.5 / 2])
    dead = Network.mlp([np.array([[0.0, 2.0]]), np.zeros((1, 1))])
    np.testing.assert_allclose(np.concatenate(row_conductance_limits(dead, HARDWARE)), [50e-6, 50e-6, 100e-6])


def test_every_row_is_warned_of_by_itself() -> None:
    inputs = np.array([[1.0, 0.0], [0.5, -2.0]])
    gains = Gains(conductance=(1e-6, 1e-6), voltage=(np.array([0.5, 0.25]), 1e-3))
    OperatingPoint(network=NETWORK, hardware=HARDWARE, gains=gains, inputs=inputs).warn_beyond_voltage()
    beyond = Gains(conductance=(1e-6, 1e-6), voltage=(np.array([0.25, 0.5]), 1e-3))
    with pytest.warns(LimitWarning, match=r"linear1: 1 V"):
        OperatingPoint(network=NETWORK, hardware=HARDWARE, gains=beyond, inputs=inputs).warn_beyond_voltage()


def test_immutable() -> None:
    array = np.array([1e-5, 1e-5, 1e-5])
    gains = Gains(conductance=[array, 1e-5], voltage=[1, 2])  # type: ignore[arg-type]
    array[0] = 7
    assert isinstance(gains.conductance[0], np.ndarray)
    assert gains.conductance[0][0] == 1e-5
    assert not gains.conductance[0].flags.writeable
    assert gains.voltage == (1.0, 2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        gains.voltage = ()  # type: ignore[misc]


def test_dict_round_trip() -> None:
    gains = Gains(conductance=(np.array([1e-5, 2e-5]), 3e-5), voltage=(0.1, 0.2))
    again = Gains.from_dict(json.loads(json.dumps(gains.to_dict())))
    np.testing.assert_array_equal(again.conductance[0], gains.conductance[0])
    assert again.conductance[1] == 3e-5
    assert again.voltage == gains.voltage
    rows = Gains(conductance=(1e-5,), voltage=(np.array([0.1, 0.2]),))
    np.testing.assert_array_equal(Gains.from_dict(json.loads(json.dumps(rows.to_dict()))).voltage[0], rows.voltage[0])
    bad: Any
    for bad in ({}, {"conductance": [1]}, {"conductance": 1, "voltage": [1]}, None, []):
        with pytest.raises(InvalidInput, match="gains"):
            Gains.from_dict(bad)
    with pytest.raises(InvalidInput, match="Did you mean 'voltage'"):
        Gains.from_dict({"conductance": [1], "voltage": [1], "voltages": [1]})
