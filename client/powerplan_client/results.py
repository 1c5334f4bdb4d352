"""What calls answer: frozen values with numpy arrays, named as the engine names them.

B inputs, K outputs, L crossbar layers, D draws.
"""

from __future__ import annotations

import datetime as dt
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from powerplan_client.errors import PlannerError
from powerplan_client.inputs import Gains, Hardware, Target


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Where the time of a call went [s]; ``total`` from receipt to answer."""

    queue: float
    decode: float
    solve: float
    verify: float
    total: float


@dataclass(frozen=True, kw_only=True)
class CallInfo:
    """What goes with every answer.

    Attributes:
        request_id: of the call.
        server_version: of the server.
        cache_hit: the answer was computed before and kept.
        timings: where the time went.
        warnings: for a person, for example inputs beyond voltage_max.
    """

    request_id: str
    server_version: str
    cache_hit: bool
    timings: Timings
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMoments:
    """Moments of the decoded output of one crossbar layer: mean and variance (B, n), covariance (B, n, n) or None."""

    name: str
    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Error and power of a network on crossbars, from second-order moments.

    Attributes:
        method: "linearized", "covariance" or "diagonal".
        mse: mean over inputs and outputs of E[(y − y*)²]; nmse: mse / signal_power.
        signal_power: mean over inputs and outputs of y*².
        mse_bias: part of mse that is squared bias.
        mse_by_layer: (L,) share caused by the noise of each layer.
        mse_by_output: (K,).
        power: of one inference [W]; power_by_layer, array_power_by_layer, tia_power_by_layer,
            converter_power_by_layer: (L,) [W].
        energy: of one inference [J].
        layer_names: (L,).
        ideal_output, output_mean: (B, K); output_covariance: (B, K, K); None unless asked for.
        layers: moments of each crossbar layer, if asked for.
        first_order: names of nodes taken at their mean.
        mse_standard_error, nmse_standard_error: from error samples and random combinations of the outputs; 0 if
            neither was taken, NaN if too few samples were asked for to tell.
        power_standard_error: of power, from error samples [W]; mse_by_output_standard_error: (K,).
        marginal_fields: error samples that correct variances, means and power; 0 = none.
        sampling_limited: a limit of work or time, or ``marginal_fields``, came before the standard error was
            as small as ``sampling_error`` asks for.
        accuracy: expected classification accuracy, if labels were given and every output was taken by itself;
            accuracy_standard_error: from its sampling and from error samples.
        gains: predicted for, in the answer to predict.
        info: of the call, in the answer to predict.
    """

    method: str
    mse: float
    nmse: float
    signal_power: float
    mse_bias: float
    mse_by_layer: np.ndarray
    mse_by_output: np.ndarray
    power: float
    power_by_layer: np.ndarray
    array_power_by_layer: np.ndarray
    tia_power_by_layer: np.ndarray
    converter_power_by_layer: np.ndarray
    energy: float
    layer_names: tuple[str, ...]
    ideal_output: np.ndarray | None = None
    output_mean: np.ndarray | None = None
    output_covariance: np.ndarray | None = None
    layers: tuple[LayerMoments, ...] = ()
    first_order: tuple[str, ...] = ()
    mse_standard_error: float = 0.0
    nmse_standard_error: float = 0.0
    power_standard_error: float = 0.0
    mse_by_output_standard_error: np.ndarray | None = None
    marginal_fields: int = 0
    sampling_limited: bool = False
    accuracy: float | None = None
    accuracy_standard_error: float | None = None
    gains: Gains | None = None
    info: CallInfo | None = None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A Monte Carlo estimate: mean, standard error and 95 % confidence interval."""

    mean: float
    standard_error: float
    confidence_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class RunningEstimate:
    """Where a simulation stands; power in W."""

    draws: int
    draws_total: int
    mse: Estimate
    nmse: Estimate
    power: Estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """Monte Carlo estimate of error and power.

    Attributes:
        draws, seed: of the simulation.
        mse, nmse, power [W] and their standard errors over draws; signal_power: mean y*².
        mse_by_output: (K,); power_by_layer: (L,) [W]; and their standard errors.
        converter_power_by_layer: (L,) [W], the converters' part of it, the same in every draw.
        energy: of one inference [J].
        layer_names: (L,).
        ideal_output, output_mean: (B, K); output_covariance: (B, K, K); None unless asked for.
        mse_by_draw: (D,); classes: (D, B); None unless asked for.
        layers: moments of each crossbar layer, if asked for.
        accuracy, accuracy_standard_error: classification accuracy and its standard error over draws, if labels were
            given.
        gains: simulated.
        info: of the call.
    """

    draws: int
    seed: int
    mse: float
    mse_standard_error: float
    nmse: float
    nmse_standard_error: float
    signal_power: float
    mse_by_output: np.ndarray
    mse_by_output_standard_error: np.ndarray
    power: float
    power_standard_error: float
    power_by_layer: np.ndarray
    power_by_layer_standard_error: np.ndarray
    converter_power_by_layer: np.ndarray
    energy: float
    layer_names: tuple[str, ...]
    ideal_output: np.ndarray | None = None
    output_mean: np.ndarray | None = None
    output_covariance: np.ndarray | None = None
    mse_by_draw: np.ndarray | None = None
    classes: np.ndarray | None = None
    layers: tuple[LayerMoments, ...] = ()
    accuracy: float | None = None
    accuracy_standard_error: float | None = None
    gains: Gains | None = None
    info: CallInfo | None = None

    @property
    def mse_confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of mse."""
        return self.mse - 1.96 * self.mse_standard_error, self.mse + 1.96 * self.mse_standard_error


