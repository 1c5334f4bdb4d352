"""Devices in reports: models in a line, drawn by their mean error and spread."""

from __future__ import annotations

import numpy as np
import pytest

import powerplan as pp
from powerplan.hardware.aging import Snapshot
from powerplan.report.device_charts import device_charts, measured_text
from powerplan.report.facts import hardware_facts

TARGETS, MEAN, STD = [0.0, 1e-5, 5e-5], [1e-7, 0.98e-5, 4.9e-5], [2e-7, 1e-6, 2e-6]
MEASURED = pp.Hardware(
    conductance_max=5e-5,
    measurements=[Snapshot.table(TARGETS, mean=MEAN, std=STD, time=time) for time in (0.0, 86400.0)],
)


def test_measurements_are_one_line() -> None:
    (line,) = (fact.value for fact in hardware_facts(MEASURED) if fact.name == "measurements")
    assert line.replace("\N{NO-BREAK SPACE}", " ").replace("µ", "u") == measured_text(MEASURED)
    assert measured_text(MEASURED) == "3 targets from 0 S to 50.0 uS, at 2 times from 0 s to 1 d"
    one = MEASURED.replace(measurements=[MEASURED.measurements[0]])
    assert measured_text(one) == "3 targets from 0 S to 50.0 uS, 0 s after programming"


def test_curves_inside_of_models_are_named_by_their_type() -> None:
    facts = {fact.name: fact.value for fact in hardware_facts(pp.Hardware.preset("pcm_hermes_1dev"))}
    assert facts["drift"].startswith("power law (exponent mean piecewise, exponent std piecewise")


def test_devices_are_drawn_by_what_they_hold() -> None:
    shift, spread = device_charts({"mine": MEASURED})
    assert [curve.name for curve in shift.curves] == ["0 s", "1 d"]
    for chart, values in ((shift, np.subtract(MEAN, TARGETS)), (spread, STD)):
        points = chart.curves[0].points
        drawn = np.interp([0, 10, 50], [p.x for p in points], [p.y for p in points])
        # between the points of a table the chart's straight lines cut its corner a little
        assert drawn == pytest.approx(1e6 * np.asarray(values), abs=0.03)


def test_hardware_side_by_side_is_drawn_at_its_own_time() -> None:
    pcm = pp.Hardware.preset("pcm_hermes_1dev", time=3600.0)
    shift, _ = device_charts({"pcm": pcm, "mine": pp.Hardware(programming_noise_std=1e-6)})
    assert [curve.name for curve in shift.curves] == ["pcm", "mine"]
    assert min(p.y for p in shift.curves[0].points) < -0.5  # what drifts for an hour without compensation


def test_devices_of_plain_numbers_are_not_drawn() -> None:
    assert device_charts({"mine": pp.Hardware(programming_noise_std=1e-6)}) == ()
