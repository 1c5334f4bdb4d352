"""Request messages from what a caller gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from powerplan_client._generated import v1 as pb
from powerplan_client.errors import invalid
from powerplan_client.inputs import Gain, Profile, hardware_fields, target_fields
from powerplan_client.networks import NetworkLike, network_message
from powerplan_client.packing import Packer

M = TypeVar("M", bound=Message)

#: option by field of PlanSettings, where they are plain values
_PLAIN_SETTINGS = {
    "verify_draws": "verify_draws",
    "calibrate": "calibrate",
    "seed": "seed",
    "tolerance": "tolerance",
    "max_iterations": "max_iterations",
    "time_limit_seconds": "time_limit",
    "output_combinations": "output_combinations",
    "marginal_fields": "marginal_fields",
    "memory_limit_bytes": "memory_limit",
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
    task = pb.PlanTask(
        network=network_message(network, packer.array, packer.file, options),
        hardware=_fields(pb.Hardware, "hardware", hardware_fields(hardware)),
        inputs=packer.array(inputs),
        settings=plan_settings(options),
        corners=[_fields(pb.Hardware, "corners", hardware_fields(corner)) for corner in options.get("corners") or ()],
    )
    if target is not None:
        task.target.CopyFrom(target_message(target))
    return task


def profile_task(packer: Packer, profile: Profile, target: Any | None) -> pb.PlanTask:
    """The task of a planning profile."""

    def floats(value: npt.ArrayLike) -> pb.Tensor:
        return packer.array(np.asarray(value, dtype=np.float64))

    message = _fields(
        pb.PlanningProfile,
        "profile",
        {
            "gain_names": list(profile.names),
            "power_coefficients_watts": floats(profile.power_coefficients),
            "power_exponents": list(profile.power_exponents),
            "mse_coefficients": floats(profile.mse_coefficients),
            "mse_exponents": list(profile.mse_exponents),
            "constant_power_watts": profile.constant_power,
            "constant_mse": profile.constant_mse,
            "signal_power": profile.signal_power,
            "lower": None if profile.lower is None else floats(profile.lower),
            "upper": None if profile.upper is None else floats(profile.upper),
            "solver": _enum(pb.ProfileSolver, "PROFILE_SOLVER_", "solver", profile.solver)
            if profile.solver != "auto"
            else None,
        },
    )
    task = pb.PlanTask(profile=message)
    if target is not None:
        task.target.CopyFrom(target_message(target))
    return task


def plan_settings(options: Mapping[str, Any]) -> pb.PlanSettings:
    """How to plan."""
    values = {field: options.get(name) for field, name in _PLAIN_SETTINGS.items()}
    optimize = options.get("optimize", ())
    settings = _fields(pb.PlanSettings, "settings", values)
    weights = options.get("output_weights")
    if weights is not None:
        settings.output_weights.extend(np.asarray(weights, dtype=np.float64).ravel().tolist())
    if "granularity" in options:
        settings.granularity = _enum(pb.Granularity, "GRANULARITY_", "granularity", options["granularity"])
    if "method" in options:
        settings.method = _enum(pb.PredictionMethod, "PREDICTION_METHOD_", "method", options["method"])
    if "dtype" in options:
        settings.dtype = _enum(pb.DataType, "DATA_TYPE_", "dtype", options["dtype"])
    kinds = (optimize,) if isinstance(optimize, str) else optimize
    settings.optimize.extend(_enum(pb.GainKind, "GAIN_KIND_", "optimize", kind) for kind in kinds)
    settings.held_conductance_siemens.extend(gain_messages(options.get("conductance") or ()))
    settings.held_voltage_volts.extend(gain_messages(options.get("voltage") or ()))
    settings.conductance_steps.extend(steps_messages("conductance_steps", options.get("conductance_steps")))
    settings.voltage_steps.extend(steps_messages("voltage_steps", options.get("voltage_steps")))
    return settings


def steps_messages(field: str, steps: Any) -> list[pb.Steps]:
    """Steps of all layers, or one list or None per layer, given as the client's or the engine's Steps."""
    if steps is None:
        return []
    lists = [steps] if hasattr(steps, "values") else list(steps)
    if not all(each is None or hasattr(each, "relative") for each in lists):
        raise invalid(field, f"got {steps!r}; allowed: Steps, or one Steps or None per layer")
    return [
        pb.Steps() if each is None else _fields(pb.Steps, field, {"values": each.values, "relative": each.relative})
        for each in lists
    ]


def target_message(target: Any) -> pb.Target:
    """A target."""
    return _fields(pb.Target, "target", target_fields(target))


def result_detail(options: Mapping[str, Any]) -> pb.ResultDetail:
    """The large parts of the answer that are asked for."""
    return pb.ResultDetail(
        output_moments=bool(options.get("output_moments")),
        layer_moments=bool(options.get("layer_moments")),
        layer_covariances=bool(options.get("layer_covariances")),
        draws=bool(options.get("keep_draws")),
    )


def predict_request(
    packer: Packer,
    network: NetworkLike,
    hardware: Any,
    gains: Any | None,
    inputs: npt.ArrayLike,
    options: Mapping[str, Any],
) -> pb.PredictRequest:
    """A prediction to make."""
    request = _fields(
        pb.PredictRequest,
        "request",
        {
            **_operating_point(packer, network, hardware, gains, inputs, options),
            "accuracy_samples": options.get("accuracy_samples"),
            "seed": options.get("seed"),
            "output_combinations": options.get("output_combinations"),
            "marginal_fields": options.get("marginal_fields"),
            "memory_limit_bytes": options.get("memory_limit"),
        },
    )
    if "method" in options:
        request.method = _enum(pb.PredictionMethod, "PREDICTION_METHOD_", "method", options["method"])
    if "dtype" in options:
        request.dtype = _enum(pb.DataType, "DATA_TYPE_", "dtype", options["dtype"])
    return request


def simulate_request(
    packer: Packer,
    network: NetworkLike,
    hardware: Any,
    gains: Any | None,
    inputs: npt.ArrayLike,
    options: Mapping[str, Any],
) -> pb.SimulateRequest:
    """A simulation to make."""
    return _fields(
        pb.SimulateRequest,
        "request",
        {
            **_operating_point(packer, network, hardware, gains, inputs, options),
            "draws": options.get("draws"),
            "seed": options.get("seed"),
            "relative_standard_error": options.get("relative_standard_error"),
        },
    )


def _operating_point(
    packer: Packer,
    network: NetworkLike,
    hardware: Any,
    gains: Any | None,
    inputs: npt.ArrayLike,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    labels = options.get("labels")
    return {
        "network": network_message(network, packer.array, packer.file, options),
        "hardware": _fields(pb.Hardware, "hardware", hardware_fields(hardware)),
        "gains": None if gains is None else gains_message(gains),
        "inputs": packer.array(inputs),
        "labels": None if labels is None else [int(label) for label in np.asarray(labels).ravel()],
        "detail": result_detail(options),
        "request_id": options.get("request_id"),
        "validate_only": bool(options.get("validate_only")),
    }


def gains_message(gains: Any) -> pb.Gains:
    """Gains of every layer, given as the client's or the engine's Gains."""
    if not hasattr(gains, "conductance") or not hasattr(gains, "voltage"):
        raise invalid("gains", f"got {type(gains).__name__}; allowed: Gains(conductance=..., voltage=...)")
    return pb.Gains(conductance_siemens=gain_messages(gains.conductance), voltage_volts=gain_messages(gains.voltage))


def gain_messages(gains: Sequence[Gain] | Iterable[Gain]) -> list[pb.Gain]:
    """One message per layer."""
    messages = []
    for gain in gains:
        array = np.asarray(gain, dtype=np.float64)
        if array.ndim == 0:
            messages.append(pb.Gain(scalar=float(array)))
        else:
            messages.append(pb.Gain(vector=pb.GainVector(values=array.ravel())))
    return messages


def _fields(kind: Callable[..., M], path: str, values: Mapping[str, Any]) -> M:
    """A message of the values that are not None; a value of the wrong type is the caller's mistake."""
    try:
        return kind(**{name: value for name, value in values.items() if value is not None})
    except (TypeError, ValueError) as error:
        raise invalid(path, str(error)) from error


def _enum(kind: Any, prefix: str, field: str, name: str) -> Any:
    """The number of a lower-case name."""
    full = prefix + str(name).upper()
    if full not in kind.keys() or full.endswith("_UNSPECIFIED"):  # noqa: SIM118
        known = [n.removeprefix(prefix).lower() for n in kind.keys() if not n.endswith("_UNSPECIFIED")]  # noqa: SIM118
        raise invalid(field, f"got {name!r}; allowed: {', '.join(known)}")
    return kind.Value(full)
