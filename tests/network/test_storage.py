"""Network files: what is written comes back bit for bit, and nothing a file holds can do harm."""

from __future__ import annotations

import copy
import io
import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from powerplan import CorruptFile, InvalidInput, Network
from powerplan.network import Activation, Conv, Flatten, Linear, Node, Scale, from_parts, to_parts


def network() -> Network:
    """Every operation, float32 and float64, with and without bias, a name that is no file name."""
    rng = np.random.default_rng(0)
    leaky = Activation(kind="leaky_relu", parameters={"negative_slope": 0.1})
    nodes = (
        Node(name="flat", op=Flatten(), inputs=("input",)),
        Node(name="../a/β", op=Linear(weight=rng.normal(size=(3, 4)).astype(np.float32)), inputs=("flat",)),
        Node(name="act", op=leaky, inputs=("../a/β",)),
        Node(name="scale", op=Scale(scale=rng.normal(size=3), shift=rng.normal(size=3)), inputs=("act",)),
        Node(name="out", op=Linear(weight=rng.normal(size=(2, 3)), bias=rng.normal(size=2)), inputs=("scale",)),
    )
    return Network(input_shape=(2, 2), nodes=nodes)


def saved(net: Network) -> bytes:
    stream = io.BytesIO()
    net.save(stream)
    return stream.getvalue()


CONTENT = saved(network())


def load(content: bytes) -> Network:
    return Network.load(io.BytesIO(content))


def rebuilt(change: Callable[[dict[str, bytes]], None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The saved file with its members changed."""
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as writer:
        for name, content in members.items():
            writer.writestr(name, content)
    return stream.getvalue()


def with_structure(change: Callable[[dict[str, Any]], None]) -> bytes:
    """The saved file with its JSON changed."""

    def edit(members: dict[str, bytes]) -> None:
        head = json.loads(members["network.json"])
        change(head)
        members["network.json"] = json.dumps(head).encode()

    return rebuilt(edit)


def with_member(name: str, content: bytes) -> bytes:
    """The saved file with one member replaced or added."""
    return rebuilt(lambda members: members.update({name: content}))


def refuse(content: bytes) -> str:
    with pytest.raises(CorruptFile) as caught:
        load(content)
    for violation in caught.value.violations:
        assert violation.field
        assert violation.allowed
        assert violation.advice
    return str(caught.value)


def test_round_trip_keeps_every_bit(tmp_path: Path) -> None:
    """Digest, types, names and attributes survive, through a path and through a stream; equal bytes come out."""
    original = network()
    path = tmp_path / "model.npz"
    original.save(path)
    for copied in (Network.load(path), Network.load(str(path)), load(CONTENT)):
        assert copied.digest == original.digest
        assert saved(copied) == CONTENT == path.read_bytes()
        for old, new in zip(original.nodes, copied.nodes, strict=True):
            assert (old.name, old.inputs, old.op.attributes()) == (new.name, new.inputs, new.op.attributes())
            for key, array in old.op.tensors().items():
                assert new.op.tensors()[key].dtype == array.dtype
                assert new.op.tensors()[key].tobytes() == array.tobytes()
                assert not new.op.tensors()[key].flags.writeable


@settings(max_examples=30)
@given(
    weight=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=4),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_any_weights_survive(weight: np.ndarray) -> None:
    """Signed zeros and subnormal numbers too."""
    net = Network.mlp([weight])
    assert load(saved(net)).digest == net.digest


def test_numpy_reads_the_arrays() -> None:
    """The format is open: numpy and json alone read it."""
    with np.load(io.BytesIO(CONTENT), allow_pickle=False) as arrays:
        assert json.loads(arrays["network.json"])["format"] == "powerplan.network"
        assert arrays["4.bias"].dtype == np.float64


def test_save_is_atomic_and_leaves_no_scratch_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write leaves the old file as it was, and nothing else in the folder."""
    path = tmp_path / "model.npz"
    network().save(path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o400

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InvalidInput, match="No space left"):
        Network.mlp([np.eye(2)]).save(path)
    assert path.read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["model.npz"]


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        Network.load(tmp_path / "none.npz")
    with pytest.raises(InvalidInput, match="cannot be read"):
        Network.load(tmp_path)
    with pytest.raises(InvalidInput, match="cannot be written"):
        network().save(tmp_path / "no folder" / "model.npz")


def test_every_truncation_is_found() -> None:
    for length in range(0, len(CONTENT), 7):
        refuse(CONTENT[:length])


def test_every_damaged_tensor_byte_is_found() -> None:
    """A flipped bit in a weight is found by the member's checksum."""
    weight = network().nodes[4].op.tensors()["weight"].tobytes()
    start = CONTENT.index(weight)
    for offset in range(len(weight)):
        damaged = bytearray(CONTENT)
        damaged[start + offset] ^= 1
        refuse(bytes(damaged))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + bytes(18), b'{"format": 1}']
)
def test_foreign_files(content: bytes) -> None:
    refuse(content)


