"""Generate the Python stubs of the wire contract into the client package.

    python scripts/generate_proto.py            write client/powerplan_client/_generated
    python scripts/generate_proto.py --check    exit 1 if what is committed is not what would be written

The proto package ``powerplan.v1`` would generate modules under ``powerplan/v1``, which is the engine's
package; so the modules are moved into the client package and their imports rewritten. The names inside the
descriptors stay ``powerplan.v1``, which is what is on the wire.

Why: docs/decisions/service.md [0050].
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
TARGET = ROOT / "client" / "powerplan_client" / "_generated"
PACKAGE = "powerplan_client._generated"
#: oldest grpcio that the client is tested with (make client-oldest); client/pyproject.toml has the same
OLDEST_GRPCIO = "1.71.0"
_CHECK = re.compile(r"_runtime_version\.ValidateProtobufRuntimeVersion\([^)]*\)\n|.* import runtime_version as .*\n")


def run_protoc(*arguments: str) -> None:
    """Run protoc on the contract; exit with its message if it fails."""
    sources = sorted(str(path) for path in PROTO.glob("powerplan/v1/*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *arguments, *sources]) != 0:
        sys.exit("protoc failed")


def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """The contract as descriptors with comments, without the well-known types."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.binpb"
        run_protoc(f"--descriptor_set_out={out}", "--include_source_info")
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def generate() -> dict[str, str]:
    """Content of every generated file by its name."""
    plugins = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        run_protoc(
            *(f"--plugin={name}={plugins / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")),
            *(f"--{kind}_out=quiet:{folder}" for kind in ("mypy", "mypy_grpc")),
            *(f"--{kind}_out={folder}" for kind in ("python", "grpc_python")),
        )
        texts = {path.name: path.read_text() for path in Path(folder, "powerplan", "v1").iterdir()}
    services = {Path(file.name).stem for file in descriptor_set().file if file.service}
    stubs = {
        name: rewritten(text)
        for name, text in texts.items()
        if "_pb2_grpc." not in name or name.split("_pb2_grpc.")[0] in services
    }
    return {
        **stubs,
        "__init__.py": '"""Generated from proto/powerplan/v1. Do not edit."""\n',
        "v1.py": names_module(),
    }


def rewritten(text: str) -> str:
    """A generated module with its imports moved from powerplan.v1 into the client package.

    It would refuse a protobuf older than its generator, and warn of one a major version newer. What generators of
    protobuf 5 to 7 write differs in these numbers only, so the range stands in the package's metadata instead.
    """
    text = re.sub(r"^from powerplan\.v1 import ", f"from {PACKAGE} import ", text, flags=re.MULTILINE)
    text = _CHECK.sub("", text)
    text = re.sub(r"(?<=^GRPC_GENERATED_VERSION = ).*$", repr(OLDEST_GRPCIO), text, flags=re.MULTILINE)
    return text.replace("generated code in powerplan/v1/", f"generated code in {PACKAGE.replace('.', '/')}/")


def names_module() -> str:
    """A module that holds every message, enum and enum value of the contract under one name."""
    lines = [
        '"""Every message, enum and enum value of powerplan.v1. Generated from proto/powerplan/v1. Do not edit."""',
        "",
    ]
    for file in descriptor_set().file:
        values = (value.name for enum in file.enum_type for value in enum.value)
        names = sorted([*(m.name for m in file.message_type), *(e.name for e in file.enum_type), *values])
        lines += [f"from {PACKAGE}.{Path(file.name).stem}_pb2 import {name} as {name}" for name in names]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the stubs, or check those committed."""
    parser = argparse.ArgumentParser(description="Generate the Python stubs of the wire contract.")
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    wanted = generate()
    present = {path.name: path.read_text() for path in TARGET.glob("*.py*") if path.is_file()}
    if parser.parse_args().check:
        stale = sorted(name for name in {*wanted, *present} if wanted.get(name) != present.get(name))
        if stale:
            print(f"out of date in {TARGET.relative_to(ROOT)}: {', '.join(stale)}. Run: make proto", file=sys.stderr)
        return 1 if stale else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in {*present} - {*wanted}:
        (TARGET / name).unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
