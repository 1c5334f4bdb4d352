"""What the plans of a study have in common by layer: shares of power and error, gains, and what limits cost.

Of a quantity x_l of layer l the reader sees its distribution over the plans of one network whose target is met: range,
middle half and median. So a table has as many rows as the network has layers, however many plans there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.batch.results import PointResult
from powerplan.planning import Plan
from powerplan.report.charts import Scale
from powerplan.report.layer_view import Spread, spread
from powerplan.report.text import typeset, without_paths
from powerplan.units import si

#: limits that are listed, of all that bind somewhere
MOST_LIMITS = 20


@dataclass(frozen=True, kw_only=True)
class Range:
    """A quantity of one layer over the plans: its median, its range ("" of a single plan), and both on a scale."""

    median: str
    ends: str
    spread: Spread


@dataclass(frozen=True, kw_only=True)
class LayerRange:
    """One crossbar layer over the plans of its network: shares in %, conductance gain (median of its columns)."""

    name: str
    power: Range
    error: Range
    gain: Range


@dataclass(frozen=True, kw_only=True)
class NetworkLayers:
    """The layers of one network over ``plans`` plans; gains on a scale from ``low`` to ``high``."""

    network: str
    plans: int
    low: str
    high: str
    layers: tuple[LayerRange, ...]


@dataclass(frozen=True, kw_only=True)
class TargetPrice:
    """What a target looser by 1 % changes, over the plans of one network that bound the same quantity."""

    network: str
    bounded: str
    objective: str
    plans: int
    median: str
    ends: str


@dataclass(frozen=True, kw_only=True)
class LimitPrices:
    """A limit of the hardware that binds in ``plans`` plans, and its price there, columns and rows together."""

    network: str
    layer: str
    limit: str
    plans: int
    median: str
    ends: str


Met = Sequence[tuple[PointResult, Plan]]


def network_layers(plans: Met) -> list[NetworkLayers]:
    """A table for each network of the plans that meet their target."""
    return [_of_network(name, members) for name, members in _by_network(plans).items()]


def _by_network(plans: Met) -> dict[str, list[Plan]]:
    groups: dict[str, list[Plan]] = {}
    for point, plan in plans:
        if plan.meets_target:
            groups.setdefault(without_paths(str(point.settings.get("network", ""))), []).append(plan)
    return groups


def _of_network(network: str, plans: Sequence[Plan]) -> NetworkLayers:
    names = dict.fromkeys(name for plan in plans for name in plan.prediction.layer_labels)
    gains: dict[str, list[float]] = {name: [] for name in names}
    powers: dict[str, list[float]] = {name: [] for name in names}
    errors: dict[str, list[float]] = {name: [] for name in names}
    for plan in plans:
        prediction = plan.prediction
        for i, name in enumerate(prediction.layer_labels):
            gains[name].append(float(np.median(plan.gains.conductance[i])))
            powers[name].append(100 * float(prediction.power_by_layer[i]) / (prediction.power or 1.0))
            errors[name].append(100 * float(prediction.mse_by_layer[i]) / (prediction.mse or 1.0))
    across = Scale.around([gain for some in gains.values() for gain in some], log=True)
    whole = Scale(low=0.0, high=100.0, log=False)
    return NetworkLayers(
        network=network,
        plans=len(plans),
        low=typeset(si(across.low, "S", 3)),
        high=typeset(si(across.high, "S", 3)),
        layers=tuple(
            LayerRange(
                name=name,
                power=_percent_range(powers[name], whole),
                error=_percent_range(errors[name], whole),
                gain=Range(
                    median=typeset(si(float(np.median(gains[name])), "S")),
                    ends=_ends([si(end, "S", 3) for end in _low_high(gains[name])], len(plans)),
                    spread=spread(np.array(gains[name]), None, across),
                ),
            )
            for name in names
        ),
    )


def _percent_range(values: Sequence[float], scale: Scale) -> Range:
    return Range(
        median=typeset(f"{np.median(values):.1f} %"),
        ends=_ends([f"{end:.1f} %" for end in _low_high(values)], len(values)),
        spread=spread(np.array(values), None, scale),
    )


def _low_high(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _ends(texts: Sequence[str], count: int) -> str:
    low, high = map(typeset, texts)
    return f"{low} to {high}" if count > 1 else ""


def target_prices(plans: Met) -> list[TargetPrice]:
    """The shadow price of the target, d log objective / d log target, by network and bounded quantity."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for network, members in _by_network(plans).items():
        for plan in members:
            if plan.shadow_prices is not None:
                key = (network, plan.target.quantity, plan.objective.quantity)
                groups.setdefault(key, []).append(plan.shadow_prices.target)
    return [
        TargetPrice(
            network=network,
            bounded=bounded,
            objective=objective,
            plans=len(prices),
            median=typeset(f"{np.median(prices):+.2f} %"),
            ends=_ends([f"{end:+.2f} %" for end in _low_high(prices)], len(prices)),
        )
        for (network, bounded, objective), prices in groups.items()
    ]


def limit_prices(plans: Met) -> tuple[list[LimitPrices], int]:
    """Limits that bind, the dearest first, and how many more there are. Prices of columns and rows are added up."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for network, members in _by_network(plans).items():
        for plan in members:
            for (layer, limit), price in price_by_layer(plan).items():
                groups.setdefault((network, plan.prediction.label_of(layer), limit), []).append(price)
    ordered = sorted(groups.items(), key=lambda item: -sum(map(abs, item[1])))
    listed = [
        LimitPrices(
            network=network,
            layer=layer,
            limit=limit,
            plans=len(prices),
            median=typeset(f"{np.median(prices):+.4f}"),
            ends=_ends([f"{end:+.4f}" for end in _low_high(prices)], len(prices)),
        )
        for (network, layer, limit), prices in ordered[:MOST_LIMITS]
    ]
    return listed, max(0, len(ordered) - MOST_LIMITS)


def price_by_layer(plan: Plan) -> dict[tuple[str, str], float]:
    """Prices of a plan's limits by (layer, limit): what all columns and rows of a layer pay together."""
    sums: dict[tuple[str, str], float] = {}
    for price in plan.shadow_prices.limits if plan.shadow_prices is not None else ():
        key = (price.layer, price.limit)
        sums[key] = sums.get(key, 0.0) + price.price
    return sums
