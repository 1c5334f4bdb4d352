"""Why a plan stopped, what proves it optimal, what the constraints cost, and how it fares in every corner."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from powerplan.hardware import Hardware
from powerplan.moments.prediction import Prediction


class Outcome(enum.Enum):
    """How planning ended. ``advice`` says what it means and what to do next."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    ITERATION_LIMIT = "iteration_limit"
    DEADLINE = "deadline"
    WITHIN_GAP = "within_gap"
    STALLED = "stalled"

    @property
    def advice(self) -> str:
        """What the outcome means for the user."""
        return _ADVICE[self]

    @property
    def is_settled(self) -> bool:
        """True if the plan meets its target and more time would not make it cheaper."""
        return self in (Outcome.OPTIMAL, Outcome.WITHIN_GAP, Outcome.STALLED)


_ADVICE = {
    Outcome.OPTIMAL: "The plan meets the target at the least power, proven by the certificate.",
    Outcome.INFEASIBLE: "No gains within the limits meet the target; the plan holds the best reachable ones.",
    Outcome.ITERATION_LIMIT: "The plan meets the target but may not be the cheapest; raise max_iterations.",
    Outcome.DEADLINE: "Time ran out; the plan is the best found so far. Give a later deadline.",
    Outcome.STALLED: "The plan meets the target; no cheaper one was found next to it, but no certificate proves it, as "
    "where a curve of the devices jumps or bends.",
    Outcome.WITHIN_GAP: "The plan meets the target; discrete.gap bounds what the best choice of steps could save, "
    "bits.gap the best choice of bits.",
}


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A change of the hardware that lowers what an infeasible target bounds, predicted at the best gains there.

    Attributes:
        parameter: the field of the hardware, or "together" for several.
        change: what to do, in words.
        reached: the bounded quantity with it (MSE, NMSE, fraction or W).
        meets_target: whether that is enough.
    """

    parameter: str
    change: str
    reached: float
    meets_target: bool


@dataclass(frozen=True, kw_only=True)
class FloorPart:
    """What one source adds to the error that is left however large the conductances are.

    Attributes:
        parameter: the field of the hardware that describes the source.
        amount: by how much the bounded quantity falls there without this source alone (MSE, NMSE or fraction).
    """

    parameter: str
    amount: float


@dataclass(frozen=True, kw_only=True)
class Termination:
    """Why planning stopped.

    Attributes:
        outcome: how it ended.
        message: one sentence for a person; for an infeasible target the lowest reachable value and the
            limits to relax.
        solver_status: the last solver's own words.
        iterations: quasi-Newton steps made.
        predictions: evaluations of the predictor.
        seconds: wall time of the optimisation.
        best_reachable: the lowest reachable value of the bounded quantity (MSE, NMSE or W) when
            infeasible; None otherwise.
        binding_limits: the limits that bind when infeasible, as "layer: limit".
        remedies: what helps when infeasible: changes that reach the target, the smallest first, then those that lower
            its quantity without reaching it, most first.
        floor: the bounded quantity at 1000 times conductance_max, if that was predicted and is not enough.
        floor_parts: where the floor comes from, or, without one (devices that are known in their measured range only),
            the lowest reachable value: what it falls by without each source alone, most first. Parts below 1 % are left
            out. Those of errors that add up sum to it; where errors bend each other's effect they do not. Empty under a
            power budget.
    """

    outcome: Outcome
    message: str
    solver_status: str
    iterations: int
    predictions: int
    seconds: float
    best_reachable: float | None = None
    binding_limits: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    floor: float | None = None
    floor_parts: tuple[FloorPart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Proof of optimality, recomputed from the returned gains. All entries are relative (0 is perfect).

    Attributes:
        kkt_residual: sum of the absolute entries of the gradient of log objective + λ log constraint + limit
            multipliers with respect to the log gains: what changing every gain by up to a factor e could save, as a
            fraction and to first order.
        duality_gap: upper bound on (objective − optimum)/objective of the local geometric program at the
            returned point.
        constraint_violation: how far the bounded quantity exceeds its bound, as a fraction of the bound.
        scanned: gains all over the limits that were predicted to look for better ones, where the resistance of wires
            makes errors rise again with the gains, and all else here is proven of the gains near the plan's only; else
            0.
        scan_gap: what the best gains could save as far as those tell, as a fraction: the fall of the log Lagrangian,
            which weak duality bounds the objective by, from the plan to the lowest of them.
    """

    kkt_residual: float
    duality_gap: float
    constraint_violation: float
    scanned: int = 0
    scan_gap: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DiscreteGap:
    """How far a plan on steps can be from the best choice of steps.

    Attributes:
        gap: (objective − bound) / bound, >= 0; NaN if no choice of steps meets the target.
        bound: no choice of steps has a lower objective [W; the error under a power budget]. Proven where power and
            error are convex functions of the log gains (a geometric program); see ``convexity_violation``.
        continuous: objective of the plan without steps, same unit.
        method: "branch_and_bound" (outer approximation) or "rounding" (then ``bound`` is the continuous plan's).
        nodes: nodes of the branch and bound trees.
        visited: choices of steps evaluated by the full predictor.
        convexity_violation: largest amount, as a fraction of objective or bound, by which the predictor lay below a
            supporting plane at a visited point; the bound holds after lowering the planes by it. 0: convex as far as
            was seen.
    """

    gap: float
    bound: float
    continuous: float
    method: str
    nodes: int
    visited: int
    convexity_violation: float


