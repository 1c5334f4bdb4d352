"""Plans as JSON files, schema-versioned."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.files import write_text
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.tiling import LayerArrays
from powerplan.moments.prediction import Prediction
from powerplan.planning.outcome import (
    Certificate,
    ConstraintPrice,
    Corner,
    DiscreteGap,
    FloorPart,
    LimitPrice,
    Outcome,
    Remedy,
    ShadowPrices,
    Termination,
    Verification,
)
from powerplan.planning.targets import target_from_dict, target_to_dict
from powerplan.reading.text import read_json

if TYPE_CHECKING:
    from powerplan.planning.plan_value import Plan

FORMAT = "powerplan.plan"
SCHEMA_VERSION = 1
_MOST_BYTES = 1 << 30

#: arrays of a prediction that a plan file holds; the output moments are left out
_ARRAYS = ("mse_by_layer", "mse_by_output", "power_by_layer", "array_power_by_layer", "tia_power_by_layer")
_ERRORS = ("mse_standard_error", "power_standard_error")
_NUMBERS = ("mse", "nmse", "signal_power", "mse_bias", "power", "energy")


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON values; NaN becomes null."""
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "target": target_to_dict(plan.target),
        "reached": plan.reached,
        "granularity": plan.granularity,
        "optimize": list(plan.optimize),
        "hardware": plan.hardware.to_dict(),
        "gains": plan.gains.to_dict(),
        "prediction": _prediction_to_dict(plan.prediction),
        "termination": {**asdict(plan.termination), "outcome": plan.termination.outcome.value},
        "certificate": _optional(plan.certificate),
        "shadow_prices": _optional(plan.shadow_prices),
        "baseline_gains": plan.baseline_gains.to_dict() if plan.baseline_gains else None,
        "baseline_power": plan.baseline_power,
        "baseline_mse": plan.baseline_mse,
        "saving": plan.saving,
        "verification": _optional(plan.verification),
        "output_weights": None if plan.output_weights is None else list(plan.output_weights),
        "corners": [
            {
                "hardware": corner.hardware.to_dict(),
                "prediction": _prediction_to_dict(corner.prediction),
                "verification": _optional(corner.verification),
            }
            for corner in plan.corners
        ],
        "discrete": _optional(plan.discrete),
        "arrays": _arrays_to_dict(plan),
        "provenance": dict(plan.provenance),
    }


