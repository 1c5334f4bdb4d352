"""Request messages from what a caller gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from powerplan_client._generated import v1 as pb
from powerplan_client.compat import is_repeated
from powerplan_client.errors import invalid
from powerplan_client.inputs import Profile, hardware_fields, target_fields
from powerplan_client.networks import NetworkLike, network_message
from powerplan_client.packing import Packer
from powerplan_client.plain_names import enum_numbers, plain_name
from powerplan_client.shared import Gain
from powerplan_client.values import classes, naming, numbers_of, wrong

M = TypeVar("M", bound=Message)

_WHOLE = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
#: values of a field, in words
_ALLOWED = {
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    **dict.fromkeys(_WHOLE, "a whole number of at most 64 bits"),
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_STRING: "a text",
}
#: option of a field that is not called like it
_OPTIONS = {
    "time_limit_seconds": "time_limit",
    "memory_limit_bytes": "memory_limit",
    "max_energy_joules": "max_energy",
    "max_latency_seconds": "max_latency",
    "max_area_square_meters": "max_area",
}


def plan_task(
    packer: Packer,
    network: NetworkLike,
    hardware: Any,
    inputs: npt.ArrayLike,
    target: Any | None,
    options: Mapping[str, Any],
) -> pb.PlanTask:
    """The task of a network."""
    with naming("corners"):
        corners = list(options.get("corners") or ())
    task = pb.PlanTask(
        network=_network(packer, network, options),
        hardware=hardware_message(hardware),
        inputs=_inputs(packer, inputs),
        settings=plan_settings(options),
        corners=[hardware_message(corner, f"corners[{k}]") for k, corner in enumerate(corners)],
    )
    if target is not None:
        task.target.CopyFrom(target_message(target))
    return task


def any_task(
    packer: Packer,
    network: NetworkLike | Profile,
    hardware: Any,
    inputs: npt.ArrayLike | None,
    target: Any | None,
    options: Mapping[str, Any],
) -> pb.PlanTask:
    """The task of a network, or of a profile, which needs neither hardware nor inputs."""
    if isinstance(network, Profile):
        return profile_task(packer, network, target)
    return plan_task(packer, network, hardware, [] if inputs is None else inputs, target, options)


def profile_task(packer: Packer, profile: Profile, target: Any | None) -> pb.PlanTask:
    """The task of a planning profile."""
    if not isinstance(profile, Profile):
        raise wrong("profile", profile, "a Profile")

    def floats(name: str) -> pb.Tensor | None:
        value = getattr(profile, name)
        return None if value is None else packer.array(numbers_of(f"profile.{name}", value).astype(np.float64))

    def exponents(name: str) -> list[float]:
        return [float(x) for x in numbers_of(f"profile.{name}", getattr(profile, name), axes=(1,))]

    with naming("profile"):
        fields = {
            "gain_names": list(profile.names),
            "power_coefficients_watts": floats("power_coefficients"),
            "power_exponents": exponents("power_exponents"),
            "mse_coefficients": floats("mse_coefficients"),
            "mse_exponents": exponents("mse_exponents"),
            "constant_power_watts": profile.constant_power,
            "constant_mse": profile.constant_mse,
            "signal_power": profile.signal_power,
            "lower": floats("lower"),
            "upper": floats("upper"),
            "solver": _enum(pb.ProfileSolver.DESCRIPTOR, "solver", profile.solver)
            if profile.solver != "auto"
            else None,
        }
    task = pb.PlanTask(profile=_fields(pb.PlanningProfile, "profile", fields))
    if target is not None:
        task.target.CopyFrom(target_message(target))
    return task


def plan_settings(options: Mapping[str, Any]) -> pb.PlanSettings:
    """How to plan."""
    optimize = options.get("optimize", ())
    settings = _fields(pb.PlanSettings, "", _single(pb.PlanSettings, options))
    weights = options.get("output_weights")
    if weights is not None:
        settings.output_weights.extend(numbers_of("output_weights", weights, axes=(1,)).astype(np.float64).tolist())
    with naming("optimize"):
        kinds = (optimize,) if isinstance(optimize, str) else tuple(optimize)
    settings.optimize.extend(_enum(pb.GainKind.DESCRIPTOR, "optimize", kind) for kind in kinds)
    settings.held_conductance_siemens.extend(_held("conductance", options))
    settings.held_voltage_volts.extend(_held("voltage", options))
    settings.conductance_steps.extend(steps_messages("conductance_steps", options.get("conductance_steps")))
    settings.voltage_steps.extend(steps_messages("voltage_steps", options.get("voltage_steps")))
    return settings


def _single(kind: type[Message], options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a message that hold one number or name, from the options that they are called after."""
    values: dict[str, Any] = {}
    for field in kind.DESCRIPTOR.fields:
        name = _OPTIONS.get(field.name, field.name)
        value = options.get(name)
        if value is None or is_repeated(field) or field.message_type is not None:
            continue
        if field.enum_type is not None:
            value = _enum(field.enum_type, name, value)
        elif isinstance(value, float) and value.is_integer() and field.cpp_type in _WHOLE:
            value = int(value)  # 1e6 is a whole number too
        values[field.name] = value
    return values


