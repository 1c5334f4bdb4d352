"""Figures of single chips: how many have which error, and what more of them within a bound cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from powerplan.planning import Plan
from powerplan.report.charts import STYLES, Bar, Chart, Curve, Point, Rule, Scale, power_scale
from powerplan.report.quantities import share_text
from powerplan.spread import Chips, Spread
from powerplan.units import percent, si

#: bars of a histogram, about
BARS = 28
#: parts of the chips that lie outside of it on either side, and how far beyond the others a bound is still shown
_OUTSIDE, _FAR = 0.002, 1.6


def histogram(chips: Chips | None, bound: float | None = None) -> Chart | None:
    """Part of the chips by NMSE, those within a bound apart from those beyond it; None if they are not known to differ.

    Args:
        bound: on the NMSE of a chip.
    """
    if chips is None or not chips.mse.std > 0 or not chips.signal_power > 0:
        return None
    nmse = chips.nmse
    edges = _edges(nmse, bound)
    shares = np.diff([nmse.yield_at(max(edge, 0.0)) for edge in edges])
    bars = []
    for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
        beyond = bound is not None and low >= bound
        text = f"{100 * share:.2g} % of the chips: NMSE {percent(low)} to {percent(high)}"
        bars.append(Bar(low=100 * low, high=100 * high, height=100 * share, style=int(beyond), text=text))
    rules = [Rule(x=100 * nmse.mean, name=f"mean over chips {percent(nmse.mean)}", style=5)]
    names = {0: "chips"}
    if bound is not None:
        within = nmse.yield_at(bound)
        names = {
            0: f"{share_text(within, nmse.yield_interval(bound))} of the chips within the bound",
            1: f"{100 * (1 - within):.2g} % beyond",
        }
        rules.append(Rule(x=100 * bound, name=f"bound {percent(bound)}", style=1))
    parts = ", ".join(f"{100 * p:g} % within {percent(nmse.quantile(p))}" for p in (0.5, 0.9, 0.95, 0.99))
    said = "" if bound is None else f" {names[0]} of {percent(bound)}."
    return Chart(
        title="NMSE of single chips",
        description=f"Histogram of the NMSE of single chips: mean {percent(nmse.mean)}; {parts}.{said}",
        curves=(),
        bars=tuple(bars),
        bar_names=names,
        rules=tuple(rules),
        x_label="NMSE of a chip [%]",
        y_label="part of the chips [%]",
        x_log=False,
        y_log=False,
        along=Scale(low=100 * edges[0], high=100 * edges[-1], log=False),
        up=Scale(low=0.0, high=108 * float(shares.max()), log=False),
    )


def plan_histogram(plan: Plan) -> Chart | None:
    """That of a plan's prediction, with its bound."""
    prediction = plan.prediction
    return histogram(prediction.chips, plan.target.chip_bound(prediction.signal_power))


def _edges(nmse: Spread, bound: float | None) -> np.ndarray:
    """Edges of the bars, one of them at the bound."""
    low, high = nmse.quantile(_OUTSIDE), nmse.quantile(1 - _OUTSIDE)
    if bound is None or not low / _FAR < bound < high * _FAR:
        return np.linspace(low, high, BARS + 1)
    low, high = min(low, bound), max(high, bound)
    width = (high - low) / BARS
    first, last = np.floor((low - bound) / width), np.ceil((high - bound) / width) + 1
    edges: np.ndarray = bound + width * np.arange(first, last + 1)
    return edges[edges > -width]


def yield_chart(plans: Sequence[tuple[str, Plan]], groups: Sequence[str] | None = None) -> Chart | None:
    """Part of the chips within a bound on the NMSE against power, of named plans; a curve for each bound and group.

    Plans whose prediction does not tell their chips have the simulated part, if they were verified. None without two
    plans that have one bound and tell the part.

    Args:
        groups: what else the plans differ in, one by one; None = nothing.
    """
    curves: dict[str, list[tuple[str, Plan, Point]]] = {}
    for (name, plan), group in zip(plans, groups or [""] * len(plans), strict=True):
        bound = plan.target.chip_bound(plan.prediction.signal_power)
        share = None if bound is None or not plan.meets_target else _share(plan, bound)
        if bound is not None and share is not None:
            curve = ", ".join(filter(None, [f"chips within {percent(bound)}", group]))
            curves.setdefault(curve, []).append((name, plan, share))
    several = {curve: sorted(each, key=lambda one: one[2].y) for curve, each in curves.items() if len(each) > 1}
    drawn = dict(list(several.items())[:STYLES])
    if not drawn:
        return None
    scale, prefix = power_scale(max(plan.power for each in drawn.values() for _, plan, _ in each))
    ends = {curve: (each[0], each[-1]) for curve, each in drawn.items()}
    return Chart(
        title="Yield against power",
        description="Part of the chips within a bound on the NMSE against the power of one inference: "
        + "; ".join(
            f"{curve} {low[2].y:.3g} % at {si(low[1].power, 'W')} to {high[2].y:.3g} % at {si(high[1].power, 'W')}"
            for curve, (low, high) in ends.items()
        )
        + ".",
        curves=tuple(
            Curve(
                name=curve,
                style=style,
                points=tuple(
                    replace(share, x=plan.power * scale, text=f"{name}: {share.text}, {si(plan.power, 'W')}")
                    for name, plan, share in each
                ),
            )
            for style, (curve, each) in enumerate(drawn.items())
        ),
        x_label=f"power of one inference [{prefix}W]",
        y_label="chips within the bound [%]",
        x_log=False,
        y_log=False,
    )


def _share(plan: Plan, bound: float) -> Point | None:
    """The part of the chips within a bound on the NMSE [%], at no power yet: predicted, else simulated."""
    chips, check = plan.prediction.chips, plan.verification
    if chips is not None:
        share = 100 * chips.nmse.yield_at(bound)
        return Point(x=0.0, y=share, text=f"{share:.4g} % of the chips")
    if check is None or check.chip_yield is None:
        return None
    half = 0.0
    if check.chip_yield_low is not None and check.chip_yield_high is not None:
        half = 50 * (check.chip_yield_high - check.chip_yield_low)
    share = 100 * check.chip_yield
    return Point(x=0.0, y=share, y_error=half, text=f"{share:.4g} % of the simulated chips")
