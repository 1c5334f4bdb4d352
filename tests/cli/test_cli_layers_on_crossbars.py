"""Which layers are on crossbars: on the command line, in messages and in study files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import powerplan as pp
import powerplan_client as pc
from powerplan.batch import Study
from powerplan.deployment.export import Export
from powerplan.errors import InvalidInput
from powerplan.network import Activation, Node
from powerplan_client._generated import v1 as pb
from powerplan_client.networks import network_message
from powerplan_server.wire import Reader
from powerplan_server.wire.networks import network_from_proto

RNG = np.random.default_rng(2)
NETWORK = pp.Network.mlp([RNG.normal(size=(4, 4)) for _ in range(3)])
INPUTS = RNG.normal(size=(6, 4))
CHOICES: list[tuple[dict[str, list[str]], tuple[str, ...]]] = [
    ({"digital": ["-1"]}, ("linear1", "linear2")),
    ({"digital": ["linear1", "2"]}, ("linear2",)),
    ({"analog": ["*2"]}, ("linear2",)),
    ({"analog": ["linear"], "digital": ["0"]}, ("linear2", "linear3")),
]
BAD = [
    ({"digital": ["linear9"]}, "digital", "linear9"),
    ({"analog": ["3"]}, "analog", "3"),
    ({"digital": ["*"]}, "digital", r"\*"),
    ({"digital": ["99999999999999999999"]}, "digital", "99999"),
]


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name the network and its inputs."""
    monkeypatch.chdir(tmp_path)
    NETWORK.save("net.npz")
    np.save("x.npy", INPUTS)
    return ["--network", "net.npz", "--inputs", "x.npy"]


def flags(choice: dict[str, list[str]]) -> list[str]:
    return [word for name, parts in choice.items() for part in parts for word in (f"--{name}", part)]


def test_a_number_as_text_is_a_number_unless_a_layer_is_named_so() -> None:
    renamed = pp.Network(
        input_shape=(4,),
        nodes=tuple(
            Node(name=name, op=node.op, inputs=(source,))
            for name, source, node in zip(
                ["1", "b", "c"], ["input", "1", "b"], [n for n in NETWORK.nodes if n.op.is_crossbar], strict=True
            )
        ),
    )
    assert renamed.with_analog(digital="1").layer_names == ("b", "c")
    assert renamed.with_analog(digital=1).layer_names == ("1", "c")
    assert renamed.with_analog(digital=["2"]).layer_names == ("1", "b")


@pytest.mark.parametrize(("choice", "layers"), CHOICES)
def test_a_plan_is_for_the_chosen_layers(
    run: Callable[..., Result], problem: list[str], choice: dict[str, list[str]], layers: tuple[str, ...]
) -> None:
    """The same plan as from Python, from a client with a file, and from a message; export takes the same choice."""
    network = NETWORK.with_analog(**choice)  # type: ignore[arg-type]
    assert network.layer_names == layers
    result = run("plan", problem, flags(choice), "--max-nmse", "5%", "--output", "plan.json")
    assert result.exit_code == 0, result.stderr
    plan = pp.Plan.load("plan.json")
    assert plan.provenance["network_sha256"] == network.digest
    answer = pc.PlannerClient.local().plan("net.npz", None, INPUTS, pc.MaxNMSE(0.05), **choice)  # type: ignore[arg-type]
    assert answer.prediction.layer_names == layers
    assert answer.gains.conductance == plan.gains.conductance
    shown = run("show", "net.npz", flags(choice), "--json")
    assert [node["crossbar"] for node in json.loads(shown.stdout)["nodes"]].count(True) == len(layers)
    done = run("export", "plan.json", "--network", "net.npz", flags(choice), "--output", "tiles.npz")
    assert done.exit_code == 0, done.stderr
    assert run("report", "plan.json", "--network", "net.npz", flags(choice), "--output", "r.html").exit_code == 0


