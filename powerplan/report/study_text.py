"""A study as text: a row for each point, the reason beside those without an answer."""

from __future__ import annotations

from powerplan.batch.results import StudyResult
from powerplan.report.quantities import asked_text, predicted_nmse, saving_cell, simulated_nmse
from powerplan.report.text import columns
from powerplan.report.units import si

#: place of the column that only studies with verified plans have
_SIMULATED = 6


def study_table(study: StudyResult) -> str:
    """A row per point in the order of the study: target, power, energy, saving, NMSE; below it what has none, why."""
    headers = ["point", "target", "power", "energy", "saving", "predicted NMSE", "simulated NMSE", "outcome"]
    rows: list[list[str]] = []
    reasons: list[str] = []
    met: list[tuple[float, str]] = []
    for point in study.points:
        plan = point.plan  # read from the ledger, perhaps: once, and held no longer than this
        if plan is None:
            rows.append([point.name, *["-"] * (len(headers) - 2), point.state.value])
            reasons += [f"{point.name}: {point.failure.message}"] if point.failure else []
            continue
        rows.append(
            [
                point.name,
                asked_text(plan),
                si(plan.power, "W") if plan.meets_target else "-",
                si(plan.energy, "J") if plan.meets_target else "-",
                "-" if plan.saving is None else saving_cell(plan.saving, plan.objective),
                predicted_nmse(plan.prediction),
                "-" if plan.verification is None else simulated_nmse(plan.verification),
                plan.termination.outcome.value,
            ]
        )
        if plan.meets_target:
            met.append((plan.power, point.name))
        else:
            reasons.append(f"{point.name}: {plan.termination.message}")
    if all(row[_SIMULATED] == "-" for row in rows):
        for row in (headers, *rows):
            del row[_SIMULATED]
    said = _least(met) if len({str(point.settings["target"]) for point in study.points}) == 1 else []
    return "\n".join([columns(headers, rows), *([""] if said or reasons else []), *said, *reasons])


def _least(met: list[tuple[float, str]]) -> list[str]:
    """The point of least power and the next one, of those that meet one target; nothing of fewer than two."""
    if len(met) < 2:
        return []
    (power, name), (second, next_one) = sorted(met)[:2]
    more = f"{100 * (second / power - 1):.3g} % more"
    return [f"least power: {name}, {si(power, 'W')}; next {next_one}, {si(second, 'W')} ({more})"]
