"""A study as a table: one row per point, the same in every run; as CSV, Parquet or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powerplan.batch.naming import setting
from powerplan.batch.points import plan_defaults
from powerplan.batch.results import PointResult, StudyResult
from powerplan.batch.schema import PARTS
from powerplan.batch.targets import parts_of
from powerplan.checks import choice
from powerplan.errors import MissingExtra
from powerplan.files import write_bytes
from powerplan.planning.settings import CHOICES

if TYPE_CHECKING:
    from powerplan.planning import Plan

#: suffix -> writer of rows
FORMATS = (".csv", ".parquet", ".json")

_SETTINGS = ("network", "inputs", "hardware", "granularity", "optimize", "method", "verify_draws", "calibrate", "seed")
_RESULTS: dict[str, Callable[[Any], Any]] = {
    "outcome": lambda plan: plan.termination.outcome.value,
    "power_W": lambda plan: plan.power,
    "energy_J": lambda plan: plan.energy,
    "cost_J": lambda plan: plan.costs and plan.costs.energy,
    "latency_s": lambda plan: plan.costs and plan.costs.latency,
    "area_m2": lambda plan: plan.costs and plan.costs.area,
    "tops_per_watt": lambda plan: plan.costs and plan.costs.tops_per_watt,
    "arrays": lambda plan: plan.array_count,
    "conversions": lambda plan: plan.conversions,
    "mse": lambda plan: plan.mse,
    "nmse": lambda plan: plan.nmse,
    "reached": lambda plan: plan.reached,
    "chip_mse": lambda plan: _chip_mse(plan),
    "chip_yield": lambda plan: _chip_yield(plan),
    "nmse_input_standard_error": lambda plan: plan.prediction.inputs and plan.prediction.inputs.nmse_standard_error,
    "wire_bias": lambda plan: _over_layers(plan.prediction.wire_bias_by_layer, sum),
    "largest_wire_drop": lambda plan: _over_layers(plan.prediction.largest_wire_drop_by_layer, max),
    "baseline_power_W": lambda plan: plan.baseline_power,
    "baseline_mse": lambda plan: plan.baseline_mse,
    "saving": lambda plan: plan.saving,
    "choice_gap": lambda plan: plan.bits and plan.bits.gap,
    "steps_gap": lambda plan: plan.discrete and plan.discrete.gap,
    "best_reachable": lambda plan: plan.termination.best_reachable,
    "kkt_residual": lambda plan: plan.certificate and plan.certificate.kkt_residual,
    "target_price": lambda plan: plan.shadow_prices and plan.shadow_prices.target,
    "simulated_mse": lambda plan: plan.verification and plan.verification.mse,
    "simulated_mse_standard_error": lambda plan: plan.verification and plan.verification.mse_standard_error,
    "simulated_nmse": lambda plan: plan.verification and plan.verification.nmse,
    "simulated_power_W": lambda plan: plan.verification and plan.verification.power,
    "simulated_yield": lambda plan: plan.verification and plan.verification.chip_yield,
    "simulated_yield_low": lambda plan: plan.verification and plan.verification.chip_yield_low,
    "simulated_yield_high": lambda plan: plan.verification and plan.verification.chip_yield_high,
    "simulated_chip_mse": lambda plan: plan.verification and plan.verification.chip_mse,
    "simulated_chip_mse_low": lambda plan: plan.verification and plan.verification.chip_mse_low,
    "simulated_chip_mse_high": lambda plan: plan.verification and plan.verification.chip_mse_high,
    "simulated_over_target": lambda plan: plan.verification and plan.verification.ratio,
}


def _over_layers(values: Any, take: Callable[[Any], Any]) -> float | None:
    """The sum or the largest of values by layer; None in plans that do not have them."""
    return None if values is None else float(take(values))


def _chip_mse(plan: Any) -> float | None:
    """The MSE that the target's part of the chips is predicted to keep; None where the target is on no such part."""
    target, chips = plan.target, plan.prediction.chips
    told = target.chips is not None and target.tells_slope and chips is not None
    return chips.mse.quantile(target.chips) if told else None


def _chip_yield(plan: Any) -> float | None:
    """The part of the chips predicted to keep the bound; None where it is not on the error, or chips are not known."""
    bound, chips = plan.target.chip_bound(plan.prediction.signal_power), plan.prediction.chips
    return None if bound is None or chips is None else chips.nmse.yield_at(bound)


