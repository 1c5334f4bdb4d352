"""Plans, frontiers and predicted against simulated error as figures (matplotlib, extra ``plot``).

Every function returns the figure and, given a file, writes it as PNG, SVG or PDF by its suffix. No window
is opened and no global state of matplotlib is changed.
"""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.errors import InvalidInput, MissingExtra
from powerplan.files import write_bytes
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.planning import Plan
from powerplan.report.charts import MANY, STYLES, Chart, Scale, power_scale
from powerplan.report.planned_error import error_label
from powerplan.report.quantities import claim, saving_text
from powerplan.units import in_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from powerplan.batch.results import StudyResult

#: ratio of the ends of a logarithmic axis below which 1, 2 and 5 times powers of ten are too few ticks
_SHORT = 5.0
#: panels of a study in one figure
MOST_PANELS = 6
_SUFFIXES = (".png", ".svg", ".pdf")
#: Okabe and Ito's colours, told apart under every common colour blindness
BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#8A8A8A"
#: colour, marker and line of each style of curves
_SERIES = (
    (BLUE, "o", "-"),
    (VERMILION, "s", "--"),
    (GREEN, "^", ":"),
    (PURPLE, "D", "-."),
    (ORANGE, "v", (0, (12, 4))),
    (GREY, "P", (0, (4, 3))),
)


def check_plot_file(file: str | os.PathLike[str]) -> None:
    """Refuse, before any long work, a file that no figure can be written to.

    Raises:
        InvalidInput: a suffix other than .png, .svg and .pdf, or a folder that does not exist.
        MissingExtra: matplotlib is not installed.
    """
    path = Path(file)
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidInput.of("plot", str(file), "a file ending in " + ", ".join(_SUFFIXES), "Change its suffix.")
    if not path.parent.is_dir():
        raise InvalidInput.of("plot", str(file), "a file in an existing folder", f"Create {path.parent} first.")
    new_figure(1, 1)


def plot_plan(
    plan: Plan,
    *,
    baseline: Prediction | None = None,
    title: str = "",
    file: str | os.PathLike[str] | None = None,
) -> Figure:
    """Conductance gain, power and share of error of every layer, the baseline beside.

    Args:
        baseline: the prediction at ``plan.baseline_gains``, for its bars of power and error.
        title: what was planned, put before the target.
        file: also write the figure.
    """
    names = plan.prediction.layer_labels
    # voltages that were held say nothing new
    voltages = "voltage" in plan.optimize or any(np.ndim(v) for v in plan.gains.voltage)
    figure = new_figure(14.5 if voltages else 11.0, 4.2)
    first, *axes = figure.subplots(1, 4 if voltages else 3)
    sets = [plan.gains] + ([] if plan.baseline_gains is None else [plan.baseline_gains])
    _gains(first, names, [gains.conductance for gains in sets], "Conductance gain", "µS per unit weight", "columns")
    if voltages:
        second, *axes = axes
        _gains(second, names, [gains.voltage for gains in sets], "Voltage gain", "mV per unit activation", "rows")
    both = [plan.prediction] + ([] if baseline is None else [baseline])
    scale, prefix = power_scale(max(float(p.power_by_layer.max()) for p in both))
    _bars(axes[0], names, [p.power_by_layer * scale for p in both])
    axes[0].set(title="Power", ylabel=f"power of one inference [{prefix}W]")
    _bars(axes[1], names, [100 * p.mse_by_layer / p.mse if p.mse else p.mse_by_layer for p in both])
    axes[1].set(title="Share of the output MSE", ylabel="share [%]")
    least = in_unit(plan.objective.of_plan(plan), plan.objective.unit)
    answer = f"{plan.objective.quantity} {least}".replace(" u", " µ")
    saved = "" if plan.saving is None else f", {saving_text(plan.saving)}"
    claimed = claim(plan).replace("<=", "≤").replace(" u", " µ")
    figure.suptitle(f"{title + ': ' if title else ''}{claimed}, {answer}{saved}")
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return written(figure, file)


def plot_frontier(plans: Sequence[Plan], *, title: str = "", file: str | os.PathLike[str] | None = None) -> Figure:
    """Power against NMSE of a list of plans, the baseline beside, simulated points with 95 % error bars.

    Of plans for a part of the chips, or of the inputs, it is the NMSE that this part keeps. With costs there is also
    energy against NMSE, and latency and area against energy where they differ. Plans that do not meet their target are
    left out, and counted in the title.
    """
    from powerplan.report.study_panels import frontier_charts

    charts = frontier_charts(plans)
    panels = max(1, len(charts))
    figure = new_figure(1.5 + 5.5 * panels, 4.8)
    first, *more = np.ravel(np.array(figure.subplots(1, panels, squeeze=False), dtype=object))
    for axes, chart in zip((first, *more), charts, strict=False):
        draw(axes, chart)
    if not charts:
        first.set(xlabel=error_label(plans), ylabel="power of one inference [W]", xticks=[], yticks=[])
        first.text(0.5, 0.5, "no target is met", transform=first.transAxes, ha="center", va="center")
    missed = sum(not plan.meets_target for plan in plans)
    beside = f"\n({missed} of {len(plans)} targets not met)" if missed else ""
    first.set_title(f"{title + ': ' if title else ''}least power for a target error{beside}")
    return written(figure, file)