def test_foreign_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    assert "network.json" in refuse((tmp_path / "other.npz").read_bytes())


def test_newer_version_says_to_upgrade() -> None:
    def newer(head: dict[str, Any]) -> None:
        head["format_version"] = 3
        head["something new"] = {}

    assert "upgrade" in refuse(with_structure(newer))
    for version in (0, -1, True, "1", None, 1.5):
        refuse(with_structure(lambda head, v=version: head.update(format_version=v)))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda h: h.update(format="other"), "format"),
        (lambda h: h.pop("nodes"), "nodes"),
        (lambda h: h.update(outptu="x"), "Did you mean 'output'"),
        (lambda h: h.update(input_shape=[2, -2]), "input_shape"),
        (lambda h: h.update(input_shape=[2.5]), "input_shape"),
        (lambda h: h.update(input_shape=[10**40]), "flat"),
        (lambda h: h.update(output=3), "output"),
        (lambda h: h.update(output="none"), "output"),
        (lambda h: h.update(nodes={}), "nodes"),
        (lambda h: h.update(nodes=[]), "tensors"),
        (lambda h: h["nodes"].append(3), "nodes[5]"),
        (lambda h: h["nodes"][1].update(type="conv9"), "nodes[1]"),
        (lambda h: h["nodes"][1].update(type=["linear"]), "nodes[1].type"),
        (lambda h: h["nodes"][1].update(name=7), "nodes[1].name"),
        (lambda h: h["nodes"][1].update(name="flat"), "used once"),
        (lambda h: h["nodes"][1].update(inputs="flat"), "nodes[1].inputs"),
        (lambda h: h["nodes"][1].update(inputs=["out"]), "cycle"),
        (lambda h: h["nodes"][1].update(inputs=["nowhere"]), "nowhere"),
        (lambda h: h["nodes"][1].update(inputs=["flat", "flat"]), "1 names"),
        (lambda h: h["nodes"][1].update(color="red"), "nodes[1].color"),
        (lambda h: h["nodes"][1].update(tensors={}), "nodes[1]"),
        (lambda h: h["nodes"][1].update(tensors={"weight": "9.weight"}), "nodes[1].tensors.weight"),
        (lambda h: h["nodes"][1].update(tensors={"weight": ["x"]}), "nodes[1].tensors.weight"),
        (lambda h: h["nodes"][1].update(attributes={"weight": [[1.0] * 4]}, tensors={}), "nodes[1]"),
        (lambda h: h["nodes"][2]["attributes"].update(kind="relux"), "Did you mean 'relu'"),
        (lambda h: h["nodes"][2]["attributes"].update(kind=["relu"]), "activation"),
        (lambda h: h["nodes"][2]["attributes"].update(parameters="abc"), "parameters"),
        (lambda h: h["nodes"][2]["attributes"].update(parameters={"negative_slope": "x"}), "negative_slope"),
        (lambda h: h["nodes"][2]["attributes"].update(parameters={"negative_slope": 10**400}), "negative_slope"),
        (lambda h: h["nodes"][2]["attributes"].update(parameters={"slope": 1}), "slope"),
        (lambda h: h["nodes"][4]["tensors"].update(bias="1.weight"), "nodes[4].tensors.bias"),
    ],
)
def test_structure_is_checked(change: Callable[[dict[str, Any]], None], named: str) -> None:
    """Whatever is wrong in the JSON is named by its path."""
    assert named in refuse(with_structure(change))


