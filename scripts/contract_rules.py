"""Rules of the wire contract, checked on its descriptors: style, and compatibility with what was released.

python scripts/contract_rules.py                print every violation; exit 1 if there is one
python scripts/contract_rules.py --release      write proto/baseline.json, what later versions must be compatible with

Why: docs/decisions/service.md [0054].
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

sys.path.insert(0, str(Path(__file__).resolve().parent))
from generate_proto import PROTO, descriptor_set

BASELINE = PROTO / "baseline.json"
PACKAGE = "powerplan.v1"

_PASCAL = re.compile(r"(?:[A-Z][a-z0-9]*)+\Z")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*\Z")

UNITS = (
    "siemens", "amperes", "volts", "ohms", "farads", "seconds", "watts", "joules", "bytes", "kelvin", "hertz", "meters",
)  # fmt: skip
#: words that name a quantity with a unit: a number with such a word in its name must end with the unit
_QUANTITIES = (
    "conductance", "voltage", "resistance", "power", "energy", "time", "duration", "size", "timeout", "temperature",
    "bandwidth", "capacitance", "area",
)  # fmt: skip
#: numbers without a unit although a word of theirs suggests one
_DIMENSIONLESS = {
    "signal_power": "mean square of the network's outputs, in their own unit",
    "power_exponents": "exponents",
    "clip_conductance": "true or false",
    "energy_factor": "a ratio",
    "area_factor": "a ratio",
    "page_size": "a count",
}
_NUMBERS = {
    FieldDescriptorProto.TYPE_DOUBLE,
    FieldDescriptorProto.TYPE_FLOAT,
    FieldDescriptorProto.TYPE_INT32,
    FieldDescriptorProto.TYPE_INT64,
}


def style_violations(contract: FileDescriptorSet) -> list[str]:
    """Every place where the contract breaks the style rules."""
    violations: list[str] = []
    for file in contract.file:
        if file.package != PACKAGE or not file.name.startswith(PACKAGE.replace(".", "/") + "/"):
            violations.append(f"{file.name}: the package must be {PACKAGE}, in the folder of that name")
        violations += _uncommented(file)
        for name, message in _messages(file):
            if not _PASCAL.match(message.name):
                violations.append(f"{name}: message names are PascalCase")
            violations += [f"{name}.{field.name}: {text}" for field in message.field for text in _field(field)]
        for name, enum in _enums(file):
            violations += [f"{name}: {text}" for text in _enum(enum)]
        for service in file.service:
            violations += _service(service)
    return violations


def _service(service: ServiceDescriptorProto) -> Iterator[str]:
    if not service.name.endswith("Service"):
        yield f"{service.name}: service names end with Service"
    for rpc in service.method:
        for kind, used in (("Request", rpc.input_type), ("Response", rpc.output_type)):
            if used != f".{PACKAGE}.{rpc.name}{kind}":
                yield f"{service.name}.{rpc.name}: its {kind.lower()} must be {rpc.name}{kind}"


def _field(field: FieldDescriptorProto) -> Iterator[str]:
    if not _SNAKE.match(field.name):
        yield "field names are lower_snake_case"
    if field.type in _NUMBERS and field.name not in _DIMENSIONLESS:
        words = field.name.split("_")
        if set(words) & set(_QUANTITIES) and words[-1] not in UNITS:
            yield f"a number with a unit ends with it: one of {', '.join(UNITS)}"


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
    if not _PASCAL.match(enum.name):
        yield "enum names are PascalCase"
    if enum.value[0].number != 0 or enum.value[0].name != prefix + "UNSPECIFIED":
        yield f"the value 0 must be {prefix}UNSPECIFIED"
    for value in enum.value:
        if not value.name.startswith(prefix) or not _SNAKE.match(value.name.lower()):
            yield f"{value.name} must start with {prefix} and be UPPER_SNAKE_CASE"


def _uncommented(file: FileDescriptorProto) -> Iterator[str]:
    """Messages, fields, enums, values, services and methods without a comment."""
    commented = {tuple(at.path) for at in file.source_code_info.location if at.leading_comments.strip()}
    wanted: dict[tuple[int, ...], str] = {}
    for i, message in enumerate(file.message_type):
        wanted[4, i] = message.name
        wanted.update({(4, i, 2, j): f"{message.name}.{field.name}" for j, field in enumerate(message.field)})
    for i, enum in enumerate(file.enum_type):
        wanted[5, i] = enum.name
        wanted.update({(5, i, 2, j): value.name for j, value in enumerate(enum.value)})
    for i, service in enumerate(file.service):
        wanted[6, i] = service.name
        wanted.update({(6, i, 2, j): f"{service.name}.{rpc.name}" for j, rpc in enumerate(service.method)})
    return (f"{name}: has no comment" for path, name in wanted.items() if path not in commented)


def surface(contract: FileDescriptorSet) -> dict[str, Any]:
    """What clients depend on: numbers, names and types of everything, as plain values."""
    messages: dict[str, Any] = {}
    enums: dict[str, Any] = {}
    methods: dict[str, Any] = {}
    for file in contract.file:
        for name, message in _messages(file):
            messages[name] = {
                str(field.number): {
                    "name": field.name,
                    "type": FieldDescriptorProto.Type.Name(field.type),
                    "type_name": field.type_name,
                    "label": FieldDescriptorProto.Label.Name(field.label),
                    "optional": field.proto3_optional,
                    "oneof": message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else "",
                }
                for field in message.field
            }
        for name, enum in _enums(file):
            enums[name] = {str(value.number): value.name for value in enum.value}
        for service in file.service:
            for rpc in service.method:
                methods[f"{file.package}.{service.name}.{rpc.name}"] = {
                    "request": rpc.input_type,
                    "response": rpc.output_type,
                    "streams": [rpc.client_streaming, rpc.server_streaming],
                }
    return {"messages": messages, "enums": enums, "methods": methods}


def incompatibilities(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Everything of the old surface that is gone or changed in the new one; additions are compatible."""
    violations: list[str] = []
    for kind in ("messages", "enums", "methods"):
        for name, content in old[kind].items():
            if name not in new[kind]:
                violations.append(f"{name} is gone")
                continue
            for key, value in content.items():
                if key not in new[kind][name]:
                    violations.append(f"{name}: {value['name'] if kind == 'messages' else value} ({key}) is gone")
                elif new[kind][name][key] != value:
                    violations.append(f"{name} ({key}): {value} became {new[kind][name][key]}")
    return violations


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    stack = [(f"{file.package}.{message.name}", message) for message in file.message_type]
    while stack:
        name, message = stack.pop()
        yield name, message
        stack += [(f"{name}.{inner.name}", inner) for inner in message.nested_type]


def _enums(file: FileDescriptorProto) -> Iterator[tuple[str, EnumDescriptorProto]]:
    yield from ((f"{file.package}.{enum.name}", enum) for enum in file.enum_type)
    for name, message in _messages(file):
        yield from ((f"{name}.{enum.name}", enum) for enum in message.enum_type)


def main() -> int:
    """Check the contract, or write the baseline."""
    parser = argparse.ArgumentParser(description="Check the wire contract.")
    parser.add_argument("--release", action="store_true", help="write the baseline")
    contract = descriptor_set()
    if parser.parse_args().release:
        BASELINE.write_text(json.dumps(surface(contract), indent=1, sort_keys=True) + "\n")
        return 0
    violations = [*style_violations(contract), *incompatibilities(json.loads(BASELINE.read_text()), surface(contract))]
    print("\n".join(violations), file=sys.stderr) if violations else None
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
