"""What an inference takes, as text and as stacked bars of components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.hardware.costs.breakdown import COMPONENTS, CostBreakdown
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.report.charts import STYLES
from powerplan.report.facts import Fact
from powerplan.report.sankey import Sankey, largest, sankey
from powerplan.report.text import columns, typeset
from powerplan.units import share, si, significant


def cost_table(result: Prediction | Simulation) -> list[str]:
    """Energy by layer and component, then the sums; empty without costs."""
    costs = result.costs
    if costs is None:
        return []
    used = _used(costs)
    rows = [
        [name, *(si(float(energy[k]), "J", 3) for k in used), si(float(sum(energy)), "J"), si(latency, "s", 3)]
        for name, energy, latency in zip(
            result.layer_labels, costs.energy_by_component, costs.latency_by_layer.tolist(), strict=True
        )
    ]
    total = list(costs.energy_of.values())
    rows.append(["sum", *(si(total[k], "J", 3) for k in used), si(costs.energy, "J"), si(costs.latency, "s", 3)])
    rows.append(["share", *(share(total[k], costs.energy) for k in used), "", ""])
    headers = ["energy", *(costs.components[k].replace("_", " ") for k in used), "all", "latency"]
    return ["\n".join((columns(headers, rows), "", *(f"{name:<12}{value}" for name, value in _sums(costs))))]


def cost_facts(costs: CostBreakdown | None) -> list[Fact]:
    """The sums, for cards and reports."""
    if costs is None:
        return []
    dearest = max(costs.energy_of.items(), key=lambda entry: entry[1])
    facts = [Fact(name=name.capitalize(), value=typeset(value)) for name, value in _sums(costs)]
    remark = f"most in {COMPONENTS.get(dearest[0], dearest[0])}, {share(dearest[1], costs.energy)}"
    return [Fact(name="Energy of all components", value=typeset(si(costs.energy, "J")), remark=typeset(remark)), *facts]


def energy_text(result: Prediction | Simulation) -> str:
    """The energy of an inference: with costs that of all components, and the part of the arrays."""
    costs = result.costs
    if costs is None:
        return f"{si(result.energy, 'J')} per inference"
    return f"{si(costs.energy, 'J')} per inference, {si(costs.energy_of['arrays'], 'J')} of it in the arrays"


def _sums(costs: CostBreakdown) -> list[tuple[str, str]]:
    rate = f"{si(costs.period, 's')} from one inference to the next"
    sums = [
        ("efficiency", f"{significant(costs.tops_per_watt)} TOPS/W, two operations for every product of a layer"),
        ("latency", f"{si(costs.latency, 's')}; {rate}" if costs.pipelined else si(costs.latency, "s")),
    ]
    if costs.area > 0:
        sums.append(
            ("area", f"{significant(1e6 * costs.area)} mm², {significant(costs.tops_per_mm2)} TOPS/mm²"),
        )
    return sums


def _used(costs: CostBreakdown) -> list[int]:
    """The components that take energy."""
    return np.flatnonzero(costs.energy_by_component.any(axis=0)).tolist()


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a stacked bar, in % of the width; ``pale`` tells the second use of a colour from the first."""

    start: float
    width: float
    style: int
    pale: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class CostView:
    """Stacked bars of energy by component, a row per layer and one for all."""

    names: tuple[tuple[str, int, bool], ...]
    rows: tuple[tuple[str, str, tuple[Piece, ...]], ...]
    facts: tuple[Fact, ...]
    sankey: Sankey


def cost_view(prediction: Prediction) -> CostView | None:
    """The bars of a plan, or None without costs."""
    costs = prediction.costs
    if costs is None or not costs.energy > 0:
        return None
    used = _used(costs)
    looks = {k: (place % STYLES, place >= STYLES) for place, k in enumerate(used)}
    energies = [("all layers", costs.energy_by_component.sum(axis=0))]
    energies += list(zip(prediction.layer_labels, costs.energy_by_component, strict=True))

    def pieces(energy: Sequence[float]) -> tuple[Piece, ...]:
        start, stacked = 0.0, []
        for k in used:
            width = round(100 * float(energy[k]) / costs.energy, 2)
            words = f"{COMPONENTS.get(costs.components[k], costs.components[k])}: {typeset(si(float(energy[k]), 'J'))}"
            stacked.append(Piece(start=round(start, 2), width=width, style=looks[k][0], pale=looks[k][1], text=words))
            start += width
        return tuple(stacked)

    return CostView(
        names=tuple((_said(costs.components[k]), *looks[k]) for k in used),
        rows=tuple((name, typeset(si(float(sum(energy)), "J")), pieces(energy)) for name, energy in energies),
        facts=tuple(cost_facts(costs)),
        sankey=_ribbons(costs, prediction.layer_labels, used),
    )


def _said(component: str) -> str:
    """A component in words, with its name: ``converters of columns (adc)``."""
    name = component.replace("_", " ")
    return f"{COMPONENTS[component]} ({name})" if component in COMPONENTS else name


def _ribbons(costs: CostBreakdown, layers: Sequence[str], used: Sequence[int]) -> Sankey:
    energies, names = largest(costs.energy_by_component[:, used], layers)
    components = [COMPONENTS.get(costs.components[k], costs.components[k]) for k in used]
    texts = {
        (k, j): f"{names[k]}, {components[j]}: {typeset(si(float(energies[k, j]), 'J'))}"
        for k in range(len(names))
        for j in range(len(used))
    }
    return sankey(energies, names, [costs.components[k].replace("_", " ") for k in used], texts)
