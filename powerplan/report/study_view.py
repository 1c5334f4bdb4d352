"""A study, or several plans, as the values that the templates of reports show.

Why: docs/decisions/reports.md [0152, 0249].
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.hardware import Hardware
from powerplan.network import Network
from powerplan.planning import Plan
from powerplan.planning.settings import CHOICES
from powerplan.report.device_names import device_names
from powerplan.report.explorer import Explorer, explorer
from powerplan.report.facts import Fact
from powerplan.report.notes import plan_notes
from powerplan.report.plan_view import PlanView, node_rows, plan_view
from powerplan.report.quantities import target_text
from powerplan.report.side_by_side import SideBySide, side_by_side
from powerplan.report.study_answer import study_answer
from powerplan.report.study_axes import axis_name
from powerplan.report.study_charts import gain_charts, yield_charts
from powerplan.report.study_failures import FailureGroup, failure_groups
from powerplan.report.study_hardware import Comparison, compare_hardware
from powerplan.report.study_layers import (
    LimitPrices,
    NetworkLayers,
    TargetPrice,
    limit_prices,
    network_layers,
    target_prices,
)
from powerplan.report.study_networks import Networks, networks
from powerplan.report.study_panels import Panels, study_panels
from powerplan.report.study_table import Cell, Summary, point_table, summaries
from powerplan.report.svg import Layout, lay_out
from powerplan.report.text import flat, typeset, value_text, without_paths
from powerplan.report.thin_plans import thinned

#: plans shown in full below the table; with more the points are summed up by their settings
MOST_DETAILS = 12
#: networks whose layers are shown
MOST_NETWORKS = 12
#: points named in a note
MOST_NAMES = 6


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """Everything a report says about a study."""

    heading: str
    subtitle: str
    description: str
    contents: tuple[tuple[str, str], ...]
    answer: tuple[Fact, ...]
    notes: tuple[str, ...]
    summaries: tuple[Summary, ...]
    summaries_left_out: tuple[str, ...]
    panels: Panels
    beside: SideBySide | None
    explorer: Explorer | None
    gain_charts: tuple[Layout, ...]
    gains_caption: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Cell, ...], ...]
    failures: tuple[FailureGroup, ...]
    layers: tuple[NetworkLayers, ...]
    layers_left_out: int
    prices: tuple[TargetPrice, ...]
    limits: tuple[LimitPrices, ...]
    limits_left_out: int
    details: tuple[tuple[str, PlanView], ...]
    hardware: Comparison
    networks: Networks
    nodes: tuple[tuple[str, str, str, str, str], ...]
    provenance: tuple[Fact, ...]


def as_study(plans: Mapping[str, Plan]) -> StudyResult:
    """Plans by name as the result of a study: what differs between them becomes its axes."""
    given = [_as_given(plan) for plan in plans.values()]
    fields = [dict(flat(hardware.to_dict())) for hardware in given]
    names = device_names(given)
    first = dict(reversed(list(zip(names, fields, strict=True))))
    # what the name of the hardware tells is no setting of its own
    changed = [
        key
        for key in dict.fromkeys(key for f in fields for key in f)
        if any(f.get(key) != first[name].get(key) for f, name in zip(fields, names, strict=True))
    ]
    digests = list(dict.fromkeys(plan.provenance.get("network_sha256", "") for plan in plans.values()))
    points = []
    for (name, plan), values, hardware in zip(plans.items(), fields, names, strict=True):
        settings: dict[str, Any] = {
            "network": f"network {digests.index(plan.provenance.get('network_sha256', '')) + 1}",
            **({"hardware": hardware} if hardware else {}),
            "granularity": plan.granularity,
            "optimize": ", ".join(plan.optimize),
            "method": plan.prediction.method,
            "override": {key: values.get(key) for key in changed},
            "target": target_text(plan.target),
        }
        points.append(PointResult(name=name, settings=settings, state=PointState.DONE, source=plan))
    flats = [dict(flat(point.settings)) for point in points]
    axes = tuple(key for key in flats[0] if any(f[key] != flats[0][key] for f in flats))
    digest_names = {f"network {i + 1}, SHA-256": d for i, d in enumerate(digests) if d}
    return StudyResult(name="", points=tuple(points), axes=axes, provenance=digest_names)


def _as_given(plan: Plan) -> Hardware:
    """The hardware of a plan but for what the plan has chosen of it, which is no setting."""
    return plan.hardware.replace(**{kind: getattr(Hardware(), kind) for kind in plan.optimize if kind in CHOICES})


def study_view(study: StudyResult, *, title: str = "", network: Network | None = None) -> StudyView:
    """The view of a study. ``network`` adds its operations, and the ranges used to the details of its plans."""
    if len(study.done) > MOST_DETAILS:  # none is shown in full
        study = thinned(study)
    plans = [(point, point.plan) for point in study.points if point.plan is not None]
    name = without_paths(title or study.name)
    details = _details(plans, network)
    panels = study_panels(study, plans)
    beside = side_by_side(plans)
    slider = explorer(plans)
    along, gains_caption = gain_charts(study, plans)
    yields, yields_caption = yield_charts(study, plans)
    layers = network_layers(plans)
    prices = target_prices(plans)
    limits, limits_left_out = limit_prices(plans)
    failures = failure_groups(study)
    summed, unsummed = summaries(study) if len(study.points) > MOST_DETAILS else ([], [])
    contents = [("answer", "Answer")]
    contents += [("failures", "Failures")] if failures else []
    contents += [("summary", "By setting")] if summed else []
    contents += [("figures", "Figures")] if panels.charts else []
    contents += [("beside", "Side by side")] if beside else []
    contents += [("explore", "Plan by plan")] if slider else []
    contents += [("layers", "Layers")] if layers else []
    contents += [("sensitivities", "Sensitivities")] if prices else []
    contents += [("points", "All points")]
    contents += [("details", "Plans in detail")] if details else []
    contents += [("hardware", "Hardware")] if plans else []
    contents += [("networks", "Networks"), ("provenance", "Provenance")]
    columns, rows = point_table(study, {id(point): anchor for anchor, _, point in details})
    count = len(study.points)
    what = "plans" if not study.name else "points of a study"
    return StudyView(
        heading=name or _heading(study),
        subtitle=f"{count} {what}"
        + (f" that differ in {_and(list(map(axis_name, study.axes)))}" if study.axes else "")
        + ".",
        description=without_paths(study.description),
        contents=tuple(contents),
        answer=tuple(study_answer(study, [plan for _, plan in plans])),
        notes=tuple(_notes(study, plans)),
        summaries=tuple(summed),
        summaries_left_out=tuple(unsummed),
        panels=panels,
        beside=beside,
        explorer=slider,
        gain_charts=tuple(map(lay_out, [*along, *yields])),
        gains_caption=" ".join(filter(None, [gains_caption, yields_caption])),
        columns=columns,
        rows=rows,
        failures=tuple(failures),
        layers=tuple(layers[:MOST_NETWORKS]),
        layers_left_out=max(0, len(layers) - MOST_NETWORKS),
        prices=tuple(prices),
        limits=tuple(limits),
        limits_left_out=limits_left_out,
        details=tuple((anchor, view) for anchor, view, _ in details),
        hardware=compare_hardware(study, plans),
        networks=networks(study, plans, network),
        nodes=() if network is None else tuple(node_rows(network)),
        provenance=tuple(_provenance(study, [plan for _, plan in plans])),
    )


def _heading(study: StudyResult) -> str:
    """How many plans, and on which devices, where these have names."""
    devices = list(dict.fromkeys(str(p.settings["hardware"]) for p in study.points if "hardware" in p.settings))
    on = f" on {_and(devices)}" if devices and len(devices) <= MOST_NAMES else ""
    return f"{len(study.points)} plans{on}"


def _notes(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]]) -> list[str]:
    """Warnings of all plans, equal ones once with the points they concern."""
    points: dict[str, list[str]] = {}
    for point, plan in plans:
        for note in plan_notes(plan):
            points.setdefault(note, []).append(point.name)
    notes = [f"{len(study.failed)} of {len(study.points)} points failed; see Failures."] if study.failed else []
    waiting = len(study.points) - len(study.done) - len(study.failed)
    if waiting:
        notes.append(
            f"{waiting} of {len(study.points)} points are not calculated yet: this report is of an unfinished study."
        )
    for note, names in points.items():
        where = "All points" if len(names) == len(study.points) else without_paths(_named(names))
        notes.append(f"{where}: {typeset(without_paths(note))}")
    return notes


def _named(names: Sequence[str]) -> str:
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{len(names)} points, among them {', '.join(names[:2])}"


def _details(
    plans: Sequence[tuple[PointResult, Plan]], network: Network | None
) -> list[tuple[str, PlanView, PointResult]]:
    """The plans in full, if they are few."""
    if len(plans) > MOST_DETAILS:
        return []
    return [
        (f"plan-{i + 1}", plan_view(plan, name=point.name, network=network), point)
        for i, (point, plan) in enumerate(plans)
    ]


def _provenance(study: StudyResult, plans: Sequence[Plan]) -> list[Fact]:
    known = {key: value for key, value in study.provenance.items() if key != "network_sizes"}  # in Networks
    facts = [Fact(name=key.replace("_", " "), value=value_text(value)) for key, value in flat(known)]
    for name, moment in (("started", study.started), ("ended", study.ended)):
        if moment is not None:
            at = dt.datetime.fromtimestamp(moment, dt.UTC)
            facts.append(Fact(name=name, value=f"{at:%Y-%m-%d %H:%M:%S} UTC"))
    for key, text in (
        ("powerplan_version", "plans made by powerplan"),
        ("method", "prediction method"),
        ("inputs_sha256", "inputs, SHA-256"),
    ):
        values = Counter(str(p.provenance[key]) for p in plans if key in p.provenance)
        if values and len(values) <= MOST_NAMES and not any(text in f.name for f in facts):
            facts.append(Fact(name=text, value=", ".join(values)))
    checks = [p.verification for p in plans if p.verification is not None]
    if checks:
        draws, seeds = ({getattr(c, name) for c in checks} for name in ("draws", "seed"))
        facts.append(
            Fact(
                name="verification",
                value=f"draws {_listed(draws)}; seeds {_listed(seeds)}",
            )
        )
    seconds = sum(p.termination.seconds for p in plans)
    facts.append(Fact(name="time to optimise, all plans", value=f"{seconds:.2f} s"))
    return facts


def _listed(numbers: set[int]) -> str:
    """Numbers with commas; a range if there are many."""
    ordered = sorted(numbers)
    return ", ".join(map(str, ordered)) if len(ordered) <= MOST_NAMES else f"{ordered[0]} to {ordered[-1]}"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
