"""The calls of the service as functions from request messages to response messages.

They know the engine and the wire, and nothing of servers: a server runs them in its worker processes, a client's
in-process mode runs them where it is. Both give the same answers, bit for bit.

A call raises :class:`powerplan.errors.PowerplanError` (``InvalidInput`` with paths in the request);
:func:`powerplan_server.wire.reason_of` gives the stable reason of any of them.

Why: docs/decisions/service.md [0053].
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from powerplan import planning
from powerplan._version import __version__
from powerplan.errors import InvalidInput, PlausibilityWarning, PowerplanWarning, Violation
from powerplan.hardware import Gains
from powerplan.moments.prediction import Prediction
from powerplan.moments.settings import PredictionSettings
from powerplan.montecarlo.settings import SimulationSettings
from powerplan.montecarlo.simulation import RunningEstimate, Simulation
from powerplan.planning.iterate import Iterate
from powerplan.planning.plan_value import Plan
from powerplan.planning.settings import PlanSettings
from powerplan.planning.targets import Target
from powerplan.plausibility import Doubtful, Place, confirming, corners_of, question, refusing
from powerplan_client._generated import v1 as pb
from powerplan_client.building import gains_message
from powerplan_server.wire.blobs import BlobResolver, MemoryBlobs
from powerplan_server.wire.errors import Implausible
from powerplan_server.wire.gains import gains_from_proto, rename_gains
from powerplan_server.wire.limits import WireLimits
from powerplan_server.wire.networks import onnx_available, placed_in
from powerplan_server.wire.operations import operation_to_proto
from powerplan_server.wire.plans import plan_to_proto
from powerplan_server.wire.profiles import SOLVERS, Profile, check_profile_targets, plan_profile, profile_from_proto
from powerplan_server.wire.reading import Reader
from powerplan_server.wire.results import prediction_to_proto, running_to_proto, simulation_to_proto
from powerplan_server.wire.tasks import (
    GRANULARITIES,
    METHODS,
    NetworkProblem,
    PlanArguments,
    labels_from_proto,
    optional,
    problem_from_proto,
    rename_engine,
    rename_problem,
    settings_from_proto,
    targets_from_proto,
    task_from_proto,
)

DEFAULT_ACCURACY_SAMPLES = 2000
#: shortest time between two running estimates
ESTIMATE_SECONDS = 0.1
#: part of the time of a call in which its plans must end if they have a time limit
_OF_CALL = 0.8


def _ignore(progress: pb.Progress) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class CallContext:
    """What a call needs beside its request.

    Attributes:
        blobs: finds uploaded content.
        limits: sizes that are refused.
        progress: called as the work proceeds; what it raises ends the work.
        seconds: after which the call is ended without an answer; None = never.
    """

    blobs: BlobResolver = field(default_factory=MemoryBlobs)
    limits: WireLimits = field(default_factory=WireLimits)
    progress: Callable[[pb.Progress], None] = _ignore
    seconds: float | None = None

    def reader(self) -> Reader:
        """A reader at the top of a request."""
        return Reader.start(self.limits, self.blobs)


def run_plan(request: pb.PlanRequest, context: CallContext) -> pb.PlanResponse:
    """Answer Plan (and the work of SubmitPlan)."""
    with _clock(request.accept_implausible) as clock:
        reader = context.reader()
        subject = _subject(reader, request.task, needs_target=True)
        target = subject.target if isinstance(subject, PlanArguments) else subject[1]
        assert target is not None
        clock.decoded()
        response = pb.PlanResponse()
        with _asked(subject, {"target": target}):
            if request.validate_only:
                _check_plannable(subject, {"task.target": target})
            elif isinstance(subject, PlanArguments):
                plan = _plan(subject, target, context)
                clock.verified(plan)
                response.plan.CopyFrom(plan_to_proto(plan, request.detail))
            else:
                response.profile_plan.CopyFrom(_profile_plan(subject[0], target))
    response.info.CopyFrom(clock.info(request.request_id))
    return response


def run_frontier(
    request: pb.FrontierRequest, context: CallContext, emit: Callable[[pb.FrontierResponse], None]
) -> None:
    """Answer Frontier: ``emit`` is called with a message per target as each is done."""
    with _clock(request.accept_implausible) as clock:
        reader = context.reader()
        targets = targets_from_proto(reader.at("targets"), request.targets)
        subject = _subject(reader, request.task, needs_target=False, targets=targets)
        clock.decoded()
        named = {f"targets[{i}]": target for i, target in enumerate(targets)}
        if request.validate_only:
            with _asked(subject, named):
                _check_plannable(subject, named)
            emit(pb.FrontierResponse(info=clock.info(request.request_id)))
            return

        def point(index: int, plan: Plan | pb.ProfilePlan) -> None:
            response = pb.FrontierResponse(index=index)
            if isinstance(plan, Plan):
                clock.verified(plan)
                response.plan.CopyFrom(plan_to_proto(plan, request.detail))
            else:
                response.profile_plan.CopyFrom(plan)
            response.info.CopyFrom(clock.info(request.request_id))
            emit(response)

        with _asked(subject, named):
            if isinstance(subject, PlanArguments):
                _frontier(subject, targets, context, point)
            else:
                for index, target in enumerate(targets):
                    point(index, _profile_plan(subject[0], target))
                    context.progress(pb.Progress(stage="points", fraction=(index + 1) / len(targets)))


def run_predict(request: pb.PredictRequest, context: CallContext) -> pb.PredictResponse:
    """Answer Predict."""
    with _clock(request.accept_implausible) as clock:
        reader = context.reader()
        problem, gains, labels = _operating_point(reader, request)
        samples = _whole(reader, request, "accuracy_samples", 1, context.limits.max_draws, DEFAULT_ACCURACY_SAMPLES)
        settings = settings_from_proto(reader, request, PredictionSettings)
        reader.done()
        assert problem is not None
        assert gains is not None
        assert settings is not None
        clock.decoded()
        response = pb.PredictResponse(gains=gains_message(gains))
        if request.validate_only:
            _ask(problem)
        else:
            prediction = _predict(
                problem,
                gains,
                progress=lambda done: context.progress(pb.Progress(stage="predict", fraction=done)),
                **settings.values,
            )
            accuracy = None
            if labels is not None and prediction.output_covariance is not None:
                sampling = {"samples": samples, "seed": settings.seed}
                over_inputs = prediction.accuracy_input_error(labels, **sampling)
                accuracy = (*prediction.accuracy_with_error(labels, **sampling), over_inputs)
            response.prediction.CopyFrom(
                prediction_to_proto(prediction, request.detail, accuracy=accuracy, labels=labels)
            )
    response.info.CopyFrom(clock.info(request.request_id))
    return response


def run_simulate(
    request: pb.SimulateRequest, context: CallContext, emit: Callable[[pb.SimulateResponse], None]
) -> None:
    """Answer Simulate: ``emit`` is called with running estimates, then with the result."""
    with _clock(request.accept_implausible) as clock:
        reader = context.reader()
        problem, gains, labels = _operating_point(reader, request)
        known = {"layer_moments": _layer_moments(request.detail)}
        settings = settings_from_proto(reader, request, SimulationSettings, **known)
        reader.done()
        assert problem is not None
        assert gains is not None
        assert settings is not None
        clock.decoded()
        response = pb.SimulateResponse(gains=gains_message(gains))
        if request.validate_only:
            _ask(problem)
        else:
            simulation = _simulate(
                problem,
                gains,
                **settings.values,
                estimates=_throttled(lambda running: emit(pb.SimulateResponse(estimate=running_to_proto(running)))),
                progress=lambda done, total: context.progress(pb.Progress(stage="simulate", fraction=done / total)),
            )
            accuracy = None
            if labels is not None:
                accuracy = (*simulation.accuracy_with_error(labels), simulation.accuracy_input_error(labels))
            response.simulation.CopyFrom(
                simulation_to_proto(simulation, request.detail, accuracy=accuracy, labels=labels)
            )
    response.info.CopyFrom(clock.info(request.request_id))
    emit(response)


def describe_engine(limits: WireLimits | None = None) -> pb.GetServerInfoResponse:
    """What the engine can do; a server adds its own version, limits and features."""
    from powerplan.network.ops.described import descriptions

    return pb.GetServerInfoResponse(
        server_version=__version__,
        engine_version=__version__,
        api_versions=["v1"],
        limits=(limits or WireLimits()).to_proto(),
        solvers=list(SOLVERS),
        operations=list(map(operation_to_proto, descriptions())),
        methods=list(METHODS.values()),
        granularities=[GRANULARITIES[name] for name in planning.GRANULARITIES],
        features=["onnx", "profiles"] if onnx_available() else ["profiles"],
    )


class _Clock:
    """Times and warnings of one call."""

    def __init__(self) -> None:
        self.warnings: list[warnings.WarningMessage] = []
        self._start = time.monotonic()
        self._decoded = self._start
        self._verify = 0.0

    def decoded(self) -> None:
        """The request has been read and checked."""
        self._decoded = time.monotonic()

    def verified(self, plan: Plan) -> None:
        """Take the time of the verification from a plan."""
        seconds = plan.provenance.get("seconds", {})
        self._verify += float(seconds.get("verify", 0.0)) if isinstance(seconds, dict) else 0.0

    def info(self, request_id: str) -> pb.ResponseInfo:
        """What goes with the answer."""
        now = time.monotonic()
        texts = (str(w.message) for w in self.warnings if issubclass(w.category, PowerplanWarning))
        return pb.ResponseInfo(
            request_id=request_id,
            server_version=__version__,
            warnings=dict.fromkeys(texts),
            timings=pb.Timings(
                decode_seconds=self._decoded - self._start,
                solve_seconds=max(0.0, now - self._decoded - self._verify),
                verify_seconds=self._verify,
                total_seconds=now - self._start,
            ),
        )


@contextmanager
def _clock(accept_implausible: bool) -> Iterator[_Clock]:
    """A clock that also collects the engine's warnings, so that they reach the caller and not a log.

    Doubts about units are errors unless the caller accepts them.
    """
    clock = _Clock()
    with warnings.catch_warnings(record=True) as caught, refusing(not accept_implausible):
        warnings.simplefilter("always", PowerplanWarning)
        clock.warnings = caught
        yield clock


_Subject = PlanArguments | tuple[Profile, Target | None]


def _subject(reader: Reader, task: pb.PlanTask, *, needs_target: bool, targets: list[Target] | None = None) -> _Subject:
    """What to plan: a network's arguments or a profile. Raises with every violation of the request."""
    place = reader.at("task")
    subject: _Subject | None
    if task.HasField("profile"):
        subject = profile_from_proto(place, task, needs_target=needs_target)
        if subject is not None:
            places = map(reader.at("targets").item, range(len(targets or ())))
            check_profile_targets(place, subject[0], zip(places, targets or (), strict=True))
    else:
        subject = task_from_proto(place, task, needs_target=needs_target)
    reader.done()
    assert subject is not None
    return subject


