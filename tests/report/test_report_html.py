"""HTML reports of plans: the numbers, one file without the network, valid, accessible, and silent about the machine."""

from __future__ import annotations

import getpass
import html
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_pages import assert_accessible, assert_self_contained, elements, parse, text_of, visible_text

import powerplan as pp
from powerplan.errors import InvalidInput
from powerplan.hardware import Gains, Hardware
from powerplan.network import Network
from powerplan.planning import (
    Corner,
    LimitPrice,
    MaxAccuracyDrop,
    MaxFlipRate,
    MaxMSE,
    MaxOutputMSE,
    MaxPower,
    Outcome,
    Plan,
    ShadowPrices,
    Termination,
)
from powerplan.planning.outcome import DiscreteGap
from powerplan.report.answer import plan_gauge
from powerplan.report.cards import plan_card, prediction_card
from powerplan.report.charts import Scale
from powerplan.report.html import report_html, write_report
from powerplan.report.layer_view import layer_views

INFEASIBLE = Termination(
    outcome=Outcome.INFEASIBLE,
    message="The lowest reachable NMSE is 0.02, above the target.",
    solver_status="none",
    iterations=0,
    predictions=3,
    seconds=0.1,
    best_reachable=0.02,
    binding_limits=("linear1: conductance_max",),
)


def plain(page: str) -> str:
    """Visible text with plain spaces."""
    return html.unescape(visible_text(page)).replace("\N{NO-BREAK SPACE}", " ")


def variants(make_plan: Callable[..., Plan]) -> dict[str, Plan]:
    """Plans of every kind that a report has to show."""
    column = Gains(conductance=(np.array([1e-6, 2e-6, 8e-6]), 4e-6, 5e-6), voltage=(np.full(4, 0.1), 0.1, 0.1))
    many = tuple(
        LimitPrice(layer="linear1", limit="conductance_max", price=-0.1 / (c + 1), column=c) for c in range(99)
    )
    return {
        "verified": make_plan(),
        "unverified": make_plan(verification=None, certificate=None),
        "infeasible": make_plan(
            termination=INFEASIBLE,
            reached=0.02,
            certificate=None,
            shadow_prices=None,
            verification=None,
            baseline_gains=None,
            baseline_power=None,
            baseline_mse=None,
        ),
        "columns": make_plan(gains=column, granularity="column", shadow_prices=ShadowPrices(target=-1.0, limits=many)),
        "budget": make_plan(target=MaxPower(7e-6), reached=7e-6, baseline_mse=0.05),
        "mse": make_plan(target=MaxMSE(0.04), reached=0.04),
        "worst": make_plan(target=MaxOutputMSE(0.05), reached=0.05, output_weights=(0.5, 1.5)),
        "accuracy": make_plan(target=MaxAccuracyDrop(0.02, [0, 1]), reached=0.02, ideal_accuracy=0.98),
        "flips": make_plan(target=MaxFlipRate(0.05), reached=0.05),
        "steps": make_plan(
            termination=replace(make_plan().termination, outcome=Outcome.WITHIN_GAP),
            discrete=DiscreteGap(
                gap=0.0123,
                bound=6.9e-6,
                continuous=6.8e-6,
                method="branch_and_bound",
                nodes=7,
                visited=3,
                convexity_violation=0.0,
            ),
        ),
        "corners": make_plan(
            corners=(
                Corner(
                    hardware=make_plan().hardware.replace(read_noise_std=3e-9),
                    prediction=make_plan(0.02).prediction,
                    verification=make_plan(0.02).verification,
                ),
            )
        ),
        "deadline": make_plan(termination=replace(make_plan().termination, outcome=Outcome.DEADLINE)),
    }


def test_page_holds_the_numbers_of_the_plan(make_plan: Callable[..., Plan], network: Network) -> None:
    page = plain(report_html(make_plan(), title="digits", network=network))
    for text in (
        "digits: NMSE ≤ 1.000 %",
        "Power of one inference 7.000 µW",
        "simulated 7.000 ± 0.014 µW",
        "30.0 %",
        "10.00 µW with one conductance range",
        "simulated 1.0100 ± 0.0098 %",
        "4.900 µW",
        "70.0 %",
        "25.00 µS",
        "1.25 ×",
        "50.0 µS (50 %)",
        "200.0 mV",
        "A target looser by 1 % changes the power by −0.50 %.",
        "−0.0200",
        "1.2e-09",
        "2000 draws, seed 0",
        "100.0 µS",
    ):
        assert text in page, text


