"""Reports in a real browser, where Chromium is installed: drawn, no wider than a phone, dark when asked, sortable."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from browser import CHROMIUM, DARK, LIGHT, browse, is_too_wide, serious, with_script

import powerplan as pp
from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.hardware import Gains
from powerplan.planning import Plan
from powerplan.report.html import report_html

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed; the structure is tested without it"),
    pytest.mark.slow,
]

BY_LAYER = ("power_by_layer", "array_power_by_layer", "tia_power_by_layer", "converter_power_by_layer", "mse_by_layer")


@pytest.fixture
def pages(make_plan: Callable[..., Plan], tmp_path: Path) -> dict[str, Path]:
    """A page of one plan, and one of 40 whose table is long enough for a filter."""
    name = "a_layer_with_quite_a_long_name"
    plans = [make_plan(0.001 * 1.1**i, 1e-5 / 1.1**i) for i in range(40)]
    plans[0] = replace(plans[0], prediction=replace(plans[0].prediction, layer_names=(name, "b", "c")))
    made = {
        "plan": report_html(plans[0], title="digits"),
        "frontier": report_html({f"p{i}x": p for i, p in enumerate(plans)}, title="digits"),
    }
    network = pp.Network.mlp([np.linspace(-1, 1, 80 * 60).reshape(80, 60)], [np.zeros(80)])
    wired = pp.Hardware(programming_noise_std=2e-6, wire_resistance_row=2.0, array_rows=40, array_columns=64)
    wired_plan = pp.plan(network, wired, np.ones((1, 60)), pp.MaxNMSE(0.5), granularity="network")
    made["arrays"] = report_html(wired_plan, title="arrays", network=network)
    chips = pp.predict(network, wired, wired_plan.gains, np.ones((1, 60)), chip_spread=True)
    made["prediction"] = report_html(chips, title="prediction")
    files = {}
    for key, text in made.items():
        files[key] = tmp_path / f"{key}.html"
        files[key].write_text(text, encoding="utf-8")
    return files


def screenshot(page: Path, *options: str) -> np.ndarray:
    """A page as an image, (height, width, 3) in 0..1."""
    file = page.with_suffix(".png")
    done = browse(page, f"--screenshot={file}", *options)
    assert "CONSOLE" not in done.stderr, done.stderr  # no error of the script or of the policy
    return np.asarray(matplotlib.image.imread(file))[:, :, :3]


@pytest.mark.parametrize("name", ["plan", "frontier", "arrays"])
@pytest.mark.parametrize("width", [390, 1200])
def test_page_is_drawn_light_and_dark(pages: dict[str, Path], name: str, width: int) -> None:
    light = screenshot(pages[name], f"--window-size={width},1500")
    dark = screenshot(pages[name], f"--window-size={width},1500", DARK)
    assert light.shape == dark.shape == (1500, width, 3)
    assert np.median(light) > 0.95
    assert np.median(dark) < 0.2
    for image in (light, dark):
        assert (np.abs(image - np.median(image, axis=(0, 1))).max(axis=2) > 0.3).mean() > 0.02  # there is ink
        colourful = np.ptp(image, axis=2) > 0.3
        assert colourful.mean() > 0.001  # and it is not all grey


@pytest.mark.parametrize("name", ["plan", "frontier", "arrays", "prediction"])
@pytest.mark.parametrize("width", [500, 1200])
def test_page_is_no_wider_than_its_window(pages: dict[str, Path], name: str, width: int) -> None:
    """Wide tables scroll in their own frame. (500 is the narrowest window that Chromium lays out.)"""
    assert not is_too_wide(pages[name], width)


def test_table_is_sorted_by_number_and_filtered(pages: dict[str, Path]) -> None:
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
    assert "<title>p39x,p0x,1,1</title>" in with_script(pages["frontier"], script)


def test_a_slider_and_points_show_one_plan_after_the_other(pages: dict[str, Path]) -> None:
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
    title = re.search(r"<title>(.*?)</title>", with_script(pages["frontier"], script))
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
    ("name", "scheme"), [("plan", LIGHT), ("frontier", DARK), ("arrays", LIGHT), ("prediction", DARK)], ids=str
)
def test_axe_finds_nothing_serious(pages: dict[str, Path], name: str, scheme: str) -> None:
    assert serious(pages[name], scheme) == []


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
