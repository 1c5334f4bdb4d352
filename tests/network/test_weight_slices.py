"""Weights in slices: the same layer, its errors, and what its slices take."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import powerplan as pp
import powerplan_client as pc
from powerplan.cli.group import main
from powerplan.network.ops import CrossbarOp
from powerplan_client.networks import network_message
from powerplan_server.wire import Reader
from powerplan_server.wire.networks import network_from_proto

INPUTS = np.abs(np.random.default_rng(2).standard_normal((20, 6)))
COSTS = pp.Costs(
    adc={"type": "number", "energy_per_conversion": 2e-12, "conversion_time": 5e-9, "converter_area": 3e-10},
    dac=0.5e-12,
    shift_add_energy=1e-13,
    output_energy=2e-13,
    buffer_energy=1e-14,
    digital_time=10e-9,
)


def _weights(network: pp.Network) -> list[np.ndarray]:
    return [
        np.asarray(node.op.weight, dtype=np.float64) for node in network.crossbars if isinstance(node.op, CrossbarOp)
    ]


@pytest.mark.parametrize("bits", [(4, 4), (1, 2, 5), (2,)])
def test_slices_are_the_layer(two_layers: pp.Network, bits: tuple[int, ...]) -> None:
    network = two_layers
    sliced = network.with_weight_slices(bits)
    np.testing.assert_allclose(sliced(INPUTS), network(INPUTS), rtol=1e-6, atol=1e-6)
    slices, weight = _weights(sliced)[: len(bits)], _weights(network)[0]
    np.testing.assert_allclose(sum(slices), weight, atol=1e-6)
    step = np.abs(weight).max() / (2 ** sum(bits) - 1)
    for k, part in enumerate(slices[:-1]):
        digits = np.abs(part) / (step * 2 ** sum(bits[k + 1 :]))
        np.testing.assert_allclose(digits, np.round(digits), atol=1e-4)
        assert digits.max() <= 2 ** bits[k] - 1 + 1e-4
    assert np.all(np.sign(slices[-1]) * np.sign(weight) >= 0)


def test_errors_of_slices_count_by_what_they_are_worth(two_layers: pp.Network) -> None:
    network = two_layers.with_weight_slices((4, 4), layers="0")
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False)
    gains = pp.Gains.uniform(network, hardware, inputs=INPUTS)
    peaks = [np.abs(weight).max() for weight in _weights(network)[:2]]
    np.testing.assert_allclose(gains.conductance[:2], [1e-4 / peak for peak in peaks], rtol=1e-6)
    by_layer = pp.predict(network, hardware, gains, INPUTS).mse_by_layer
    assert network.layer_names == ("0.slice1", "0.slice2", "2")
    assert by_layer[1] / by_layer[0] == pytest.approx((peaks[1] / peaks[0]) ** 2, rel=1e-2)


def test_a_plan_gives_every_slice_its_gain(two_layers: pp.Network) -> None:
    network = two_layers.with_weight_slices((3, 3))
    hardware = pp.Hardware(conductance_min=1e-6, adc_bits=8)
    plan = pp.plan(network, hardware, INPUTS, pp.MaxNMSE(0.02))
    assert len(plan.gains.conductance) == 4
    simulation = pp.simulate(network, hardware, plan.gains, INPUTS, draws=1000)
    assert simulation.nmse == pytest.approx(0.02, rel=0.02 + 3 * simulation.mse_standard_error / simulation.mse)
    assert simulation.power == pytest.approx(plan.power, rel=0.01)


@pytest.mark.parametrize("shared", [False, True])
def test_costs_of_slices_by_hand(two_layers: pp.Network, shared: bool) -> None:
    network = two_layers
    hardware = pp.Hardware(adc_bits=8, dac_bits=8, read_time=1e-7, columns_per_adc=2, costs=COSTS)
    sliced = network.with_weight_slices((4, 2, 2), shared_converters=shared)
    costs = pp.predict(sliced, hardware, pp.Gains.uniform(sliced, hardware, inputs=INPUTS), INPUTS).costs
    assert costs is not None
    energy = costs.energy_of
    assert energy["adc"] == pytest.approx(3 * (4 + 2) * 2e-12)
    assert energy["dac"] == pytest.approx(3 * (6 + 4) * 0.5e-12)
    assert energy["shift_add"] == pytest.approx(3 * (4 + 2) * 1e-13)
    assert energy["outputs"] == pytest.approx((4 + 2) * 2e-13)
    assert energy["buffers"] == pytest.approx((6 + 4 + 4 + 2) * 8 * 1e-14)
    conversions = 2 * 3 if shared else 2
    assert costs.latency == pytest.approx(2 * (100e-9 + 10e-9 + conversions * 5e-9))
    area = dict(zip(costs.components, costs.area_by_component.sum(0), strict=True))
    assert area["adc"] == pytest.approx((1 if shared else 3) * (4 + 2) / 2 * 3e-10)
    assert costs.operations == 2 * (24 + 8)


def test_slices_travel(two_layers: pp.Network) -> None:
    network = two_layers
    sliced = network.with_weight_slices((4, 4), shared_converters=True)
    buffer = io.BytesIO()
    sliced.save(buffer)
    buffer.seek(0)
    assert pp.Network.load(buffer).digest == sliced.digest
    for message in (
        network_message(sliced),
        network_message(network, options={"weight_slices": (4, 4), "shared_converters": True}),
    ):
        reader = Reader.start(path="task.network")
        arrived = network_from_proto(reader, message)
        reader.done()
        assert arrived is not None
        assert arrived.digest == sliced.digest
        assert arrived.weight_slices == sliced.weight_slices


def test_layers_have_slices_of_their_own(two_layers: pp.Network) -> None:
    by_layers = {"0": (4, 4), "2": (1, 2, 5)}
    sliced = two_layers.with_weight_slices(by_layers, shared_converters=True)
    one_by_one = two_layers.with_weight_slices((4, 4), "0", shared_converters=True)
    one_by_one = one_by_one.with_weight_slices((1, 2, 5), "2", shared_converters=True)
    assert sliced.digest == one_by_one.digest
    assert two_layers.with_weight_slices({"-1": (2, 2)}).layer_names == ("0", "2.slice1", "2.slice2")
    reader = Reader.start(path="task.network")
    options = {"weight_slices": by_layers, "shared_converters": True}
    arrived = network_from_proto(reader, network_message(two_layers, options=options))
    reader.done()
    assert arrived is not None
    assert arrived.digest == sliced.digest


@pytest.mark.parametrize(
    ("given", "layers"),
    [
        (["4,4,shared"], ["linear1.slice1", "linear1.slice2", "linear2.slice1", "linear2.slice2"]),
        (["linear2:4,4"], ["linear1", "linear2.slice1", "linear2.slice2"]),
        (["0:4,4", "-1:2,2,4"], ["linear1.slice1", "linear1.slice2", *(f"linear2.slice{k}" for k in (1, 2, 3))]),
    ],
)
def test_the_command_line_slices(given: list[str], layers: list[str]) -> None:
    options = ["predict", "--example", "iris", "--json", *(f"--weight-slices={each}" for each in given)]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["layer_names"] == layers


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["4,4", "linear1:2,2"], "one for all layers, or one for each choice"),
        (["linear1:4,4,shared", "linear2:4,4"], "shared for some layers"),
        (["linear1:4,four"], "whole numbers of bits"),
        (["conv9:4,4"], r"weight_slices: got 'conv9'"),
        (["linear1:4,4", "linear*:2,2"], "take a layer once, and two take 'linear1'"),
    ],
)
def test_the_command_line_refuses_slices(given: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["predict", "--example", "iris", *(f"--weight-slices={each}" for each in given)])
    assert result.exit_code != 0
    assert re.search(message, " ".join(result.output.split()))


def test_places_of_refused_slices_in_the_message(two_layers: pp.Network) -> None:
    for by_layers, path in (
        ({"0": (4, 4), "2": (0, 4)}, "task.network.sliced_layers[1].bits"),
        ({"nothing": (4, 4)}, "task.network.sliced_layers"),
    ):
        reader = Reader.start(path="task.network")
        message = network_message(two_layers, options={"weight_slices": by_layers})
        assert network_from_proto(reader, message) is None
        with pytest.raises(pp.InvalidInput, match=re.escape(path)):
            reader.done()
    message.weight_slices.extend((4, 4))
    reader = Reader.start(path="task.network")
    assert network_from_proto(reader, message) is None
    with pytest.raises(pp.InvalidInput, match="none where weight_slices are of all layers"):
        reader.done()


def test_nonsense_is_refused(two_layers: pp.Network) -> None:
    with pytest.raises(pp.InvalidInput, match=r"weight_slices: got \(0, 4\)"):
        two_layers.with_weight_slices((0, 4))
    with pytest.raises(pp.InvalidInput, match=r"layers: got 'nothing'"):
        two_layers.with_weight_slices((4, 4), "nothing")


def test_slices_are_not_sliced(two_layers: pp.Network) -> None:
    """Costs count a layer's inputs, outputs and operations once, by its slices; slices of slices would be layers."""
    for sliced in (two_layers.with_weight_slices((4, 4)), two_layers.with_weight_slices((4, 4), "0")):
        with pytest.raises(pp.InvalidInput, match=r"slices of '0\.slice1'.*at once, as \(2, 2, 2, 2\)"):
            sliced.with_weight_slices((2, 2))
    reader = Reader.start(path="task.network")
    assert network_from_proto(reader, network_message(sliced, options={"weight_slices": (2, 2)})) is None
    with pytest.raises(pp.InvalidInput, match=r"task\.network\.weight_slices"):
        reader.done()


