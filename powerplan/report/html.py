"""Plans, studies and single results as one self-contained HTML file: no network, no fonts or scripts from elsewhere.

The same results give the same bytes: a page holds no date of its own.

Why: docs/decisions/reports.md [0150, 0151].
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from powerplan._version import __version__
from powerplan.errors import InvalidInput
from powerplan.files import write_text
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.network import Network
from powerplan.network.weight_slices import check_sliced
from powerplan.planning import Plan
from powerplan.planning.settings import CHOICES, QUANTITIES
from powerplan.report.cards import prediction_card, simulation_card
from powerplan.report.heat_maps import arrays_view
from powerplan.report.page import render
from powerplan.report.plan_view import plan_view
from powerplan.report.quantities import asked_text
from powerplan.report.study_view import as_study, study_view
from powerplan.report.text import typeset, without_paths

if TYPE_CHECKING:
    from powerplan.batch.results import StudyResult

    #: what a report can be made of
    Reported = Plan | Sequence[Plan] | Mapping[str, Plan] | StudyResult | Prediction | Simulation

_SUFFIXES = (".html", ".htm")
_PLAN_CONTENTS = (
    ("answer", "Answer"),
    ("chips", "Chips"),
    ("layers", "Power and error"),
    ("gains", "Gains"),
    ("arrays", "Arrays"),
    ("corners", "Corners"),
    ("sensitivities", "Sensitivities"),
    ("proof", "Proof"),
    ("hardware", "Hardware"),
    ("network", "Network"),
    ("provenance", "Provenance"),
)


def report_html(
    results: Reported, *, title: str = "", network: Network | None = None, bound: float | None = None
) -> str:
    """A report as the text of an HTML file.

    Args:
        results: a plan; several plans (a frontier, or plans by name); the result of a study; a prediction or a
            simulation.
        title: what was planned, for the heading.
        network: the network of the plans; adds its operations and the conductance ranges used.
        bound: NMSE of a chip that the histogram of a prediction or simulation is parted at.

    Raises:
        InvalidInput: nothing to report, or not plans; a network that is not that of the plans.
    """
    from powerplan.batch.results import StudyResult

    if isinstance(results, Prediction | Simulation):
        card = prediction_card(results, bound) if isinstance(results, Prediction) else simulation_card(results, bound)
        return _page(
            "result.html", heading=title or type(results).__name__, subtitle="", contents=[], card=Markup(card)
        )
    if isinstance(results, Plan):
        _check_network(network, [results])
        return _plan_page(results, title, network)
    if isinstance(results, StudyResult):
        _check_network(network, (plan for point in results.points if (plan := point.plan) is not None))
        return _study_page(results, title, network)
    named = _named(results)
    _check_network(network, list(named.values()))
    if len(named) == 1:
        (plan,) = named.values()
        return _plan_page(plan, title, network)
    return _study_page(as_study(named), title, network)


def write_report(
    results: Reported,
    file: str | os.PathLike[str],
    *,
    title: str = "",
    network: Network | None = None,
    bound: float | None = None,
) -> None:
    """Write :func:`report_html` to a file; an existing one is replaced only when the new one is complete.

    Raises:
        InvalidInput: as :func:`report_html`, or a file that cannot be written or does not end in .html or .htm.
    """
    check_report_file(file)
    write_text("report", file, report_html(results, title=title, network=network, bound=bound))


def check_report_file(file: str | os.PathLike[str]) -> None:
    """Refuse, before any long work, a file whose name says that it is no page.

    Raises:
        InvalidInput: a suffix other than .html and .htm.
    """
    if Path(file).suffix.lower() not in _SUFFIXES:
        expected = "a file ending in " + ", ".join(_SUFFIXES)
        raise InvalidInput.of(
            "report", str(file), expected, "A report is an HTML page; print it from a browser to PDF."
        )


def _plan_page(plan: Plan, title: str, network: Network | None) -> str:
    view = plan_view(plan, name=title, network=network)
    heading = f"{view.name}: {view.target}" if view.name else f"Plan for {view.target}"
    arrays = arrays_view(plan, network)
    shown = {"chips": view.chips, "corners": view.corners, "arrays": arrays.layers or arrays.left_out}
    layers = len(view.layers)
    free = " and ".join(kind for kind in plan.optimize if kind in QUANTITIES) or "conductance"
    chosen = ", ".join(kind.replace("_", " ") for kind in plan.optimize if kind in CHOICES)
    return _page(
        "plan.html",
        heading=heading,
        subtitle=f"Least {'cost' if chosen else plan.objective.name} for a network of {layers} crossbar "
        f"layer{'s' if layers != 1 else ''}; {free} gains free by {plan.granularity}"
        f"{f', with {chosen} of every layer' if chosen else ''}.",
        contents=[entry for entry in _PLAN_CONTENTS if shown.get(entry[0], True)],
        plan=view,
        arrays=arrays,
    )


def _study_page(study: StudyResult, title: str, network: Network | None) -> str:
    view = study_view(study, title=title, network=network)
    return _page("study.html", heading=view.heading, subtitle=view.subtitle, contents=view.contents, study=view)


def _page(template: str, *, heading: str, **values: Any) -> str:
    return render(template, heading=heading, page_title=f"{heading} – powerplan", version=__version__, **values)


def _named(results: Sequence[Plan] | Mapping[str, Plan]) -> dict[str, Plan]:
    if isinstance(results, Mapping):
        named = {without_paths(str(name)): plan for name, plan in results.items()}
    elif isinstance(results, list | tuple):
        named = dict(zip(_names(results), results, strict=True))
    else:
        allowed = "a Plan, plans in a list or by name, a StudyResult, Prediction or Simulation"
        raise InvalidInput.of("results", results, allowed, "Plan first.")
    if not named:
        raise InvalidInput.of("results", results, "at least one plan", "Plan first, for example with pp.plan.")
    for name, plan in named.items():
        if not isinstance(plan, Plan):
            raise InvalidInput.of(f"results[{name!r}]", plan, "a Plan", "Give what pp.plan or pp.frontier returned.")
    return named


def _names(plans: Sequence[Plan]) -> list[str]:
    """What the plans of a list are for, as on a frontier; numbers where that does not tell them apart."""
    asked = [typeset(asked_text(plan)) for plan in plans if isinstance(plan, Plan)]
    return asked if len(set(asked)) == len(plans) > 1 else [f"plan {i + 1}" for i in range(len(plans))]


def _check_network(network: Network | None, plans: Iterable[Plan]) -> None:
    if network is None:
        return
    for plan in plans:
        check_sliced(network, plan.prediction.layer_names)
        digest = plan.provenance.get("network_sha256", network.digest)
        if digest != network.digest or plan.prediction.layer_names != network.layer_names:
            raise InvalidInput.of(
                "network", network, f"the network of the plans, SHA-256 {str(digest)[:12]}...", "Give the right one."
            )