def _operating_point(
    reader: Reader, request: pb.PredictRequest | pb.SimulateRequest
) -> tuple[NetworkProblem | None, Gains | None, np.ndarray | None]:
    """Problem, gains and labels of a request; violations are noted."""
    problem = problem_from_proto(reader, request.network, request.hardware, request.inputs)
    place = reader.at("gains")
    gains = gains_from_proto(place, request.gains) if request.HasField("gains") else None
    if problem is None:
        return None, None, None
    labels = labels_from_proto(reader.at("labels"), request.labels, problem)
    if not request.HasField("gains"):
        with _paths(rename_problem, problem.message):
            return problem, Gains.full_range(problem.network, problem.hardware, problem.inputs), labels
    if gains is not None:
        place.take(lambda: gains.check(problem.network, problem.hardware), rename=rename_gains)
    return problem, gains, labels


def _whole(reader: Reader, message: Any, name: str, least: int, most: int | None, default: int) -> int:
    """An optional whole number within bounds; violations are noted."""
    value = optional(message, name)
    if value is None:
        return default
    if most is not None and value > most:
        reader.at(name).too_large(value, most, "")
    else:
        reader.at(name).number(value, at_least=least)
    return int(value)


def _layer_moments(detail: pb.ResultDetail) -> str:
    if not detail.layer_moments:
        return "none"
    return "covariance" if detail.layer_covariances else "variance"