@pytest.mark.parametrize(
    "kind",
    ["verified", "unverified", "infeasible", "columns", "budget", "mse", "worst", "accuracy", "flips", "deadline"],
)
def test_every_page_is_valid_accessible_and_self_contained(make_plan: Callable[..., Plan], kind: str) -> None:
    page = report_html(variants(make_plan)[kind], title="digits")
    assert_self_contained(page)
    assert_accessible(page)


def test_pages_of_several_plans_are_valid_accessible_and_self_contained(
    make_plan: Callable[..., Plan], network: Network
) -> None:
    page = report_html(variants(make_plan), network=network)
    assert_self_contained(page)
    assert_accessible(page)
    assert "7.000 µW" in plain(page)


def test_frontier_has_figures_of_power_saving_and_gains(make_plan: Callable[..., Plan]) -> None:
    plans = [
        make_plan(0.001, 2e-5),
        make_plan(0.01),
        make_plan(0.1, 2e-6),
        make_plan(1e-9, 1.0, termination=INFEASIBLE),
    ]
    tree = parse(report_html(plans, title="digits"))
    labels = [e.attrib["aria-label"] for e in elements(tree, "svg") if e.attrib.get("class") == "chart"]
    assert len(labels) == 4  # the last is that of the slider
    assert "3 plans" in labels[0]  # the infeasible one has no point
    assert "Power saved" in labels[1]
    table = next(e for e in elements(tree, "table") if e.attrib.get("class") == "sortable")
    rows = elements(table, "tr")
    assert len(rows) == 1 + 4
    assert "target out of reach" in text_of(rows[4])


def test_warnings_are_said(make_plan: Callable[..., Plan]) -> None:
    kinds = variants(make_plan)
    assert "Not verified by simulation" in plain(report_html(kinds["unverified"]))
    assert "The target is out of reach" in plain(report_html(kinds["infeasible"]))
    assert "The outputs are weighted" in plain(report_html(kinds["worst"]))
    assert "Time ran out" in plain(report_html(kinds["deadline"]))
    check = make_plan().verification
    assert check is not None
    missed = make_plan(verification=replace(check, ratio=1.2, ratio_standard_error=0.01))
    assert "The simulation exceeds the target" in plain(report_html(missed))
    within = make_plan(verification=replace(check, ratio=1.01, ratio_standard_error=0.01))
    assert "Warning" not in plain(report_html(within))
    prediction = replace(make_plan().prediction, first_order=("softmax1",))
    assert "No Gaussian formula for softmax1" in plain(report_html(make_plan(prediction=prediction)))


def test_gauge_has_numbers_on_its_axis(make_plan: Callable[..., Plan]) -> None:
    """The target lies among round numbers, in its own unit, where the scale puts them."""
    gauge = plan_gauge(make_plan())
    assert gauge is not None
    assert len(gauge.ticks) >= 2
    assert all(tick.text.endswith("%") and 0 <= tick.at <= 100 for tick in gauge.ticks)
    at = {float(tick.text.split("\N{NO-BREAK SPACE}")[0]): tick.at for tick in gauge.ticks}
    assert gauge.target == pytest.approx(np.interp(1.0, list(at), list(at.values())), abs=0.1)
    check = make_plan().verification
    budget = plan_gauge(make_plan(target=MaxPower(7e-6), reached=7e-6, verification=check))
    assert budget is not None
    assert all(tick.text.endswith("µW") for tick in budget.ticks)
    shown = [text_of(e) for e in elements(parse(report_html(make_plan())), "text")]
    assert shown[: len(gauge.ticks)] == [tick.text.replace("\N{NO-BREAK SPACE}", " ") for tick in gauge.ticks]


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.html.gz"])
def test_a_name_that_is_not_of_a_page_is_refused(make_plan: Callable[..., Plan], tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"a file ending in \.html, \.htm"):
        make_plan().report(tmp_path / name)
    assert not (tmp_path / name).exists()
    make_plan().report(tmp_path / "report.HTM")


def test_corners_and_steps_are_told(make_plan: Callable[..., Plan]) -> None:
    kinds = variants(make_plan)
    assert "corner 1 read_noise_std 3.000 nA 2.000 % 2.020 ± 0.020 % – 7.000 µW" in plain(report_html(kinds["corners"]))
    assert "Target met within a gap" in plain(report_html(kinds["steps"]))
    assert "branch and bound, 7 nodes, 3 choices evaluated 1.230 %" in plain(report_html(kinds["steps"]))


