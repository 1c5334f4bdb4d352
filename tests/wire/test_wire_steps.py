"""Steps of gains and the gap of a plan on them pass the wire unchanged."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as client
from powerplan.planning.settings import PlanSettings
from powerplan_client._generated import v1 as pb
from powerplan_client.building import plan_settings
from powerplan_client.errors import InvalidRequest
from powerplan_client.parsing import parse_plan
from powerplan_server.wire.plans import plan_to_proto
from powerplan_server.wire.reading import Reader
from powerplan_server.wire.tasks import settings_from_proto

STEPS = pp.Steps.geometric(1e-6, 1e-4, decibel=3)


def read(message: pb.PlanSettings) -> tuple[dict[str, object], Reader]:
    reader = Reader.start(path="task.settings")
    settings = settings_from_proto(reader, message, PlanSettings)
    return {} if settings is None else settings.values, reader


@pytest.mark.parametrize(
    "given", [STEPS, client.Steps(values=STEPS.values), client.Steps(values=STEPS.values.tolist())]
)
def test_one_list_for_all_layers(given: object) -> None:
    options, reader = read(plan_settings({"conductance_steps": given}))
    assert reader.count == 0
    assert options["conductance_steps"] == STEPS


def test_one_list_per_layer_with_continuous_ones() -> None:
    relative = client.Steps(values=[0.5, 1.0], relative=True)
    options, reader = read(plan_settings({"voltage_steps": [STEPS, None, relative]}))
    assert reader.count == 0
    assert options["voltage_steps"] == [STEPS, None, pp.Steps(values=[0.5, 1.0], relative=True)]


def test_bad_steps_are_violations() -> None:
    _, reader = read(pb.PlanSettings(conductance_steps=[pb.Steps(values=[-1.0])]))
    assert reader.count == 1
    with pytest.raises(InvalidRequest, match="conductance_steps"):
        plan_settings({"conductance_steps": [1e-6]})


def test_a_plan_on_steps_passes_the_wire() -> None:
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(5, 4)), rng.normal(size=(3, 5))])
    plan = pp.plan(
        network,
        pp.Hardware(programming_noise_std=1e-6),
        rng.uniform(size=(8, 4)),
        pp.MaxNMSE(0.05),
        conductance_steps=pp.Steps.over_range(4),
    )
    got = parse_plan(pb.Plan.FromString(plan_to_proto(plan).SerializeToString()))
    assert plan.discrete is not None
    assert got.discrete is not None
    assert asdict(got.discrete) == asdict(plan.discrete)
    assert got.termination.outcome.value == plan.termination.outcome.value
    assert got.provenance["conductance_steps"] == plan.provenance["conductance_steps"]


def test_every_outcome_has_its_number() -> None:
    for outcome in pp.Outcome:
        assert f"OUTCOME_{outcome.name}" in pb.Outcome.keys()  # noqa: SIM118
        assert client.Outcome(outcome.value).name == outcome.name
