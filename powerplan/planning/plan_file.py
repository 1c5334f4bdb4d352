"""Plans as JSON files, schema-versioned: the fields of a plan by name, those of what it holds within them."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.files import write_text
from powerplan.hardware import Gains, Hardware
from powerplan.moments.prediction import Prediction
from powerplan.per_input import Inputs
from powerplan.planning.targets import Target, target_from_dict, target_to_dict
from powerplan.reading.text import read_json
from powerplan.spread import Chips

if TYPE_CHECKING:
    from powerplan.planning.plan_value import Plan

FORMAT = "powerplan.plan"
SCHEMA_VERSION = 1
_MOST_BYTES = 1 << 30
#: entries of an array that are listed as numbers; the errors of more outputs are base64 of little-endian doubles, for a
#: list of millions takes minutes and gigabytes
MOST_LISTED = 100_000
#: the large parts of a prediction, which a plan file leaves out
_LEFT_OUT = ("ideal_output", "output_mean", "output_covariance", "layers", "array_drops")


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON values; NaN becomes null."""
    values = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **_plain(plan), "saving": plan.saving}
    if plan.arrays is not None:
        layers = [{**_plain(layer), "arrays": layer.arrays} for layer in plan.arrays]
        values["arrays"] = {"total": plan.array_count, "by_layer": layers}
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Hardware | Gains | Chips | Inputs):
        return value.to_dict()
    if isinstance(value, Target):
        return target_to_dict(value)
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name not in _LEFT_OUT}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray) and value.size > MOST_LISTED:
        return {"float64": base64.b64encode(np.asarray(value, dtype="<f8").tobytes()).decode("ascii")}
    if isinstance(value, tuple | np.ndarray):
        return [_plain(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Mapping):
        return np.frombuffer(base64.b64decode(value["float64"], validate=True), dtype="<f8").astype(np.float64)
    return np.array([math.nan if item is None else item for item in value], dtype=np.float64)


def plan_fields(values: Mapping[str, Any], kind: type[Plan]) -> dict[str, Any]:
    """The fields of a plan from its plain values, the inverse of :func:`plan_to_dict`.

    Raises:
        CorruptFile: another format, a newer schema, missing or wrong entries.
    """
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        format = values.get("format") if isinstance(values, Mapping) else type(values).__name__
        raise CorruptFile.of("plan.format", format, FORMAT, "Write plan files with powerplan plan --output.")
    if values.get("schema_version") != SCHEMA_VERSION:
        raise CorruptFile.of(
            "plan.schema_version", values.get("schema_version"), str(SCHEMA_VERSION), "Upgrade powerplan."
        )
    try:
        arrays = values.get("arrays")
        return _fields(kind, {**values, "arrays": None if arrays is None else arrays["by_layer"]})
    except InvalidInput as error:
        raise CorruptFile(*error.violations) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptFile.of(
            "plan", f"{type(error).__name__}: {error}", "all entries of a plan file", "The file is damaged."
        ) from error


def _fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a class that are among plain values."""
    types = _types(kind)
    return {name: _value(types[name], values[name]) for name in types if name in values}


@cache
def _types(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _value(annotation: Any, value: Any) -> Any:
    """A field's value of that type from its plain value."""
    either = get_args(annotation) if NoneType in get_args(annotation) else ()
    kind = next((option for option in either if option is not NoneType), annotation)
    if value is None and (either or kind is float):
        return None if either else math.nan
    if value is None:
        raise ValueError(f"null instead of {kind}")
    if kind is Target:
        return target_from_dict(value)
    if kind in (Hardware, Gains, Chips, Inputs):
        return kind.from_dict(value)
    if kind is Prediction:  # older files lack the power of converters
        value = {"converter_power_by_layer": [0.0] * len(value["layer_names"]), **value}
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**_fields(kind, value))
    if kind is np.ndarray:
        array = _array(value)
        array.setflags(write=False)
        return array
    if get_origin(kind) is tuple:
        return tuple(_value(get_args(kind)[0], item) for item in value)
    return dict(value) if get_origin(kind) is Mapping else kind(value)


def save_plan(plan: Plan, file: str | os.PathLike[str]) -> None:
    """Write a plan as JSON; an existing file is replaced only when the new one is complete."""
    write_text("plan file", file, json.dumps(plan_to_dict(plan), indent=1, allow_nan=False) + "\n")


def read_plan_file(file: str | os.PathLike[str]) -> Any:
    """The plain values in a file written by :func:`save_plan`."""
    return read_json("plan file", Path(file), most_bytes=_MOST_BYTES)
