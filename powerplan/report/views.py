"""What values show of themselves: the functions that :mod:`powerplan.shown` finds by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from powerplan.batch.results import StudyResult
from powerplan.hardware import Hardware
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.network import Network
from powerplan.planning import Plan
from powerplan.planning.explain.explain import explain
from powerplan.report.cards import (
    hardware_card,
    network_card,
    plan_card,
    prediction_card,
    simulation_card,
    study_card,
)
from powerplan.report.html import write_report
from powerplan.report.measured_plots import plot_measurements
from powerplan.report.plots import plot_plan, plot_study
from powerplan.report.study_text import study_table
from powerplan.report.tables import plan_table, prediction_table, simulation_table
from powerplan.report.tile_plots import plot_tiles

__all__ = [
    "card",
    "explain",
    "plot_measurements",
    "plot_plan",
    "plot_study",
    "plot_tiles",
    "table",
    "write_report",
]

_CARDS: dict[type, Callable[[Any], str]] = {
    Hardware: hardware_card,
    Network: network_card,
    Plan: plan_card,
    Prediction: prediction_card,
    Simulation: simulation_card,
    StudyResult: study_card,
}

_TABLES: dict[type, Callable[[Any], str]] = {
    Plan: plan_table,
    Prediction: prediction_table,
    Simulation: simulation_table,
    StudyResult: study_table,
}


def table(value: object) -> str:
    """A value as text."""
    return next(write for kind, write in _TABLES.items() if isinstance(value, kind))(value)


def card(value: object) -> str:
    """A small HTML card of a value, for notebooks."""
    return next(draw for kind, draw in _CARDS.items() if isinstance(value, kind))(value)
