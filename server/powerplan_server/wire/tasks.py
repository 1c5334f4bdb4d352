"""What is planned: targets, settings and whole tasks on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np

from powerplan.checks import check_inputs
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.network import Network
from powerplan.planning.problem.corners import MOST_CORNERS
from powerplan.planning.steps import Steps
from powerplan.planning.targets import MaxAccuracyDrop, Target, build_target, target_name
from powerplan_client._generated import v1 as pb
from powerplan_server.wire.gains import gain_list
from powerplan_server.wire.hardware import hardware_from_proto
from powerplan_server.wire.networks import network_from_proto
from powerplan_server.wire.reading import Reader, unexpected
from powerplan_server.wire.tensors import array_from_proto

#: field of the message by name of the target
TARGET_FIELDS = {
    "max_mse": "max_mse",
    "max_nmse": "max_nmse",
    "max_output_mse": "max_output_mse",
    "max_accuracy_drop": "max_accuracy_drop",
    "max_flip_rate": "max_flip_rate",
    "max_power": "max_power_watts",
}
_TARGET_NAMES = {wire: name for name, wire in TARGET_FIELDS.items()}

GRANULARITIES = {
    "network": pb.GRANULARITY_NETWORK,
    "layer": pb.GRANULARITY_LAYER,
    "column": pb.GRANULARITY_COLUMN,
    "signal": pb.GRANULARITY_SIGNAL,
}
GAIN_KINDS = {"conductance": pb.GAIN_KIND_CONDUCTANCE, "voltage": pb.GAIN_KIND_VOLTAGE}
METHODS = {
    "linearized": pb.PREDICTION_METHOD_LINEARIZED,
    "covariance": pb.PREDICTION_METHOD_COVARIANCE,
    "diagonal": pb.PREDICTION_METHOD_DIAGONAL,
}
#: precision of a calculation by the engine's name
PRECISIONS = {"float64": pb.DATA_TYPE_FLOAT64, "float32": pb.DATA_TYPE_FLOAT32}

E = TypeVar("E", bound=int)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkProblem:
    """A network on a technology with calibration inputs (B, *input_shape)."""

    network: Network
    hardware: Hardware
    inputs: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanArguments:
    """The arguments of the planner.

    Attributes:
        problem: what to plan for.
        target: what to reach; None in a frontier.
        corners: further hardware.
        options: keyword arguments of the planner that were given.
    """

    problem: NetworkProblem
    target: Target | None
    corners: tuple[Hardware, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def target_to_proto(target: Target) -> pb.Target:
    """A target."""
    if isinstance(target, MaxAccuracyDrop):
        return pb.Target(max_accuracy_drop=pb.AccuracyDrop(fraction=target.fraction, labels=target.labels))
    message = pb.Target()
    setattr(message, TARGET_FIELDS[target_name(target)], target.value)
    return message


def target_from_proto(reader: Reader, message: pb.Target) -> Target | None:
    """The target of a message, or noted violations and None."""
    wire = message.WhichOneof("bound")
    if wire is None:
        reader.fail("nothing", "one of " + ", ".join(_TARGET_NAMES), "Say what the plan must reach.")
        return None
    value, labels, name = getattr(message, wire), None, _TARGET_NAMES[wire]
    if name == "max_accuracy_drop":
        value, labels = value.fraction, list(value.labels)
    place = reader.at(wire)
    return place.take(lambda: build_target(name, value, labels), rename=lambda f: "labels" if "labels" in f else "")


def enum_from_proto(reader: Reader, number: int, names: Mapping[str, E], *, default: str | None = None) -> str | None:
    """The name of an enum number; ``default`` for 0 (None = 0 is refused); or a noted violation and None."""
    if number == 0 and default is not None:
        return default
    for name, known in names.items():
        if number == known:
            return name
    reader.fail(number, "one of " + ", ".join(f"{n} ({v})" for n, v in names.items()), "Use one of them.")
    return None


def problem_from_proto(
    reader: Reader, network: pb.Network, hardware: pb.Hardware, inputs: pb.Tensor
) -> NetworkProblem | None:
    """Network, hardware and inputs of a message, or noted violations and None; all three are looked at."""
    net = network_from_proto(reader.at("network"), network)
    hard = hardware_from_proto(reader.at("hardware"), hardware)
    batch = _inputs(reader.at("inputs"), inputs, net)
    if net is None or hard is None or batch is None:
        return None
    return NetworkProblem(network=net, hardware=hard, inputs=batch)


def _inputs(reader: Reader, message: pb.Tensor, network: Network | None) -> np.ndarray | None:
    shape = None if network is None else (None, *network.input_shape)
    array = array_from_proto(reader, message, max_elements=reader.limits.max_inputs_bytes // 4, shape=shape)
    if array is None:
        return None
    if array.nbytes > reader.limits.max_inputs_bytes:
        reader.too_large(f"{array.nbytes:,} bytes", reader.limits.max_inputs_bytes, "bytes")
        return None
    if network is None:
        return array
    return reader.take(lambda: check_inputs(array, network.input_shape), rename=lambda _: "")


def labels_from_proto(reader: Reader, labels: Iterable[int], problem: NetworkProblem) -> np.ndarray | None:
    """Labels (B,), None if there are none, or a noted violation and None."""
    array = np.array(list(labels), dtype=np.int64)
    if array.size == 0:
        return None
    outputs = int(np.prod(problem.network.output_shape))
    classes = outputs if outputs > 1 else 2
    if array.size != len(problem.inputs):
        reader.fail(f"{array.size} labels", f"{len(problem.inputs)}, one per input", "Give one label per input.")
    elif array.min() < 0 or array.max() >= classes:
        reader.fail((int(array.min()), int(array.max())), f"classes 0 to {classes - 1}", "Number the classes from 0.")
    else:
        return array
    return None


def options_from_proto(reader: Reader, message: pb.PlanSettings) -> dict[str, Any]:
    """Keyword arguments of the planner; violations are noted."""
    limits = reader.limits
    options: dict[str, Any] = {
        "granularity": enum_from_proto(reader.at("granularity"), message.granularity, GRANULARITIES, default="layer"),
        "method": enum_from_proto(reader.at("method"), message.method, METHODS, default="linearized"),
    }
    if len(message.optimize) > len(GAIN_KINDS) or len(set(message.optimize)) < len(message.optimize):
        reader.at("optimize").fail(list(message.optimize[:5]), "each kind of gain at most once", "Drop repetitions.")
    elif message.optimize:
        options["optimize"] = tuple(
            enum_from_proto(reader.at("optimize").item(i), kind, GAIN_KINDS) for i, kind in enumerate(message.optimize)
        )
    for name, wire in (("conductance", "held_conductance_siemens"), ("voltage", "held_voltage_volts")):
        if len(messages := getattr(message, wire)):
            options[name] = gain_list(reader.at(wire), messages)
    for name, least, most in (
        ("verify_draws", 0, limits.max_draws),
        ("seed", 0, None),
        ("max_iterations", 1, limits.max_iterations),
    ):
        whole = optional(message, name)
        if whole is None:
            continue
        if most is not None and whole > most:
            reader.at(name).too_large(whole, most, "")
        else:
            reader.at(name).number(whole, at_least=least)
        options[name] = whole
    for name, wire in (("tolerance", "tolerance"), ("deadline", "time_limit_seconds")):
        number = optional(message, wire)
        if number is not None:
            reader.at(wire).number(number, above=0)
            options[name] = number
    options |= prediction_options(reader, message)
    if len(message.output_weights):
        options["output_weights"] = list(message.output_weights)
    for name in ("conductance_steps", "voltage_steps"):
        if len(lists := getattr(message, name)):
            options[name] = _steps(reader.at(name), lists)
    if message.HasField("calibrate"):
        options["calibrate"] = message.calibrate
    return options


def prediction_options(reader: Reader, message: pb.PlanSettings | pb.PredictRequest) -> dict[str, Any]:
    """How predictions are made, as far as a message says; violations are noted."""
    given: dict[str, Any] = {}
    if message.dtype:
        given["dtype"] = enum_from_proto(reader.at("dtype"), message.dtype, PRECISIONS)
    for name in ("output_combinations", "marginal_fields"):
        whole = optional(message, name)
        if whole is not None:
            given[name] = whole
            reader.take(partial(_check_prediction, **{name: whole}))
    limit = optional(message, "memory_limit_bytes")
    if limit is not None:
        given["memory_limit"] = limit
        _check_memory_limit(reader.at("memory_limit_bytes"), limit)
    return given


# The predictor is imported where it is used: it brings torch.


def _check_prediction(**given: int) -> None:
    from powerplan.moments.predict import PredictionOptions

    PredictionOptions(**given)  # type: ignore[arg-type]


def _check_memory_limit(reader: Reader, limit: int) -> None:
    """A request may ask for less than the engine takes by itself, not for more."""
    from powerplan.moments.predictor import MEMORY_LIMIT

    if limit > MEMORY_LIMIT:
        reader.too_large(limit, MEMORY_LIMIT, "bytes")
    else:
        reader.number(limit, at_least=1)


def _steps(reader: Reader, messages: Sequence[pb.Steps]) -> Steps | list[Steps | None] | None:
    """Steps for all layers or one list per layer; violations are noted."""
    found: list[Steps | None] = []
    for i, message in enumerate(messages):
        try:
            found.append(Steps(values=np.array(message.values), relative=message.relative) if message.values else None)
        except InvalidInput as error:
            for violation in error.violations:
                reader.item(i).fail(violation.value, violation.allowed, violation.advice)
    return found[0] if len(found) == 1 else found


def optional(message: Any, name: str) -> Any:
    """Value of an optional field, or None if it is not set."""
    return getattr(message, name) if message.HasField(name) else None


def task_from_proto(reader: Reader, message: pb.PlanTask, *, needs_target: bool = True) -> PlanArguments | None:
    """The planner's arguments of a task with a network, or noted violations and None."""
    before = reader.count
    problem = problem_from_proto(reader, message.network, message.hardware, message.inputs)
    target = target_of(reader, message, needs_target=needs_target)
    corners = _corners(reader.at("corners"), message.corners)
    options = options_from_proto(reader.at("settings"), message.settings)
    if reader.count > before or problem is None:
        return None
    return PlanArguments(problem=problem, target=target, corners=corners, options=options)


