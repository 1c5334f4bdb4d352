"""Studies with many values: a sweep is drawn across, every hardware is shown, and what is left out is said."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from html_pages import assert_accessible, visible_text

import powerplan as pp
from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.planning import Outcome, Plan
from powerplan.report.html import report_html
from powerplan.report.study_axes import evenly, label
from powerplan.report.study_hardware import compare_hardware
from powerplan.report.study_panels import study_panels
from powerplan.report.study_table import summaries

NOISE = "override.read_noise_std"


def plain(text: str) -> str:
    return html.unescape(visible_text(text)).replace("\N{NO-BREAK SPACE}", " ")


def sweep(
    make_plan: Callable[..., Plan],
    noises: Sequence[float],
    nmses: Sequence[float],
    more: Sequence[dict[str, Any]] = ({},),
    axes: Sequence[str] = (),
) -> StudyResult:
    """Noises x targets x further settings; the power grows with the noise and falls with the error."""
    points = []
    for i, (noise, nmse, settings) in enumerate(product(noises, nmses, more)):
        values = {"network": "a", "override": {"read_noise_std": noise}, **settings}
        plan = make_plan(nmse, noise * 10 / nmse)
        points.append(PointResult(name=f"p{i}", settings=values, state=PointState.DONE, source=plan))
    return StudyResult(name="sweep", points=tuple(points), axes=(NOISE, *axes, "target.max_nmse"))


def pairs(study: StudyResult) -> list[tuple[PointResult, Plan]]:
    return [(point, plan) for point in study.points if (plan := point.plan) is not None]


def test_sweep_is_one_figure_across_with_a_curve_per_target(make_plan: Callable[..., Plan]) -> None:
    study = sweep(make_plan, np.geomspace(1e-9, 1e-8, 20).tolist(), [0.01, 0.1])
    panels = study_panels(study, pairs(study))
    (chart,) = panels.charts
    assert chart.x_label == "read noise std [nA]"
    names = [curve.name.replace("\N{NO-BREAK SPACE}", " ") for curve in chart.curves]
    assert names == ["NMSE ≤ 1.000 %", "NMSE ≤ 10.00 %"]
    assert [len(curve.marks) for curve in chart.curves] == [20, 20]
    steps = np.diff([mark.x for mark in chart.curves[0].marks])
    assert np.ptp(steps) < 0.3  # a geometric row lies evenly on a logarithmic axis
    assert panels.left_out == 0
    assert_accessible(report_html(study))


def test_arithmetic_row_is_on_a_linear_axis(make_plan: Callable[..., Plan]) -> None:
    study = sweep(make_plan, np.linspace(1e-9, 1e-8, 10).tolist(), [0.01])
    (chart,) = study_panels(study, pairs(study)).charts
    assert np.ptp(np.diff([mark.x for mark in chart.curves[0].marks])) < 0.3


def test_sweep_with_many_targets_is_drawn_both_ways_and_says_what_has_no_curve(make_plan: Callable[..., Plan]) -> None:
    study = sweep(make_plan, np.geomspace(1e-9, 1e-8, 12).tolist(), np.geomspace(0.01, 0.1, 8).tolist())
    panels = study_panels(study, pairs(study))
    assert [chart.title for chart in panels.charts] == ["Against read noise std", "Against NMSE"]
    assert [len(chart.curves) for chart in panels.charts] == [6, 6]
    assert panels.remarks == (
        "Of 8 targets, 6 have curves.",
        "Of 12 values of read noise std, 6 have curves against NMSE.",
    )
    assert "Of 8 targets, 6 have curves." in plain(report_html(study))


def test_panels_label_their_values_and_share_unit_and_scale(make_plan: Callable[..., Plan]) -> None:
    many = sweep(make_plan, [1e-9, 2e-9], [0.01, 0.1], [{"marginal_fields": n} for n in (0, 4)], ["marginal_fields"])
    one, two = study_panels(replace(many, axes=("marginal_fields", NOISE)), pairs(many)).charts
    assert (one.title, two.title) == ("marginal fields = 0", "marginal fields = 4")
    assert one.y_label == two.y_label
    assert one.y_ticks == two.y_ticks
    assert one.x_ticks == two.x_ticks


def test_labels_of_names_stand_alone_and_of_numbers_do_not() -> None:
    assert label("network", "digits") == "digits"
    assert label("granularity", "layer") == "by layer"
    assert label(NOISE, "1 nA") == "read noise std = 1 nA"


def test_long_axis_is_summed_up_by_a_few_values_and_says_so(make_plan: Callable[..., Plan]) -> None:
    study = sweep(make_plan, np.geomspace(1e-9, 1e-8, 20).tolist(), [0.01, 0.1])
    rows, left_out = summaries(study)
    noises = [row.value.replace("\N{NO-BREAK SPACE}", " ") for row in rows if row.axis == "read noise std"]
    assert len(noises) == 9
    assert (noises[0], noises[-1]) == ("1.000 nA", "10.00 nA")
    assert left_out == ["Of 20 values of read noise std, 9 are shown, 11 left out; the table of all points has them."]
    assert left_out[0] in plain(report_html(study))


def test_settings_are_compared_point_by_point(make_plan: Callable[..., Plan]) -> None:
    """Poor devices reach only loose targets: cheap by a median of their own points, twice as dear pair by pair."""
    points = []
    for i, (name, dearer, least) in enumerate((("good", 1.0, 0.0), ("poor", 2.0, 0.05))):
        for nmse in (0.001, 0.01, 0.1):
            plan = make_plan(nmse, dearer * 1e-6 / nmse)
            if nmse < least:
                plan = replace(plan, termination=replace(plan.termination, outcome=Outcome.INFEASIBLE))
            settings = {"network": "a", "hardware": name, "inputs": f"of {name}"}  # inputs go with the hardware
            points.append(PointResult(name=f"{i}{nmse}", settings=settings, state=PointState.DONE, source=plan))
    rows, _ = summaries(StudyResult(name="s", points=tuple(points), axes=("hardware", "inputs", "target.max_nmse")))
    good, poor = [row for row in rows if row.axis == "hardware"]
    assert (good.power, good.met, good.points) == ("reference", 3, 3)
    assert poor.power.replace("\N{NO-BREAK SPACE}", " ") == "× 2"
    assert (poor.compared, poor.met, poor.points) == (1, 1, 3)


def test_nothing_to_compare_is_said(make_plan: Callable[..., Plan]) -> None:
    points = [
        PointResult(
            name=name,
            settings={"network": "a", "hardware": name, "granularity": size},
            state=PointState.DONE,
            source=make_plan(0.01, 1e-6),
        )
        for name, size in (("a", "layer"), ("a", "network"), ("b", "column"))
    ]
    study = StudyResult(name="s", points=tuple(points), axes=("granularity",))
    rows, _ = summaries(replace(study, axes=("hardware", "granularity")))
    assert {row.value: row.power for row in rows if row.axis == "granularity"}["column"] == "–"


def test_a_few_of_many_include_both_ends() -> None:
    assert evenly(range(100), 3)[::2] == [0, 99]
    assert evenly("abc", 3) == ["a", "b", "c"]


@pytest.mark.parametrize("count", [1, 3, 30])
def test_every_hardware_is_shown_and_what_is_common_once(make_plan: Callable[..., Plan], count: int) -> None:
    points = []
    for i in range(count):
        plan = make_plan()
        plan = replace(plan, hardware=plan.hardware.replace(read_noise_std=(i + 1) * 1e-9, programming_noise_std=1e-7))
        settings = {"network": "a", "hardware": f"h{i}"}
        points.append(PointResult(name=f"p{i}", settings=settings, state=PointState.DONE, source=plan))
    study = StudyResult(name="s", points=tuple(points), axes=("hardware",) if count > 1 else ())
    found = compare_hardware(study, pairs(study))
    assert "programming_noise_std" in [fact.name for fact in found.common]
    assert max((len(matrix.headings) for matrix in found.different), default=0) <= 5
    page = report_html([p.plan for p in points] if count == 1 else study)
    assert_accessible(page)
    for i in range(count):
        assert count == 1 or f"h{i} {i + 1:#.4g} nA" in plain(page)


def test_overridden_field_is_told_by_its_range(make_plan: Callable[..., Plan]) -> None:
    study = sweep(make_plan, [3e-9, 1e-9, 2e-9, 4e-9, 5e-9], [0.01])
    (noise,) = [fact for fact in compare_hardware(study, pairs(study)).common if fact.name == "read_noise_std"]
    assert noise.value.replace("\N{NO-BREAK SPACE}", " ") == "5 values, 1.000 nA to 5.000 nA"


def test_presets_are_named_whatever_the_study_calls_them(make_plan: Callable[..., Plan]) -> None:
    names = {"pcm": "pcm_nandakumar2019", "sonos": "sonos_agrawal2022"}
    points = tuple(
        PointResult(
            name=key,
            settings={"network": "a", "hardware": key},
            state=PointState.DONE,
            source=replace(make_plan(), hardware=pp.Hardware.preset(name)),
        )
        for key, name in names.items()
    )
    page = plain(report_html(StudyResult(name="s", points=points, axes=("hardware",))))
    for name in names.values():
        assert name in page
