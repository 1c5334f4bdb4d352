"""What the server says it can do is what the engine does."""

from __future__ import annotations

from dataclasses import make_dataclass

import pytest

from powerplan.network.ops import ACTIVATIONS, Flatten, operation_types
from powerplan.network.ops.described import _describe
from powerplan.planning import GRANULARITIES
from powerplan_client._generated import v1 as pb
from powerplan_server.calls import describe_engine


def test_only_granularities_that_the_engine_plans_are_listed() -> None:
    listed = [pb.Granularity.Name(g) for g in describe_engine().granularities]
    assert listed == [f"GRANULARITY_{name.upper()}" for name in GRANULARITIES]


def test_every_operation_is_listed_with_its_parts() -> None:
    listed = {operation.type: operation for operation in describe_engine().operations}
    assert set(listed) == set(operation_types())
    conv = {part.name: part for part in listed["conv"].parts}
    assert (conv["weight"].is_tensor, conv["weight"].required, conv["padding"].default_json) == (True, True, "null")
    assert "before, after" in conv["padding"].form
    assert {kind.name: dict(kind.parameters) for kind in listed["activation"].kind_parameters} == ACTIVATIONS
    assert (listed["add"].min_inputs, listed["add"].max_inputs) == (2, 0)


def test_a_field_without_words_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"Undescribed: \['secret'\]"):
        _describe(make_dataclass("Undescribed", [("secret", "int")], bases=(Flatten,), frozen=True))
