"""Response messages into results, whose attributes have the plain names of the fields."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import Message

from powerplan_client import shared
from powerplan_client._generated import v1 as pb
from powerplan_client.by_layer import values_by_layer
from powerplan_client.call_info import CallInfo, Timings
from powerplan_client.compat import is_repeated
from powerplan_client.cost_breakdown import CostBreakdown
from powerplan_client.devices import to_plain
from powerplan_client.errors import error_from_detail
from powerplan_client.inputs import TARGETS
from powerplan_client.networks import attribute_value
from powerplan_client.packing import array_of
from powerplan_client.per_input import Inputs
from powerplan_client.plain_names import enum_name, plain_name
from powerplan_client.results import (
    CountAndSeconds,
    Estimate,
    Job,
    JobEvent,
    JobState,
    MethodStatistics,
    ProfilePlan,
    RunningEstimate,
    ServerInfo,
    Statistics,
)
from powerplan_client.shared import Gain, Gains, Hardware, Outcome, Plan, Prediction, Simulation, Target, Termination
from powerplan_client.spread import Chips, TabulatedSpread

R = TypeVar("R")


def parse_plan_response(response: pb.PlanResponse | pb.FrontierResponse) -> Plan | ProfilePlan | None:
    """The plan of an answer; None if only validated."""
    info = parse_info(response.info)
    result = response.WhichOneof("result")
    if result == "plan":
        return parse_plan(response.plan, info)
    return parse_profile_plan(response.profile_plan, info) if result == "profile_plan" else None


def parse_plan(message: pb.Plan, info: CallInfo | None = None) -> Plan:
    """A plan."""
    provenance = {name: attribute_value(value) for name, value in message.provenance.items()}
    calibration = {} if message.calibration else {"calibration": "mean"}  # from a server that knows no other
    return _result(Plan, message, provenance=provenance, info=info, **calibration)


def parse_profile_plan(message: pb.ProfilePlan, info: CallInfo | None = None) -> ProfilePlan:
    """The plan of a profile."""
    return _result(ProfilePlan, message, names=tuple(message.gain_names), info=info)


def parse_predict_response(response: pb.PredictResponse) -> Prediction | None:
    """The prediction of an answer; None if only validated."""
    if not response.HasField("prediction"):
        return None
    return parse_prediction(response.prediction, parse_gains(response.gains), parse_info(response.info))


def parse_prediction(message: pb.Prediction, gains: Gains | None = None, info: CallInfo | None = None) -> Prediction:
    """A prediction."""
    return _result(Prediction, message, converter_power_by_layer=_converter_power(message), gains=gains, info=info)


def parse_simulate_response(response: pb.SimulateResponse) -> RunningEstimate | Simulation | None:
    """A running estimate or the simulation; None if only validated."""
    event = response.WhichOneof("event")
    if event == "estimate":
        return _result(RunningEstimate, response.estimate, draws=response.estimate.draws_done)
    if event == "simulation":
        return parse_simulation(response.simulation, parse_gains(response.gains), parse_info(response.info))
    return None


def parse_simulation(message: pb.Simulation, gains: Gains | None = None, info: CallInfo | None = None) -> Simulation:
    """A simulation."""
    return _result(Simulation, message, converter_power_by_layer=_converter_power(message), gains=gains, info=info)


def parse_info(message: pb.ResponseInfo) -> CallInfo:
    """What goes with every answer."""
    return _result(CallInfo, message)


def parse_gains(message: pb.Gains) -> Gains:
    """Gains of every layer."""
    return _result(Gains, message)


def parse_target(message: pb.Target) -> Target:
    """A target."""
    name = message.WhichOneof("bound") or "max_mse"
    value = getattr(message, name)
    part = message.DESCRIPTOR.fields_by_name[name].message_type
    parts = [value] if part is None else [getattr(value, field.name) for field in part.fields]
    further = {part: getattr(message, part) for part in ("chips", "inputs") if message.HasField(part)}
    target: Target = TARGETS[name](*(each if isinstance(each, float) else tuple(each) for each in parts), **further)
    return target


def parse_hardware(message: pb.Hardware) -> Hardware:
    """Hardware; fields left out are None."""
    return _result(Hardware, message, **values_by_layer(message))


def parse_termination(message: pb.Termination) -> Termination:
    """Why planning stopped."""
    return _result(Termination, message, seconds=message.elapsed_seconds)


def parse_job(message: pb.PlanJob) -> Job:
    """A job."""
    outcome = message.WhichOneof("outcome")
    return _result(
        Job,
        message,
        **_progress(message.progress),
        created=_time(message, "create_time"),
        started=_time(message, "start_time"),
        ended=_time(message, "end_time"),
        expires=_time(message, "expire_time"),
        plan=parse_plan_response(message.response) if outcome == "response" else None,
        error=error_from_detail(message.error, message.request_id or message.job_id) if outcome == "error" else None,
    )


def parse_event(message: pb.WatchPlanJobResponse) -> JobEvent:
    """An event of a job."""
    return _result(JobEvent, message, **_progress(message.progress), time=_time(message, "event_time"))


def _progress(message: pb.Progress) -> dict[str, Any]:
    """What a job and its events tell of the work."""
    steps = {name: getattr(message, name) for name in ("iteration", "objective") if message.HasField(name)}
    bound = message.objective_bound if message.HasField("objective_bound") else None
    return {"stage": message.stage, "fraction": message.fraction, "bound": bound, **steps}


def parse_statistics(message: pb.GetStatisticsResponse) -> Statistics:
    """What became of the calls of a tenant."""
    parts = [field.name for field in pb.MethodStatistics.DESCRIPTOR.fields if field.message_type is not None]
    return Statistics(
        since=message.start_time.ToDatetime(tzinfo=dt.timezone.utc),
        methods={
            method.method: MethodStatistics(
                **{part: CountAndSeconds(getattr(method, part).count, getattr(method, part).seconds) for part in parts}
            )
            for method in message.methods
        },
    )


def parse_server_info(message: pb.GetServerInfoResponse) -> ServerInfo:
    """What a server is and can do."""
    return _result(
        ServerInfo,
        message,
        limits={field.name: getattr(message.limits, field.name) for field in pb.ServerLimits.DESCRIPTOR.fields},
        operations={operation.type: tuple(operation.kinds) for operation in message.operations},
    )


def _estimate(message: pb.Estimate) -> Estimate:
    return _result(Estimate, message, confidence_interval=(message.confidence_low, message.confidence_high))


def _gain(message: pb.Gain) -> Gain:
    return message.scalar if message.WhichOneof("value") == "scalar" else _floats(message.vector.values)


#: what messages within messages become, by name, where no reader below says more
_CLASSES: dict[str, type] = {
    **vars(shared),
    "Chips": Chips,
    "CostBreakdown": CostBreakdown,
    "ErrorSpread": TabulatedSpread,
    "InputErrors": Inputs,
    "PlanCorner": shared.Corner,
    "Timings": Timings,
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "Costs": to_plain,
    "Curve": to_plain,
    "DeviceSnapshot": to_plain,
    "Drift": to_plain,
    "Estimate": _estimate,
    "Gain": _gain,
    "Hardware": parse_hardware,
    "LowFrequencyNoise": to_plain,
    "PlanJob": parse_job,
    "Prediction": parse_prediction,
    "Target": parse_target,
    "Tensor": array_of,
    "Termination": parse_termination,
}
_ENUMS = {"Outcome": Outcome, "PlanJobState": JobState}


def _result(kind: type[R], message: Message, **values: Any) -> R:
    """The result whose attributes have the content of the message's fields of the same plain names.

    Args:
        values: attributes that no field has as they are.
    """
    attributes: dict[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    for field in message.DESCRIPTOR.fields:
        name = plain_name(field)
        if name in attributes and name not in values:
            values[name] = _content(field, message, str(attributes[name].type))
    return kind(**values)


def _content(field: Any, message: Message, annotation: str) -> Any:
    """Content of a field; None for what is not there, if the annotation of its attribute allows it."""
    value, may_be_none = getattr(message, field.name), annotation.endswith("None")
    if is_repeated(field):
        if annotation.startswith("np.ndarray"):
            return _floats(value)
        return tuple(_single(field, item) for item in value) or (None if may_be_none else ())
    if may_be_none and not (message.HasField(field.name) if field.has_presence else value):
        return None
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        name = enum_name(field.enum_type, value)
        return _ENUMS[field.enum_type.name](name) if field.enum_type.name in _ENUMS else name
    if field.message_type is None:
        return value
    name = field.message_type.name
    return _READERS[name](value) if name in _READERS else _result(_CLASSES[name], value)


def _converter_power(message: pb.Prediction | pb.Simulation) -> np.ndarray:
    """(L,) [W]; zeros from a server that does not count converters."""
    return _floats(message.converter_power_by_layer_watts or [0.0] * len(message.layer_names))


def _floats(values: Iterable[float]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _time(message: Message, name: str) -> dt.datetime | None:
    return getattr(message, name).ToDatetime(tzinfo=dt.timezone.utc) if message.HasField(name) else None