def plan_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a plan from its plain values, the inverse of :func:`plan_to_dict`.

    Raises:
        CorruptFile: another format, a newer schema, missing or wrong entries.
    """
    if not isinstance(values, Mapping) or values.get("format") != FORMAT:
        format = values.get("format") if isinstance(values, Mapping) else type(values).__name__
        raise CorruptFile.of("plan.format", format, FORMAT, "This is not a plan file.")
    if values.get("schema_version") != SCHEMA_VERSION:
        raise CorruptFile.of(
            "plan.schema_version", values.get("schema_version"), str(SCHEMA_VERSION), "Upgrade powerplan."
        )
    try:
        return _fields(values)
    except InvalidInput as error:
        raise CorruptFile(*error.violations) from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptFile.of(
            "plan", f"{type(error).__name__}: {error}", "all entries of a plan file", "The file is damaged."
        ) from error


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    t = values["termination"]
    prices = values["shadow_prices"]
    weights = values.get("output_weights")
    return {
        "gains": Gains.from_dict(values["gains"]),
        "prediction": _prediction(values["prediction"]),
        "target": target_from_dict(values["target"]),
        "reached": float(values["reached"]),
        "granularity": values["granularity"],
        "optimize": tuple(values["optimize"]),
        "hardware": Hardware.from_dict(values["hardware"]),
        "termination": Termination(
            **{
                **t,
                "outcome": Outcome(t["outcome"]),
                "binding_limits": tuple(t["binding_limits"]),
                "remedies": tuple(Remedy(**remedy) for remedy in t.get("remedies", ())),
                "floor_parts": tuple(FloorPart(**part) for part in t.get("floor_parts", ())),
            }
        ),
        "certificate": None if values["certificate"] is None else Certificate(**values["certificate"]),
        "shadow_prices": None
        if prices is None
        else ShadowPrices(
            target=prices["target"],
            limits=tuple(LimitPrice(**price) for price in prices["limits"]),
            constraints=tuple(ConstraintPrice(**price) for price in prices["constraints"]),
        ),
        "baseline_gains": None if values["baseline_gains"] is None else Gains.from_dict(values["baseline_gains"]),
        "baseline_power": values["baseline_power"],
        "baseline_mse": values["baseline_mse"],
        "verification": _verification(values["verification"]),
        "output_weights": None if weights is None else tuple(float(w) for w in weights),
        "corners": tuple(
            Corner(
                hardware=Hardware.from_dict(corner["hardware"]),
                prediction=_prediction(corner["prediction"]),
                verification=_verification(corner["verification"]),
            )
            for corner in values["corners"]
        ),
        "arrays": _arrays(values.get("arrays")),
        "discrete": None if values.get("discrete") is None else DiscreteGap(**_nan_for_null(values["discrete"])),
        "provenance": dict(values["provenance"]),
    }


def _arrays_to_dict(plan: Plan) -> dict[str, Any] | None:
    if plan.arrays is None:
        return None
    layers = [{**asdict(layer), "arrays": layer.arrays} for layer in plan.arrays]
    return {"total": plan.array_count, "by_layer": layers}


def _arrays(values: Mapping[str, Any] | None) -> tuple[LayerArrays, ...] | None:
    if values is None:
        return None
    counts = ("groups", "row_tiles", "column_tiles", "copies", "reads")
    return tuple(
        LayerArrays(name=str(layer["name"]), **{name: int(layer[name]) for name in counts})
        for layer in values["by_layer"]
    )


def _prediction_to_dict(prediction: Prediction) -> dict[str, Any]:
    by_output = prediction.mse_by_output_standard_error
    return {
        "method": prediction.method,
        **{name: _number(getattr(prediction, name)) for name in _NUMBERS},
        **{name: _number(getattr(prediction, name)) for name in _ERRORS},
        "mse_by_output_standard_error": None if by_output is None else [_number(error) for error in by_output],
        "marginal_fields": prediction.marginal_fields,
        "sampling_limited": prediction.sampling_limited,
        **{name: getattr(prediction, name).tolist() for name in (*_ARRAYS, "converter_power_by_layer")},
        "layer_names": list(prediction.layer_names),
        "first_order": list(prediction.first_order),
    }


def _prediction(p: Mapping[str, Any]) -> Prediction:
    numbers: dict[str, Any] = {name: math.nan if p[name] is None else float(p[name]) for name in _NUMBERS}
    arrays: dict[str, Any] = {name: _array(p[name]) for name in _ARRAYS}
    # older files lack what predictions did not tell then: standard errors, the power of converters
    numbers |= {name: math.nan if p.get(name, 0.0) is None else float(p.get(name, 0.0)) for name in _ERRORS}
    by_output = p.get("mse_by_output_standard_error")
    if by_output is not None:
        arrays["mse_by_output_standard_error"] = _array([math.nan if e is None else e for e in by_output])
    none = [0.0] * len(p["layer_names"])
    arrays["converter_power_by_layer"] = _array(p.get("converter_power_by_layer", none))
    return Prediction(
        method=p["method"],
        **numbers,
        **arrays,
        marginal_fields=int(p.get("marginal_fields", 0)),
        sampling_limited=bool(p.get("sampling_limited", False)),
        layer_names=tuple(p["layer_names"]),
        first_order=tuple(p["first_order"]),
    )


def _verification(values: Mapping[str, Any] | None) -> Verification | None:
    return None if values is None else Verification(**_nan_for_null(values))


def save_plan(plan: Plan, file: str | os.PathLike[str]) -> None:
    """Write a plan as JSON; an existing file is replaced only when the new one is complete."""
    write_text("plan file", file, json.dumps(plan_to_dict(plan), indent=1, allow_nan=False) + "\n")


def read_plan_file(file: str | os.PathLike[str]) -> Any:
    """The plain values in a file written by :func:`save_plan`."""
    return read_json("plan file", Path(file), most_bytes=_MOST_BYTES)


def _optional(value: Any) -> dict[str, Any] | None:
    return None if value is None else {k: _number(v) if isinstance(v, float) else v for k, v in asdict(value).items()}


def _nan_for_null(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in values.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _array(values: Any) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
