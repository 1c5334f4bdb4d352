"""Reports of studies: every point in the table, failures explained, thousands of points in a readable file."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from html_pages import assert_accessible, assert_self_contained, elements, parse, text_of, visible_text

from powerplan.batch.results import Failure, PointResult, PointState, StudyResult
from powerplan.hardware import Gains
from powerplan.planning import LimitPrice, Outcome, Plan, ShadowPrices
from powerplan.report.html import report_html

AXES = ("network", "hardware", "granularity", "override.read_noise_std", "target.max_nmse")


def plain(page: str) -> str:
    return html.unescape(visible_text(page)).replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def make_study(make_plan: Callable[..., Plan]) -> Callable[..., StudyResult]:
    """Networks x technologies x granularities x noises x targets, all planned; ``changes`` by index of the point."""

    def make(
        networks: int = 2, noises: int = 2, targets: int = 4, changes: dict[int, dict[str, Any]] | None = None
    ) -> StudyResult:
        points = []
        names = [f"net{i}" for i in range(networks)]
        values = [1e-9 * (i + 1) for i in range(noises)]
        nmses = [0.001 * 1.6**i for i in range(targets)]
        for i, (net, tech, grain, noise, nmse) in enumerate(
            product(names, ("pcm", "reram"), ("layer", "column"), values, nmses)
        ):
            plan = make_plan(nmse, 1e-7 / nmse, granularity=grain)
            point = PointResult(
                name=f"{net}-{tech}-{grain}-{noise:g}-{nmse:.3g}",
                settings={
                    "network": net,
                    "hardware": tech,
                    "granularity": grain,
                    "override": {"read_noise_std": noise},
                    "target": {"max_nmse": nmse},
                },
                state=PointState.DONE,
                source=plan,
                seconds=0.25,
                attempts=1,
                key="ab" * 32,
            )
            points.append(replace(point, **(changes or {}).get(i, {})))
        return StudyResult(
            name="Read noise",
            description="How much read noise can be borne?",
            points=tuple(points),
            axes=AXES,
            started=1.7e9,
            ended=1.7e9 + 61,
            provenance={"powerplan_version": "1.2.3", "networks": {"net0": "cd" * 32}},
        )

    return make


FAILED = {
    "state": PointState.FAILED,
    "source": None,
    "failure": Failure(code="crashed", message="The worker died. Log: /srv/jobs/17.log. Use fewer inputs.", attempts=3),
}


def test_every_point_is_a_row_with_its_settings(make_study: Callable[..., StudyResult]) -> None:
    study = make_study()
    page = report_html(study)
    tree = parse(page)
    table = next(e for e in elements(tree, "table") if e.attrib.get("class") == "sortable")
    rows = [[text_of(cell) for cell in row] for row in elements(table, "tr")]
    assert len(rows) == 1 + len(study.points)
    assert rows[0][:4] == ["Point", "Power", "NMSE", "Target"]  # what a phone shows without scrolling
    assert rows[0][6:10] == ["network", "hardware", "granularity", "read noise std"]
    assert rows[1][6:10] == ["net0", "pcm", "layer", "1.000 nA"]
    assert rows[1][-1] == "net0-pcm-layer-1e-09-0.001"
    assert "1.2.3" in plain(page)
    assert "2023-11-14 22:13:20 UTC" in plain(page)
    assert_self_contained(page)
    assert_accessible(page)


def test_answer_counts_what_was_met_what_failed_and_what_waits(make_study: Callable[..., StudyResult]) -> None:
    end = replace(make_study(1, 1, 1).points[0].plan.termination, outcome=Outcome.INFEASIBLE)  # type: ignore[union-attr]
    plan = replace(make_study(1, 1, 1).points[0].plan, termination=end)  # type: ignore[type-var]
    study = make_study(changes={0: FAILED, 1: {"state": PointState.RUNNING, "source": None}, 2: {"source": plan}})
    page = plain(report_html(study))
    assert len(study.points) == 64
    assert "Targets met 61 of 64 1 out of reach, 1 failed, 1 not calculated yet" in page
    assert "unfinished study" in page


def test_failures_are_grouped_and_explained_without_paths(make_study: Callable[..., StudyResult]) -> None:
    page = plain(report_html(make_study(changes={0: FAILED, 3: FAILED})))
    assert "crashed: 2 points" in page
    assert "The worker died. Log: 17.log. Use fewer inputs." in page
    assert "net0-pcm-layer-1e-09-0.001 (3 attempts)" in page
    assert "/srv" not in page


def test_of_many_failures_a_few_are_named_before_the_results(make_study: Callable[..., StudyResult]) -> None:
    """The others are folded, so that one cause of hundreds of failures does not push the answer off the page."""
    tree = parse(report_html(make_study(changes=dict.fromkeys(range(20), FAILED))))
    (folded,) = elements(tree, "details")
    assert text_of(elements(folded, "summary")[0]) == "And 17 more"
    assert text_of(folded).count("(3 attempts)") == 17
    section = next(e for e in elements(tree, "section") if e.attrib.get("aria-labelledby") == "failures")
    assert text_of(section).count("(3 attempts)") == 20


def test_a_failed_point_shows_its_target(make_study: Callable[..., StudyResult]) -> None:
    tree = parse(report_html(make_study(changes={0: FAILED})))
    table = next(e for e in elements(tree, "table") if e.attrib.get("class") == "sortable")
    row = elements(table, "tr")[1]
    assert "NMSE ≤ 0.1000 %" in text_of(row)
    assert "failed: crashed" in text_of(row)


def test_study_in_which_nothing_worked_is_still_a_page(make_study: Callable[..., StudyResult]) -> None:
    everything = dict.fromkeys(range(8), FAILED)
    page = report_html(make_study(1, 1, 2, changes=everything))
    assert_accessible(page)
    assert "0 of 8" in plain(page)


def test_panels_are_one_for_each_network_technology_and_noise_with_curves_in_one_look(
    make_study: Callable[..., StudyResult],
) -> None:
    tree = parse(report_html(make_study()))
    *charts, slider = [e for e in elements(tree, "svg") if e.attrib.get("class") == "chart"]
    assert "the slider marks one" in slider.attrib["aria-label"]
    assert len(charts) == 2 * 2 * 2
    for chart in charts:
        looks = [g.attrib["class"] for g in elements(chart, "g") if "class" in g.attrib]
        assert looks == ["s0", "s1"]  # by layer, by column
        assert sum(len(elements(g, "use")) for g in elements(chart, "g") if "class" in g.attrib) == 2 * 4


def test_settings_that_go_together_split_panels_once(make_study: Callable[..., StudyResult]) -> None:
    """Inputs named after their network, and the number of draws, make no panels of their own."""
    study = make_study()
    points = [
        replace(p, settings={**p.settings, "inputs": p.settings["network"], "verify_draws": i % 2})
        for i, p in enumerate(study.points)
    ]
    more = replace(study, points=tuple(points), axes=("network", "inputs", *AXES[1:], "verify_draws"))
    tree = parse(report_html(more))
    assert (
        len([e for e in elements(tree, "svg") if e.attrib.get("class") == "chart"]) == 2 * 2 * 2 + 1
    )  # and that of the slider


def test_settings_are_summed_up(make_study: Callable[..., StudyResult]) -> None:
    page = plain(report_html(make_study()))
    assert re.search(r"hardware pcm reference reference 32 32 32", page)
    assert re.search(r"read noise std 1\.000 nA reference reference 32 32 32", page)


@pytest.mark.slow
def test_a_thousand_points_stay_a_readable_file(make_study: Callable[..., StudyResult]) -> None:
    study = make_study(networks=5, noises=10, targets=5)
    assert len(study.points) == 1000
    started = time.process_time()
    page = report_html(study)
    assert time.process_time() - started < 20
    assert len(page.encode()) < 2_000_000
    assert page.count('<svg class="chart"') == 24 + 1
    assert "more combinations are in the table" in page


def test_many_plans_are_read_one_at_a_time_and_reported_alike(
    make_study: Callable[..., StudyResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of many column plans is the same as from whole plans, and never holds more than two of these."""
    study = make_study(networks=1, noises=1, targets=16)
    study = replace(study, points=study.points[:16], axes=("target.max_nmse",))  # a frontier: its figure shows gains
    columns = Gains(conductance=(np.linspace(1e-6, 9e-6, 7), 4e-6, 5e-6), voltage=(0.2, np.full(7, 0.1), 0.1))
    limits = tuple(LimitPrice(layer="linear1", limit="conductance_max", price=-0.1, column=c) for c in range(7))
    prices = ShadowPrices(target=-1.0, limits=limits)
    alive: WeakSet[Plan] = WeakSet()
    most = 0

    def reader(plan: Plan) -> Callable[[], Plan]:
        def read() -> Plan:
            nonlocal most
            again = replace(plan, gains=columns, shadow_prices=prices)
            alive.add(again)
            most = max(most, len(alive))
            return again

        return read

    points = tuple(replace(p, source=reader(p.plan)) for p in study.points if p.plan is not None)
    page = report_html(replace(study, points=points))
    assert len(points) > 12
    assert most <= 2
    monkeypatch.setattr("powerplan.report.study_view.thinned", lambda study: study)
    assert report_html(replace(study, points=points)) == page
    assert "Medians of the columns" in page
