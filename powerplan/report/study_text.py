"""A study as text: a row for each point, the reason beside those without an answer."""

from __future__ import annotations

from powerplan.batch.results import StudyResult
from powerplan.report.quantities import asked_text, predicted_nmse, saving_cell, simulated_nmse
from powerplan.report.text import columns
from powerplan.report.units import si


def study_table(study: StudyResult) -> str:
    """A row per point in the order of the study: target, power, energy, saving, NMSE; below it what has none, why."""
    plans = [(point, point.plan) for point in study.points]
    verified = any(plan is not None and plan.verification for _, plan in plans)
    headers = ["point", "target", "power", "energy", "saving", "predicted NMSE", "outcome"]
    if verified:
        headers.insert(6, "simulated NMSE")
    rows, reasons = [], []
    for point, plan in plans:
        if plan is None:
            rows.append([point.name, *["-"] * (len(headers) - 2), point.state.value])
            reasons += [f"{point.name}: {point.failure.message}"] if point.failure else []
            continue
        met = plan.meets_target
        row = [
            point.name,
            asked_text(plan),
            si(plan.power, "W") if met else "-",
            si(plan.energy, "J") if met else "-",
            "-" if plan.saving is None else saving_cell(plan.saving, plan.objective),
            predicted_nmse(plan.prediction),
            plan.termination.outcome.value,
        ]
        if verified:
            row.insert(6, "-" if plan.verification is None else simulated_nmse(plan.verification))
        rows.append(row)
        reasons += [] if met else [f"{point.name}: {plan.termination.message}"]
    least = _least(study)
    said = [] if least is None else [f"least power: {least}"]
    return "\n".join([columns(headers, rows), *([""] if said or reasons else []), *said, *reasons])


def _least(study: StudyResult) -> str | None:
    """The point of least power, where all have one target."""
    met = [(plan.power, point.name) for point in study.points if (plan := point.plan) is not None and plan.meets_target]
    if len(met) < 2 or len({str(point.settings["target"]) for point in study.points}) > 1:
        return None
    (power, name), (second, next_one) = sorted(met)[:2]
    return f"{name}, {si(power, 'W')}; next {next_one}, {si(second, 'W')} ({100 * (second / power - 1):.3g} % more)"
