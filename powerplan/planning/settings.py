"""How plans are made: the table of their settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from powerplan.checks import Checker
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.hardware.gains import Gain
from powerplan.moments.chips.sampled import chips_for_width
from powerplan.moments.settings import PredictionSettings
from powerplan.planning.problem.corners import check_corners
from powerplan.planning.targets.over_inputs import CALIBRATIONS, MEAN
from powerplan.settings import (
    Choice,
    Corners,
    Flag,
    Names,
    Number,
    PerLayer,
    StepValues,
    Weights,
    Whole,
    setting,
    table,
)

if TYPE_CHECKING:
    from powerplan.hardware.costs.values import Costs
    from powerplan.hardware.steps import StepsGiven
    from powerplan.planning.targets import Target

GRANULARITIES = ("network", "layer", "column", "signal")
QUANTITIES = ("conductance", "voltage")
BITS = ("adc_bits", "dac_bits")
#: fields of the hardware that plans can choose, of every layer
CHOICES = (*BITS, "adc_headroom", "columns_per_adc")
#: what plans with costs can minimise
COST_OBJECTIVES = ("energy", "power", "latency", "energy_delay", "area")

#: called with what is being done and the fraction done so far (0 to 1)
Progress = Callable[[str, float], None]


def conflicts(optimize: Sequence[str], values: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, str]]:
    """Bits without gains to meet the target with, and settings without effect beside what is free.

    Returns:
        name and value of each, what is allowed, and advice.
    """
    gains = [kind for kind in optimize if kind in QUANTITIES]
    if not gains:
        allowed = "with 'conductance' or 'voltage': what is chosen is compared with gains on the target"
        yield "optimize", tuple(optimize), allowed, "Add one of them; predict tells what bits do at given gains."
    for kind in gains:
        if values[kind] is not None:
            allowed = f"only without {kind!r} in optimize, where these gains are held"
            yield kind, values[kind], allowed, f"Leave out {kind}, or free something else."
    for name in () if any(kind in BITS for kind in optimize) else ("least_bits", "most_bits"):
        if values[name] != getattr(PlanSettings, name):
            yield name, values[name], "only with 'adc_bits' or 'dac_bits' in optimize", "Free one of them."


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanSettings(PredictionSettings):
    """How plans are made; how to add a setting is told in :mod:`powerplan.settings`."""

    granularity: str = setting(
        Choice(GRANULARITIES),
        "layer",
        "Gains that are free: one for the network, one per layer, a conductance per column (output of a layer), or "
        "signal: a voltage per row, with the inverse in its stored weights.",
        more="Signal needs both gains free.",
    )
    optimize: Sequence[str] = setting(
        Names((*QUANTITIES, *CHOICES)),
        ("conductance",),
        "What is free: conductance gains, voltage gains (need read or row noise) and, for every layer beside gains of "
        "one kind at least, adc_bits and dac_bits (need conversion energies that depend on bits), adc_headroom and "
        "columns_per_adc (need costs).",
    )
    objective: str | None = setting(
        Choice(COST_OBJECTIVES),
        None,
        "What is minimised, for hardware with costs: energy, latency or area of an inference, power (energy over "
        "latency) or energy_delay (energy times latency).",
        otherwise="energy if converters are free, else the power of the arrays",
    )
    max_energy: float | None = setting(
        Number(above=0, unit="J"), None, "Largest energy of an inference, besides the target.", otherwise="no limit"
    )
    max_latency: float | None = setting(
        Number(above=0, unit="s"), None, "Largest latency of an inference, besides the target.", otherwise="no limit"
    )
    max_area: float | None = setting(
        Number(above=0, unit="m2"), None, "Largest area, besides the target.", otherwise="no limit"
    )
    least_bits: int = setting(
        Whole(at_least=2, at_most=16), 4, "Fewest bits of a converter if adc_bits or dac_bits are free."
    )
    most_bits: int = setting(
        Whole(at_least=2, at_most=16), 10, "Most bits of a converter if adc_bits or dac_bits are free."
    )
    conductance: Sequence[Gain] | None = setting(
        PerLayer("S"),
        None,
        "Fixed conductance gains, if they are not optimised [S per unit weight], one per layer.",
        otherwise="the largest that the limits allow",
    )
    voltage: Sequence[Gain] | None = setting(
        PerLayer("V"),
        None,
        "Fixed voltage gains, if they are not optimised [V per unit activation], one per layer.",
        otherwise="voltage_max at the largest activation over the inputs",
    )
    verify_draws: int | None = setting(
        Whole(at_least=2, at_most=10_000_000, or_zero=True, advice="A standard error needs two draws."),
        None,
        "Draws of the simulation that verifies the plan; 0 = none.",
        more="As many as needed means 256 to 10 000: they give the rate to 0.1 percentage points and 5 % of the "
        "target, within about a minute (a fifth of the time to the deadline) per simulation; none if fewer fit.",
        otherwise="for targets on classes as many as needed, else 0",
    )
    yield_width: float | None = setting(
        Number(above=0, at_most=1),
        None,
        "Verify with as many draws as are needed for a 95 % confidence interval of the yield (the fraction of chips "
        "that meet the target) of this width (0.02: two percentage points).",
        more="Instead of ``verify_draws``.",
        otherwise="``verify_draws``",
    )
    calibrate: bool | None = setting(
        Flag(),
        None,
        "Plan again for the bound whose simulation meets the target; needs a verification.",
        more="At most twice, for the target times predicted/simulated, until the simulation is within its standard "
        "error of the target.",
        otherwise="for targets on classes",
    )
    calibration: str = setting(
        Choice(CALIBRATIONS),
        MEAN,
        "Inputs that plans are for: mean, the calibration inputs; upper, the population of which these are a random "
        "sample, by meeting the target at the upper end of the 95 % confidence interval.",
        more="With a target on a part of the inputs at the upper end of the interval of that quantile. Not for single "
        "outputs and power budgets.",
    )
    tolerance: float = setting(Number(above=0, at_most=0.1), 1e-8, "KKT residual at which to stop.")
    max_iterations: int = setting(
        Whole(at_least=1, at_most=100_000),
        60,
        "Most iterations, of ten quasi-Newton steps each.",
    )
    deadline: float | None = setting(
        Number(above=0, unit="s", or_infinite=True),
        None,
        "Seconds after which to stop with the best gains found.",
        more="The cheapest found that meet the target, else those nearest to it (``outcome`` is DEADLINE, "
        "``plan.meets_target`` says which). It includes verification, with fewer draws if necessary. A prediction in "
        "progress is not interrupted, at least one is made, and the predictions that report the plan follow.",
        otherwise="no limit",
    )
    corners: Sequence[Hardware] = setting(
        Corners(),
        (),
        "Further hardware (other noise, temperatures, times) in which the same gains must meet the target.",
        more="Within the limits of all; what is minimised is that of ``hardware``.",
    )
    output_weights: npt.ArrayLike | None = setting(
        Weights(),
        None,
        "Weights >= 0 of the outputs' squared errors, one per output, scaled to mean 1; not for targets on classes.",
        more="The MSE is then the mean of weight × squared error (NMSE: over the likewise weighted signal; "
        "MaxOutputMSE: of every output with a weight > 0).",
        otherwise="all alike",
    )
    conductance_steps: StepsGiven = setting(
        StepValues("S"),
        None,
        "Values that a free conductance gain can be set to [S per unit weight].",
        more="A :class:`Steps` for all layers, or one Steps or None per layer; ``plan.discrete`` then bounds what is "
        "lost.",
        otherwise="continuous",
    )
    voltage_steps: StepsGiven = setting(
        StepValues("V"),
        None,
        "Values that a free voltage gain can be set to [V per unit activation], likewise.",
        otherwise="continuous",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "corners", check_corners(self.corners))
        self._check_free()

    def _check_free(self) -> None:
        """Refuse what has no effect beside what is free."""
        check = Checker()
        for wrong in conflicts(self.optimize, {row.name: getattr(self, row.name) for row in table(type(self))}):
            check.fail(*wrong)
        check.done()

    @property
    def free_gains(self) -> tuple[str, ...]:
        """The kinds of gains that are free."""
        return tuple(kind for kind in self.optimize if kind in QUANTITIES)

    @property
    def free_choices(self) -> tuple[str, ...]:
        """The fields of the hardware that are free."""
        return tuple(kind for kind in self.optimize if kind in CHOICES)

    def most_for(self, kind: str, costs: Costs | None) -> int:
        """The most bits that ``kind`` is chosen from: ``most_bits``, or the fewer that costs know.

        Raises:
            InvalidInput: fewer than they know.
        """
        converter = None if costs is None else getattr(costs, kind.removesuffix("_bits"))
        if converter is not None and math.ceil(converter.least_bits or 0) > self.most_bits:
            allowed = f"at least {math.ceil(converter.least_bits)}, the fewest that hardware.costs knows"
            raise InvalidInput.of("most_bits", self.most_bits, allowed, "Raise most_bits.")
        known = None if converter is None else converter.most_bits
        return self.most_bits if known is None else min(self.most_bits, math.floor(known))

    def check_verification(self, targets: Sequence[Target]) -> None:
        """Refuse a calibration for these targets without a verification.

        Raises:
            InvalidInput: naming the field.
        """
        draws = self.verify_draws
        if self.yield_width is not None and draws is not None:
            check = Checker()
            check.fail("yield_width", self.yield_width, "None with verify_draws", "Give one of the two.")
            check.done()
        by_itself = self.yield_width is not None or all(target.is_verified for target in targets)
        unverified = draws == 0 or (draws is None and not by_itself)
        if self.calibrate and unverified:
            check = Checker()
            check.fail("calibrate", self.calibrate, "only with verify_draws", "Give verify_draws, for example 2000.")
            check.done()

    def draws_for(self, target: Target) -> int | None:
        """Draws of a verification as they are asked for; None = as the target wants it."""
        if self.yield_width is None:
            return self.verify_draws
        return chips_for_width(0.5 if target.chips is None else target.chips, self.yield_width)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """What bears on the predictions and is not the default, by name, for the provenance of a plan."""
        rows = [row for row in table(PredictionSettings) if row.name not in ("method", "device")]
        return {row.name: getattr(self, row.name) for row in rows if getattr(self, row.name) != row.default}
