"""A planning session: network, hardware and inputs made ready once, then planned for any number of targets."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.checks import check_inputs
from powerplan.hardware import Gains, Hardware
from powerplan.hardware.operating_point import OperatingPoint
from powerplan.hardware.steps import steps_to_dict
from powerplan.moments.predicting import make_predictor, report
from powerplan.moments.prediction import Prediction
from powerplan.moments.predictor import Predictor
from powerplan.moments.sampling import corrected
from powerplan.network import Network
from powerplan.planning import policy
from powerplan.planning.iterate import OnStep, unheard
from powerplan.planning.plausible_limits import CostLimits
from powerplan.planning.problem.corners import limiting
from powerplan.planning.problem.levels import Levels, levels_of
from powerplan.planning.problem.measures import ArrayEnergy, Constraint, Tilt
from powerplan.planning.problem.pieces import Piece, is_expensive
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.requirement import Requirement, output_weights as check_weights
from powerplan.planning.problem.terms import Terms
from powerplan.planning.problem.variables import FreeGains, check_noisy, free_gains, hold
from powerplan.planning.problem.watch import Watch
from powerplan.planning.settings import BITS, PlanSettings, Progress
from powerplan.planning.targets import Target
from powerplan.planning.targets.over_inputs import MEAN
from powerplan.plausibility import question

if TYPE_CHECKING:
    from powerplan.planning.plan_value import Plan


def _silent(what: str, done: float) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is of one plan of a session alone.

    Attributes:
        stop_at: ``time.monotonic()`` value at which it must end; None = never.
        progress: told of it.
        on_step: told of every step of the optimisation.
        advise: look for what would help where the target is out of reach, and with wires for better gains elsewhere.
    """

    stop_at: float | None = None
    progress: Progress = _silent
    on_step: OnStep = unheard
    advise: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """Network, hardware and inputs made ready once.

    Attributes:
        settings: how plans are made; where bits are free, the hardware has the most.
        predictors: one per corner, the nominal hardware first.
        weights: (K,) of the outputs in the error, with mean 1; None = all alike.
        coarser: coarser choices of the same gains, the coarsest first: for the network, and where columns or rows have
            gains of their own for every layer. A plan starts from the best of theirs.
        levels: log steps of every free gain; None if no gain has steps.
        tilts: how the ratio of what a part of the chips keeps within to the mean changes with the free gains, one per
            corner; empty where it is held.
    """

    settings: PlanSettings
    predictors: tuple[Predictor, ...]
    weights: np.ndarray | None
    free: FreeGains
    baseline: FreeGains
    coarser: tuple[FreeGains, ...]
    inputs: np.ndarray
    levels: Levels | None
    tilts: tuple[Tilt, ...] = ()

    @classmethod
    def of(cls, network: Network, hardware: Hardware, inputs: np.ndarray, settings: PlanSettings) -> Session:
        """Make ready what plans with these settings need.

        Raises:
            InvalidInput: inputs or settings that do not fit, naming the field.
        """
        batch = check_inputs(inputs, network.input_shape)
        most = {kind: settings.most_for(kind, hardware.costs) for kind in settings.free_choices if kind in BITS}
        nominal, *others = (each.replace(**most) if most else each for each in (hardware, *settings.corners))
        hardwares = (nominal, *(each.programmed_as(nominal) if nominal.predistort else each for each in others))
        for each in hardwares:
            check_noisy(each)
        limits = limiting(hardwares)
        held_gains = hold(network, limits, batch, settings.conductance, settings.voltage)
        point = OperatingPoint(network=network, hardware=limits, gains=held_gains, inputs=batch)
        question(point, CostLimits(settings.values))
        point.warn_beyond_voltage()
        free_of = partial(free_gains, network, limits, batch, held_gains=held_gains, corners=settings.corners)
        granularity, optimize = settings.granularity, settings.free_gains
        free = free_of(granularity=granularity, optimize=optimize)
        base = free
        if granularity != "layer" or set(optimize) != {"conductance"}:
            base = free_of(granularity="layer", optimize=("conductance",))
        names = {"layer": ("network",), "column": ("network", "layer"), "signal": ("network", "layer")}
        coarser = tuple(free_of(granularity=each, optimize=optimize) for each in names.get(granularity, ()))
        predictors = tuple(make_predictor(network, each, batch, settings) for each in hardwares)
        return cls(
            settings=settings,
            predictors=predictors,
            weights=check_weights(settings.output_weights, predictors[0].ideal.shape[1]),
            free=free,
            baseline=base,
            coarser=coarser,
            inputs=batch,
            levels=levels_of(free, settings.conductance_steps, settings.voltage_steps),
        )

    def again(self, hardwares: Sequence[Hardware]) -> Session:
        """The same on other hardware: the nominal one and its corners."""
        nominal, *corners = hardwares
        return Session.of(self.predictor.original, nominal, self.inputs, replace(self.settings, corners=corners))

    def with_fields(self, fields: Mapping[str, Sequence[float]]) -> Session:
        """The same for gains alone, with these values of every layer by field of the hardware."""
        hardwares = [p.hardware.replace(**fields) if fields else p.hardware for p in self.predictors]
        objective = self.settings.objective or "energy"
        settings = replace(
            self.settings,
            optimize=self.settings.free_gains,
            objective=objective,
            corners=hardwares[1:],
            least_bits=PlanSettings.least_bits,
            most_bits=PlanSettings.most_bits,
        )
        return Session.of(self.predictor.original, hardwares[0], self.inputs, settings)

    @property
    def optimize(self) -> tuple[str, ...]:
        """The kinds of gains that are free."""
        return self.settings.free_gains

    @property
    def read_times(self) -> np.ndarray | None:
        """(L,) how long arrays are read [s], where that differs and what is minimised has their energy; else None: the
        least power takes the least energy."""
        model = self.predictor.cost_model
        if self.settings.objective is None or model is None:
            return None
        seconds = model.read_times
        return None if np.allclose(seconds, seconds[0], rtol=policy.SAME_OBJECTIVE, atol=0.0) else seconds

    @property
    def energy_limits(self) -> tuple[Constraint, ...]:
        """What ``max_energy`` leaves for the arrays of every corner, beside a power budget; none without it."""
        most = self.settings.max_energy
        if most is None:
            return ()
        constraints = []
        for corner, predictor in enumerate(self.predictors):
            model = predictor.cost_model
            assert model is not None
            arrays = ArrayEnergy(seconds=model.read_times)
            others = min(model.energy_beside_arrays, (1 - policy.LEAST_LEFT) * most)
            constraints.append(Constraint(measure=arrays, value=most, offset=-others, corner=corner, beside=True))
        return tuple(constraints)

    @property
    def recorded(self) -> Mapping[str, Any]:
        """The settings that bear on the predictions and the steps, for the plan's provenance."""
        settings, prediction = self.settings, self.settings.recorded
        return {
            **({"prediction": prediction} if prediction else {}),
            **({} if settings.max_energy is None else {"max_energy": settings.max_energy}),
            **steps_to_dict(conductance_steps=settings.conductance_steps, voltage_steps=settings.voltage_steps),
        }

    @property
    def predictor(self) -> Predictor:
        """The network on the nominal hardware."""
        return self.predictors[0]

    @property
    def has_samples(self) -> bool:
        """Whether error samples would still correct the predictions."""
        return any(predictor.sampling is not None for predictor in self.predictors)

    def corrected_at(self, gains: Gains, stop_at: float | None = None) -> Session:
        """The session with marginal variances corrected as they must be at these gains; itself without error samples.

        Args:
            stop_at: ``time.monotonic()`` value, to which samples take a part of the time left.
        """
        if not self.has_samples:
            return self
        predictors = []
        for number, p in enumerate(self.predictors):
            now = time.monotonic()
            share = policy.FOR_SAMPLES / (len(self.predictors) - number)
            end = None if stop_at is None else now + share * max(stop_at - now, 0.0)
            predictors.append(corrected(p, p.program(*p.gain_tensors(gains)), end))
        return replace(self, predictors=tuple(predictors))

    def spread_at(self, gains: Gains, target: Target, *, tilted: bool = True, plan: Plan | None = None) -> Session:
        """The session with the spread over chips and inputs that it has at these gains, corrected before; itself if the
        target is on the mean.

        Args:
            tilted: also with how the spread over chips changes with the gains.
            plan: for this target at these gains; what it predicts is taken where no samples correct it.
        """
        if not self.needs_spread(target):
            return self
        tells = target.chips is not None
        predictions: Sequence[Prediction]
        if plan is not None and not self.has_samples:
            predictions = plan.predictions
        else:
            predictions = [report(predictor, gains, chips=tells) for predictor in self.predictors]
        session = self.with_spread(predictions, target)
        return session.tilted(predictions, target, gains) if tilted else session

    def reached(self, target: Target, problem: Problem, theta: np.ndarray, *rooms: float) -> tuple[float, ...]:
        """The number of a target at the gains θ (n,) of its problem: the least bound that they meet.

        Args:
            rooms: by what factors the mean may be larger; one number for each.
        """
        if not target.has_steps:
            reached = problem.reached(theta)
            return tuple(room * reached for room in rooms)
        gains = self.free.gains(theta)
        predictions = [report(predictor, gains, chips=True) for predictor in self.predictors]
        return tuple(self.reached_by(target, predictions, room) for room in rooms)

    def reached_by(self, target: Target, predictions: Sequence[Prediction], room: float) -> float:
        """One of these by predictions with their chips, one per corner, for a target whose number has steps."""
        pairs = zip(self.predictors, predictions, strict=True)
        reached = (target.reached_by(each, room * predictor.input_factor) for predictor, each in pairs)
        return max(number for number in reached if number is not None)

    def needs_spread(self, target: Target) -> bool:
        """Whether a target is on a part of the chips or inputs, or for other inputs, instead of on the mean."""
        return target.chips is not None or target.inputs is not None or self.settings.calibration != MEAN

    def with_spread(self, predictions: Sequence[Prediction], target: Target) -> Session:
        """The session with the spread over chips and inputs of predictions, one per corner, for such a target."""
        predictors = []
        for predictor, prediction in zip(self.predictors, predictions, strict=True):
            factor = target.input_factor(prediction, self.weights, self.settings.calibration)
            ratio = 1.0 if target.chips is None else target.chip_ratio(prediction)
            predictors.append(replace(predictor, chip_ratio=ratio, input_factor=factor))
        return replace(self, predictors=tuple(predictors), tilts=())

    def can_tilt(self, target: Target) -> bool:
        """Whether it is known how the ratio of a target to the mean changes with the gains, at little cost."""
        cheap = not any(is_expensive(p) or len(p.parts) > 1 for p in self.predictors)
        return target.chips is not None and target.tells_slope and cheap

    def tilted(self, predictions: Sequence[Prediction], target: Target, gains: Gains) -> Session:
        """The session with how the spread over chips of predictions changes from these gains on; itself if that is not
        known."""
        theta = self.free.theta_of(gains)
        if theta is None or target.chips is None or not self.can_tilt(target):
            return self
        from powerplan.moments.chips.predicted import ChipSource
        from powerplan.moments.chips.slope import ratio_slope

        slopes = (ratio_slope(ChipSource.behind(p), self.free.tensors, theta, target.chips) for p in predictions)
        return replace(self, tilts=tuple(Tilt(at=theta, slope=slope) for slope in slopes))

    def ratios(self, gains: Gains) -> np.ndarray:
        """What the mean is multiplied by in every corner, for these gains."""
        held = np.array([p.chip_ratio * p.input_factor for p in self.predictors])
        theta = self.free.theta_of(gains) if self.tilts else None
        return held if theta is None else held * np.exp([tilt.log(theta) for tilt in self.tilts])

    def corrected_like(self, other: Session) -> Session:
        """The session with the corrections that another one of the same network holds."""
        pairs = zip(self.predictors, other.predictors, strict=True)
        predictors = (
            replace(
                own,
                corrections=known.corrections,
                sampling=known.sampling,
                chip_ratio=known.chip_ratio,
                input_factor=known.input_factor,
            )
            for own, known in pairs
        )
        return replace(self, predictors=tuple(predictors), tilts=other.tilts)

    @property
    def averaged(self) -> frozenset[str]:
        """The converters whose rounding changes with the gains: plans average over that.

        Their steps move against what they convert, or what they convert changes its noise. Rows without noise at held
        voltages round in one way.
        """
        rows = any(p.hardware.dac_bits for p in self.predictors)
        moves = "voltage" in self.optimize or "dac_bits" in self.settings.free_choices
        names = {"rows"} if moves else {"noisy rows"}
        columns = any(p.hardware.adc_bits for p in self.predictors)
        return frozenset((names if rows else set()) | ({"columns"} if columns else set()))

    def for_choices_at(self, gains: Gains, target: Target, stop_at: float | None) -> Session:
        """The session with the corrections and the spread that options are compared with: those at these gains, by
        error samples that leave out rounding, which is averaged over gains and differs from option to option."""
        averaging = tuple(replace(p, averaged=self.averaged) for p in self.predictors)
        corrected = replace(self, predictors=averaging).corrected_at(gains, stop_at)
        return corrected.spread_at(gains, target, tilted=False)

    def problem(
        self,
        wanted: Requirement,
        free: FreeGains,
        *,
        exact: bool = False,
        tolerance: float = 0.0,
        sample: Piece | None = None,
        watch: Watch | None = None,
    ) -> Problem:
        """The problem of a requirement.

        Args:
            exact: with rounding at the very gains, else averaged over some.
            tolerance: KKT residual that will be asked for.
            sample: what to predict from; None = all.
            watch: of its evaluations.
        """
        averaged = frozenset() if exact else self.averaged
        nominal, *corners = (replace(p, averaged=averaged) for p in self.predictors)
        tilts = self.tilts if free is self.free else ()
        of_objective = bool(tilts) and not wanted.objective.rises
        constraints = wanted.constraints
        if tilts and not of_objective:
            constraints = tuple(replace(each, tilt=tilts[each.corner]) for each in constraints)
        terms = Terms(
            nominal,
            free,
            objective=wanted.objective,
            objective_tilt=tilts[0] if of_objective else None,
            constraints=constraints,
            corners=corners,
            sample=sample,
            watch=watch,
        )
        return Problem(
            terms=terms,
            lower=free.lower,
            upper=free.upper,
            accuracy=self.accuracy(tolerance),
            turns=any(p.hardware.has_wires for p in self.predictors),
        )

    def accuracy(self, tolerance: float) -> float:
        """How closely constraints are met: no digits are paid for where predictions are expensive or the residual may
        be rough, and rounded predictions have fewer."""
        of_tolerance = policy.CONSTRAINT_OF_TOLERANCE * tolerance
        if self.predictor.inputs.element_size() < 8:
            return max(policy.ROUNDED_CONSTRAINT, of_tolerance)
        if is_expensive(self.predictor) or tolerance >= policy.ROUGH_RESIDUAL:
            return max(policy.COARSE_CONSTRAINT, of_tolerance)
        return policy.ON_CONSTRAINT


def digests(network: Network, inputs: np.ndarray) -> dict[str, str]:
    """SHA-256 of what a plan is made with, by the names of a plan's provenance."""
    return {
        "network_sha256": network.digest,
        "inputs_sha256": hashlib.sha256(np.ascontiguousarray(inputs).tobytes()).hexdigest(),
    }
