"""Response messages into results."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

import numpy as np
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from powerplan_client._generated import v1 as pb
from powerplan_client.devices import DEVICE_PARTS, to_plain
from powerplan_client.errors import error_from_detail
from powerplan_client.inputs import HARDWARE_FIELDS, TARGETS, Gain, Gains, Hardware, MaxAccuracyDrop, Target
from powerplan_client.networks import attribute_value
from powerplan_client.packing import array_of
from powerplan_client.results import (
    CallInfo,
    Certificate,
    ConstraintPrice,
    Corner,
    DiscreteGap,
    Estimate,
    FloorPart,
    Job,
    JobEvent,
    JobState,
    LayerArrays,
    LayerMoments,
    LimitPrice,
    Outcome,
    Plan,
    Prediction,
    ProfilePlan,
    Remedy,
    RunningEstimate,
    ServerInfo,
    ShadowPrices,
    Simulation,
    Termination,
    Timings,
    Verification,
)


def parse_plan_response(response: pb.PlanResponse | pb.FrontierResponse) -> Plan | ProfilePlan | None:
    """The plan of an answer; None if only validated."""
    info = parse_info(response.info)
    match response.WhichOneof("result"):
        case "plan":
            return parse_plan(response.plan, info)
        case "profile_plan":
            return parse_profile_plan(response.profile_plan, info)
        case _:
            return None


def parse_plan(message: pb.Plan, info: CallInfo | None = None) -> Plan:
    """A plan."""
    return Plan(
        gains=parse_gains(message.gains),
        prediction=parse_prediction(message.prediction),
        target=parse_target(message.target),
        granularity=_name(pb.Granularity, message.granularity, "GRANULARITY_"),
        optimize=tuple(_name(pb.GainKind, kind, "GAIN_KIND_") for kind in message.optimize),
        hardware=parse_hardware(message.hardware),
        termination=parse_termination(message.termination),
        certificate=_certificate(message),
        shadow_prices=_shadow_prices(message),
        baseline_gains=parse_gains(message.baseline_gains) if message.HasField("baseline_gains") else None,
        baseline_power=_optional(message, "baseline_power_watts"),
        baseline_mse=_optional(message, "baseline_mse"),
        saving=_optional(message, "saving"),
        verification=_verification(message.verification) if message.HasField("verification") else None,
        discrete=_discrete(message.discrete) if message.HasField("discrete") else None,
        provenance={name: attribute_value(value) for name, value in message.provenance.items()},
        reached=message.reached,
        output_weights=tuple(message.output_weights) or None,
        corners=tuple(
            Corner(
                hardware=parse_hardware(corner.hardware),
                prediction=parse_prediction(corner.prediction),
                verification=_verification(corner.verification) if corner.HasField("verification") else None,
            )
            for corner in message.corners
        ),
        arrays=tuple(_arrays(arrays) for arrays in message.arrays) or None,
        info=info,
    )


def parse_profile_plan(message: pb.ProfilePlan, info: CallInfo | None = None) -> ProfilePlan:
    """The plan of a profile."""
    return ProfilePlan(
        names=tuple(message.gain_names),
        gains=_floats(message.gains),
        power=message.power_watts,
        mse=message.mse,
        power_by_gain=_floats(message.power_by_gain_watts),
        mse_by_gain=_floats(message.mse_by_gain),
        target=parse_target(message.target),
        solver=_name(pb.ProfileSolver, message.solver, "PROFILE_SOLVER_"),
        termination=parse_termination(message.termination),
        certificate=_certificate(message),
        shadow_prices=_shadow_prices(message),
        info=info,
    )


def parse_predict_response(response: pb.PredictResponse) -> Prediction | None:
    """The prediction of an answer; None if only validated."""
    if not response.HasField("prediction"):
        return None
    return parse_prediction(response.prediction, parse_gains(response.gains), parse_info(response.info))


def parse_prediction(message: pb.Prediction, gains: Gains | None = None, info: CallInfo | None = None) -> Prediction:
    """A prediction."""
    return Prediction(
        method=_name(pb.PredictionMethod, message.method, "PREDICTION_METHOD_"),
        mse=message.mse,
        nmse=message.nmse,
        signal_power=message.signal_power,
        mse_bias=message.mse_bias,
        mse_by_layer=_floats(message.mse_by_layer),
        mse_by_output=_floats(message.mse_by_output),
        power=message.power_watts,
        power_by_layer=_floats(message.power_by_layer_watts),
        array_power_by_layer=_floats(message.array_power_by_layer_watts),
        tia_power_by_layer=_floats(message.tia_power_by_layer_watts),
        converter_power_by_layer=_floats(message.converter_power_by_layer_watts or [0.0] * len(message.layer_names)),
        energy=message.energy_joules,
        layer_names=tuple(message.layer_names),
        ideal_output=_array(message, "ideal_output"),
        output_mean=_array(message, "output_mean"),
        output_covariance=_array(message, "output_covariance"),
        layers=_layers(message.layers),
        first_order=tuple(message.first_order),
        mse_standard_error=message.mse_standard_error,
        nmse_standard_error=message.nmse_standard_error,
        power_standard_error=message.power_standard_error_watts,
        mse_by_output_standard_error=_floats(message.mse_by_output_standard_error),
        marginal_fields=message.marginal_fields,
        sampling_limited=message.sampling_limited,
        accuracy=_optional(message, "accuracy"),
        accuracy_standard_error=_optional(message, "accuracy_standard_error"),
        gains=gains,
        info=info,
    )


def parse_simulate_response(response: pb.SimulateResponse) -> RunningEstimate | Simulation | None:
    """A running estimate or the simulation; None if only validated."""
    match response.WhichOneof("event"):
        case "estimate":
            running = response.estimate
            return RunningEstimate(
                draws=running.draws_done,
                draws_total=running.draws_total,
                mse=_estimate(running.mse),
                nmse=_estimate(running.nmse),
                power=_estimate(running.power_watts),
            )
        case "simulation":
            return parse_simulation(response.simulation, parse_gains(response.gains), parse_info(response.info))
        case _:
            return None


def parse_simulation(message: pb.Simulation, gains: Gains | None = None, info: CallInfo | None = None) -> Simulation:
    """A simulation."""
    return Simulation(
        draws=message.draws,
        seed=message.seed,
        mse=message.mse,
        mse_standard_error=message.mse_standard_error,
        nmse=message.nmse,
        nmse_standard_error=message.nmse_standard_error,
        signal_power=message.signal_power,
        mse_by_output=_floats(message.mse_by_output),
        mse_by_output_standard_error=_floats(message.mse_by_output_standard_error),
        power=message.power_watts,
        power_standard_error=message.power_standard_error_watts,
        power_by_layer=_floats(message.power_by_layer_watts),
        power_by_layer_standard_error=_floats(message.power_by_layer_standard_error_watts),
        converter_power_by_layer=_floats(message.converter_power_by_layer_watts or [0.0] * len(message.layer_names)),
        energy=message.energy_joules,
        layer_names=tuple(message.layer_names),
        ideal_output=_array(message, "ideal_output"),
        output_mean=_array(message, "output_mean"),
        output_covariance=_array(message, "output_covariance"),
        mse_by_draw=_array(message, "mse_by_draw"),
        classes=_array(message, "classes"),
        layers=_layers(message.layers),
        accuracy=_optional(message, "accuracy"),
        accuracy_standard_error=_optional(message, "accuracy_standard_error"),
        gains=gains,
        info=info,
    )


def parse_info(message: pb.ResponseInfo) -> CallInfo:
    """What goes with every answer."""
    times = message.timings
    return CallInfo(
        request_id=message.request_id,
        server_version=message.server_version,
        cache_hit=message.cache_hit,
        timings=Timings(
            queue=times.queue_seconds,
            decode=times.decode_seconds,
            solve=times.solve_seconds,
            verify=times.verify_seconds,
            total=times.total_seconds,
        ),
        warnings=tuple(message.warnings),
    )


def parse_gains(message: pb.Gains) -> Gains:
    """Gains of every layer."""
    return Gains(
        conductance=tuple(_gain(gain) for gain in message.conductance_siemens),
        voltage=tuple(_gain(gain) for gain in message.voltage_volts),
    )


def parse_target(message: pb.Target) -> Target:
    """A target."""
    name = message.WhichOneof("bound") or "max_mse"
    if name == "max_accuracy_drop":
        drop = message.max_accuracy_drop
        return MaxAccuracyDrop(drop.fraction, tuple(drop.labels))
    return TARGETS[name](getattr(message, name))


def parse_hardware(message: pb.Hardware) -> Hardware:
    """Hardware; fields left out are None."""
    values: dict[str, Any] = {}
    for name, wire in HARDWARE_FIELDS.items():
        if name == "programming_noise_polynomial":
            values[name] = tuple(message.programming_noise_polynomial_siemens) or None
        elif name == "measurements":
            values[name] = tuple(to_plain(snapshot) for snapshot in message.measurements) or None
        elif name in DEVICE_PARTS:
            values[name] = to_plain(getattr(message, wire)) if message.HasField(wire) else None  # type: ignore[arg-type]
        elif name == "preset":
            values[name] = message.preset or None
        else:
            values[name] = _optional(message, wire)
    return Hardware(**values)


def parse_termination(message: pb.Termination) -> Termination:
    """Why planning stopped."""
    return Termination(
        outcome=Outcome(_name(pb.Outcome, message.outcome, "OUTCOME_")),
        message=message.message,
        solver_status=message.solver_status,
        iterations=message.iterations,
        predictions=message.predictions,
        seconds=message.elapsed_seconds,
        best_reachable=_optional(message, "best_reachable"),
        binding_limits=tuple(message.binding_limits),
        advice=message.advice,
        remedies=tuple(
            Remedy(parameter=r.parameter, change=r.change, reached=r.reached, meets_target=r.meets_target)
            for r in message.remedies
        ),
        floor=_optional(message, "floor"),
        floor_parts=tuple(FloorPart(parameter=p.parameter, amount=p.amount) for p in message.floor_parts),
    )


def parse_job(message: pb.PlanJob) -> Job:
    """A job."""
    outcome = message.WhichOneof("outcome")
    return Job(
        job_id=message.job_id,
        request_id=message.request_id,
        state=JobState(_name(pb.PlanJobState, message.state, "PLAN_JOB_STATE_")),
        sequence=message.sequence,
        stage=message.progress.stage,
        fraction=message.progress.fraction,
        created=_time(message, "create_time"),
        started=_time(message, "start_time"),
        ended=_time(message, "end_time"),
        expires=_time(message, "expire_time"),
        plan=parse_plan_response(message.response) if outcome == "response" else None,
        error=error_from_detail(message.error, message.request_id or message.job_id) if outcome == "error" else None,
    )


def parse_event(message: pb.WatchPlanJobResponse) -> JobEvent:
    """An event of a job."""
    return JobEvent(
        sequence=message.sequence,
        state=JobState(_name(pb.PlanJobState, message.state, "PLAN_JOB_STATE_")),
        stage=message.progress.stage,
        fraction=message.progress.fraction,
        time=_time(message, "event_time"),
        job=parse_job(message.job) if message.HasField("job") else None,
    )


def parse_server_info(message: pb.GetServerInfoResponse) -> ServerInfo:
    """What a server is and can do."""
    names = [f.name for f in pb.ServerLimits.DESCRIPTOR.fields]
    return ServerInfo(
        server_version=message.server_version,
        engine_version=message.engine_version,
        api_versions=tuple(message.api_versions),
        limits={name: getattr(message.limits, name) for name in names},
        solvers=tuple(message.solvers),
        features=tuple(message.features),
        operations={operation.type: tuple(operation.kinds) for operation in message.operations},
        methods=tuple(_name(pb.PredictionMethod, m, "PREDICTION_METHOD_") for m in message.methods),
        granularities=tuple(_name(pb.Granularity, g, "GRANULARITY_") for g in message.granularities),
    )


def _certificate(message: pb.Plan | pb.ProfilePlan) -> Certificate | None:
    if not message.HasField("certificate"):
        return None
    proof = message.certificate
    return Certificate(
        kkt_residual=proof.kkt_residual,
        duality_gap=proof.duality_gap,
        constraint_violation=proof.constraint_violation,
    )


def _arrays(message: pb.LayerArrays) -> LayerArrays:
    return LayerArrays(
        name=message.name,
        groups=message.groups,
        row_tiles=message.row_tiles,
        column_tiles=message.column_tiles,
        copies=message.copies,
        reads=message.reads,
    )


def _discrete(message: pb.DiscreteGap) -> DiscreteGap:
    return DiscreteGap(
        gap=message.gap,
        bound=message.bound,
        continuous=message.continuous,
        method=message.method,
        nodes=message.nodes,
        visited=message.visited,
        convexity_violation=message.convexity_violation,
    )


def _shadow_prices(message: pb.Plan | pb.ProfilePlan) -> ShadowPrices | None:
    if not message.HasField("shadow_prices"):
        return None
    limits = tuple(
        LimitPrice(layer=p.layer, limit=p.limit, price=p.price, column=_optional(p, "column"), row=_optional(p, "row"))
        for p in message.shadow_prices.limits
    )
    constraints = tuple(
        ConstraintPrice(corner=p.corner, output=_optional(p, "output"), price=p.price)
        for p in message.shadow_prices.constraints
    )
    return ShadowPrices(target=message.shadow_prices.target, limits=limits, constraints=constraints)


def _verification(message: pb.Verification) -> Verification:
    return Verification(
        draws=message.draws,
        seed=message.seed,
        mse=message.mse,
        mse_standard_error=message.mse_standard_error,
        nmse=message.nmse,
        nmse_standard_error=message.nmse_standard_error,
        power=message.power_watts,
        power_standard_error=message.power_standard_error_watts,
        ratio=message.ratio,
        ratio_standard_error=message.ratio_standard_error,
        calibrated=message.calibrated,
    )


def _estimate(message: pb.Estimate) -> Estimate:
    return Estimate(
        mean=message.mean,
        standard_error=message.standard_error,
        confidence_interval=(message.confidence_low, message.confidence_high),
    )


def _gain(message: pb.Gain) -> Gain:
    return message.scalar if message.WhichOneof("value") == "scalar" else _floats(message.vector.values)


def _layers(messages: Iterable[pb.LayerMoments]) -> tuple[LayerMoments, ...]:
    return tuple(
        LayerMoments(
            name=layer.name,
            mean=array_of(layer.mean),
            variance=array_of(layer.variance),
            covariance=_array(layer, "covariance"),
        )
        for layer in messages
    )


def _floats(values: Iterable[float]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _array(message: Message, name: str) -> np.ndarray | None:
    return array_of(getattr(message, name)) if message.HasField(name) else None


def _optional(message: Message, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _time(message: Message, name: str) -> dt.datetime | None:
    value: Timestamp | None = _optional(message, name)
    return None if value is None else value.ToDatetime(tzinfo=dt.UTC)


def _name(kind: Any, number: int, prefix: str) -> str:
    """Lower-case name of an enum value without its prefix; the number as text if it is newer than this client."""
    name: str = kind.Name(number) if number in kind.values() else str(number)
    return name.removeprefix(prefix).lower()