def plot_study(study: StudyResult, *, title: str = "", file: str | os.PathLike[str] | None = None) -> Figure:
    """Power of one inference against NMSE, or against the numbers of a sweep: the panels that the study's report has.

    A panel for each combination of settings, the first :data:`MOST_PANELS` of them; the title says if there are more.

    Args:
        title: what was planned, instead of the study's name.
        file: also write the figure.
    """
    from powerplan.report.study_panels import study_charts
    from powerplan.report.thin_plans import thinned

    thin = thinned(study)
    charts, _ = study_charts(thin, [(point, plan) for point in thin.points if (plan := point.plan) is not None])
    shown = charts[:MOST_PANELS]
    columns = min(3, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    figure = new_figure(1.5 + 5.0 * columns, 0.6 + 4.0 * rows)
    panels = list(np.ravel(np.array(figure.subplots(rows, columns, squeeze=False), dtype=object)))
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    for axes, chart in zip(panels, shown, strict=False):
        draw(axes, chart)
    more = f" (the first {len(shown)} of {len(charts)} combinations)" if len(charts) > len(shown) else ""
    figure.suptitle(f"{title or study.name or f'{len(study.points)} plans'}{more}")
    return written(figure, file)


def draw(axes: Axes, chart: Chart) -> None:
    """Draw a chart with matplotlib, in the looks that the style sheet of reports gives its curves."""
    for curve, points in chart.placed():
        colour, marker, line = _SERIES[curve.style % STYLES]
        axes.errorbar(
            [p.x for p in points],
            [p.y for p in points],
            xerr=[p.x_error for p in points] if any(p.x_error for p in points) else None,
            yerr=[p.y_error for p in points] if any(p.y_error for p in points) else None,
            color=colour,
            marker=marker if curve.marks else "",
            markersize=4 if len(points) < MANY else 1.5,
            linestyle=line if curve.line else "none",
            capsize=3 if len(points) < MANY else 0,
            label=curve.name or None,
        )
    for style, name in chart.bar_names.items():
        colour, bars = _SERIES[style % STYLES][0], [bar for bar in chart.bars if bar.style == style]
        axes.bar(
            [bar.low for bar in bars],
            [bar.height for bar in bars],
            width=[bar.high - bar.low for bar in bars],
            align="edge",
            facecolor=(colour, 0.2 if style else 0.5),
            edgecolor=colour,
            label=name,
        )
    for rule in chart.rules:
        colour, _, line = _SERIES[rule.style % STYLES]
        axes.axvline(rule.x, color=colour, linestyle="-" if rule.style == 1 else line, label=rule.name)
    scales = {True: "log", False: "linear"}
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label, xscale=scales[chart.x_log], yscale=scales[chart.y_log])
    axes.set_title(textwrap.fill(chart.title, 50), fontsize="medium")
    for axis, log, shared in ((axes.xaxis, chart.x_log, chart.along), (axes.yaxis, chart.y_log, chart.up)):
        if shared is not None:
            axis.set_view_interval(shared.low, shared.high, ignore=True)
        if log:
            plain_logarithmic(axis)
    axes.grid(True, which="major", alpha=0.25)
    axes.legend(frameon=False, fontsize="small")


