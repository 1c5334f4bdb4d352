"""A study as text: a row for each point, the reason beside those without an answer."""

from __future__ import annotations

from powerplan.batch.results import StudyResult
from powerplan.planning import Plan
from powerplan.planning.settings import CHOICES
from powerplan.report.planned_error import SOME_NMSE, error_name, part_text
from powerplan.report.quantities import asked_text, chosen_text, predicted_nmse, saving_cell, simulated_nmse
from powerplan.report.text import columns
from powerplan.units import si

_COLUMNS = (
    *("point", "target", "power", "energy", "with costs", "saving"),
    *CHOICES,
    *("predicted NMSE", "simulated NMSE", SOME_NMSE, "arrays", "conversions", "outcome"),
)
#: columns only where a point has them, and only where points differ in them
_IF_ANY, _IF_DIFFERENT = ("with costs", *CHOICES, "simulated NMSE", SOME_NMSE), ("arrays", "conversions")


def study_table(study: StudyResult) -> str:
    """A row per point in the order of the study: target, power, energy, saving, NMSE; below it what has none, why.

    Costs, converters that were chosen, simulations, parts of the chips, arrays and conversions have columns where there
    is something to tell.
    """
    rows: list[dict[str, str]] = []
    reasons: list[str] = []
    met: list[tuple[float, float, str]] = []
    parts: set[str] = set()
    for point in study.points:
        plan = point.plan  # read from the ledger, perhaps: once
        if plan is None:
            rows.append({"point": point.name, "outcome": point.state.value})
            reasons += [f"{point.name}: {point.failure.message}"] if point.failure else []
            continue
        rows.append({"point": point.name, **_cells(plan)})
        parts |= {error_name([plan])} if SOME_NMSE in rows[-1] else set()
        if plan.meets_target:
            met.append((plan.power, plan.costs.energy if plan.costs else 0.0, point.name))
        else:
            reasons.append(f"{point.name}: {plan.termination.message}")
    left_out = {name for name in _IF_ANY if not any(name in row for row in rows)}
    left_out |= {name for name in _IF_DIFFERENT if len({row[name] for row in rows if name in row}) < 2}
    shown = [name for name in _COLUMNS if name not in left_out]
    said = _least(met) if len({str(point.settings["target"]) for point in study.points}) == 1 else []
    cells = [[row.get(name, "-") for name in shown] for row in rows]
    shown = [min(parts) if name == SOME_NMSE and len(parts) == 1 else name for name in shown]
    return "\n".join([columns(shown, cells), *([""] if said or reasons else []), *said, *reasons])


def _cells(plan: Plan) -> dict[str, str]:
    """The cells of a plan by column; what it has not is left out."""
    cells = {"target": asked_text(plan), "predicted NMSE": predicted_nmse(plan.prediction)}
    if plan.meets_target:
        cells |= {"power": si(plan.power, "W"), "energy": si(plan.energy, "J")}
        cells |= {"with costs": si(plan.costs.energy, "J")} if plan.costs else {}
    if plan.saving is not None:
        cells["saving"] = saving_cell(plan.saving, plan.objective)
    cells |= {kind: chosen_text(plan, kind) for kind in plan.optimize if kind in CHOICES}
    if plan.array_count is not None and plan.conversions is not None:
        cells |= {"arrays": str(plan.array_count), "conversions": str(plan.conversions)}
    if plan.verification is not None:
        cells["simulated NMSE"] = simulated_nmse(plan.verification)
    if (part := part_text(plan)) is not None:
        cells[SOME_NMSE] = part
    return {**cells, "outcome": plan.termination.outcome.value}


def _least(met: list[tuple[float, float, str]]) -> list[str]:
    """The points of least power and, with costs, of least energy, and the next ones; nothing of fewer than two."""
    if len(met) < 2:
        return []
    said = [_first_two("least power", "W", [(power, name) for power, _, name in met])]
    if all(energy for _, energy, _ in met):
        said.append(_first_two("least energy with costs", "J", [(energy, name) for _, energy, name in met]))
    return said


def _first_two(what: str, unit: str, values: list[tuple[float, str]]) -> str:
    least = min(value for value, _ in values)
    alike = [name for value, name in values if si(value, unit) == si(least, unit)]
    names = f"{', '.join(alike[:-1])} and {alike[-1]} alike" if len(alike) > 1 else alike[0]
    others = [(value, name) for value, name in values if name not in alike]
    if not others:
        return f"{what}: {names}, {si(least, unit)}"
    second, next_one = min(others, key=lambda pair: pair[0])
    ratio = second / least
    more = f"{100 * (ratio - 1):.3g} % more" if ratio < 2 else f"{ratio:.3g} times as much"
    return f"{what}: {names}, {si(least, unit)}; next {next_one}, {si(second, unit)} ({more})"