def rows(result: StudyResult, *, times: bool = False) -> list[dict[str, Any]]:
    """One row per point, in the order of the study; None where a point has no such value.

    Args:
        times: add seconds and attempts, which differ from run to run.
    """
    overrides, more = _override_axes(result.points), _further_settings(result.points)
    parts = [part for part in PARTS if any(part in point.settings["target"] for point in result.points)]
    free = {kind for point in result.points for kind in point.settings["optimize"].split("+")}
    chosen = {f"chosen_{kind}": kind for kind in CHOICES if kind in free}
    table = [_row(point, overrides, more, parts=parts, chosen=chosen, times=times) for point in result.points]
    for name in (*overrides, *more, *chosen):
        if any(isinstance(row[name], list | tuple) for row in table):  # one type per column: lists as text
            for row in table:
                row[name] = None if row[name] is None else json.dumps(row[name])
    return table


def _further_settings(points: Sequence[PointResult]) -> list[str]:
    """Settings that are columns only where a point gives them."""
    further = {name: value for name, value in plan_defaults().items() if name not in _SETTINGS}
    return [name for name, value in further.items() if any(p.settings.get(name, value) != value for p in points)]


def _override_axes(points: Sequence[PointResult]) -> list[str]:
    return list(dict.fromkeys(f"override.{field}" for point in points for field in point.settings["override"]))


def _chosen(plan: Plan, kind: str) -> list[float] | None:
    """What a plan chose of every layer, such as its bits; None where it was not free."""
    layers = plan.hardware.of_layers(plan.prediction.layer_names) if kind in plan.optimize else None
    return None if layers is None else [getattr(layer, kind) for layer in layers]


def _row(
    point: PointResult,
    overrides: Sequence[str],
    more: Sequence[str],
    *,
    parts: Sequence[str],
    chosen: Mapping[str, str],
    times: bool,
) -> dict[str, Any]:
    kind, value, further = parts_of(point.settings["target"])
    plan = point.plan
    row: dict[str, Any] = {"point": point.name}
    row |= {name: point.settings[name] for name in _SETTINGS[:3]}
    row |= {axis: setting(point.settings, axis) for axis in overrides}
    row |= {"target": kind, "target_value": value}
    row |= {f"target_{part}": further.get(part) for part in parts}
    row |= {name: point.settings[name] for name in _SETTINGS[3:]}
    row |= {name: point.settings[name] for name in more}
    row["state"] = point.state.value
    row |= {name: None if plan is None else _chosen(plan, kind) for name, kind in chosen.items()}
    row |= {name: None if plan is None else _finite(get(plan)) for name, get in _RESULTS.items()}
    row["failure"] = point.failure.code if point.failure else None
    row["message"] = point.failure.message if point.failure else None
    row["key"] = point.key
    if times:
        row |= {"seconds": point.seconds, "attempts": point.attempts}
    return row


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def export(result: StudyResult, path: str | os.PathLike[str], *, times: bool = False) -> None:
    """Write the table to a .csv, .parquet or .json file; an existing one is replaced when the new one is complete.

    Raises:
        InvalidInput: another suffix, or a file that cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    file = Path(path)
    suffix = choice("table file suffix", file.suffix.lower(), FORMATS)
    table = rows(result, times=times)
    content = _json(result, table) if suffix == ".json" else _csv(table) if suffix == ".csv" else _parquet(table)
    write_bytes("output", file, content)


def _csv(table: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: repr(v) if isinstance(v, float) else v for name, v in row.items()} for row in table)
    return text.getvalue().encode()


def _json(result: StudyResult, table: Sequence[Mapping[str, Any]]) -> bytes:
    document = {
        "format": "powerplan.study",
        "schema_version": 1,
        "name": result.name,
        "description": result.description,
        "axes": list(result.axes),
        "provenance": dict(result.provenance),
        "points": list(table),
    }
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _parquet(table: Sequence[Mapping[str, Any]]) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", "Writing Parquet") from error
    columns = {name: [row[name] for row in table] for name in table[0]}
    arrays = {name: pa.array(values, _type(pa, name, values)) for name, values in columns.items()}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(arrays), buffer)
    return buffer.getvalue()


def _type(pa: Any, name: str, values: Sequence[Any]) -> Any:
    """Type of a column, also where no point has a value."""
    if name in ("outcome", "network", "inputs", "hardware", "failure", "message") or name.startswith("chosen_"):
        return pa.string()
    if name in _RESULTS or any(isinstance(value, float) for value in values):
        return pa.float64()
    return None
