"""Hardware from a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from powerplan.reading.text import read_toml

_MAX_BYTES = 1_000_000


def read_hardware(path: str | Path) -> dict[str, Any]:
    """The fields in a TOML file (see :meth:`Hardware.from_toml`)."""
    values = read_toml("hardware file", path, most_bytes=_MAX_BYTES)
    table = values.get("hardware")
    return table if isinstance(table, dict) and len(values) == 1 else values
