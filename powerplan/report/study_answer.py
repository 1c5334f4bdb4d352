"""The answer of a study: how many targets are met, what is saved, and how predictions compare with simulations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from powerplan.batch.results import StudyResult
from powerplan.planning import Plan
from powerplan.planning.verify.verify import misses_target
from powerplan.report.facts import Fact
from powerplan.report.planned_error import PlannedError, error_name
from powerplan.report.quantities import comparable, saving_cell
from powerplan.report.text import typeset
from powerplan.units import percent, si


def study_answer(study: StudyResult, plans: Sequence[Plan]) -> list[Fact]:
    """Counts, saving, power and error over the plans of a study."""
    reached = [p for p in plans if p.meets_target]
    out_of_reach = len(plans) - len(reached)
    counts = [
        f"{out_of_reach} out of reach" if out_of_reach else "",
        f"{len(study.failed)} failed" if study.failed else "",
    ]
    waiting = len(study.points) - len(study.done) - len(study.failed)
    counts.append(f"{waiting} not calculated yet" if waiting else "")
    facts = [
        Fact(
            name="Targets met",
            value=f"{len(reached)} of {len(study.points)}",
            remark=", ".join(filter(None, counts)) or "none failed",
        )
    ]
    alike = comparable(reached)
    savings = [p.saving for p in alike if p.saving is not None]
    if savings:
        text = partial(saving_cell, objective=alike[0].objective)
        facts.append(
            Fact(
                name="Saving, median",
                value=text(float(np.median(savings))),
                remark=f"{text(min(savings))} to {text(max(savings))}, against one conductance range for all",
            )
        )
    if reached:
        powers = [p.power for p in reached]
        facts.append(
            Fact(
                name="Least power",
                value=typeset(si(min(powers), "W")),
                remark=f"up to {typeset(si(max(powers), 'W'))} for one inference",
            )
        )
        errors, name = [PlannedError.of(p).predicted for p in reached], error_name(reached)
        facts.append(
            Fact(
                name=f"Error ({name}), from", value=percent(min(errors)), remark=f"to {percent(max(errors))}, predicted"
            )
        )
    checked = [p for p in reached if p.verification is not None]
    if checked:
        missed = sum(map(misses_target, checked))
        off = [100 * (p.verification.mse / p.mse - 1) for p in checked if p.verification is not None and p.mse > 0]
        facts.append(
            Fact(
                name="Simulated",
                value=f"{len(checked)} of {len(reached)}",
                remark=f"{missed or 'none'} above the target beyond 95 % confidence"
                + (f"; error {np.median(off):+.1f} % from predicted, median" if off else ""),
            )
        )
    return facts
