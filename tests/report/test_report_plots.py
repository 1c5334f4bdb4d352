"""Figures show the numbers of the results and are real image files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.errors import InvalidInput, MissingExtra
from powerplan.hardware import Gains
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.planning import Outcome, Plan, Termination
from powerplan.report.answer import plan_answer
from powerplan.report.plots import plot_frontier, plot_plan, plot_predicted_simulated, plot_study

SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_suffix_decides_the_format(make_plan: Callable[..., Plan], tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"plan{suffix}"
    plot_plan(make_plan(), file=file)
    assert file.read_bytes().startswith(SIGNATURES[suffix])
    assert file.stat().st_size > 5000


def test_plan_bars_are_the_numbers(make_plan: Callable[..., Plan], make_prediction: Callable[..., Prediction]) -> None:
    figure = plot_plan(make_plan(), baseline=make_prediction(power=10e-6), title="digits")
    gain, power, error = figure.axes
    heights = [[bar.get_height() for bar in group] for group in gain.containers]
    assert heights == [pytest.approx([25, 40, 100]), pytest.approx([20, 40, 80])]
    heights = [[bar.get_height() for bar in group] for group in power.containers]
    assert heights == [pytest.approx([4.9, 1.4, 0.7]), pytest.approx([7, 2, 1])]
    assert "[µW]" in power.get_ylabel()
    assert sum(bar.get_height() for bar in error.containers[0]) == pytest.approx(100)
    title = figure.get_suptitle()
    assert title == "digits: NMSE ≤ 1.000 %, missed in simulation, power 7.000 µW, 30.0 % below the baseline"


@pytest.mark.parametrize(
    ("outcome", "reached", "claimed"),
    [
        (Outcome.OPTIMAL, 0.01, "NMSE ≤ 1.000 %, power"),
        (Outcome.WITHIN_GAP, 0.01, "NMSE ≤ 1.000 %, power"),
        (Outcome.INFEASIBLE, 0.037, "misses NMSE ≤ 1.000 %: best reachable 3.700 %, power"),
        (Outcome.DEADLINE, 0.01, "NMSE ≤ 1.000 %, stopped at the deadline, power"),
        (Outcome.DEADLINE, 0.02, "misses NMSE ≤ 1.000 % so far: 2.000 %, power"),
        (Outcome.ITERATION_LIMIT, 0.01, "NMSE ≤ 1.000 %, stopped at the iteration limit, power"),
        (Outcome.STALLED, 0.01, "NMSE ≤ 1.000 %, not proven cheapest, power"),
    ],
)
def test_a_title_claims_what_is_true(
    make_plan: Callable[..., Plan], outcome: Outcome, reached: float, claimed: str
) -> None:
    plan = make_plan(verification=None)
    end = replace(plan.termination, outcome=outcome, best_reachable=0.037 if outcome is Outcome.INFEASIBLE else None)
    proof = None if reached > 0.01 else plan.certificate
    title = plot_plan(replace(plan, termination=end, reached=reached, certificate=proof)).get_suptitle()
    assert title.startswith(claimed)


def test_a_plan_dearer_than_its_baseline_is_not_called_a_saving(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    title = plot_plan(replace(plan, baseline_power=plan.power / 1.25)).get_suptitle()
    assert title.endswith("25.0 % above the baseline")
    dear = replace(plan, baseline_power=plan.power / 1.25)
    assert "excess        25.0 % of the baseline's power" in dear.table()
    assert [fact.value.split()[0] for fact in plan_answer(dear) if fact.name == "Power added"] == ["25.0"]


def test_a_frontier_counts_the_targets_out_of_reach(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    far = replace(plan, termination=replace(plan.termination, outcome=Outcome.INFEASIBLE))
    assert "1 of 2 targets not met" in plot_frontier([plan, far]).axes[0].get_title()


def test_column_gains_are_drawn_with_their_range(make_plan: Callable[..., Plan]) -> None:
    gains = Gains(conductance=(np.array([1e-6, 2e-6, 8e-6]), 4e-6, 5e-6), voltage=(0.1, 0.1, 0.1))
    figure = plot_plan(make_plan(gains=gains, baseline_gains=None, baseline_power=None))
    bars = figure.axes[0].containers[0]
    assert [bar.get_height() for bar in bars] == pytest.approx([2, 4, 5])
    assert "columns" in figure.axes[0].get_title()
    # whiskers, caps and median of the one layer with columns
    drawn = [value for line in figure.axes[0].lines for value in line.get_ydata()]
    assert [min(drawn), max(drawn)] == pytest.approx([1, 8])
    assert len(figure.axes) == 3


def test_voltages_that_were_free_have_a_panel(make_plan: Callable[..., Plan]) -> None:
    gains = Gains(conductance=(2e-6, 4e-6, 5e-6), voltage=(np.array([0.1, 0.2, 0.1, 0.3]), 0.1, 0.05))
    figure = plot_plan(make_plan(gains=gains, optimize=("conductance", "voltage")))
    assert len(figure.axes) == 4
    assert "Voltage gain" in figure.axes[1].get_title()
    assert [bar.get_height() for bar in figure.axes[1].containers[0]] == pytest.approx([150, 100, 50])


def test_frontier_shows_plan_baseline_and_simulation(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    end = Termination(
        outcome=Outcome.INFEASIBLE, message="no", solver_status="", iterations=0, predictions=0, seconds=0.0
    )
    plans = [make_plan(0.1, 2e-6), make_plan(0.001, 2e-5), make_plan(1e-9, 1.0, termination=end)]
    figure = plot_frontier(plans, file=tmp_path / "frontier.png")
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    x, y = axes.lines[0].get_data()
    assert list(x) == pytest.approx([0.1, 10])  # sorted; the infeasible target left out
    assert list(y) == pytest.approx([20, 2])
    labels = axes.get_legend_handles_labels()[1]
    assert len(labels) == 3
    assert (tmp_path / "frontier.png").stat().st_size > 5000


def test_frontier_of_infeasible_targets_only_says_so(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    end = Termination(
        outcome=Outcome.INFEASIBLE, message="no", solver_status="", iterations=0, predictions=0, seconds=0.0
    )
    axes = plot_frontier([make_plan(termination=end)], file=tmp_path / "frontier.png").axes[0]
    assert not axes.get_legend()
    assert [text.get_text() for text in axes.texts] == ["no target is met"]


def test_predicted_against_simulated(
    make_prediction: Callable[..., Prediction], make_simulation: Callable[..., Simulation], tmp_path: Path
) -> None:
    sweep = [(make_prediction(0.99 * n), make_simulation(n)) for n in (0.1, 0.001, 0.01)]
    figure = plot_predicted_simulated({"digits": sweep, "iris": sweep[:1]}, file=tmp_path / "check.png")
    above, below = figure.axes
    x, y = above.containers[0].lines[0].get_data()
    assert list(x) == pytest.approx([0.001, 0.01, 0.1])
    assert list(y) == pytest.approx([0.00099, 0.0099, 0.099])
    assert list(below.containers[0].lines[0].get_ydata()) == pytest.approx([-1, -1, -1])
    assert (tmp_path / "check.png").stat().st_size > 5000


@pytest.mark.parametrize("file", ["plan.gif", "plan", "missing/plan.png"])
def test_file_that_cannot_be_written_is_refused(make_plan: Callable[..., Plan], tmp_path: Path, file: str) -> None:
    with pytest.raises(InvalidInput, match="plot: got"):
        plot_plan(make_plan(), file=tmp_path / file)


def test_missing_matplotlib_names_the_install_command(
    make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"pip install 'powerplan-crossbar\[plot\]'"):
        plot_plan(make_plan())


def test_reports_import_no_pyplot() -> None:
    """Importing the figures loads no matplotlib, and drawing needs no pyplot (it may look for a display)."""
    code = (
        "import sys, powerplan.report.plots as p; assert 'matplotlib' not in sys.modules; "
        "p.new_figure(1, 1); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def study_of(make_plan: Callable[..., Plan], networks: int) -> StudyResult:
    """Networks x two granularities x three targets."""
    points = [
        PointResult(
            name=f"{net}-{grain}-{nmse}",
            settings={"network": f"net{net}", "granularity": grain},
            state=PointState.DONE,
            source=make_plan(nmse, (1 + net) * 1e-7 / nmse, granularity=grain),
        )
        for net in range(networks)
        for grain in ("layer", "column")
        for nmse in (0.001, 0.01, 0.1)
    ]
    return StudyResult(name="noise", points=tuple(points), axes=("network", "granularity", "target.max_nmse"))


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_study_is_drawn_as_its_report_has_it(make_plan: Callable[..., Plan], tmp_path: Path, suffix: str) -> None:
    """A panel for each network, a curve for each granularity, in one unit."""
    file = tmp_path / f"study{suffix}"
    figure = study_of(make_plan, 2).plot(file)
    assert file.read_bytes().startswith(SIGNATURES[suffix])
    assert [axes.get_title() for axes in figure.axes] == ["net0", "net1"]
    for i, axes in enumerate(figure.axes):
        assert axes.get_legend_handles_labels()[1] == ["by layer", "by column"]
        x, y = axes.lines[0].get_data()
        assert list(x) == pytest.approx([0.1, 1, 10])
        assert list(y) == pytest.approx([100 * (1 + i), 10 * (1 + i), 1 + i])
        assert axes.get_ylabel() == "power of one inference [µW]"
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert figure.get_suptitle() == "noise"


def test_figure_of_a_large_study_says_what_is_not_in_it(make_plan: Callable[..., Plan]) -> None:
    figure = plot_study(study_of(make_plan, 8), title="all")
    assert figure.get_suptitle() == "all (the first 6 of 8 combinations)"
    assert len(figure.axes) == 6
