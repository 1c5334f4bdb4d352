"""Hardware from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from powerplan.errors import CorruptFile
from powerplan.reading.text import read_text

_MAX_BYTES = 1_000_000


def read_hardware(path: str | Path) -> dict[str, Any]:
    """The fields in a TOML file (see :meth:`Hardware.from_toml`)."""
    text = read_text("hardware file", path, most_bytes=_MAX_BYTES)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, absurd numbers or nesting
        raise CorruptFile.of("hardware file", str(path), "valid TOML", f"It does not parse: {error}.") from error
    table = values.get("hardware")
    return table if isinstance(table, dict) and len(values) == 1 else values
