"""Hardware from a TOML file, and to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from powerplan.hardware.by_layer import as_text, is_by_layer
from powerplan.hardware.fields import ByMeasurements
from powerplan.hardware.plain import to_plain
from powerplan.reading.text import read_toml

if TYPE_CHECKING:
    from powerplan.hardware.hardware import Hardware

_MAX_BYTES = 1_000_000


def read_hardware(path: str | Path) -> dict[str, Any]:
    """The fields in a TOML file (see :meth:`Hardware.from_toml`)."""
    values = read_toml("hardware file", path, most_bytes=_MAX_BYTES)
    table = values.get("hardware")
    return table if isinstance(table, dict) and len(values) == 1 else values


def hardware_toml(hardware: Hardware) -> str:
    """The fields that differ from their defaults, as TOML."""
    values = {f.name: (getattr(hardware, f.name), f.default) for f in fields(hardware)}
    changed = {
        name: value
        for name, (value, default) in values.items()
        if value != (default.of(hardware.measurements) if isinstance(default, ByMeasurements) else default)
    }
    by_layer = {f.name for f in fields(hardware) if is_by_layer(f)}
    plain = {
        name: as_text(value) if name in by_layer else _without_none(to_plain(value)) for name, value in changed.items()
    }
    if "measurements" in plain:
        plain["measurements"] = [_as_table(snapshot) for snapshot in plain["measurements"]]
    return tomli_w.dumps(plain)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(part) for name, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_without_none(part) for part in value]
    return value


def _as_table(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Curves of one table of points, target by target, as people write them."""
    mean, std = snapshot.get("mean"), snapshot.get("std")
    tables = [curve for curve in (mean, std) if curve is not None]
    points = {
        tuple(curve["points"]) for curve in tables if curve.get("type") == "table" and curve.get("reference") == 1
    }
    if len(points) != 1 or any("points" not in curve for curve in tables) or snapshot.get("std_of") != "target":
        return snapshot
    table = {"time": snapshot["time"], "target": list(points.pop())}
    return table | {name: curve["values"] for name, curve in (("mean", mean), ("std", std)) if curve is not None}
