"""Exports as files: a manifest and one table per array, in a zip archive (npz) or a folder (csv).

The manifest lists every table with its unit, shape and the SHA-256 of its content; a reader checks them all.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import uuid
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.checks import frozen_array
from powerplan.deployment.exported_layer import ExportedLayer
from powerplan.deployment.tiles import Tile
from powerplan.errors import CorruptFile, InvalidInput
from powerplan.files import cannot_write, is_written_into, write_bytes
from powerplan.hardware import Hardware

if TYPE_CHECKING:
    from powerplan.deployment.export import Export

FORMATS = ("npz", "csv")
FORMAT = "powerplan.export"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"

#: vectors of a layer with their units
_VECTORS = {
    "conductance_gain": "S per unit weight",
    "voltage_gain": "V per unit activation",
    "scale": "unit of the output per A",
    "bias": "unit of the output",
    "column_scale": "1",
}
#: those that not every layer has
_OPTIONAL = ("bias", "column_scale")
_COUNTS = ("groups", "copies", "reads")
_MAPPING = ("weight_offset", "conductance_min", "has_bias_row")
_SIDES = ("positive", "negative")
_DATE = (1980, 1, 1, 0, 0, 0)
_AGAIN = "Export the plan again."


def save_export(exported: Export, path: str | os.PathLike[str], format: str, *, overwrite: bool) -> None:
    """Write an export; it appears at ``path`` only when it is complete.

    Raises:
        InvalidInput: the path exists (without ``overwrite``, or if it is not an earlier export), or cannot be written.
    """
    target = Path(path)
    _check_free(target, format, overwrite)
    members = _members(exported, format)
    if format == "npz":
        archived = io.BytesIO()
        with zipfile.ZipFile(archived, "w", zipfile.ZIP_STORED) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), content)
        write_bytes("export path", target, archived.getvalue())
        return
    folder = Path(os.path.realpath(target))  # a link to a folder stays a link
    scratch = folder.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        try:
            scratch.mkdir()
            for name, content in members.items():
                (scratch / name).write_bytes(content)
            if folder.exists():
                scratch.chmod(stat.S_IMODE(folder.stat().st_mode))
                shutil.rmtree(folder)
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise cannot_write("export path", target, error) from error


def read_export(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of an export of either format; every hash is checked."""
    source = Path(path)
    try:
        if source.is_dir():
            return _decoded(lambda name: (source / name).read_bytes())
        with zipfile.ZipFile(source) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise CorruptFile.of("export", str(source), "members stored without compression", _AGAIN)
            return _decoded(archive.read)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InvalidInput.of(
            "export path", str(source), "an export made by powerplan", f"It cannot be read: {error.strerror}."
        ) from error
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, OSError, RuntimeError) as error:
        if isinstance(error, CorruptFile):
            raise
        raise CorruptFile.of("export", str(source), "an intact export", f"{error}. {_AGAIN}") from error