def plot_predicted_simulated(
    series: Mapping[str, Sequence[tuple[Prediction, Simulation]]],
    *,
    file: str | os.PathLike[str] | None = None,
) -> Figure:
    """Predicted against simulated NMSE over a sweep, and how far the prediction is off in % for NMSE and power.

    Args:
        series: pairs of prediction and simulation at the same gains, by the name of the sweep.
    """
    figure = new_figure(7.0, 6.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    seen: list[float] = []
    for i, (name, pairs) in enumerate(series.items()):
        colour, marker, _ = _SERIES[i % STYLES]
        ordered = sorted(pairs, key=lambda pair: pair[1].nmse)
        x = np.array([s.nmse for _, s in ordered])
        error = np.array([1.96 * s.nmse_standard_error for _, s in ordered])
        y = np.array([p.nmse for p, _ in ordered])
        seen.extend([*x, *y])
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "linestyle": "none", "capsize": 3}
        above.errorbar(x, y, xerr=error, label=name, **style)
        below.errorbar(x, 100 * (y / x - 1), yerr=100 * error * y / x**2, **style)
        power = np.array([p.power / s.power - 1 for p, s in ordered])
        below.plot(x, 100 * power, color=colour, marker=".", linestyle=":", linewidth=1)
    if seen:
        ends = [0.7 * min(seen), 1.4 * max(seen)]
        above.plot(ends, ends, color=GREY, linewidth=1, zorder=0, label="predicted = simulated")
    above.set(xscale="log", yscale="log", ylabel="predicted NMSE [%]", title="Predicted against simulated")
    for axis in (above.xaxis, above.yaxis):
        plain_logarithmic(axis, 100)
    below.axhline(0, color=GREY, linewidth=1, zorder=0)
    below.set(xlabel="simulated NMSE [%] (bars: 95 % confidence)", ylabel="error of the\nprediction [%]")
    below.plot([], [], color="black", marker="o", linestyle="none", label="NMSE")
    below.plot([], [], color="black", marker=".", linestyle=":", linewidth=1, label="power")
    below.margins(y=0.4)  # room for the legend
    below.legend(frameon=False, ncols=2, loc="upper right")
    above.legend(frameon=False)
    for axes in (above, below):
        axes.grid(True, which="major", alpha=0.25)
    return written(figure, file)


def _gains(axes: Axes, names: Sequence[str], sets: Sequence[Sequence[Any]], title: str, unit: str, parts: str) -> None:
    """Gains of every layer as bars; gains of columns or rows as boxes of their quartiles and their range."""
    many = any(np.ndim(gain) for gain in sets[0])
    scale = {"µ": 1e6, "m": 1e3}[unit[0]]
    _bars(axes, names, [np.array([scale * float(np.median(gain)) for gain in gains]) for gains in sets])
    if many:
        for bar in axes.containers[0]:
            bar.set_alpha(0.35)  # behind the boxes
        width = 0.8 / len(sets)
        places = [i - 0.4 + width / 2 for i, gain in enumerate(sets[0]) if np.ndim(gain)]
        axes.boxplot(
            [scale * np.asarray(gain) for gain in sets[0] if np.ndim(gain)],
            positions=places,
            widths=0.6 * width,
            whis=(0, 100),
            manage_ticks=False,
            medianprops={"color": "black", "linewidth": 1.5},
            boxprops={"linewidth": 1},
        )
    axes.set(title=f"{title}\n(range and quartiles of {parts})" if many else title, ylabel=f"gain [{unit}]")
    every = [scale * float(g) for gains in sets for gain in gains for g in (np.min(gain), np.max(gain))]
    if max(every) > 20 * min(every):
        axes.set_yscale("log")
        axes.set_ylim(bottom=min(every) / 2)  # a bar on a log axis has to start somewhere
        plain_logarithmic(axes.yaxis)


def plain_logarithmic(axis: Axis, scale: float = 1.0) -> None:
    """Ticks at 1, 2, 5 times powers of ten, or round values of a short range, written out (times ``scale``)."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    if high < _SHORT * low:
        axis.set_major_locator(FixedLocator(Scale(low=low, high=high, log=True).ticks()))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{scale * value:g}"))
    axis.set_minor_locator(NullLocator())


def _bars(axes: Axes, names: Sequence[str], sets: Sequence[np.ndarray]) -> None:
    """A group of bars per layer: the plan, and the baseline if there is one."""
    at, width = np.arange(len(names)), 0.8 / len(sets)
    looks = (("plan", BLUE, ""), ("baseline: one conductance range", ORANGE, "//"))
    for k, (values, (label, colour, hatch)) in enumerate(zip(sets, looks, strict=False)):
        place = at - 0.4 + (k + 0.5) * width
        axes.bar(place, values, width, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=label)
    axes.set_xticks(at, names, rotation=0 if len(names) <= 4 else 45, ha="center" if len(names) <= 4 else "right")
    axes.grid(True, axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own canvas: pyplot, which keeps figures alive and may look for a display, is not used."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "plot", "plots") from error
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def written(figure: Figure, file: str | os.PathLike[str] | None) -> Figure:
    """The figure, also written to a file if there is one."""
    if file is not None:
        from matplotlib import rc_context

        check_plot_file(file)
        # no date and no random ids: the same plan gives the same file
        metadata: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(
            Path(file).suffix.lower(), {}
        )
        content = io.BytesIO()
        with rc_context({"svg.hashsalt": "powerplan"}):
            figure.savefig(content, format=Path(file).suffix[1:].lower(), metadata=metadata)
        write_bytes("plot", file, content.getvalue())
    return figure
