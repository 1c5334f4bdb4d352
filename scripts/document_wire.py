"""Write docs/wire.md, the reference of the service, from the comments of the contract.

python scripts/document_wire.py            write it
python scripts/document_wire.py --check    exit 1 if what is committed is not what would be written
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

sys.path.insert(0, str(Path(__file__).resolve().parent))
from generate_proto import ROOT, descriptor_set

TARGET = ROOT / "docs" / "wire.md"
_ORDER = ("planner_service", "plan", "prediction", "gains", "hardware", "network", "tensor", "errors")
_HEAD = """# Wire reference

The messages and methods of the contract `powerplan.v1`, for programs that call the [service](service.md) without
powerplan-client. `make proto` writes this page from the comments in `proto/powerplan/v1`. Fields marked *optional*
distinguish "left out" from zero. Units are in the names. Fields, values and methods are only ever added.
"""


def document() -> str:
    """The reference as markdown."""
    files = {Path(file.name).stem: file for file in descriptor_set().file}
    parts = [_HEAD]
    for name in [*_ORDER, *sorted(set(files) - set(_ORDER))]:
        parts += _file(files[name])
    return "\n".join(parts)


def _file(file: FileDescriptorProto) -> list[str]:
    comments = {tuple(at.path): " ".join(at.leading_comments.split()) for at in file.source_code_info.location}
    syntax = next((at for at in file.source_code_info.location if tuple(at.path) == (12,)), None)
    title = " ".join("".join(syntax.leading_detached_comments or [syntax.leading_comments]).split()) if syntax else ""
    lines = [f"## {Path(file.name).stem}.proto", "", title, ""]
    for i, service in enumerate(file.service):
        lines += [
            f"### {service.name}",
            "",
            comments[6, i],
            "",
            "| method | request | response | |",
            "|---|---|---|---|",
        ]
        for j, rpc in enumerate(service.method):
            request, response = (_link(t) for t in (rpc.input_type, rpc.output_type))
            request = f"stream of {request}" if rpc.client_streaming else request
            response = f"stream of {response}" if rpc.server_streaming else response
            lines.append(f"| `{rpc.name}` | {request} | {response} | {_cell(comments[6, i, 2, j])} |")
        lines.append("")
    for i, message in enumerate(file.message_type):
        lines += [f"### {message.name}", "", comments[4, i], ""]
        if message.field:
            lines += ["| field | type | |", "|---|---|---|"]
        for j, field in enumerate(message.field):
            lines.append(f"| `{field.name}` | {_type(message, field)} | {_cell(comments[4, i, 2, j])} |")
        lines.append("")
    for i, enum in enumerate(file.enum_type):
        lines += [f"### {enum.name}", "", comments[5, i], "", "| value | number | |", "|---|---|---|"]
        for j, value in enumerate(enum.value):
            lines.append(f"| `{value.name}` | {value.number} | {_cell(comments[5, i, 2, j])} |")
        lines.append("")
    return lines


def _type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    entry = next((m for m in message.nested_type if field.type_name.endswith(f".{m.name}")), None)
    if entry is not None:
        return f"map of text to {_type(entry, entry.field[1])}"
    plain = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    name = _link(field.type_name) if field.type_name else plain
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {name}"
    if field.proto3_optional:
        return f"optional {name}"
    if field.HasField("oneof_index"):
        return f"{name} (one of {message.oneof_decl[field.oneof_index].name})"
    return name


def _link(type_name: str) -> str:
    name = type_name.rpartition(".")[2]
    return f"[{name}](#{name.lower()})" if type_name.startswith(".powerplan.") else f"`{type_name[1:]}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the reference, or check the one committed."""
    parser = argparse.ArgumentParser(description="Write the reference of the wire contract.")
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    text = document()
    if parser.parse_args().check:
        current = TARGET.read_text() if TARGET.exists() else ""
        if text != current:
            print("docs/wire.md is out of date. Run: make proto", file=sys.stderr)
        return int(text != current)
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
