"""Hardware from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.hardware.hardware import Hardware

_MAX_BYTES = 1_000_000


def read_hardware(path: str | Path) -> Hardware:
    """The hardware described by a TOML file (see :meth:`Hardware.from_toml`)."""
    path = Path(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput.of(
            "hardware file", str(path), "a readable TOML file", f"It cannot be read: {error.strerror}."
        ) from error
    if len(content) > _MAX_BYTES:
        raise CorruptFile.of(
            "hardware file", str(path), f"at most {_MAX_BYTES} bytes", "Give a TOML file of hardware fields."
        )
    try:
        values = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, absurd numbers or nesting
        raise CorruptFile.of("hardware file", str(path), "valid TOML", f"It does not parse: {error}.") from error
    table = values.get("hardware")
    return Hardware.from_dict(table if isinstance(table, dict) and len(values) == 1 else values)
