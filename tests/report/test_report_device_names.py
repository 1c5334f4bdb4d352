"""A report of plans on several technologies names them, not the coefficients of their noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from html_pages import assert_accessible, visible_text

import powerplan as pp
from powerplan import Plan
from powerplan.report.device_names import device_names, preset_name
from powerplan.report.html import report_html
from powerplan.report.study_view import as_study


@pytest.mark.parametrize("preset", pp.presets(), ids=lambda preset: preset.name)
def test_a_preset_is_known_again(preset: object) -> None:
    hardware = preset.hardware  # type: ignore[attr-defined]
    assert preset_name(hardware) == preset.name  # type: ignore[attr-defined]
    assert preset_name(hardware.replace(array_rows=128, temperature=310.0)) == preset.name  # type: ignore[attr-defined]


def test_plans_on_presets_are_titled_by_their_names(make_plan: Callable[..., Plan]) -> None:
    names = ("pcm_joshi2020_fit", "reram_wan2022_fitA", "pcm_nandakumar2019")
    plans = {f"plan {i}": replace(make_plan(), hardware=pp.Hardware.preset(name)) for i, name in enumerate(names)}
    assert as_study(plans).axes == ("hardware",)
    page = visible_text(report_html(plans))
    assert_accessible(report_html(plans))
    assert "3 plans on pcm_joshi2020_fit, reram_wan2022_fitA and pcm_nandakumar2019" in page
    assert "that differ in hardware." in page
    assert "coefficients" not in page.partition("Hardware")[0]


def test_what_differs_on_one_preset_stays_a_setting(make_plan: Callable[..., Plan]) -> None:
    hardware = pp.Hardware.preset("reram_wan2022_fitA")
    plans = {f"{t:g} K": replace(make_plan(), hardware=hardware.replace(temperature=t)) for t in (300.0, 350.0)}
    study = as_study(plans)
    assert study.axes == ("override.temperature",)
    assert {p.settings["hardware"] for p in study.points} == {"reram_wan2022_fitA"}


def test_devices_of_ones_own_are_numbered_only_where_numbers_do_not_speak_for_themselves() -> None:
    noisy, quiet = pp.Hardware(programming_noise_std=3e-6), pp.Hardware(programming_noise_std=1e-6)
    assert device_names([noisy, quiet]) == ["", ""]
    drifting = quiet.replace(drift={"type": "power_law", "exponent_mean": 0.05, "reference_time": 20.0})
    assert device_names([noisy, drifting, noisy]) == ["hardware 1", "hardware 2", "hardware 1"]