def _check_free(target: Path, format: str, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise InvalidInput.of("export path", str(target), "a path in an existing folder", f"Create {target.parent}.")
    if not target.exists() or (format == "npz" and not target.is_dir() and is_written_into(target)):
        return
    if not overwrite:
        raise InvalidInput.of(
            "export path", str(target), "a path that does not exist yet", "Name another, or overwrite it (--overwrite)."
        )
    if target.is_dir() != (format == "csv"):
        kind = "folder" if format == "csv" else "file"
        raise InvalidInput.of("export path", str(target), f"a {kind} for format {format!r}", "Name another path.")
    if format == "csv" and not _is_export(target):
        raise InvalidInput.of(
            "export path", str(target), "a folder that holds an earlier export", "Other folders are never replaced."
        )


def _is_export(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return not any(folder.iterdir())


# ---------------------------------------------------------------- writing


def _members(exported: Export, format: str) -> dict[str, bytes]:
    encode = _to_npy if format == "npz" else _to_csv
    suffix = ".npy" if format == "npz" else ".csv"
    members: dict[str, bytes] = {}

    def table(name: str, array: np.ndarray, unit: str) -> dict[str, Any]:
        content = encode(array)
        members[name + suffix] = content
        return {
            "file": name + suffix,
            "shape": list(array.shape),
            "unit": unit,
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    layers = []
    for number, layer in enumerate(exported.layers, 1):
        stem = f"layer{number:03}"
        vectors = {
            name: table(f"{stem}_{name}", getattr(layer, name), unit)
            for name, unit in _VECTORS.items()
            if getattr(layer, name) is not None
        }
        tiles = [
            {
                "group": tile.group,
                "rows": list(tile.rows),
                "outputs": list(tile.outputs),
                **{
                    side: table(f"{stem}_tile{k:05}_{side}", array, "S")
                    for side, array in zip(_SIDES, tile.sides, strict=False)
                },
            }
            for k, tile in enumerate(layer.tiles, 1)
        ]
        counts = {name: getattr(layer, name) for name in _COUNTS}
        mapping = {name: getattr(layer, name) for name in _MAPPING}
        layers.append({"name": layer.name, **counts, **vectors, **mapping, "tiles": tiles})
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **_described(exported),
        "conventions": {
            "table": "row of the table = row (input) of the array, column of the table = output",
            "ranges": "[first, one past the last], counted from 0; rows of all groups are numbered through",
            "decode": "output = scale * (sum over tiles of I_positive - I_negative) + bias; V = voltage_gain * input",
            "decode_offset": "where weight_offset is given: output = scale * (sum over tiles of I_positive - "
            "conductance_min * sum of V) - weight_offset * sum of input + bias",
            "decode_divider": "where hardware.read_out is 'divider': I of a column of a tile = its voltage * "
            "(hardware.load_conductance + sum of the column's target conductances)",
            "decode_scaled": "where column_scale is given: all of the output but bias is multiplied by it",
            "bias_row": "where has_bias_row: the input of the last row of every group is 1",
        },
        "layers": layers,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    return {MANIFEST: text.encode(), **members}


def _described(exported: Export) -> dict[str, Any]:
    """Everything but the arrays, as plain values."""
    return {
        "powerplan_version": exported.powerplan_version,
        "network_sha256": exported.network_sha256,
        "plan_sha256": exported.plan_sha256,
        "hardware": exported.hardware.to_dict(),
        "read_out": {
            "feedback_resistance_ohms": exported.hardware.feedback_resistance,
            "voltage_max_volts": exported.hardware.voltage_max,
            "read_time_seconds": exported.hardware.read_time,
        },
    }


def _to_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array, "<f8"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _to_csv(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savetxt(buffer, np.atleast_2d(array), fmt="%.17g", delimiter=",")
    return buffer.getvalue()


# ---------------------------------------------------------------- reading


def _decoded(read: Callable[[str], bytes]) -> dict[str, Any]:
    manifest = json.loads(read(MANIFEST).decode())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CorruptFile.of("export", MANIFEST, f"format {FORMAT!r}", "Give an export made by powerplan.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise CorruptFile.of(
            "export", manifest.get("format_version"), f"format_version {FORMAT_VERSION}", "Upgrade powerplan."
        )
    return {
        "layers": tuple(_layer(read, entry) for entry in manifest["layers"]),
        "hardware": Hardware.from_dict(manifest["hardware"]),
        "network_sha256": manifest["network_sha256"],
        "plan_sha256": manifest["plan_sha256"],
        "powerplan_version": manifest["powerplan_version"],
    }


def _layer(read: Callable[[str], bytes], entry: Mapping[str, Any]) -> ExportedLayer:
    vectors: dict[str, Any] = {
        name: _table(read, entry[name]) if name not in _OPTIONAL or name in entry else None for name in _VECTORS
    }
    counts: dict[str, Any] = {name: int(entry[name]) for name in _COUNTS}
    tiles = tuple(
        Tile(
            group=int(tile["group"]),
            rows=(int(tile["rows"][0]), int(tile["rows"][1])),
            outputs=(int(tile["outputs"][0]), int(tile["outputs"][1])),
            positive=_table(read, tile["positive"]),
            negative=_table(read, tile["negative"]) if "negative" in tile else None,
        )
        for tile in entry["tiles"]
    )
    offset = entry.get("weight_offset")
    return ExportedLayer(
        name=entry["name"],
        tiles=tiles,
        weight_offset=None if offset is None else float(offset),
        conductance_min=float(entry.get("conductance_min", 0.0)),
        has_bias_row=bool(entry.get("has_bias_row", False)),
        **vectors,
        **counts,
    )


def _table(read: Callable[[str], bytes], entry: Mapping[str, Any]) -> np.ndarray:
    name, shape = str(entry["file"]), tuple(int(n) for n in entry["shape"])
    if Path(name).name != name:
        raise CorruptFile.of("export", name, "a plain file name", _AGAIN)
    content = read(name)
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise CorruptFile.of("export", name, "content with the SHA-256 of the manifest", f"It was changed. {_AGAIN}")
    if name.endswith(".npy"):
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    else:
        array = np.loadtxt(io.BytesIO(content), delimiter=",", ndmin=2)
    if array.size != np.prod(shape):
        raise CorruptFile.of("export", name, f"shape {shape}", _AGAIN)
    return frozen_array(array.reshape(shape), np.float64)