def _throttled(send: Callable[[RunningEstimate], None]) -> Callable[[RunningEstimate], None]:
    """``send``, but not more often than every ESTIMATE_SECONDS."""
    last = -ESTIMATE_SECONDS

    def throttled(running: RunningEstimate) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= ESTIMATE_SECONDS:
            last = now
            send(running)

    return throttled


@contextmanager
def _paths(rename: Callable[[str], str], network: pb.Network | None = None) -> Iterator[None]:
    """Errors of the engine with their fields renamed to paths in the request, whose network is ``network``."""
    try:
        yield
    except PlausibilityWarning as error:
        _raise(Implausible, error.doubts, rename, network)
    except InvalidInput as error:
        _raise(type(error), error.violations, rename, network)


def _raise(
    kind: type[InvalidInput],
    violations: Iterable[Violation],
    rename: Callable[[str], str],
    network: pb.Network | None,
) -> None:
    """An error with the violations at their paths."""
    reader = Reader.start()
    found = [
        placed_in(network, violation) if network is not None and violation.field.startswith("network.") else violation
        for violation in violations
    ]
    reader.note(kind(*found), rename)
    reader.done()


@contextmanager
def _asked(subject: _Subject, targets: Mapping[str, Target]) -> Iterator[None]:
    """Ask about what is implausible in a task and its targets, by their places; the engine asks no more within."""
    given: list[Doubtful] = list(targets.values())
    named: list[Doubtful] = [Place(name, target) for name, target in targets.items()]
    if isinstance(subject, PlanArguments):
        hardware: list[Doubtful] = [subject.problem.hardware, *corners_of(subject.settings.corners)]
        given, named = [*hardware, *given], [*hardware, *named]
    with _paths(rename_engine):
        question(*named)
    with confirming({doubt.field for value in given for doubt in value.doubts()}):
        yield


