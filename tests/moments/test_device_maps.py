"""Maps of devices hold what predictions tell of the same arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.moments.digital_scales import with_scales

_RNG = np.random.default_rng(0)
WEIGHT = _RNG.normal(size=(5, 7))
NETWORK = pp.Network.mlp([WEIGHT], [np.zeros(5)])
GAINS = pp.Gains(conductance=[1e-5], voltage=[0.1])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"array_rows": 3, "array_columns": 4},
        {"weight_mapping": "offset"},
        {"stuck_off_fraction": 0.1, "array_rows": 4},
    ],
    ids=["one array", "tiles", "offset", "stuck"],
)
def test_the_error_of_a_weight_is_that_of_the_output_for_its_input_alone(fields: dict[str, Any]) -> None:
    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=2e-6, **fields)
    prediction = pp.predict(NETWORK, hardware, GAINS, np.eye(7))
    variance = prediction.output_covariance[:, range(5), range(5)]
    expected = np.sqrt((prediction.output_mean - prediction.ideal_output) ** 2 + variance).T / np.abs(WEIGHT).max()
    (maps,) = pp.map_devices(NETWORK, hardware, GAINS)
    rows = [m for m in maps if m.column_tile == 0]
    per_output = hardware.devices_per_weight
    seen = np.concatenate([m.error[:, ::per_output] for m in rows])  # (rows, outputs of the first column tile)
    np.testing.assert_allclose(seen.T, expected[: seen.shape[1]], rtol=1e-9)
    held = sum(m.conductance.sum() for m in maps) * 0.1**2  # every row once at the voltage of its gain
    np.testing.assert_allclose(held, 7 * prediction.array_power_by_layer[0], rtol=1e-9)


def test_errors_are_those_with_the_digital_scales_of_gains_and_of_gains_by_column() -> None:
    """Rows of a plan's gains are frozen arrays, which torch warns of."""
    hardware = pp.Hardware(
        programming_noise_std=2e-6, stuck_off_fraction=0.1, column_scale="least_bias", row_scale="least_bias"
    )
    gains = pp.Gains(conductance=[np.linspace(1e-5, 2e-5, 5)], voltage=[np.linspace(0.05, 0.1, 7)])
    gains = with_scales(NETWORK, hardware, gains, np.diag(np.arange(1.0, 8.0)))
    prediction = pp.predict(NETWORK, hardware, gains, np.eye(7))
    variance = prediction.output_covariance[:, range(5), range(5)]
    expected = np.sqrt((prediction.output_mean - prediction.ideal_output) ** 2 + variance) / np.abs(WEIGHT).max()
    ((map,),) = pp.map_devices(NETWORK, hardware, gains)
    np.testing.assert_allclose(map.error[:, ::2], expected, rtol=1e-9)


@pytest.mark.parametrize("fields", [{}, {"pair_layout": "separate_arrays"}])
def test_drops_are_those_of_the_layer(fields: dict[str, Any]) -> None:
    hardware = pp.Hardware(wire_resistance_row=50.0, sense_resistance=9.0, array_rows=3, array_columns=4, **fields)
    prediction = pp.predict(NETWORK, hardware, GAINS, np.eye(7))
    (maps,) = pp.map_devices(NETWORK, hardware, GAINS)
    told = [(d.group, d.row_tile, d.column_tile, d.side) for d in prediction.array_drops]
    assert told == [(m.group, m.row_tile, m.column_tile, m.side) for m in maps]
    np.testing.assert_allclose([d.mean for d in prediction.array_drops], [m.mean_drop for m in maps], rtol=1e-9)
    np.testing.assert_allclose(
        [d.largest for d in prediction.array_drops], [np.max(m.drop) for m in maps if m.drop is not None], rtol=1e-9
    )
    apart = bool(fields)
    assert len(maps) == 3 * (2 * 2 if apart else 3)
    assert [m.conductance.shape[0] for m in maps if (m.column_tile, m.side) == (0, 0)] == [3, 3, 1]
    largest = max(float(np.max(m.drop)) for m in maps if m.drop is not None)
    assert largest == pytest.approx(prediction.largest_wire_drop_by_layer[0], rel=1e-9)
    passed = sum((1 - (m.mean_drop or 0.0)) * m.conductance.sum() for m in maps)
    mean = 1 - passed / sum(m.conductance.sum() for m in maps)
    assert mean == pytest.approx(prediction.wire_drop_by_layer[0], rel=1e-9)
    farthest = maps[0].drop
    assert farthest is not None
    assert farthest[0, 0] < farthest[0, -1]  # column 1 is the nearest to the drivers
