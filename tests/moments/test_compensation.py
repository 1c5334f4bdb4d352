"""Scales of columns and shifted targets: against simulations, against their definitions, in plans and files."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.devices import device_moments
from powerplan.hardware.hardware import COLUMN_SCALES, ROW_SCALES, WIRE_RESISTANCES
from powerplan.hardware.predistortion import largest_wanted, reference_moments, targets
from powerplan.moments.digital_scales import with_scales
from powerplan.moments.predictor import Predictor

CLIPPED: dict[str, Any] = {"programming_noise_std": 7e-7, "feedback_resistance": 1e4}
NOISY: dict[str, Any] = {"read_noise_std": 2e-7, "input_noise_std": 2e-3, "column_gain_std": 0.02, "array_rows": 8}
WIRES: dict[str, Any] = {
    **dict.fromkeys(("wire_resistance_row", "wire_resistance_column", "driver_resistance"), 10.0),
    "array_rows": 16,
    "array_columns": 16,
    "column_gain_std": 0.02,
}


def case(layers: int = 2, **fields: Any) -> tuple[pp.Network, pp.Hardware, pp.Gains, np.ndarray]:
    rng = np.random.default_rng(5)
    sizes = (48, 16, 6)[: layers + 1]
    weights = [rng.normal(0.4, 1, size=(b, a)) / np.sqrt(a) for a, b in itertools.pairwise(sizes)]
    for weight in weights:  # one large one, so that most are in the part of the range where clipping takes off them
        weight[0, 0] *= 8 * abs(weight).max() / abs(weight[0, 0])
    network = pp.Network.mlp(weights, [rng.normal(size=len(w)) / 4 for w in weights])
    inputs = abs(rng.normal(size=(12, 48)))  # what clipping takes off adds up
    hardware = pp.Hardware(**{**CLIPPED, **fields})
    full = pp.Gains.full_range(network, hardware, inputs)
    return network, hardware, replace(full, conductance=tuple(0.6 * c for c in full.conductance)), inputs


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linearized", "covariance"])
@pytest.mark.parametrize(
    "fields",
    [
        {"column_scale": "least_bias", **NOISY, "adc_bits": 7},
        {"column_scale": "least_error", "weight_mapping": "offset", "bias_mapping": "row", **NOISY, "dac_bits": 7},
        {"column_scale": "least_bias", **WIRES},
        {"column_scale": "least_bias", "predistort": True, "stuck_off_fraction": 0.02, "array_rows": 8},
        {"predistort": True, **WIRES},
        {"row_scale": "least_bias", "column_scale": "least_bias", **WIRES, "weight_mapping": "offset"},
        {"row_scale": "least_bias", "bias_mapping": "row", **NOISY, "dac_bits": 7, "adc_bits": 7},
        {
            "predistort": True,
            "drift": {"type": "power_law", "exponent_mean": 0.05, "reference_time": 1.0},
            "time": 1e4,
            **NOISY,
        },
    ],
    ids=["bias", "error", "wires", "both", "targets behind wires", "both scales", "rows", "targets"],
)
def test_predictions_agree_with_simulations(fields: dict[str, Any], method: str) -> None:
    network, hardware, gains, inputs = case(**fields)
    predicted = pp.predict(network, hardware, gains, inputs, method=method, sampling_error=0.04)  # rare stuck devices
    simulated = pp.simulate(network, hardware, gains, inputs, draws=2000, relative_standard_error=0.0115)
    error = np.hypot(predicted.mse_standard_error, simulated.mse_standard_error)
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.03, abs=3 * error)
    assert predicted.power == pytest.approx(simulated.power, rel=0.01)


@pytest.mark.parametrize("rule", ["least_bias", "least_error"])
def test_scales_make_what_they_are_named_after_least(rule: str) -> None:
    network, hardware, gains, inputs = case(1, column_scale=rule, **NOISY)
    plain = pp.predict(network, hardware, gains, inputs)
    scaled = with_scales(network, hardware, gains, inputs)
    assert scaled.column_scale is not None
    told = pp.predict(network, hardware, scaled, inputs)
    assert told.mse == pytest.approx(plain.mse, rel=1e-12)
    name = "mse" if rule == "least_error" else "mse_bias"
    unscaled = pp.predict(network, hardware.replace(column_scale="none"), gains, inputs)
    assert getattr(told, name) < getattr(unscaled, name)
    for change in (0.98, 1.02):
        changed = pp.predict(
            network, hardware, replace(scaled, column_scale=(change * scaled.column_scale[0],)), inputs
        )
        assert getattr(changed, name) > getattr(told, name)


@pytest.mark.parametrize("fields", [WIRES, {"bias_mapping": "row"}], ids=["wires", "bias row"])
def test_scales_of_rows_are_the_best_of_every_row_within_what_converters_have(fields: dict[str, Any]) -> None:
    network, hardware, gains, inputs = case(1, row_scale="least_bias", **fields)
    rows = with_scales(network, hardware, gains, inputs).row_scale
    assert rows is not None
    plain = Predictor.of(network, hardware.replace(row_scale="none"), inputs)
    (array,) = plain.program(*plain.gain_tensors(gains))
    held, wanted = (w[:, :48].numpy() for w in (array.mean_weight, array.constants.weight))
    best = (held * wanted).sum(0) / (held**2).sum(0)
    assert (rows[0] <= best * (1 + 1e-12)).all()
    assert rows[0][best < rows[0].max()] == pytest.approx(best[best < rows[0].max()], rel=1e-9)
    predictor = Predictor.of(network, hardware, inputs)
    (driven,) = predictor.program(*predictor.gain_tensors(gains))
    assert float(driven.v.max()) <= float(gains.voltage[0]) * (1 + 1e-12)
    assert driven.mean_weight[:, :48].numpy() == pytest.approx(held * rows[0], rel=1e-12)


def test_exports_carry_scales_of_rows() -> None:
    network, hardware, gains, inputs = case(row_scale="least_bias", **WIRES, bias_mapping="row")
    scaled = with_scales(network, hardware, gains, inputs)
    bare = pp.Export.of(network, hardware.replace(row_scale="none"), gains)
    exported = pp.Export.of(network, hardware, scaled)
    assert scaled.row_scale is not None
    for layer, before, rows, node in zip(
        exported.layers, bare.layers, scaled.row_scale, network.crossbars, strict=True
    ):
        for tile, same in zip(layer.tiles, before.tiles, strict=True):
            assert np.array_equal(tile.positive, same.positive)
        assert layer.voltage_gain.max() <= before.voltage_gain.max() * (1 + 1e-12)
        assert layer.matrix == pytest.approx(rows * node.op.matrix)


def test_shifted_targets_make_the_mean_right() -> None:
    network, hardware, gains, inputs = case(1, predistort=True)
    assert pp.predict(network, hardware.replace(predistort=False), gains, inputs).mse_bias > 1e-4
    assert pp.predict(network, hardware, gains, inputs).mse_bias < 1e-12


@pytest.mark.parametrize(
    "fields",
    [{}, {"weight_mapping": "offset", "conductance_min": 2e-6}, {"pair_layout": "separate_arrays"}],
    ids=["pairs", "offset", "apart"],
)
def test_shifted_targets_make_right_what_is_read_behind_wires(fields: dict[str, Any]) -> None:
    network, hardware, gains, inputs = case(1, **WIRES, **fields)
    still = hardware.replace(programming_noise_std=0.0, column_gain_std=0.0)
    dropped = pp.simulate(network, still, gains, inputs, draws=1)
    right = pp.simulate(network, still.replace(predistort=True), gains, inputs, draws=1)
    assert right.mse < 1e-4 * dropped.mse
    assert pp.predict(network, still.replace(predistort=True), gains, inputs).mse < 1e-4 * dropped.mse


def test_shifted_targets_make_right_what_passive_columns_decode_to() -> None:
    divider: dict[str, Any] = {"read_out": "divider", "load_conductance": 1e-4, "feedback_resistance": None}
    network, hardware, gains, inputs = case(1, **divider, array_rows=16, predistort=True)
    predicted = pp.predict(network, hardware, gains, inputs)
    before = pp.predict(network, hardware.replace(predistort=False), gains, inputs)
    assert predicted.mse_bias < 1e-3 * before.mse_bias
    simulated = pp.simulate(network, hardware, gains, inputs, draws=200)
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.03, abs=3 * simulated.mse_standard_error)
    assert predicted.power == pytest.approx(simulated.power, rel=0.01)


def test_derivatives_go_through_the_targets_behind_wires() -> None:
    network, hardware, gains, inputs = case(**WIRES, predistort=True)
    predictor = Predictor.of(network, hardware, inputs)
    conductance, voltage, _ = predictor.gain_tensors(gains)

    def mse(theta: torch.Tensor) -> torch.Tensor:
        arrays = predictor.program([c * t.exp() for c, t in zip(conductance, theta, strict=True)], voltage)
        moments = predictor.moments(arrays)
        return moments.variance.mean() + (moments.mean - predictor.ideal).square().mean()

    theta = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(mse(theta), theta)
    step = torch.tensor([1e-4, 0.0], dtype=torch.float64)
    with torch.no_grad():
        difference = (mse(step) - mse(-step)) / 2e-4
    assert float(slope[0]) == pytest.approx(float(difference), rel=1e-5)


@pytest.mark.parametrize("predistort", [False, True], ids=["", "predistort"])
@pytest.mark.parametrize("row_scale", ROW_SCALES)
@pytest.mark.parametrize("column_scale", COLUMN_SCALES)
def test_the_bias_of_wires_goes_to_0_with_their_resistance(column_scale: str, row_scale: str, predistort: bool) -> None:
    """Scales and shifted targets also make up for clipped and stuck devices: that is no bias of wires."""
    rules = {"column_scale": column_scale, "row_scale": row_scale, "predistort": predistort, "stuck_off_fraction": 0.02}
    bias = {}
    for factor in (1.0, 1e-4):
        wires = {name: WIRES[name] * factor for name in WIRES if name in WIRE_RESISTANCES}
        network, hardware, gains, inputs = case(1, **{**WIRES, **wires, **rules})
        corner = hardware.replace(stuck_off_fraction=0.03).programmed_as(hardware)
        predictions = [
            pp.predict(network, hardware, gains, inputs),
            pp.predict(network, corner, with_scales(network, hardware, gains, inputs[:6]), inputs),
        ]
        bias[factor] = np.array([p.wire_bias_by_layer[0] / p.mse for p in predictions])
    assert (bias[1e-4] < 1e-5 * bias[1.0]).all()
    assert (bias[1.0] < 1e-3).all()


@pytest.mark.parametrize("fields", [{}, {"weight_mapping": "offset", "conductance_min": 1.5e-6}], ids=str)
def test_devices_with_shifted_targets_hold_what_is_wanted(fields: dict[str, Any]) -> None:
    hardware = pp.Hardware(predistort=True, **CLIPPED, **fields)
    wanted = torch.linspace(hardware.conductance_min, largest_wanted(hardware), 1001, dtype=torch.float64)
    held = device_moments(hardware, targets(hardware, wanted))[0] - reference_moments(hardware)[0]
    within = slice(10 if fields else 0, None)  # a device alone cannot hold less than one of the least target
    assert held[within].numpy() == pytest.approx((wanted - hardware.conductance_min)[within].numpy(), abs=1e-12)


def test_gains_of_the_whole_range_reach_its_end_with_shifted_targets() -> None:
    network, hardware, _, inputs = case(predistort=True)
    full = pp.Gains.full_range(network, hardware, inputs)
    exported = pp.Export.of(network, hardware, full)
    assert max(tile.positive.max() for tile in exported.layers[0].tiles) <= hardware.conductance_max * (1 + 1e-9)
    with pytest.raises(pp.InvalidInput, match=r"gains\.conductance\[0\]"):
        pp.predict(network, hardware.replace(predistort=False), full, inputs) and pp.predict(
            network, hardware, replace(full, conductance=tuple(1.001 * c for c in full.conductance)), inputs
        )


@pytest.mark.parametrize("rule", ["least_bias", "least_error"])
def test_plans_need_less_power_and_are_what_is_simulated_and_exported(rule: str, tmp_path: Any) -> None:
    network, hardware, _, inputs = case()
    target = pp.MaxNMSE(0.05)
    today = pp.plan(network, hardware, inputs, target=target)
    plan = pp.plan(network, hardware.replace(column_scale=rule), inputs, target=target)
    assert plan.power < 0.9 * today.power
    simulated = pp.simulate(network, plan.hardware, plan.gains, inputs, draws=2000)
    assert plan.prediction.mse == pytest.approx(simulated.mse, rel=0.03, abs=3 * simulated.mse_standard_error)
    plan.save(tmp_path / "plan.json")
    scales = pp.Plan.load(tmp_path / "plan.json").gains.column_scale
    pp.export(plan, network, tmp_path / "export.npz")
    layers = pp.Export.load(tmp_path / "export.npz").layers
    assert scales is not None
    for layer, scale, node in zip(layers, scales, network.crossbars, strict=True):
        assert np.array_equal(layer.column_scale, scale)
        assert layer.matrix == pytest.approx(scale[:, None] * node.op.matrix)


@pytest.mark.parametrize("fields", [{}, pytest.param(WIRES, marks=pytest.mark.slow)], ids=["ideal wires", "wires"])
def test_corners_have_the_targets_of_the_nominal_hardware(fields: dict[str, Any]) -> None:
    network, hardware, gains, inputs = case(1, predistort=True, **fields)
    corner = hardware.replace(programming_noise_std=1.5e-6)
    programmed = corner.programmed_as(hardware)
    predicted = pp.predict(network, programmed, gains, inputs)
    simulated = pp.simulate(network, programmed, gains, inputs, draws=150)
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.03, abs=3 * simulated.mse_standard_error)
    assert pp.predict(network, corner, gains, inputs).mse_bias < 0.01 * predicted.mse_bias
    plan = pp.plan(network, hardware, inputs, target=pp.MaxNMSE(0.5), corners=[corner])
    same = pp.predict(network, programmed, plan.gains, inputs)
    assert plan.meets_target
    assert plan.corners[0].prediction.mse == pytest.approx(same.mse, rel=1e-9)


def test_what_does_not_go_together_is_refused() -> None:
    network, hardware, gains, inputs = case(column_scale="least_bias")
    with pytest.raises(pp.InvalidInput, match="column_scale"):
        pp.Export.of(network, hardware, gains)
    scaled = replace(gains, column_scale=(np.ones(16), np.ones(6)))
    with pytest.raises(pp.InvalidInput, match=r"gains\.column_scale: .*'none'"):
        pp.predict(network, hardware.replace(column_scale="none"), scaled, inputs)
    with pytest.raises(pp.InvalidInput, match=r"gains\.column_scale\[1\]: .*shape \(6,\)"):
        pp.predict(network, hardware, replace(gains, column_scale=(np.ones(16), np.ones(16))), inputs)
    with pytest.raises(pp.InvalidInput, match="one entry per entry of conductance"):
        replace(gains, column_scale=(np.ones(16),))
    rows = replace(gains, row_scale=(np.ones(16), np.ones(16)))
    with pytest.raises(pp.InvalidInput, match=r"gains\.row_scale\[0\]: .*shape \(48,\)"):
        pp.predict(network, hardware.replace(column_scale="none", row_scale="least_bias"), rows, inputs)
    divider: dict[str, Any] = {"read_out": "divider", "load_conductance": 1e-4}
    with pytest.raises(pp.InvalidInput, match="column_scale"):
        pp.Hardware(column_scale="least_bias", **divider)
    with pytest.raises(pp.InvalidInput, match="row_scale"):
        pp.Hardware(row_scale="least_bias", **divider)
