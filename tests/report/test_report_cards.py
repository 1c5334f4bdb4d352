"""Notebook cards: valid pieces of HTML with the numbers of the results."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace

import html5lib
from html_pages import visible_text

from powerplan.batch.results import Failure, PointResult, PointState, StudyResult
from powerplan.hardware import Hardware
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.network import Network
from powerplan.planning import FloorPart, Outcome, Plan


def card(value: object) -> str:
    """The visible text of a card, after strict parsing."""
    text: str = value._repr_html_()  # type: ignore[attr-defined]
    html5lib.HTMLParser(strict=True).parseFragment(text)
    assert "http" not in text
    return html.unescape(visible_text(text)).replace("\N{NO-BREAK SPACE}", " ")


def test_plan_card(make_plan: Callable[..., Plan]) -> None:
    shown = card(make_plan())
    assert shown.startswith("Plan: NMSE ≤ 1.000 %")
    assert "7.000 µW" in shown
    assert "30.0 %" in shown
    assert "linear1 25.00 µS 4.900 µW 70.0 % 50.0 %" in shown


def test_card_of_a_target_out_of_reach_names_the_sources(make_plan: Callable[..., Plan]) -> None:
    parts = (FloorPart(parameter="stuck_off_fraction", amount=0.03), FloorPart(parameter="adc_bits", amount=0.0061))
    end = replace(make_plan().termination, outcome=Outcome.INFEASIBLE, floor=0.0365, floor_parts=parts)
    shown = card(make_plan(termination=end, certificate=None))
    assert "Least error at any conductance 3.650 %" in shown
    assert "falls without one source alone: devices stuck off by 3.000 %, converters of columns by 0.6100 %" in shown
    measured = card(make_plan(termination=replace(end, floor=None, best_reachable=0.041), certificate=None))
    assert "Least error 4.100 %" in measured


def test_prediction_card(make_prediction: Callable[..., Prediction]) -> None:
    shown = card(make_prediction())
    assert "Prediction, linearized" in shown
    assert "squared bias 25.0 %" in shown


def test_simulation_card(make_simulation: Callable[..., Simulation]) -> None:
    shown = card(make_simulation())
    assert "Simulation, 1000 draws, seed 3" in shown
    assert "1.000 ± 0.020 %" in shown


def test_network_card(network: Network) -> None:
    shown = card(network)
    assert "Network, 3 crossbar layers" in shown
    assert "linear1 linear 3 yes" in shown
    assert network.digest[:16] in shown


def test_hardware_card_shows_what_is_set() -> None:
    shown = card(Hardware(programming_noise_std=1e-6))
    assert "programming_noise_std 1.000 µS" in shown
    assert "feedback_resistance" not in shown


def test_study_card_and_repr_stay_short(make_plan: Callable[..., Plan]) -> None:
    """Counts and the first points, however many there are and however long their settings."""
    settings = {"network": "a", "override": {f"field_{i}": i for i in range(50)}}
    points = [
        PointResult(name=f"p{i}", settings=settings, state=PointState.DONE, source=make_plan(0.001 * (i + 1)))
        for i in range(49)
    ]
    failure = Failure(code="crashed", message="The worker died.")
    points.insert(1, PointResult(name="bad", settings=settings, state=PointState.FAILED, failure=failure))
    study = StudyResult(name="noise", description="How much?", points=tuple(points), axes=("target.max_nmse",))
    assert repr(study) == "StudyResult('noise': 50 points, 49 done, 1 failed; axes target.max_nmse)"
    shown = card(study)
    assert shown.startswith("Study: noise How much?")
    assert "Targets met 49 of 50" in shown
    assert "p0 7.000 µW 0.1000 % 30.0 % optimal" in shown
    assert "bad – – – failed: crashed" in shown
    assert "and 30 more" in shown
