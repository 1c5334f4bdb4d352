"""Reports in a real browser, where Chromium is installed: drawn, no wider than a phone, dark when asked, sortable."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from browser import CHROMIUM, DARK, LIGHT, browse, overflows, serious, with_script

import powerplan as pp
from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.hardware import Gains
from powerplan.hardware.aging import Snapshot
from powerplan.planning import Plan
from powerplan.report.html import report_html

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed; the structure is tested without it"),
    pytest.mark.slow,
]

BY_LAYER = ("power_by_layer", "array_power_by_layer", "tia_power_by_layer", "converter_power_by_layer", "mse_by_layer")


@pytest.fixture
def page(make_plan: Callable[..., Plan], tmp_path: Path) -> Callable[[str], Path]:
    """The page of a kind, written when it is asked for."""

    def write(kind: str) -> Path:
        file = tmp_path / f"{kind}.html"
        if not file.exists():
            file.write_text(PAGES[kind](make_plan), encoding="utf-8")
        return file

    return write


def of_a_plan(make_plan: Callable[..., Plan]) -> str:
    """Long names, and values with their errors in the cards of the answer."""
    plan = make_plan(0.001, 1e-5)
    names = ("a_layer_with_quite_a_long_name", "b", "c")
    return report_html(replace(plan, prediction=replace(plan.prediction, layer_names=names)), title="digits")


def of_a_frontier(make_plan: Callable[..., Plan]) -> str:
    """40 plans, whose table is long enough for a filter."""
    plans = {f"p{i}x": make_plan(0.001 * 1.1**i, 1e-5 / 1.1**i) for i in range(40)}
    names = ("a_layer_with_quite_a_long_name", "b", "c")
    plans["p0x"] = replace(plans["p0x"], prediction=replace(plans["p0x"].prediction, layer_names=names))
    return report_html(plans, title="digits")


NETWORK = pp.Network.mlp([np.linspace(-1, 1, 80 * 60).reshape(80, 60)], [np.zeros(80)])
WIRED = pp.Hardware(programming_noise_std=2e-6, wire_resistance_row=2.0, array_rows=40, array_columns=64)
SMALL = pp.Network.mlp([np.linspace(-1, 1, 20).reshape(5, 4), np.linspace(1, -1, 15).reshape(3, 5)])
NOISY = pp.Hardware(conductance_min=1e-6, programming_noise_std=2e-6)
INPUTS = np.linspace(0.1, 1, 32).reshape(8, 4)
#: devices of a table at two times
MEASURED = pp.Hardware(
    conductance_max=5e-5,
    measurements=[
        Snapshot.table([0.0, 1e-5, 5e-5], mean=[1e-7, 0.98e-5, 4.9e-5], std=[2e-7, 1e-6, 2e-6], time=time)
        for time in (0.0, 3600.0)
    ],
)


def of_arrays(_: Callable[..., Plan]) -> str:
    plan = pp.plan(NETWORK, WIRED, np.ones((1, 60)), pp.MaxNMSE(0.5), granularity="network")
    return report_html(plan, title="arrays", network=NETWORK)


def of_a_prediction(_: Callable[..., Plan]) -> str:
    gains = pp.Gains.full_range(NETWORK, WIRED, np.ones((1, 60)))
    return report_html(pp.predict(NETWORK, WIRED, gains, np.ones((1, 60)), chip_spread=True), title="prediction")


def of_a_simulation(_: Callable[..., Plan]) -> str:
    gains = pp.Gains.full_range(SMALL, NOISY, INPUTS)
    return report_html(pp.simulate(SMALL, NOISY, gains, INPUTS, draws=40), title="simulation", bound=0.001)


def of_costs(_: Callable[..., Plan]) -> str:
    """Energy in stacked bars and ribbons, a yield, and errors of everything simulated."""
    hardware = NOISY.replace(adc_bits=8, dac_bits=8, costs="node_32nm", feedback_resistance=1e4)
    target = pp.MaxNMSE(0.05, chips=0.9)
    plan = pp.plan(SMALL, hardware, INPUTS, target, verify_draws=40, chip_spread=True, corners=[NOISY])
    return report_html(plan, title="costs", network=SMALL)


def of_measured_devices(_: Callable[..., Plan]) -> str:
    return report_html(pp.plan(SMALL, MEASURED, INPUTS, pp.MaxNMSE(0.2), verify_draws=20), title="measured")


def of_a_comparison(_: Callable[..., Plan]) -> str:
    """Published devices at two times, out of reach for some: their powers differ in the fourth digit."""
    technologies = {"pcm_hermes_1dev": "pcm_hermes_1dev", "rram_milo2021": "rram_milo2021", "mine": MEASURED}
    sweep = {"time": [60.0, 3600.0]}
    result = pp.compare(SMALL, technologies, INPUTS, pp.MaxNMSE(0.02), sweep=sweep, verify_draws=20)
    return report_html(result, title="a comparison")


#: what writes the page of each kind
PAGES: dict[str, Callable[[Callable[..., Plan]], str]] = {
    "plan": of_a_plan,
    "frontier": of_a_frontier,
    "arrays": of_arrays,
    "prediction": of_a_prediction,
    "simulation": of_a_simulation,
    "costs": of_costs,
    "measured": of_measured_devices,
    "comparison": of_a_comparison,
}


def screenshot(file: Path, *options: str) -> np.ndarray:
    """A page as an image, (height, width, 3) in 0..1."""
    image = file.with_suffix(".png")
    done = browse(file, f"--screenshot={image}", *options)
    assert "CONSOLE" not in done.stderr, done.stderr  # no error of the script or of the policy
    return np.asarray(matplotlib.image.imread(image))[:, :, :3]


@pytest.mark.parametrize("name", ["plan", "frontier", "arrays"])
@pytest.mark.parametrize("width", [390, 1200])
def test_page_is_drawn_light_and_dark(page: Callable[[str], Path], name: str, width: int) -> None:
    light = screenshot(page(name), f"--window-size={width},1500")
    dark = screenshot(page(name), f"--window-size={width},1500", DARK)
    assert light.shape == dark.shape == (1500, width, 3)
    assert np.median(light) > 0.95
    assert np.median(dark) < 0.2
    for image in (light, dark):
        assert (np.abs(image - np.median(image, axis=(0, 1))).max(axis=2) > 0.3).mean() > 0.02  # there is ink
        colourful = np.ptp(image, axis=2) > 0.3
        assert colourful.mean() > 0.001  # and it is not all grey


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_lies_beyond_the_page_a_card_or_a_drawing(page: Callable[[str], Path], name: str, width: int) -> None:
    """On a phone too. Wide tables scroll in their own frame."""
    assert overflows(page(name), width) == ""


def test_the_check_finds_what_lies_beyond(tmp_path: Path) -> None:
    file = tmp_path / "wrong.html"
    card = '<dl class="answer"><div style="width: 5em"><dd>0.123456789±0.987654321</dd></div></dl>'
    chart = '<svg role="img" class="chart" viewBox="0 0 100 50" width="100"><text x="90" y="20">words</text></svg>'
    label = (
        '<text transform="translate(14 40) rotate(-90)">power</text><text x="20" y="30" text-anchor="end">0.5</text>'
    )
    under = f'<svg role="img" viewBox="0 0 100 50" width="100">{label}</svg>'
    wide = '<p style="width: 400px">wide</p>'
    file.write_text(f"<!DOCTYPE html><body>{card}{chart}{under}{wide}</body>", encoding="utf-8")
    found = overflows(file, 390)
    for what in ("cut DD: 0.123", "outside its drawing text: words", "over the axis' label text: 0.5", "page P: wide"):
        assert what in found


def test_table_is_sorted_by_number_and_filtered(page: Callable[[str], Path]) -> None:
    script = """
        var table = document.querySelector("table.sortable");
        var names = function () {
          return Array.from(table.tBodies[0].rows).filter(r => !r.hidden).map(r => r.cells[0].textContent);
        };
        var button = Array.from(table.querySelectorAll("th button")).find(b => b.textContent === "Power");
        button.click();
        var up = names()[0];
        button.click();
        var down = names()[0];
        var input = document.querySelector(".filter input");
        input.value = "P17x";
        input.dispatchEvent(new Event("input"));
        document.title = [up, down, names().length, table.querySelectorAll("[aria-sort=descending]").length].join();
    """
    assert "<title>p39x,p0x,1,1</title>" in with_script(page("frontier"), script)


def test_a_slider_and_points_show_one_plan_after_the_other(page: Callable[[str], Path]) -> None:
    script = """
        var part = document.querySelector(".explorer"), slider = part.querySelector("input");
        var shown = function () {
          var row = part.querySelector("tbody").rows[0], ring = part.querySelector(".ring");
          return [part.querySelector("strong").textContent, row.cells[2].textContent.split(",")[0],
                  ring.getAttribute("cx"), slider.getAttribute("aria-valuetext").split(",")[0]].join("|");
        };
        var first = shown();
        slider.value = 39;
        slider.dispatchEvent(new Event("input"));
        var last = shown();
        part.querySelectorAll("svg.chart use")[7].dispatchEvent(new Event("click"));
        document.title = [first, last, shown(), slider.value, slider.disabled].join(" ");
    """
    title = re.search(r"<title>(.*?)</title>", with_script(page("frontier"), script))
    assert title is not None
    first, last, chosen, place, disabled = title[1].replace("\N{NO-BREAK SPACE}", "_").split(" ")
    names = [text.split("|")[0] for text in (first, last, chosen)]
    assert names == ["p1x", "p39x", "p8x"]  # p0x has layers of other names
    assert [text.split("|")[3] for text in (first, last, chosen)] == names
    left, right, middle = (float(text.split("|")[2]) for text in (first, last, chosen))
    assert left < middle < right
    assert (place, disabled) == ("7", "false")


def test_page_prints_with_its_folded_parts(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    file = tmp_path / "few.html"
    file.write_text(report_html([make_plan(0.01), make_plan(0.02)]), encoding="utf-8")
    browse(file, f"--print-to-pdf={tmp_path / 'few.pdf'}", "--no-pdf-header-footer")
    pdf = (tmp_path / "few.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3  # the two plans in full, beside the overview


def test_nothing_is_cut_on_paper_and_headings_can_repeat(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    """The rules of print in a window as wide as A4: no table is wider than it, and no control is in a heading."""
    names = [f"a_setting_with_a_long_name_{i}" for i in range(5)]
    points = [
        PointResult(
            name="/".join(f"{name}={k}" for name in names),
            settings={name: f"value {k} of {i}" for i, name in enumerate(names)},
            state=PointState.DONE,
            source=make_plan(0.001 * (k + 1)),
            seconds=1.0,
        )
        for k in range(40)
    ]
    page = report_html(StudyResult(name="wide", points=tuple(points), axes=tuple(names)))
    assert "@media print" in page
    file = tmp_path / "wide.html"
    file.write_text(page.replace("@media print", "@media all"), encoding="utf-8")
    script = """
        var tables = Array.from(document.querySelectorAll(".scroll"));
        var wide = Math.max.apply(null, tables.map(t => t.scrollWidth - t.clientWidth));
        var button = document.querySelector("th button");
        document.title = wide + " " + getComputedStyle(button).display;
    """
    assert "<title>0 contents</title>" in with_script(file, script, 1030)  # A4 across, without its margins


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("plan", LIGHT), ("frontier", DARK), ("arrays", LIGHT), ("prediction", DARK), ("costs", DARK)],
    ids=str,
)
def test_axe_finds_nothing_serious(page: Callable[[str], Path], name: str, scheme: str) -> None:
    assert serious(page(name), scheme) == []


def test_a_hundred_plans_open_at_once(
    make_plan: Callable[..., Plan], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Size and time are properties of the test, which ``--junit-xml`` writes."""
    layers, plans = 20, {}
    names = tuple(f"features.{i}.conv" for i in range(layers))
    for k in range(100):
        plan = make_plan(0.001 * 1.05**k, 1e-5 / 1.05**k)
        each = {f: getattr(plan.prediction, f).mean() * np.ones(layers) for f in BY_LAYER}
        gains = Gains(conductance=(1e-5,) * layers, voltage=(0.1,) * layers)
        prediction = replace(plan.prediction, layer_names=names, **each)
        plans[f"p{k}"] = replace(plan, prediction=prediction, gains=gains, baseline_gains=gains)
    file = tmp_path / "hundred.html"
    file.write_text(report_html(plans), encoding="utf-8")
    assert file.stat().st_size < 3e6
    script = """addEventListener("load", () => setTimeout(() => {
        document.title = "opened " + performance.getEntriesByType("navigation")[0].loadEventEnd;
    }, 0));"""
    opened = re.search(r"<title>opened ([\d.]+)</title>", with_script(file, script, 1200, "--timeout=30000"))
    assert opened is not None
    record_property("bytes", file.stat().st_size)
    record_property("milliseconds", float(opened[1]))
    assert 0 < float(opened[1]) < 2000
