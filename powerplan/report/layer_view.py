"""What reports say of every layer: gains, power, error; and of every corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from powerplan.hardware.describe import described_fields
from powerplan.hardware.hardware import Hardware
from powerplan.network import Network
from powerplan.planning import Plan
from powerplan.report.charts import Scale
from powerplan.report.quantities import predicted_nmse, quantile_text, simulated_nmse, yield_text
from powerplan.report.tables import ranges_used
from powerplan.report.text import flat, typeset, value_text
from powerplan.units import gain_text, share, si


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Values of one layer on the shared scale of the figure, in % of its width; scalars have equal ends."""

    low: float
    quarter: float
    middle: float
    three_quarters: float
    high: float
    baseline: float | None


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """One crossbar layer: gains, power and error as text, bars in % of the largest."""

    name: str
    gain: str
    against_baseline: str
    voltage: str
    used: str
    arrays: str
    power: str
    power_share: str
    power_bar: float
    tia_bar: float
    converters: str
    converter_bar: float
    error_share: str
    error_bar: float
    spread: Spread


@dataclass(frozen=True, kw_only=True)
class CornerView:
    """A further hardware of a plan: how it differs, and error and power there."""

    name: str
    changes: str
    error: str
    simulated: str
    power: str
    chip_yield: str
    binds: str


def layer_views(plan: Plan, network: Network | None, scale: Scale) -> list[LayerView]:
    """A view per crossbar layer; gains on the shared ``scale``. The network adds the ranges used."""
    prediction = plan.prediction
    used = None if network is None else ranges_used(network, plan.hardware, plan.gains)
    # each bar is a part of the whole, so that the two columns can be compared
    power, error = prediction.power or 1.0, prediction.mse or 1.0
    largest = max(
        float(np.max(prediction.power_by_layer, initial=0.0)) / power,
        float(np.max(prediction.mse_by_layer, initial=0.0)) / error,
        1e-12,
    )
    rows = []
    for i, name in enumerate(prediction.layer_labels):
        gain = plan.gains.conductance[i]
        base = None if plan.baseline_gains is None else plan.baseline_gains.conductance[i]
        tia = float(prediction.tia_power_by_layer[i])
        converters = float(prediction.converter_power_by_layer[i])
        own = float(prediction.power_by_layer[i])
        rows.append(
            LayerView(
                name=name,
                gain=typeset(gain_text(gain, "S")),
                against_baseline="" if base is None else f"{np.median(gain) / np.median(base):.2f} ×",
                voltage=typeset(gain_text(plan.gains.voltage[i], "V")),
                used=""
                if used is None
                else f"{typeset(si(used[i], 'S', 3))} ({100 * used[i] / plan.hardware.conductance_max:.0f} %)",
                arrays="" if plan.arrays is None else str(plan.arrays[i].arrays),
                power=typeset(si(own, "W")),
                power_share=typeset(share(own, prediction.power)),
                power_bar=round(100 * (own - tia - converters) / power / largest, 2),
                tia_bar=round(100 * tia / power / largest, 2),
                converters=typeset(si(converters, "W")) if converters else "",
                converter_bar=round(100 * converters / power / largest, 2),
                error_share=typeset(share(float(prediction.mse_by_layer[i]), prediction.mse)),
                error_bar=round(100 * float(prediction.mse_by_layer[i]) / error / largest, 2),
                spread=spread(gain, base, scale),
            )
        )
    return rows


def spread(gain: float | np.ndarray, base: float | np.ndarray | None, scale: Scale) -> Spread:
    """Range, middle half and median of values on a scale; ``base`` is marked by its median."""
    low, quarter, middle, three, high = (
        round(100 * scale.at(float(q)), 2) for q in np.quantile(np.ravel(gain), [0, 0.25, 0.5, 0.75, 1])
    )
    return Spread(
        low=low,
        quarter=quarter,
        middle=middle,
        three_quarters=three,
        high=high,
        baseline=None if base is None else round(100 * scale.at(float(np.median(base))), 2),
    )


def corner_views(plan: Plan) -> list[CornerView]:
    """The nominal hardware and the others the target holds in; empty without others."""
    if not plan.corners:
        return []
    nominal = dict(flat(plan.hardware.to_dict()))
    units = {name: unit for name, (unit, _) in described_fields(Hardware).items()}
    views = []
    cases = [(plan.hardware, plan.prediction, plan.verification)]
    cases += [(corner.hardware, corner.prediction, corner.verification) for corner in plan.corners]
    for i, (hardware, prediction, check) in enumerate(cases):
        changed = [(k, v) for k, v in flat(hardware.to_dict()) if v != nominal.get(k)]
        simulated = "–" if check is None else simulated_nmse(check)
        quantile = quantile_text(plan, prediction, check)
        views.append(
            CornerView(
                name="nominal" if i == 0 else f"corner {i}",
                changes=", ".join(f"{k} {value_text(v, units.get(k, ''))}" for k, v in changed) or "–",
                error=typeset(f"{predicted_nmse(prediction)}{'' if quantile is None else f' ({quantile})'}"),
                simulated=typeset(simulated),
                power=typeset(si(prediction.power, "W")),
                chip_yield="–" if check is None or check.chip_yield is None else typeset(yield_text(check)),
                binds="yes" if i in plan.binding_corners else "no",
            )
        )
    return views
