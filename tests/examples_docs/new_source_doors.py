"""The made-up error source of docs/new-source.md at every door; run in a copy of powerplan that has it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import powerplan as pp
from powerplan.batch.schema import file_schema
from powerplan.cli import main
from powerplan.deployment import aihwkit
from powerplan.network import Node, ops
from powerplan_client import Hardware, PlannerClient

FIELD = "column_offset_std"
RNG = np.random.default_rng(0)
NODES = (
    Node(name="conv", op=ops.Conv(weight=RNG.normal(size=(2, 1, 3, 3))), inputs=("input",)),
    Node(name="relu", op=ops.Activation(kind="relu"), inputs=("conv",)),
    Node(name="flatten", op=ops.Flatten(), inputs=("relu",)),
    Node(name="linear", op=ops.Linear(weight=RNG.normal(size=(3, 18))), inputs=("flatten",)),
)
NETWORK = pp.Network(input_shape=(1, 5, 5), nodes=NODES, output="linear")
INPUTS = RNG.normal(size=(4, 1, 5, 5))
QUIET = pp.Hardware(programming_noise_std=1e-7)
NOISY = QUIET.replace(**{FIELD: 2e-7})
GAINS = pp.Gains.full_range(NETWORK, NOISY, INPUTS)
TARGET = pp.MaxNMSE(0.01)

for hardware in (
    NOISY,
    NOISY.replace(mapping="unrolled"),
    NOISY.replace(weight_mapping="offset", array_rows=8),
    NOISY.replace(array_rows=8, read_out="divider", load_conductance=1e-3, adc_range=0.1),
):
    gains = pp.Gains.full_range(NETWORK, hardware, INPUTS)
    simulated = pp.simulate(NETWORK, hardware, gains, INPUTS, draws=600)
    for method in ("linearized", "covariance", "diagonal"):
        predicted = pp.predict(NETWORK, hardware, gains, INPUTS, method=method)
        without = pp.predict(NETWORK, hardware.replace(**{FIELD: 0.0}), gains, INPUTS, method=method)
        # "diagonal" knows of no correlations: the same offset at all positions of the convolution is one
        known = method != "diagonal" or hardware.mapping == "unrolled"
        assert not known or abs(predicted.mse - simulated.mse) < 4 * simulated.mse_standard_error + 0.02 * simulated.mse
        assert (predicted.mse_by_layer > 1.2 * without.mse_by_layer).all(), (hardware, method)

plan, quiet = (pp.plan(NETWORK, hardware, INPUTS, TARGET) for hardware in (NOISY, QUIET))
assert plan.termination.outcome is pp.Outcome.OPTIMAL
assert plan.power > 1.2 * quiet.power
linear, few = pp.Network.mlp([RNG.normal(size=(3, 5))]), RNG.normal(size=(4, 5))
explained = pp.plan(linear, NOISY, few, TARGET).explain(linear, few)
assert FIELD in {relaxation.parameter for relaxation in explained.relaxations}
end = pp.plan(linear, NOISY.replace(**{FIELD: 2e-5}), few, TARGET).termination
assert FIELD in {part.parameter for part in end.floor_parts}
assert "offsets of columns" in end.message
assert pp.export(plan, NETWORK).hardware.column_offset_std == 2e-7
with pytest.raises(pp.InvalidInput, match="aihwkit has no offsets of columns"):
    aihwkit.layer_settings(NETWORK, NOISY, GAINS)

with PlannerClient.local() as client:
    here = pp.predict(NETWORK, NOISY, GAINS, INPUTS).mse
    for described in (NOISY, Hardware(programming_noise_std=1e-7, column_offset_std=2e-7), {**NOISY.to_dict()}):
        assert client.predict(NETWORK, described, GAINS, INPUTS).mse == here
    assert asdict(client.plan(NETWORK, NOISY, INPUTS, TARGET).hardware)[FIELD] == 2e-7

NETWORK.save("network.npz")
np.save("inputs.npy", INPUTS)
files = ["--network", "network.npz", "--inputs", "inputs.npy", "--programming-noise-std", "0.1uS"]
answer = CliRunner().invoke(main, ["predict", *files, "--column-offset-std", "200nA", "--json"])
assert json.loads(answer.stdout)["mse"] == here, answer.output
assert "--column-offset-std" in CliRunner().invoke(main, ["plan", "--help"]).stdout
assert FIELD in json.dumps(file_schema())
assert "column_offset_std_amperes" in Path("docs/wire.md").read_text(encoding="utf-8")
