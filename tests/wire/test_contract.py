"""The wire contract: its style, its compatibility with the baseline, and what is generated from it."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import contract_rules  # noqa: E402
import document_operations  # noqa: E402
import document_wire  # noqa: E402
import generate_proto  # noqa: E402


@pytest.fixture(scope="module")
def contract() -> FileDescriptorSet:
    return generate_proto.descriptor_set()


def test_the_contract_keeps_the_style_rules(contract: FileDescriptorSet) -> None:
    assert contract_rules.style_violations(contract) == []


def test_every_style_rule_finds_what_it_is_for(contract: FileDescriptorSet) -> None:
    broken = copy.deepcopy(contract)
    hardware = next(file for file in broken.file if file.name.endswith("hardware.proto"))
    hardware.package = "powerplan.v2"
    message = hardware.message_type[0]
    message.field[0].name = "conductance_min"
    message.field[1].name = "voltageMax"
    message.field.add(name="extra", number=99, type=1, label=1)
    enum_file = next(file for file in broken.file if file.enum_type)
    enum_file.enum_type[0].value[0].name = "NONE"
    service = next(file for file in broken.file if file.service).service[0]
    service.name = "Planner"
    service.method[0].input_type = ".powerplan.v1.PredictRequest"
    found = "\n".join(contract_rules.style_violations(broken))
    for words in (
        "the package must be",
        "Hardware.conductance_min: a number with a unit",
        "voltageMax: field names are lower_snake_case",
        "Hardware.extra: has no comment",
        "UNSPECIFIED",
        "NONE must start with",
        "service names end with Service",
        "its request must be PlanRequest",
    ):
        assert words in found


def test_the_contract_is_compatible_with_the_baseline(contract: FileDescriptorSet) -> None:
    baseline = json.loads(contract_rules.BASELINE.read_text())
    assert contract_rules.incompatibilities(baseline, contract_rules.surface(contract)) == []


def test_changes_of_the_released_surface_are_found_and_additions_are_not(contract: FileDescriptorSet) -> None:
    old = contract_rules.surface(contract)
    new = copy.deepcopy(old)
    new["messages"]["powerplan.v1.Target"]["9"] = {"name": "max_error"}
    new["messages"]["powerplan.v1.Added"] = {}
    assert contract_rules.incompatibilities(old, new) == []
    del new["messages"]["powerplan.v1.Target"]["1"]
    new["messages"]["powerplan.v1.Gain"]["1"]["type"] = "TYPE_FLOAT"
    new["enums"]["powerplan.v1.Outcome"]["1"] = "OUTCOME_BEST"
    new["methods"]["powerplan.v1.PlannerService.Simulate"]["streams"] = [False, False]
    del new["methods"]["powerplan.v1.PlannerService.Plan"]
    found = contract_rules.incompatibilities(old, new)
    assert len(found) == 5


def test_the_committed_stubs_are_current() -> None:
    present = {path.name: path.read_text() for path in generate_proto.TARGET.glob("*.py*") if path.is_file()}
    assert present == generate_proto.generate()


def test_the_committed_reference_is_current() -> None:
    assert document_wire.TARGET.read_text() == document_wire.document()
    page = document_wire.TARGET.with_name("operations.md")
    assert page.read_text() == document_operations.document()


def test_the_stubs_do_not_shadow_the_engine() -> None:
    """The proto package powerplan.v1 must not become a Python package beside the engine's."""
    import powerplan
    from powerplan_client._generated import v1

    assert v1.PlanRequest.DESCRIPTOR.full_name == "powerplan.v1.PlanRequest"
    assert v1.PlanRequest.DESCRIPTOR.file.name == "powerplan/v1/planner_service.proto"
    assert not hasattr(powerplan, "v1")
