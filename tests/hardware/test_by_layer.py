"""Converters that differ from layer to layer: in a list or by name, in predictions, simulations, plans and doors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.moments.predictor import Predictor
from powerplan_client.building import hardware_message
from powerplan_client.parsing import parse_hardware
from powerplan_server.wire.hardware import hardware_from_proto
from powerplan_server.wire.reading import Reader


@pytest.fixture(scope="module")
def case() -> tuple[pp.Network, np.ndarray]:
    example = pp.load_example("digits")
    return example.network, example.inputs[:16]


def _by_name(network: pp.Network, values: Any) -> dict[str, Any]:
    return dict(zip(network.layer_names, values, strict=True))


def test_the_same_value_by_layer_is_one_value(case: tuple[pp.Network, np.ndarray]) -> None:
    network, inputs = case
    one = pp.Hardware(adc_bits=6, dac_bits=7, adc_headroom=0.9, read_noise_std=1e-8)
    count = len(network.layer_names)
    listed = one.replace(adc_bits=(6,) * count, dac_bits=_by_name(network, [7] * count), adc_headroom=[0.9] * count)
    gains = pp.Gains.uniform(network, one, inputs=inputs)
    for method in ("linearized", "diagonal", "covariance"):
        both = [pp.predict(network, h, gains, inputs, method=method, sampling_error=0.1) for h in (one, listed)]
        assert both[0].mse == both[1].mse
    drawn = [pp.simulate(network, h, gains, inputs, draws=8).mse for h in (one, listed)]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("method", ["linearized", "covariance"])
def test_prediction_and_simulation_agree_where_bits_differ(case: tuple[pp.Network, np.ndarray], method: str) -> None:
    network, inputs = case
    hardware = pp.Hardware(adc_bits=(5, None, 7), dac_bits=(None, 6, 8), adc_headroom=(1.0, 1.0, 0.8), array_rows=64)
    gains = pp.Gains.uniform(network, hardware, inputs=inputs)
    predicted = pp.predict(network, hardware, gains, inputs, method=method)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=600, seed=1)
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.02 + 3 * simulated.mse_standard_error / simulated.mse)
    kinds = {(source.node, source.kind) for source in _sources(network, hardware, gains, inputs)}
    first, second, third = network.layer_names
    assert {(first, "adc"), (second, "dac"), (third, "adc"), (third, "dac")} <= kinds
    assert not {(first, "dac"), (second, "adc")} & kinds


def _sources(network: pp.Network, hardware: pp.Hardware, gains: pp.Gains, inputs: np.ndarray) -> Any:
    predictor = Predictor.of(network, hardware, inputs)
    return predictor.moments(predictor.program(*predictor.gain_tensors(gains))).sources


@pytest.mark.slow
def test_a_plan_on_bits_by_layer_meets_its_target(case: tuple[pp.Network, np.ndarray], tmp_path: Path) -> None:
    network, inputs = case
    hardware = pp.Hardware(adc_bits=(6, 7, 6), programming_noise_std=1e-6)
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02))
    assert plan.prediction.nmse == pytest.approx(0.02, rel=1e-3)
    plan.save(tmp_path / "plan.json")
    assert pp.Plan.load(tmp_path / "plan.json").hardware == hardware
    assert pp.explain(plan, network, inputs).relaxations


def test_a_layer_without_a_converter_needs_noise_to_free_its_voltage(case: tuple[pp.Network, np.ndarray]) -> None:
    network, inputs = case
    hardware = pp.Hardware(dac_bits=(8, None, 8))
    with pytest.raises(pp.InvalidInput, match=r"optimize: .*'voltage' only with"):
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), optimize=("conductance", "voltage"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"adc_bits": (8, 6)}, r"hardware\.adc_bits: got '2 values'; allowed: one value for each of the 3"),
        ({"adc_bits": {"nowhere": 8}}, r"hardware\.adc_bits\.nowhere"),
        ({"adc_headroom": {"fc1": 1.0}}, r"hardware\.adc_headroom\.\S+: got None.*Add a value for"),
        ({"adc_bits": (8, 1, 8)}, r"hardware\.adc_bits\[1\]: got 1; allowed: an integer from 2"),
        ({"adc_headroom": (1.0, None, 1.0)}, r"hardware\.adc_headroom\[1\]: got None; allowed: a finite number > 0"),
        ({"dac_bits": ()}, r"hardware\.dac_bits: got \(\); allowed: values of 1 to"),
    ],
)
def test_what_does_not_fit_is_named(case: tuple[pp.Network, np.ndarray], fields: dict[str, Any], message: str) -> None:
    network, inputs = case
    if "adc_headroom" in fields and isinstance(fields["adc_headroom"], dict):
        fields = {"adc_bits": 6, "adc_headroom": {network.layer_names[0]: 1.0}}
    with pytest.raises(pp.InvalidInput, match=message):
        pp.plan(network, pp.Hardware(**fields), inputs, pp.MaxNMSE(0.02))


@pytest.mark.parametrize(
    "fields", [{"adc_bits": (8, None, 6)}, {"dac_bits": {"a": 8, "b": 6}, "adc_headroom": (0.5, 2)}]
)
@pytest.mark.parametrize("kind", [pp.Hardware, pc.Hardware, dict])
def test_every_door_carries_them(fields: dict[str, Any], kind: Callable[..., Any], tmp_path: Path) -> None:
    message = hardware_message(kind(**fields))
    hardware = pp.Hardware(**fields)
    assert hardware_from_proto(Reader.start(), message) == hardware == pp.Hardware.from_dict(hardware.to_dict())
    (tmp_path / "chip.toml").write_text(hardware.to_toml())
    assert pp.Hardware.from_toml(tmp_path / "chip.toml") == hardware
    assert {name: getattr(parse_hardware(message), name) for name in fields} == fields


def test_all_exact_is_no_converter() -> None:
    assert pp.Hardware(adc_bits=(None, None)) == pp.Hardware()