def _corners(reader: Reader, messages: Sequence[pb.Hardware]) -> tuple[Hardware, ...]:
    """Further hardware; violations are noted."""
    if len(messages) > MOST_CORNERS:
        reader.too_large(f"{len(messages)} corners", MOST_CORNERS, "corners")
        return ()
    found = [hardware_from_proto(reader.item(i), message) for i, message in enumerate(messages)]
    return tuple(hardware for hardware in found if hardware is not None)


def target_of(reader: Reader, message: pb.PlanTask, *, needs_target: bool) -> Target | None:
    """The target of a task if it needs one; one that it must not have is noted."""
    if needs_target:
        return target_from_proto(reader.at("target"), message.target)
    if message.HasField("target"):
        unexpected(reader, ["target"], "A frontier's targets are in the field targets.")
    return None


def targets_from_proto(reader: Reader, messages: Iterable[pb.Target]) -> list[Target]:
    """The targets of a frontier; violations are noted."""
    messages = list(messages)
    if not 1 <= len(messages) <= reader.limits.max_frontier_targets:
        if messages:
            reader.too_large(f"{len(messages):,} targets", reader.limits.max_frontier_targets, "targets")
        else:
            reader.fail("nothing", "at least one target", "Give the targets of the frontier's points.")
        return []
    return [target for i, m in enumerate(messages) if (target := target_from_proto(reader.item(i), m))]


def rename_engine(field: str) -> str:
    """Path in a plan request of a field named by the planner; what is about the answer keeps its name."""
    if field.startswith("prediction."):
        return field
    for name, path in (
        ("gains.conductance", "settings.held_conductance_siemens"),
        ("gains.voltage", "settings.held_voltage_volts"),
        ("conductance", "settings.held_conductance_siemens"),
        ("voltage", "settings.held_voltage_volts"),
        ("deadline", "settings.time_limit_seconds"),
        ("memory_limit", "settings.memory_limit_bytes"),
        ("target", "target"),
        ("labels", "target.max_accuracy_drop.labels"),
        ("corners", "corners"),
        ("inputs", "inputs"),
        ("network", "network"),
        ("hardware", "hardware"),
    ):
        if field == name or field.startswith((f"{name}[", f"{name}.")):
            return f"task.{path}{field[len(name) :]}"
    return f"task.settings.{field}"