def test_all_violations_are_listed() -> None:
    def spoil(head: dict[str, Any]) -> None:
        head["input_shape"] = []
        head["nodes"][1]["color"] = "red"
        head["nodes"][2]["attributes"]["kind"] = "relux"

    message = refuse(with_structure(spoil))
    assert "input_shape" in message
    assert "nodes[1].color" in message
    assert "nodes[2]" in message


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b'{"a": 1, "a": 2}', b"1" * 5000]
)
def test_json_that_is_not_a_structure(text: bytes) -> None:
    refuse(with_member("network.json", text))


def npy(array: np.ndarray, **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **kwargs)
    return stream.getvalue()


def test_arrays_are_checked() -> None:
    """Missing, left over, of another type or order, pickled, infinite, or not as large as declared: all named."""
    good = npy(np.ones((3, 4), np.float32))
    header = b"(3, 4), }" + b" " * 16
    assert header in good
    huge = good.replace(header, b"(999999999, 999999999), }")  # of the same length: the header stays well formed
    for content in (
        npy(np.ones((3, 4), np.int64)),
        npy(np.ones((3, 4), ">f4")),
        npy(np.ones((3, 4), np.complex64)),
        npy(np.asfortranarray(np.ones((3, 4), np.float32))),
        npy(np.array([[None] * 4] * 3), allow_pickle=True),
        npy(np.full((3, 4), np.nan, np.float32)),
        npy(np.ones((4, 3), np.float32)),
        good[:-1],
        good + b"\0",
        huge,
        good.replace(b"(3, 4)", b"(3,-4)"),
        good.replace(b"(3, 4)", b"(    )"),
        b"",
    ):
        message = refuse(with_member("1.weight.npy", content))
        assert any(name in message for name in ("1.weight", "nodes[1]", "'../a/β'"))
    assert "nodes[1].tensors.weight" in refuse(rebuilt(lambda m: m.__delitem__("1.weight.npy")))
    assert "tensors" in refuse(with_member("9.weight.npy", good))
    for name in ("../evil", "/etc/evil", "readme.txt", "sub/"):
        assert name in refuse(with_member(name, b""))


def test_small_files_cannot_claim_much_memory() -> None:
    """Compressed members, and members that together exceed the file, are refused before they are read."""
    assert "compression" in refuse(rebuilt(lambda m: None, zipfile.ZIP_DEFLATED))
    zeros = npy(np.zeros((1000, 1000)))
    assert "compression" in refuse(rebuilt(lambda m: m.update({"1.weight.npy": zeros}), zipfile.ZIP_DEFLATED))
    # Directory entries that all point at the same member: the sum of their sizes gives them away.
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as writer:
        writer.writestr("0.weight.npy", bytes(100_000))
        for i in range(1, 200):
            info = copy.copy(writer.filelist[0])
            info.filename = f"{i}.weight.npy"
            writer.filelist.append(info)
    assert "fit the file" in refuse(stream.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_given_twice_are_refused() -> None:
    stream = io.BytesIO(CONTENT)
    with zipfile.ZipFile(stream, "a") as writer:
        writer.writestr("1.weight.npy", npy(np.ones((3, 4), np.float32)))
    assert "different names" in refuse(stream.getvalue())


@pytest.mark.slow
@settings(max_examples=400)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), max_size=4),
    cut=st.one_of(st.none(), st.tuples(st.integers(0, len(CONTENT)), st.binary(max_size=8))),
)
def test_mutated_files_never_surprise(edits: list[tuple[int, int]], cut: tuple[int, bytes] | None) -> None:
    """Any damage gives a CorruptFile or, where it hits what does not matter, a valid network; nothing else."""
    damaged = bytearray(CONTENT)
    for position, value in edits:
        damaged[position] = value
    if cut is not None:
        damaged[cut[0] :] = cut[1]
    try:
        net = load(bytes(damaged))
    except CorruptFile:
        return
    assert net(np.ones((1, *net.input_shape))).shape == (1, *net.output_shape)


