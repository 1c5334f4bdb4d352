"""What a plan says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.errors import Violation
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.costs.breakdown import CostBreakdown
from powerplan.hardware.tiling import LayerArrays
from powerplan.moments.prediction import Prediction
from powerplan.planning import policy
from powerplan.planning.objectives import Objective
from powerplan.planning.outcome import (
    BitGap,
    Certificate,
    Corner,
    DiscreteGap,
    Outcome,
    ShadowPrices,
    Termination,
    Verification,
)
from powerplan.planning.plan_file import plan_fields, read_plan_file, save_plan
from powerplan.planning.targets import Target
from powerplan.plausibility import Doubtful, corners_of
from powerplan.shown import Tabled, view

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from powerplan.network import Network
    from powerplan.planning.explain.explanation import Explanation


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan(Tabled):
    """Gains that meet a target at least power, with what proves and explains them.

    Attributes:
        gains: the gains of every crossbar layer.
        prediction: the predicted error and power at these gains.
        target: what was asked.
        reached: the target's quantity (MSE, NMSE, W or fraction) as predicted, the worst over outputs and corners.
        granularity: "network", "layer", "column" or "signal".
        optimize: what was free ("conductance", "voltage", "adc_bits", "dac_bits"); the others were held.
        hardware: the hardware planned for.
        termination: why planning stopped.
        certificate: proof of optimality; None if the target is infeasible, or time ran out before there was one.
        shadow_prices: what the constraints cost; None likewise.
        baseline_gains: one conductance range for every layer, scaled to the same target; None if it
            cannot meet it.
        baseline_power: predicted power of the baseline [W]; None likewise.
        baseline_mse: predicted error of the baseline (weighted if there are output weights); None likewise.
        verification: Monte Carlo check, if asked for.
        output_weights: (K,) weights of the outputs in the error, with mean 1; None = all alike.
        corners: further hardware in which the plan meets the target too; ``hardware``, ``prediction`` and
            ``verification`` are the nominal ones.
        bits: where bits of converters were free: how far they can be from the best choice; the hardware has them.
        discrete: with steps: how far the plan can be from the best choice of steps; certificate and shadow prices
            are then those of the plan without steps. None without.
        arrays: the physical arrays of every crossbar layer on ``hardware``; None in plan files written before they were
            counted.
        calibration: the inputs that it is for: "mean", those of calibration; "upper", others of which these are a
            random sample (``reached`` is then at the upper end of the 95 % confidence interval).
        ideal_accuracy: of the ideal network on the calibration inputs, for a target with labels; None without, and in
            plan files written before it was kept.
        provenance: versions, network digest, seeds, settings and times.
    """

    gains: Gains
    prediction: Prediction
    target: Target
    reached: float
    granularity: str
    optimize: tuple[str, ...]
    hardware: Hardware
    termination: Termination
    certificate: Certificate | None
    shadow_prices: ShadowPrices | None
    baseline_gains: Gains | None
    baseline_power: float | None
    baseline_mse: float | None
    verification: Verification | None = None
    output_weights: tuple[float, ...] | None = None
    corners: tuple[Corner, ...] = ()
    discrete: DiscreteGap | None = None
    bits: BitGap | None = None
    arrays: tuple[LayerArrays, ...] | None = None
    calibration: str = "mean"
    ideal_accuracy: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def meets_target(self) -> bool:
        """Whether the prediction meets the target, to within a thousandth of it."""
        if self.termination.outcome is Outcome.INFEASIBLE:
            return False
        return self.certificate is not None or self.reached <= self.target.value * (1 + policy.EXCEEDED)

    @property
    def beyond_limits(self) -> bool:
        """Whether the prediction meets the target but not the limits of energy, latency and area beside it."""
        met = self.reached <= self.target.value * (1 + policy.EXCEEDED)
        return met and self.termination.outcome is Outcome.INFEASIBLE and self.costs is not None

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The prediction of every corner, the nominal one first."""
        return (self.prediction, *(corner.prediction for corner in self.corners))

    @property
    def verifications(self) -> tuple[Verification, ...]:
        """The Monte Carlo check of every corner, the nominal one first; empty without one."""
        checks = (self.verification, *(corner.verification for corner in self.corners))
        return tuple(check for check in checks if check is not None)

    @property
    def binding_corners(self) -> tuple[int, ...]:
        """The corners in which the target binds (0 is the nominal hardware)."""
        prices = self.shadow_prices.constraints if self.shadow_prices else ()
        return tuple(sorted({price.corner for price in prices}))

    @property
    def array_count(self) -> int | None:
        """Number of physical arrays of all layers; None if it is not known."""
        return None if self.arrays is None else sum(layer.arrays for layer in self.arrays)

    @property
    def conversions(self) -> int | None:
        """Values that are read from columns and converted in one inference, all layers; None if it is not known."""
        by_layer = [layer.conversions for layer in self.arrays or () if layer.conversions is not None]
        return sum(by_layer) if self.arrays and len(by_layer) == len(self.arrays) else None

    @property
    def power(self) -> float:
        """Predicted power of one inference [W]."""
        return self.prediction.power

    @property
    def energy(self) -> float:
        """Predicted energy of one inference [J]."""
        return self.prediction.energy

    @property
    def costs(self) -> CostBreakdown | None:
        """Predicted energy, latency and area by layer and component; None where the hardware has no costs."""
        return self.prediction.costs

    @property
    def mse(self) -> float:
        """Predicted MSE."""
        return self.prediction.mse

    @property
    def nmse(self) -> float:
        """Predicted NMSE."""
        return self.prediction.nmse

    @property
    def objective(self) -> Objective:
        """What the plan makes least."""
        return self.target.objective

    @property
    def saving(self) -> float | None:
        """1 − power / baseline_power at equal target (with a power budget: 1 − error / baseline_mse)."""
        baseline = self.objective.of_baseline(self)
        return None if not baseline else 1 - self.objective.of_plan(self) / baseline

    def doubts(self) -> tuple[Violation, ...]:
        """What is beyond the plausible in hardware, target and predictions; planning warns of it."""
        values: tuple[Doubtful, ...] = (
            self.hardware,
            *corners_of([corner.hardware for corner in self.corners]),
            self.target,
            *self.predictions,
        )
        return tuple(dict.fromkeys(doubt for value in values for doubt in value.doubts()))

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write the plan as JSON (schema-versioned; without the output moments of the prediction)."""
        save_plan(self, file)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Plan:
        """Read a plan written by :meth:`save`.

        Raises:
            CorruptFile: truncated, damaged, foreign, or of a newer schema version.
        """
        return cls.from_dict(read_plan_file(file))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """Build from the plain values of a plan file.

        Raises:
            CorruptFile: another format, a newer schema, missing or wrong entries.
        """
        return cls(**plan_fields(values, cls))

    def plot(self, file: str | os.PathLike[str] | None = None, *, title: str = "") -> Figure:
        """Gain, power and share of error of every layer as a figure (matplotlib, extra ``plot``).

        Args:
            file: also write it: .png, .svg or .pdf.
            title: what was planned, put before the target.
        """
        figure: Figure = view("plot_plan")(self, title=title, file=file)
        return figure

    def report(self, file: str | os.PathLike[str], *, title: str = "", network: Network | None = None) -> None:
        """Write the plan as one self-contained HTML page; with its network also operations and ranges used."""
        view("write_report")(self, file, title=title, network=network)

    def explain(
        self,
        network: Network,
        inputs: np.ndarray,
        *,
        deadline: float | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> Explanation:
        """Which layers dominate, which limits bind, what relaxing them buys; see :func:`powerplan.explain`."""
        explanation: Explanation = view("explain")(self, network, inputs, deadline=deadline, progress=progress)
        return explanation
