"""Heat maps of arrays: in their places, coarser where large, readable by any reader of PNG."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from html_pages import assert_accessible, assert_self_contained

import powerplan as pp
from powerplan.report import heat_maps
from powerplan.report.heat_maps import Quantity, layer_heats, picture
from powerplan.report.html import report_html

_RNG = np.random.default_rng(0)
NETWORK = pp.Network.mlp([_RNG.normal(size=(5, 7)), _RNG.normal(size=(3, 5))], [np.zeros(5), np.zeros(3)])
HARDWARE = pp.Hardware(programming_noise_std=1e-6, wire_resistance_row=50.0, array_rows=4, array_columns=4)


def _plan() -> pp.Plan:
    return pp.plan(NETWORK, HARDWARE, _RNG.normal(size=(4, 7)), pp.MaxNMSE(0.3), granularity="network")


def test_a_picture_has_the_values_of_the_cells() -> None:
    cells = np.array([[0.0, np.nan, 1.0], [0.25, 0.5, 0.75]])
    shown = picture(Quantity(name="Drop", cells=cells, text=lambda value: f"{value:g}"), "dense")
    assert (shown.low, shown.high) == ("0", "1")
    image = matplotlib.image.imread(io.BytesIO(base64.b64decode(shown.source.partition(",")[2])))
    assert image.shape == (2, 3, 4)
    assert (image[..., 3] == 0).tolist() == np.isnan(cells).tolist()  # the page shows through
    light = image[..., :3].sum(-1)
    assert np.all(np.diff(light.ravel()[np.argsort(cells, axis=None)][:5]) > 0)


def test_arrays_are_drawn_in_a_page_and_as_a_figure(tmp_path: Path) -> None:
    plan = _plan()
    page = report_html(plan, network=NETWORK)
    assert_self_contained(page)
    assert_accessible(page)
    assert "; squared bias by wires alone:" in page
    assert page.count('<img src="data:image/png;base64,') == 2 * 3
    assert "; a cell is a device. Wires take" in page
    assert 'alt="Drop by wires of the devices of linear2' in page
    assert "<img" not in report_html(plan)  # without the network nothing is known of its weights
    figure = pp.plot_arrays(plan, NETWORK, file=tmp_path / "arrays.png")
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[:2] == ["linear1: conductance", "linear1: drop by wires"]
    drawn = figure.axes[0].get_images()[0].get_array()
    assert drawn is not None
    assert drawn.shape == (7 + 3, 10 + 4)  # two row tiles, three column tiles, lines between and around


def test_large_arrays_are_drawn_coarser_and_very_large_networks_not(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _plan()
    monkeypatch.setattr(heat_maps, "_CELLS", 4)
    heats, _ = layer_heats(plan, NETWORK)
    assert "a cell is the mean of" in heats[0].note
    (maps, _) = pp.map_devices(NETWORK, plan.hardware, plan.gains)
    assert heats[0].quantities[0].cells[1, 1] == maps[0].conductance[:3, :3].mean()
    monkeypatch.setattr(heat_maps, "MOST_DEVICES", 10)
    assert "of up to 10 devices; this one has 100" in report_html(plan, network=NETWORK)