JSON = CONTENT[CONTENT.index(b"{") : CONTENT.index(b"\n}") + 2]


@pytest.mark.slow
@settings(max_examples=400)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(JSON) - 1), st.sampled_from([b"0", b"1", b'"', b"[", b"]", b"{", b"}", b"", b"-", b"e"])
        ),
        min_size=1,
        max_size=3,
    )
)
def test_mutated_structures_never_surprise(edits: list[tuple[int, bytes]]) -> None:
    """The same for the JSON under a right checksum."""
    text = JSON
    for position, value in edits:
        text = text[:position] + value + text[position + 1 :]
    try:
        load(with_member("network.json", text))
    except CorruptFile:
        return


def test_parts_are_plain_and_reusable() -> None:
    """The structure survives JSON, and the parts give the same network; unknown keys are refused."""
    structure, tensors = to_parts(network())
    assert from_parts(json.loads(json.dumps(structure)), tensors).digest == network().digest
    with pytest.raises(InvalidInput, match="Did you mean 'nodes'"):
        from_parts({**structure, "node": []}, tensors)
    bad: Any
    for bad in (None, [], "x", {1: 2}):
        with pytest.raises(InvalidInput):
            from_parts(bad, tensors)
    with pytest.raises(InvalidInput, match="float32 or float64"):
        from_parts(structure, {**tensors, "1.weight": np.ones((3, 4), object)})
    with pytest.raises(InvalidInput, match="float32 or float64"):
        from_parts(structure, {**tensors, "1.weight": [[1.0]]})  # type: ignore[dict-item]


def read_twice(stride: int = 1) -> Network:
    """One kernel read by two nodes, and a layer of its own."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 3))
    nodes = (
        Node(name="one", op=Conv(weight=kernel, padding=((1, 1),)), inputs=("input",), array="kernel"),
        Node(name="two", op=Conv(weight=kernel, padding=((1, 1),), stride=(stride,)), inputs=("one",), array="kernel"),
        Node(name="flat", op=Flatten(), inputs=("two",)),
        Node(name="head", op=Linear(weight=rng.normal(size=(2, 3 * -(-6 // stride)))), inputs=("flat",)),
    )
    return Network(input_shape=(3, 6), nodes=nodes)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_array_with_several_reads_is_stored_once(stride: int) -> None:
    """Where the operations are the same; of others the tensors are stored with each."""
    network = read_twice(stride)
    structure, tensors = to_parts(network)
    assert sorted(tensors) == ["0.weight", *(["1.weight"] if stride > 1 else []), "3.weight"]
    assert [node.get("array") for node in structure["nodes"]] == ["kernel", "kernel", None, None]
    loaded = from_parts(structure, tensors)
    assert loaded.digest == network.digest
    assert loaded.layer_names == ("kernel", "head")
    buffer = io.BytesIO()
    network.save(buffer)
    buffer.seek(0)
    assert Network.load(buffer).digest == network.digest


def test_tensors_are_taken_from_a_read_of_the_same_array_only() -> None:
    structure, tensors = to_parts(read_twice())
    for change in ({"array": "other"}, {"attributes": {"stride": [2]}}, {"type": "linear", "attributes": {}}):
        nodes = [dict(node) for node in structure["nodes"]]
        nodes[1] |= change
        with pytest.raises(InvalidInput, match="weight"):
            from_parts({**structure, "nodes": nodes}, tensors)