def steps_messages(field: str, steps: Any) -> list[pb.Steps]:
    """Steps of all layers, or one list or None per layer, given as the client's or the engine's Steps."""
    if steps is None:
        return []
    with naming(field):
        lists = [steps] if hasattr(steps, "values") else list(steps)
    if not all(each is None or hasattr(each, "relative") for each in lists):
        raise invalid(field, f"got {steps!r}; allowed: Steps, or one Steps or None per layer")
    messages = []
    for each in lists:
        values = {} if each is None else {"values": _values(field, each.values), "relative": each.relative}
        messages.append(_fields(pb.Steps, field, values))
    return messages


def _values(field: str, values: Any) -> list[float]:
    return [float(x) for x in numbers_of(f"{field}.values", values, axes=(1,))]


def target_message(target: Any) -> pb.Target:
    """A target."""
    with naming("target"):
        fields = target_fields(target)
    return _fields(pb.Target, "target", fields)


def common_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of every request for a calculation: the large parts of the answer asked for, and how it is answered."""
    detail = pb.ResultDetail(
        output_moments=bool(options.get("output_moments")),
        layer_moments=bool(options.get("layer_moments")),
        layer_covariances=bool(options.get("layer_covariances")),
        draws=bool(options.get("keep_draws")),
    )
    return {
        "detail": detail,
        "request_id": options.get("request_id"),
        "validate_only": options.get("validate_only"),
        "accept_implausible": options.get("accept_implausible"),
    }


def point_request(
    kind: type[M],
    packer: Packer,
    network: NetworkLike,
    hardware: Any,
    gains: Any | None,
    inputs: npt.ArrayLike,
    options: Mapping[str, Any],
) -> M:
    """A prediction or a simulation to make, by the kind of its request."""
    labels = options.get("labels")
    point = {
        "network": _network(packer, network, options),
        "hardware": hardware_message(hardware),
        "gains": None if gains is None else gains_message(gains),
        "inputs": _inputs(packer, inputs),
        "labels": None if labels is None else classes("labels", labels),
        **common_fields(options),
    }
    return _fields(kind, "", {**_single(kind, options), **point})


def gains_message(gains: Any) -> pb.Gains:
    """Gains of every layer, given as the client's or the engine's Gains."""
    if not hasattr(gains, "conductance") or not hasattr(gains, "voltage"):
        raise invalid("gains", f"got {type(gains).__name__}; allowed: Gains(conductance=..., voltage=...)")
    with naming("gains"):
        return pb.Gains(
            conductance_siemens=gain_messages("gains.conductance", gains.conductance),
            voltage_volts=gain_messages("gains.voltage", gains.voltage),
            **{
                name: gain_messages(f"gains.{name}", getattr(gains, name, None) or ())
                for name in ("column_scale", "row_scale")
            },
        )


def gain_messages(field: str, gains: Sequence[Gain] | Iterable[Gain]) -> list[pb.Gain]:
    """One message per layer."""
    messages = []
    for i, gain in enumerate(gains):
        array = numbers_of(f"{field}[{i}]", gain, axes=(0, 1)).astype(np.float64)
        if array.ndim == 0:
            messages.append(pb.Gain(scalar=float(array)))
        else:
            messages.append(pb.Gain(vector=pb.GainVector(values=array)))
    return messages


def _network(packer: Packer, network: NetworkLike, options: Mapping[str, Any]) -> pb.Network:
    with naming("network"):
        return network_message(network, packer, options)


def hardware_message(hardware: Any, path: str = "hardware") -> pb.Hardware:
    """Hardware, given as the client's or the engine's Hardware or as a mapping; None = every default."""
    return _fields(pb.Hardware, path, hardware_fields(hardware, path))


def _inputs(packer: Packer, inputs: npt.ArrayLike) -> pb.Tensor:
    with naming("inputs"):
        return packer.array(numbers_of("inputs", inputs))


def _held(name: str, options: Mapping[str, Any]) -> list[pb.Gain]:
    """The gains that a plan holds."""
    with naming(name):
        return gain_messages(name, () if options.get(name) is None else options[name])


def _fields(kind: type[M], path: str, values: Mapping[str, Any]) -> M:
    """A message of the values that are not None; a value of the wrong type is the caller's mistake.

    Args:
        path: what the caller calls it; "" = the values are arguments of the call.
    """
    contents = {name: value for name, value in values.items() if value is not None}
    try:
        return kind(**contents)
    except (TypeError, ValueError, OverflowError):
        for name, value in contents.items():
            try:
                kind(**{name: value})
            except (TypeError, ValueError, OverflowError) as error:
                field = kind.DESCRIPTOR.fields_by_name[name]
                place = f"{path}." * bool(path) + _OPTIONS.get(name, plain_name(field))
                allowed = None if is_repeated(field) else _ALLOWED.get(field.cpp_type)
                if allowed is None:
                    raise invalid(place, f"got {value!r:.80}: {error}") from error
                raise wrong(place, value, allowed) from error
        raise


def _enum(enum: Any, field: str, name: Any) -> Any:
    """The number of a lower-case name."""
    numbers = enum_numbers(enum)
    if name not in numbers:
        raise invalid(field, f"got {name!r}; allowed: {', '.join(numbers)}")
    return numbers[name]