def test_a_network_of_the_client_has_slices() -> None:
    weights = [np.asarray([[1.0, -0.5], [0.25, 0.1]])] * 2
    network = pc.Network.mlp(weights)
    hardware, inputs, target = pp.Hardware(programming_noise_std=1e-6), np.ones((4, 2)), pc.MaxNMSE(0.05)
    with pc.PlannerClient.local() as client:
        for bits in ((4, 4), {"linear2": (2, 6)}):
            sliced = network.with_weight_slices(bits, shared_converters=True)
            plan = client.plan(sliced, hardware, inputs, target)
            option = client.plan(network, hardware, inputs, target, weight_slices=bits, shared_converters=True)
            assert plan.gains.conductance == option.gains.conductance
            assert plan.prediction.layer_names == pp.Network.mlp(weights).with_weight_slices(bits).layer_names
            with pytest.raises(pc.InvalidRequest, match="the network has slices"):
                sliced.with_weight_slices((2, 2))
            with pytest.raises(pc.InvalidRequest, match="the network has slices"):
                client.plan(sliced, hardware, inputs, target, weight_slices=(2, 2))


def test_a_plan_of_slices_asks_for_them(two_layers: pp.Network, tmp_path: Path) -> None:
    """Whatever takes a plan and its network says that the network's weights must be sliced too."""
    hardware = pp.Hardware(programming_noise_std=1e-6)
    plan = pp.plan(two_layers.with_weight_slices((4, 4)), hardware, INPUTS, pp.MaxNMSE(0.05))
    plan.save(tmp_path / "plan.json")
    two_layers.save(tmp_path / "net.npz")
    np.save(tmp_path / "x.npy", INPUTS)
    network, inputs = ["--network", str(tmp_path / "net.npz")], ["--inputs", str(tmp_path / "x.npy")]
    file, out = str(tmp_path / "plan.json"), str(tmp_path / "out")
    for command in (
        ["report", file, *network, "--output", f"{out}.html"],
        ["export", file, *network, "--output", f"{out}.npz"],
        ["explain", file, *network, *inputs],
        ["predict", "--gains", file, *network, *inputs],
        ["simulate", "--gains", file, *network, *inputs, "--draws", "5"],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, result.output
        assert "0.slice1" in result.stderr
        assert "--weight-slices" in result.stderr
    with pytest.raises(pp.InvalidInput, match="with_weight_slices"):
        pp.plot_arrays(plan, two_layers)
    assert (
        CliRunner().invoke(main, ["predict", "--gains", file, *network, *inputs, "--weight-slices=4,4"]).exit_code == 0
    )
