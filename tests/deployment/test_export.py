"""An export holds what to program: its tiles rebuild the network, and its files survive nothing but intact reading."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
from powerplan.deployment import Export
from powerplan.network import Conv, Linear, Node


def mlp(seed: int = 0, widths: tuple[int, ...] = (6, 12, 8, 3)) -> pp.Network:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) for a, b in pairwise(widths)]
    return pp.Network.mlp(weights, [rng.normal(size=b) * 0.1 for b in widths[1:]])


def inputs(network: pp.Network) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (16, *network.input_shape))


def rebuilt(network: pp.Network, made: Export) -> pp.Network:
    """The network with every matrix replaced by what the exported tiles compute."""
    layers = {layer.name: layer for layer in made.layers}
    nodes = tuple(
        Node(
            name=n.name,
            inputs=n.inputs,
            op=replace(
                n.op,
                weight=layers[n.name].matrix.reshape(n.op.weight.shape),
                bias=layers[n.name].stored_bias if layers[n.name].has_bias_row else layers[n.name].bias,
            ),
        )
        if n.name in layers and isinstance(n.op, Linear | Conv)
        else n
        for n in network.nodes
    )
    return pp.Network(input_shape=network.input_shape, nodes=nodes, output=network.output)


@pytest.fixture(scope="module")
def planned() -> tuple[pp.Network, pp.Plan]:
    network = mlp()
    hardware = pp.Hardware(conductance_min=2e-6, programming_noise_std=1e-6)
    return network, pp.plan(network, hardware, inputs(network), pp.MaxNMSE(0.05))


def same(a: Export, b: Export) -> bool:
    """Equal in every number."""
    if (a.hardware, a.network_sha256, a.plan_sha256) != (b.hardware, b.network_sha256, b.plan_sha256):
        return False
    for one, other in zip(a.layers, b.layers, strict=True):
        vectors = (
            "conductance_gain",
            "voltage_gain",
            "scale",
            "bias",
            "weight_offset",
            "conductance_min",
            "has_bias_row",
        )
        if not all(np.array_equal(getattr(one, v), getattr(other, v)) for v in vectors):
            return False
        for left, right in zip(one.tiles, other.tiles, strict=True):
            if (left.group, left.rows, left.outputs) != (right.group, right.rows, right.outputs):
                return False
            if not all(np.array_equal(a, b) for a, b in zip(left.sides, right.sides, strict=True)):
                return False
    return True


@pytest.mark.parametrize(("rows", "columns"), [(None, None), (4, 6), (5, 2), (2, 3), (1000, 1000)])
@pytest.mark.parametrize(
    "mapping",
    [{}, {"weight_mapping": "offset"}, {"bias_mapping": "row"}, {"weight_mapping": "offset", "bias_mapping": "row"}],
    ids=["pairs", "offset", "row of biases", "offset and row of biases"],
)
def test_the_tiles_rebuild_the_networks_output(rows: int | None, columns: int | None, mapping: dict[str, str]) -> None:
    network = mlp()
    x = inputs(network)
    hardware = pp.Hardware(conductance_min=1e-6, array_rows=rows, array_columns=columns, **mapping)
    gains = pp.Gains.uniform(network, hardware, inputs=x)
    made = Export.of(network, hardware, gains)
    np.testing.assert_allclose(rebuilt(network, made)(x), network(x), rtol=1e-10, atol=1e-12)
    for layer in made.layers:
        for tile in layer.tiles:
            height, width = tile.positive.shape
            assert height <= (rows or height)
            assert len(tile.sides) == hardware.devices_per_weight
            assert len(tile.sides) * width <= (columns or len(tile.sides) * width)
            assert hardware.conductance_min <= min(side.min() for side in tile.sides)
            assert max(side.max() for side in tile.sides) <= hardware.conductance_max * (1 + 1e-12)


@pytest.mark.parametrize("mapping", ["differential", "offset"])
def test_column_gains_and_row_voltages_are_decoded(mapping: str) -> None:
    """A gain per column and a voltage per row end up in the conductances and in the scale, not in the output."""
    network = mlp(widths=(5, 7, 4))
    hardware = pp.Hardware(weight_mapping=mapping, bias_mapping="row", conductance_min=2e-6)
    x = inputs(network)
    rng = np.random.default_rng(3)
    gains = pp.Gains(
        conductance=(rng.uniform(1e-6, 4e-6, 7), 3e-6), voltage=(0.1, np.asarray(rng.uniform(0.05, 0.1, 7)))
    )
    made = Export.of(network, hardware, gains)
    np.testing.assert_allclose(rebuilt(network, made)(x), network(x), rtol=1e-10, atol=1e-12)
    assert len(set(made.layers[0].scale)) == 7


@pytest.mark.parametrize("bias", ["digital", "row"])
def test_a_grouped_convolution_keeps_its_groups_apart(bias: str) -> None:
    rng = np.random.default_rng(4)
    conv = Conv(weight=rng.normal(size=(6, 2, 3, 3)), bias=rng.normal(size=6), groups=2)
    network = pp.Network(input_shape=(4, 6, 6), nodes=(Node(name="conv", op=conv, inputs=("input",)),))
    hardware = pp.Hardware(array_rows=7, array_columns=4, bias_mapping=bias)
    gains = pp.Gains(conductance=(1e-6,), voltage=(0.1,))
    made = Export.of(network, hardware, gains)
    (layer,) = made.layers
    assert layer.reads == 16
    for tile in layer.tiles:
        assert all(output // 3 == tile.group for output in range(*tile.outputs))
        assert all(row // (19 if bias == "row" else 18) == tile.group for row in range(*tile.rows))
    x = inputs(network)
    np.testing.assert_allclose(rebuilt(network, made)(x), network(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("format", ["npz", "csv"])
def test_files_hold_an_offset_mapping(tmp_path: Path, format: str) -> None:
    network = mlp()
    hardware = pp.Hardware(conductance_min=2e-6, weight_mapping="offset", bias_mapping="row", array_rows=5)
    made = Export.of(network, hardware, pp.Gains.uniform(network, hardware, inputs=inputs(network)))
    made.save(tmp_path / "out", format=format)
    assert same(made, Export.load(tmp_path / "out"))
    assert made.layers[0].weight_offset == pytest.approx(-network.crossbars[0].op.matrix.min())


@pytest.mark.parametrize("format", ["npz", "csv"])
def test_files_hold_every_number(planned: tuple[pp.Network, pp.Plan], tmp_path: Path, format: str) -> None:
    network, plan = planned
    made = pp.export(plan, network, tmp_path / "out", format=format)
    assert same(made, Export.load(tmp_path / "out"))
    assert made.plan_sha256 is not None


def test_npz_is_read_by_numpy_alone(planned: tuple[pp.Network, pp.Plan], tmp_path: Path) -> None:
    network, plan = planned
    made = pp.export(plan, network, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["layer001_tile00001_positive"], made.layers[0].tiles[0].positive)
        manifest = json.loads(bytes(arrays["manifest.json"]))
    assert manifest["network_sha256"] == network.digest
    assert manifest["layers"][0]["tiles"][0]["positive"]["unit"] == "S"


@pytest.mark.parametrize("format", ["npz", "csv"])
def test_nothing_is_overwritten_unless_asked(planned: tuple[pp.Network, pp.Plan], tmp_path: Path, format: str) -> None:
    network, plan = planned
    path = tmp_path / "out"
    pp.export(plan, network, path, format=format)
    with pytest.raises(pp.InvalidInput, match="does not exist yet"):
        pp.export(plan, network, path, format=format)
    pp.export(plan, network, path, format=format, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_foreign_folder_is_never_replaced(planned: tuple[pp.Network, pp.Plan], tmp_path: Path) -> None:
    network, plan = planned
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(pp.InvalidInput, match="never replaced"):
        pp.export(plan, network, tmp_path / "mine", format="csv", overwrite=True)
    with pytest.raises(pp.InvalidInput, match="a file for format 'npz'"):
        pp.export(plan, network, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_a_changed_table_is_found(planned: tuple[pp.Network, pp.Plan], tmp_path: Path) -> None:
    network, plan = planned
    pp.export(plan, network, tmp_path / "out", format="csv")
    table = tmp_path / "out" / "layer001_tile00001_positive.csv"
    table.write_text(table.read_text().replace("e-0", "e-1", 1))
    with pytest.raises(pp.CorruptFile, match="SHA-256"):
        Export.load(tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 10, 500, -30])
def test_a_truncated_file_is_refused(planned: tuple[pp.Network, pp.Plan], tmp_path: Path, keep: int) -> None:
    network, plan = planned
    pp.export(plan, network, tmp_path / "out.npz")
    content = (tmp_path / "out.npz").read_bytes()
    (tmp_path / "out.npz").write_bytes(content[:keep])
    with pytest.raises(pp.CorruptFile):
        Export.load(tmp_path / "out.npz")


def test_bad_requests_say_what_is_wrong(planned: tuple[pp.Network, pp.Plan], tmp_path: Path) -> None:
    network, plan = planned
    with pytest.raises(pp.InvalidInput, match="network of the plan"):
        pp.export(plan, mlp(seed=9))
    with pytest.raises(pp.InvalidInput, match=r"(?s)plan: .*network: .*powerplan.Network. Check their order"):
        pp.export(network, plan)  # type: ignore[arg-type]
    with pytest.raises(pp.InvalidInput, match="format"):
        pp.export(plan, network, format="xlsx")
    with pytest.raises(pp.InvalidInput, match="existing folder"):
        pp.export(plan, network, tmp_path / "nowhere" / "out.npz")
    with pytest.raises(pp.InvalidInput, match="cannot be read"):
        Export.load(tmp_path / "missing.npz")