def test_arrays_that_are_read_again_are_planned_with_one_gain_each(
    run: Callable[..., Result], problem: list[str]
) -> None:
    """At all doors; --reads separate gives every read an array."""
    square = NETWORK.crossbars[0].op
    nodes = (
        Node(name="one", op=square, inputs=("input",), array="both"),
        Node(name="tanh", op=Activation(kind="tanh"), inputs=("one",)),
        Node(name="two", op=square, inputs=("tanh",), array="both"),
    )
    network = pp.Network(input_shape=(4,), nodes=nodes)
    network.save("net.npz")
    for reads, layers in (("shared", ("both",)), ("separate", ("one", "two"))):
        options = ["--reads", reads]
        result = run("plan", problem, options, "--max-nmse", "5%", "--output", f"{reads}.json")
        assert result.exit_code == 0, result.stderr
        plan = pp.Plan.load(f"{reads}.json")
        assert plan.prediction.layer_names == layers
        assert plan.termination.outcome.value == "optimal"
        answer = pc.PlannerClient.local().plan(network, None, INPUTS, pc.MaxNMSE(0.05), reads=reads)
        assert answer.gains.conductance == plan.gains.conductance
        shown = json.loads(run("show", "net.npz", options, "--json").stdout)["nodes"]
        assert [node.get("array") for node in shown] == (["both", None, "both"] if reads == "shared" else [None] * 3)
        done = run("export", f"{reads}.json", "--network", "net.npz", options, "--output", f"{reads}.npz", "--json")
        assert done.exit_code == 0, done.stderr
        exported = Export.load(f"{reads}.npz")
        assert [(layer.name, layer.reads) for layer in exported.layers] == [(name, 3 - len(layers)) for name in layers]
        assert (
            run("report", f"{reads}.json", "--network", "net.npz", options, "--output", f"{reads}.html").exit_code == 0
        )
        explained = run("explain", f"{reads}.json", problem, options)
        assert explained.exit_code == 0, explained.stderr
    with pytest.raises(pc.InvalidRequest, match="reads"):
        pc.PlannerClient.local().predict(network, None, None, INPUTS, reads="both")


@pytest.mark.parametrize(("choice", "field", "value"), BAD)
def test_choices_that_take_nothing_or_leave_nothing(
    run: Callable[..., Result], problem: list[str], choice: dict[str, list[str]], field: str, value: str
) -> None:
    result = run("predict", problem, flags(choice))
    assert result.exit_code == 2
    assert f"error: {field}: got" in result.stderr
    message = network_message(NETWORK)
    for name, parts in choice.items():
        getattr(message, f"{name}_layers").extend(parts)
    reader = Reader.start(path="task.network")
    assert network_from_proto(reader, message) is None
    with pytest.raises(InvalidInput, match=rf"task\.network\.{field}_layers: got .*{value}"):
        reader.done()


@pytest.mark.parametrize("parts", [["x" * 300], ["a\0b"], [""], ["*"] * 101])
def test_hostile_choices_are_refused(parts: list[str]) -> None:
    message = network_message(NETWORK)
    message.digital_layers.extend(parts)
    reader = Reader.start()
    assert network_from_proto(reader, pb.Network.FromString(message.SerializeToString())) is None
    with pytest.raises(InvalidInput, match="digital_layers"):
        reader.done()


def test_the_client_refuses_what_no_message_can_hold() -> None:
    with pytest.raises(pc.InvalidRequest, match="analog"):
        pc.PlannerClient.local().predict(NETWORK, None, None, INPUTS, analog=len)  # type: ignore[arg-type]


def test_a_study_compares_choices(workers_in_threads: None, problem: list[str], tmp_path: Path) -> None:
    """One file under two names: all layers on crossbars, and without the last; numbers need no quotes."""
    values: dict[str, Any] = {
        "networks": {"all": {"file": "net.npz"}, "hybrid": {"file": "net.npz", "digital": [-1]}},
        "inputs": {"x": {"file": "x.npy"}},
        "grid": {"target": {"max_nmse": 0.05}},
    }
    result = Study.from_dict(values, base=tmp_path).run(workers=1)
    assert [point.failure for point in result.points] == [None, None]
    assert [len(point.plan.gains.conductance) for point in result.done if point.plan] == [3, 2]
    values["networks"]["hybrid"]["digital"] = ["linear9"]
    failed = Study.from_dict(values, base=tmp_path).run(workers=1).failed
    assert [(p.failure.code, "linear9" in p.failure.message) for p in failed if p.failure] == [("unreadable", True)]
    with pytest.raises(InvalidInput, match=r"networks\.hybrid\.digital"):
        Study.from_dict({**values, "networks": {"hybrid": {"file": "net.npz", "digital": 1.5}}})