@dataclass(frozen=True, kw_only=True)
class BitGap:
    """How far bits that a plan chose can be from the best choice.

    Attributes:
        gap: (value of the plan − least value) / least value, >= 0, of what is minimised: energy, or another objective,
            whose least value goes with ``bound`` and the least latency or area that any choice has.
        bound: no other choice of bits, with the gains that are best for it, takes less energy [J]. Proven of a model
            of power and error near the plan's gains; lowered by as much as the prediction was seen to be below it.
        relaxed: that of the model [J], before it was lowered.
        nodes: choices of bits that were looked at in the model, with gains of their own.
        visited: predictions that the models were made from.
        convexity_violation: by how much, as a part of the energy, what single layers save was seen to be less than what
            they save together; the bound is lowered by it.
    """

    gap: float
    bound: float
    relaxed: float
    nodes: int
    visited: int
    convexity_violation: float


@dataclass(frozen=True, kw_only=True)
class LimitPrice:
    """Price of one active limit: d log objective / d log limit of the gain of ``layer``.

    Attributes:
        layer: the layer's name, or "network" for a gain shared by all layers.
        limit: "conductance_max", "conductance_gain_min", "voltage_max" or "voltage_gain_min".
        price: relative change of the objective per relative change of the gain's limit (<= 0 for upper limits).
        column: the column (output) of the gain; None if the whole layer shares it.
        row: the row (input) of the gain; likewise.
    """

    layer: str
    limit: str
    price: float
    column: int | None = None
    row: int | None = None


@dataclass(frozen=True, kw_only=True)
class ConstraintPrice:
    """Price of one binding constraint: d log objective / d log bound of it alone (negative).

    Attributes:
        corner: the hardware it binds in; 0 is the nominal one.
        output: the output it is about; None if it is about all of them.
        price: relative change of the objective per relative change of the bound.
    """

    corner: int
    output: int | None
    price: float


@dataclass(frozen=True, kw_only=True)
class ShadowPrices:
    """What the constraints cost.

    Attributes:
        target: d log objective / d log target (negative: a looser target is cheaper). The objective is
            the power, or the MSE under a power budget.
        limits: the price of every active limit.
        constraints: the price of every binding constraint (one per corner and output that binds); they sum to
            ``target``.
    """

    target: float
    limits: tuple[LimitPrice, ...] = ()
    constraints: tuple[ConstraintPrice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Monte Carlo check of a plan.

    Attributes:
        draws, seed: of the simulation.
        mse, mse_standard_error, nmse, nmse_standard_error: simulated error.
        power, power_standard_error: simulated power [W].
        ratio: simulated / bound of the target's quantity (MSE, NMSE, fraction or power), the worst output's if
            the target is about single outputs.
        ratio_standard_error: of it (an upper estimate where output weights sum dependent errors).
        calibrated: the plan was made for another bound so that the simulation, not the prediction, meets the target.
        chip_yield: the part of the simulated chips that meet the bound, each by itself; None where draws do not tell
            it (weights of outputs, power, a part of the inputs).
        ratio_input_standard_error: of ratio over inputs, as one of all inputs of which the calibration inputs are a
            random sample; None where the target is not on a mean over inputs.
        chip_yield_low, chip_yield_high: 95 % confidence interval of chip_yield (Clopper and Pearson); None with it.
        chip_mse: the MSE that the target's part of the simulated chips keeps within, least under a power budget; None
            where the target is on the mean over chips, on classes or on single outputs.
        chip_mse_low, chip_mse_high: its 95 % confidence interval (order statistics); None with it, the upper end also
            where too few chips were drawn to tell it.
    """

    draws: int
    seed: int
    mse: float
    mse_standard_error: float
    nmse: float
    nmse_standard_error: float
    power: float
    power_standard_error: float
    ratio: float
    ratio_standard_error: float = 0.0
    calibrated: bool = False
    chip_yield: float | None = None
    ratio_input_standard_error: float | None = None
    chip_yield_low: float | None = None
    chip_yield_high: float | None = None
    chip_mse: float | None = None
    chip_mse_low: float | None = None
    chip_mse_high: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Corner:
    """A further hardware in which a plan meets its target with the same gains.

    Attributes:
        hardware: the corner's hardware.
        prediction: error and power at the plan's gains there.
        verification: Monte Carlo check there, if asked for.
    """

    hardware: Hardware
    prediction: Prediction
    verification: Verification | None = None