def test_names_cannot_inject_markup(make_plan: Callable[..., Plan]) -> None:
    evil = '<script>alert("x")</script>"><img src=x onerror=y>'
    prediction = replace(make_plan().prediction, layer_names=(evil, "b", "c"))
    plan = make_plan(prediction=prediction, provenance={evil: evil})
    for page in (report_html(plan, title=evil), report_html({evil: plan, "b": make_plan(0.02)}), plan._repr_html_()):
        assert "<script>alert" not in page
        assert "<img" not in page
    assert_self_contained(report_html(plan, title=evil))


def test_page_says_nothing_about_the_machine(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    """Absolute paths that got into a plan's texts or names are cut to their last part."""
    end = replace(
        make_plan().termination, message=f"Read {tmp_path}/net.npz and C:\\Users\\me\\x.npy; 1/2 done, see a/b."
    )
    plan = make_plan(termination=end, provenance={"network_file": f"{tmp_path}/net.npz"})
    for page in (report_html(plan, title=f"{tmp_path}/net"), report_html({str(tmp_path / "a"): plan, "b": plan})):
        shown = plain(page)
        assert str(tmp_path) not in page
        assert "Users" not in shown
        assert "Read net.npz and x.npy; 1/2 done, see a/b." in shown


def test_real_plan_brings_no_path_and_no_user_into_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From files to the page: neither the folder, nor home, nor a token of the environment gets in."""
    monkeypatch.setenv("POWERPLAN_TOKEN", "s3cr3t-token")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    network = Network.mlp([rng.normal(size=(6, 4)), rng.normal(size=(3, 6))])
    plan = pp.plan(network, Hardware(programming_noise_std=1e-6), rng.normal(size=(8, 4)), pp.MaxNMSE(0.02))
    plan.save("plan.json")
    write_report(Plan.load("plan.json"), tmp_path / "report.html", network=network)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    forbidden = [str(tmp_path), os.getcwd(), str(Path.home()) + "/", "s3cr3t", f"/{getpass.getuser()}/", "/tmp"]
    assert not [text for text in forbidden if text in page]


def test_same_plan_gives_the_same_bytes(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        make_plan().report(tmp_path / name, title="digits")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("results", [[], {}, [1], {"a": None}, "plan", None])
def test_anything_but_plans_is_refused(results: object) -> None:
    with pytest.raises(InvalidInput, match="results"):
        report_html(results)  # type: ignore[arg-type]


def test_network_of_another_plan_is_refused(make_plan: Callable[..., Plan], network: Network) -> None:
    with pytest.raises(InvalidInput, match="the network of the plans"):
        report_html(make_plan(provenance={"network_sha256": "0" * 64}), network=network)


def test_page_that_cannot_be_written_is_an_error(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="report: got"):
        write_report(make_plan(), tmp_path / "missing" / "report.html")


def test_converters_are_shown_apart_from_crossbars(make_plan: Callable[..., Plan], network: Network) -> None:
    """In the answer, in words beside every layer, and as a part of its bar: the three parts add up to the layer."""
    plan = make_plan()
    assert "converters" not in plain(report_html(plan, network=network)).lower()
    converters, tia = np.array([2e-6, 0.5e-6, 0.0]), np.array([1e-6, 0.0, 0.0])
    prediction = replace(plan.prediction, converter_power_by_layer=converters, tia_power_by_layer=tia)
    page = report_html(replace(plan, prediction=prediction), network=network)
    assert_accessible(page)
    text = plain(page)
    assert "converters 2.500 µW of it (35.7 %)" in text
    assert "converters 2.000 µW" in text
    assert "The pale part is the power of the converters" in text
    first, second, third = layer_views(replace(plan, prediction=prediction), None, Scale(low=1e-6, high=1e-3, log=True))
    bars = [layer.power_bar + layer.tia_bar + layer.converter_bar for layer in (first, second, third)]
    assert bars == pytest.approx([100, 100 * 2 / 7, 100 / 7], abs=0.05)
    assert first.converter_bar == pytest.approx(100 * 2 / 4.9, abs=0.01)
    assert third.converters == ""
    card = plan_card(replace(plan, prediction=prediction))
    assert "converters" in card
    assert "converters" in prediction_card(prediction)