def _in_time(settings: PlanSettings, context: CallContext, plans: int = 1) -> dict[str, Any]:
    """The settings with a deadline, where there is one, before that of the call: for the best plan so far."""
    if settings.deadline is None or context.seconds is None:
        return settings.values
    return {**settings.values, "deadline": min(settings.deadline, _OF_CALL * context.seconds / plans)}


# The engine's calculations are imported where they are used: they bring torch and cvxpy.


def _plan(arguments: PlanArguments, target: Target, context: CallContext) -> Plan:
    from powerplan.planning import plan

    problem = arguments.problem
    step: dict[str, float | None] = {}

    def stepped(iterate: Iterate) -> None:
        step.update(iteration=iterate.iteration, objective=iterate.objective, objective_bound=iterate.bound)

    def progressed(stage: str, fraction: float) -> None:
        context.progress(pb.Progress(stage=stage, fraction=fraction, **step))  # type: ignore[arg-type]

    with _paths(rename_engine, problem.message):
        return plan(
            problem.network,
            problem.hardware,
            problem.inputs,
            target,
            progress=progressed,
            on_step=stepped,
            **_in_time(arguments.settings, context),
        )


def _frontier(
    arguments: PlanArguments, targets: list[Target], context: CallContext, point: Callable[[int, Plan], None]
) -> None:
    from powerplan.planning import frontier

    done = 0

    def progressed(index: int, plan: Plan) -> None:
        nonlocal done
        done = index + 1
        point(index, plan)
        context.progress(pb.Progress(stage="points", fraction=(index + 1) / len(targets)))

    problem = arguments.problem
    with _paths(lambda field: rename_engine(field, f"targets[{done}]"), problem.message):
        frontier(
            problem.network,
            problem.hardware,
            problem.inputs,
            targets=targets,
            on_point=progressed,
            **_in_time(arguments.settings, context, len(targets)),
        )


def _check_plannable(subject: _Subject, targets: Mapping[str, Target]) -> None:
    """Every check that planning for targets, by their paths, makes before it begins to optimise."""
    if not isinstance(subject, PlanArguments):
        return
    from powerplan.planning.problem.requirement import requirement
    from powerplan.planning.session import Session

    problem, settings = subject.problem, subject.settings
    with _paths(rename_engine, problem.message):
        session = Session.of(problem.network, problem.hardware, problem.inputs, settings)
        settings.check_verification(tuple(targets.values()))
    for path, target in targets.items():
        with _paths(partial(rename_engine, target=path), problem.message):
            requirement(target, session.predictors, session.weights)


def _profile_plan(profile: Profile, target: Target) -> pb.ProfilePlan:
    with _paths(lambda field: f"task.profile.{field.removeprefix('profile.')}"):
        return plan_profile(profile, target)


def _ask(problem: NetworkProblem) -> None:
    """What a calculation would ask before it begins."""
    with _paths(rename_problem):
        question(problem.hardware)


def _predict(problem: NetworkProblem, gains: Gains, **options: Any) -> Prediction:
    from powerplan.moments import predict

    with _paths(rename_problem, problem.message):
        return predict(problem.network, problem.hardware, gains, problem.inputs, **options)


def _simulate(problem: NetworkProblem, gains: Gains, **options: Any) -> Simulation:
    from powerplan.montecarlo import simulate

    with _paths(rename_problem, problem.message):
        return simulate(problem.network, problem.hardware, gains, problem.inputs, **options)