class Outcome(enum.Enum):
    """How planning ended."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    ITERATION_LIMIT = "iteration_limit"
    DEADLINE = "deadline"
    WITHIN_GAP = "within_gap"
    STALLED = "stalled"


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A change of the hardware that lowers what an infeasible target bounds, predicted: to ``reached``."""

    parameter: str
    change: str
    reached: float
    meets_target: bool


@dataclass(frozen=True, kw_only=True)
class FloorPart:
    """By how much the error that is left at the largest conductances falls without one source of it."""

    parameter: str
    amount: float


@dataclass(frozen=True, kw_only=True)
class Termination:
    """Why planning stopped; ``best_reachable`` and ``binding_limits`` say what an infeasible target runs into."""

    outcome: Outcome
    message: str
    solver_status: str
    iterations: int
    predictions: int
    seconds: float
    best_reachable: float | None = None
    binding_limits: tuple[str, ...] = ()
    advice: str = ""
    remedies: tuple[Remedy, ...] = ()
    floor: float | None = None
    floor_parts: tuple[FloorPart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Proof of optimality; every entry is relative, 0 is perfect."""

    kkt_residual: float
    duality_gap: float
    constraint_violation: float


@dataclass(frozen=True, kw_only=True)
class DiscreteGap:
    """How far a plan on steps can be from the best choice of steps.

    Attributes:
        gap: (objective − bound) / bound; NaN if no choice of steps meets the target.
        bound, continuous: no choice has a lower objective; objective without steps [W, or the error under a budget].
        method: "branch_and_bound" or "rounding".
        nodes, visited: nodes of branch and bound; choices evaluated by the full predictor.
        convexity_violation: largest departure from convexity seen, as a fraction; the bound allows for it.
    """

    gap: float
    bound: float
    continuous: float
    method: str
    nodes: int
    visited: int
    convexity_violation: float


@dataclass(frozen=True, kw_only=True)
class LimitPrice:
    """d log objective / d log of the named limit of a layer's gain (of one ``column`` or ``row`` if given)."""

    layer: str
    limit: str
    price: float
    column: int | None = None
    row: int | None = None


@dataclass(frozen=True, kw_only=True)
class ConstraintPrice:
    """d log objective / d log bound of one binding constraint: of a corner (0 = nominal) and, if given, an output."""

    corner: int
    output: int | None
    price: float


@dataclass(frozen=True, kw_only=True)
class ShadowPrices:
    """What the constraints cost: d log objective / d log target, and the price of every active limit.

    ``constraints``: the price of every binding constraint; they sum to ``target``.
    """

    target: float
    limits: tuple[LimitPrice, ...] = ()
    constraints: tuple[ConstraintPrice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Monte Carlo check of a plan; ``ratio`` is simulated / bound of the target's quantity."""

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Corner:
    """A further hardware in which a plan meets its target with the same gains."""

    hardware: Hardware
    prediction: Prediction
    verification: Verification | None = None


@dataclass(frozen=True, kw_only=True)
class LayerArrays:
    """The physical arrays of one crossbar layer.

    Attributes:
        name: of the layer.
        groups: of a grouped convolution, each with arrays of its own.
        row_tiles, column_tiles: arrays along rows and columns of one group's matrix.
        copies: arrays of the same content: positions if every position has its own, else 1.
        reads: reads of each of these arrays in one inference.
    """

    name: str
    groups: int
    row_tiles: int
    column_tiles: int
    copies: int
    reads: int

    @property
    def arrays(self) -> int:
        """Number of arrays."""
        return self.groups * self.row_tiles * self.column_tiles * self.copies


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Gains that meet a target at least power, with what proves and explains them.

    Attributes:
        gains: of every crossbar layer.
        prediction: error and power at these gains.
        target, granularity, optimize, hardware: what was asked, every default filled in.
        reached: the target's quantity as predicted, the worst over outputs and corners.
        output_weights: (K,) weights of the outputs in the error, with mean 1; None = all alike.
        corners: further hardware; ``hardware``, ``prediction`` and ``verification`` are the nominal ones.
        termination: why planning stopped.
        certificate, shadow_prices: None if the target is infeasible.
        baseline_gains, baseline_power [W], baseline_mse: one conductance range for every layer at the same
            target; None if it cannot meet it.
        saving: 1 − power / baseline_power (with a power budget: 1 − mse / baseline_mse).
        verification: Monte Carlo check, if asked for.
        discrete: with steps: how far the plan can be from the best choice of steps; certificate and shadow prices
            are then those of the plan without steps.
        arrays: the physical arrays of every crossbar layer; None from a server that does not count them.
        provenance: versions, digests, settings and times.
        info: of the call.
    """

    gains: Gains
    prediction: Prediction
    target: Target
    granularity: str
    optimize: tuple[str, ...]
    hardware: Hardware
    termination: Termination
    certificate: Certificate | None
    shadow_prices: ShadowPrices | None
    baseline_gains: Gains | None
    baseline_power: float | None
    baseline_mse: float | None
    saving: float | None
    verification: Verification | None = None
    discrete: DiscreteGap | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    reached: float = math.nan
    output_weights: tuple[float, ...] | None = None
    corners: tuple[Corner, ...] = ()
    arrays: tuple[LayerArrays, ...] | None = None
    info: CallInfo | None = None

    @property
    def array_count(self) -> int | None:
        """Number of physical arrays of all layers; None if it is not known."""
        return None if self.arrays is None else sum(layer.arrays for layer in self.arrays)

    @property
    def power(self) -> float:
        """Predicted power of one inference [W]."""
        return self.prediction.power

    @property
    def energy(self) -> float:
        """Predicted energy of one inference [J]."""
        return self.prediction.energy

    @property
    def mse(self) -> float:
        """Predicted MSE."""
        return self.prediction.mse

    @property
    def nmse(self) -> float:
        """Predicted NMSE."""
        return self.prediction.nmse


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfilePlan:
    """The answer to a planning profile.

    Attributes:
        names: (n,) of the gains; gains: (n,) in the unit of the profile.
        power [W], mse: at these gains; power_by_gain, mse_by_gain: (n,) without the constants.
        target, solver: what was asked and used.
        termination, certificate, shadow_prices: as in Plan.
        info: of the call.
    """

    names: tuple[str, ...]
    gains: np.ndarray
    power: float
    mse: float
    power_by_gain: np.ndarray
    mse_by_gain: np.ndarray
    target: Target
    solver: str
    termination: Termination
    certificate: Certificate | None
    shadow_prices: ShadowPrices | None
    info: CallInfo | None = None


class JobState(enum.Enum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job has come to its end."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A plan made in the background.

    Attributes:
        job_id: its name; request_id: what it was submitted with.
        state: where it stands; sequence: number of its latest event.
        stage, fraction: what is being done and how much of it is done.
        created, started, ended, expires: times (UTC), None if not yet.
        plan: the result of a job that succeeded; None in lists.
        error: of a job that failed or was cancelled; None in lists.
    """

    job_id: str
    request_id: str
    state: JobState
    sequence: int
    stage: str
    fraction: float
    created: dt.datetime | None = None
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    expires: dt.datetime | None = None
    plan: Plan | ProfilePlan | None = None
    error: PlannerError | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class JobEvent:
    """Something that happened to a job; ``job`` holds its outcome with the last event."""

    sequence: int
    state: JobState
    stage: str
    fraction: float
    time: dt.datetime | None = None
    job: Job | None = None


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """What a server is and can do.

    Attributes:
        server_version, engine_version: versions.
        api_versions: versions of the contract.
        limits: by name, see ServerLimits in the contract; 0 = none.
        solvers, features: names.
        operations: kinds by type of operation, () where there is no choice.
        methods, granularities: names.
    """

    server_version: str
    engine_version: str
    api_versions: tuple[str, ...]
    limits: Mapping[str, float]
    solvers: tuple[str, ...]
    features: tuple[str, ...]
    operations: Mapping[str, tuple[str, ...]]
    methods: tuple[str, ...]
    granularities: tuple[str, ...]
