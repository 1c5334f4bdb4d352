"""What is planned: targets, settings and whole tasks on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from powerplan.checks import check_inputs
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.hardware.steps import Steps
from powerplan.moments import settings as moments
from powerplan.network import Network
from powerplan.planning.problem.corners import MOST_CORNERS
from powerplan.planning.settings import PlanSettings
from powerplan.planning.targets import TARGETS, Target, build_target, further_fields
from powerplan.settings import Choice, Names, PerLayer, Setting, Settings, StepValues, Weights, table
from powerplan_client._generated import v1 as pb
from powerplan_client.plain_names import enum_numbers, plain_name
from powerplan_server.wire.gains import gain_list, rename_gains
from powerplan_server.wire.hardware import hardware_from_proto, rename_hardware
from powerplan_server.wire.networks import network_from_proto
from powerplan_server.wire.reading import Reader, unexpected
from powerplan_server.wire.tensors import array_from_proto

#: field of the message by name of the target
TARGET_FIELDS = {plain_name(field): field for field in pb.Target.DESCRIPTOR.oneofs_by_name["bound"].fields}
_TARGET_NAMES = {field.name: name for name, field in TARGET_FIELDS.items()}

#: field of a message where it is not called as the setting
SETTING_FIELDS = {
    "conductance": "held_conductance_siemens",
    "voltage": "held_voltage_volts",
    "deadline": "time_limit_seconds",
    "memory_limit": "memory_limit_bytes",
    "max_energy": "max_energy_joules",
    "max_latency": "max_latency_seconds",
    "max_area": "max_area_square_meters",
}


GRANULARITIES = enum_numbers(pb.Granularity.DESCRIPTOR)
GAIN_KINDS = enum_numbers(pb.GainKind.DESCRIPTOR)
METHODS = enum_numbers(pb.PredictionMethod.DESCRIPTOR)
_PRECISIONS = {name: enum_numbers(pb.DataType.DESCRIPTOR)[name] for name in moments.PRECISIONS}
#: the enums that settings are, by setting
_ENUMS = {
    "granularity": GRANULARITIES,
    "method": METHODS,
    "dtype": _PRECISIONS,
    "wires": enum_numbers(pb.WireSolver.DESCRIPTOR),
    "calibration": enum_numbers(pb.Calibration.DESCRIPTOR),
    "objective": enum_numbers(pb.CostObjective.DESCRIPTOR),
}

E = TypeVar("E", bound=int)
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkProblem:
    """A network on a technology with calibration inputs (B, *input_shape), and the message that it is from."""

    network: Network
    hardware: Hardware
    inputs: np.ndarray
    message: pb.Network


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanArguments:
    """The arguments of the planner.

    Attributes:
        problem: what to plan for.
        target: what to reach; None in a frontier.
        settings: how to plan.
    """

    problem: NetworkProblem
    target: Target | None
    settings: PlanSettings


def target_from_proto(reader: Reader, message: pb.Target) -> Target | None:
    """The target of a message, or noted violations and None."""
    wire = message.WhichOneof("bound")
    if wire is None:
        reader.fail("nothing", "one of " + ", ".join(_TARGET_NAMES), "Say what the plan must reach.")
        return None
    name, value = _TARGET_NAMES[wire], getattr(message, wire)
    parts: dict[str, Any] = {}
    if (part := TARGET_FIELDS[name].message_type) is not None:
        bound, *further = part.fields
        parts = {field.name: list(getattr(value, field.name)) for field in further}
        value = getattr(value, bound.name)
    for share in ("chips", "inputs"):
        if not message.HasField(share):
            continue
        if share not in further_fields(name):
            asked = getattr(message, share)
            reader.at(share).fail(asked, f"unset with {wire}", f"Only bounds on the error are on {share}.")
            return None
        parts[share] = getattr(message, share)
    place = reader.at(wire)
    return place.take(lambda: build_target(name, value, **parts), rename=lambda f: _part_of(f, parts))


def _part_of(field: str, parts: Iterable[str]) -> str:
    """The part of a target's message that a field of the planner's is about; "" for its bound."""
    return next((part for part in parts if part in field), "")


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
    return NetworkProblem(network=net, hardware=hard, inputs=batch, message=network)


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


def settings_from_proto(reader: Reader, message: Any, kind: type[S], **known: Any) -> S | None:
    """The settings in the fields of a message, or noted violations and None; what is not set is at its default.

    Args:
        known: settings that are in no field.
    """
    limits = {
        "draws": (reader.limits.max_draws, "draws"),
        "verify_draws": (reader.limits.max_draws, "draws"),
        "max_iterations": (reader.limits.max_iterations, "iterations"),
        "memory_limit": (moments.MEMORY_LIMIT, "bytes"),  # requests may ask for less than the engine takes by itself
    }
    before = reader.count
    values = dict(known)
    for row in table(kind):
        wire = SETTING_FIELDS.get(row.name, row.name)
        if wire not in message.DESCRIPTOR.fields_by_name:
            continue
        value = _setting(reader.at(wire), message, wire, row)
        if value is None:
            continue
        most, what = limits.get(row.name, (None, ""))
        if most is not None and value > most:
            reader.at(wire).too_large(value, most, what)
        else:
            values[row.name] = value
    settings = reader.take(lambda: kind(**values), rename=lambda name: SETTING_FIELDS.get(name, name))
    return settings if reader.count == before else None


def _setting(reader: Reader, message: Any, wire: str, row: Setting) -> Any:
    """The value of a setting; None if its field is not set, or after a noted violation."""
    match row.kind:
        case Choice():
            number = getattr(message, wire)
            return enum_from_proto(reader, number, _ENUMS[row.name]) if number else None
        case Names():
            return _gain_kinds(reader, getattr(message, wire))
        case PerLayer():
            gains = getattr(message, wire)
            return gain_list(reader, gains) if len(gains) else None
        case StepValues():
            lists = getattr(message, wire)
            return _steps(reader, lists) if len(lists) else None
        case Weights():
            return list(getattr(message, wire)) or None
        case _:
            return optional(message, wire)


def _gain_kinds(reader: Reader, kinds: Sequence[int]) -> tuple[str, ...] | None:
    """Kinds of gains, or a noted violation and None; None if there are none."""
    if len(kinds) > len(GAIN_KINDS) or len(set(kinds)) < len(kinds):
        reader.fail(list(kinds[:5]), "each kind of gain at most once", "Drop repetitions.")
        return None
    names = [enum_from_proto(reader.item(i), kind, GAIN_KINDS) for i, kind in enumerate(kinds)]
    return tuple(name for name in names if name is not None) or None


def _steps(reader: Reader, messages: Sequence[pb.Steps]) -> Steps | list[Steps | None] | None:
    """Steps for all layers or one list per layer; violations are noted."""
    steps: list[Steps | None] = []
    for i, message in enumerate(messages):
        try:
            steps.append(Steps(values=np.array(message.values), relative=message.relative) if message.values else None)
        except InvalidInput as error:
            for violation in error.violations:
                reader.item(i).fail(violation.value, violation.allowed, violation.advice)
    return steps[0] if len(steps) == 1 else steps


def optional(message: Any, name: str) -> Any:
    """Value of an optional field, or None if it is not set."""
    return getattr(message, name) if message.HasField(name) else None


def task_from_proto(reader: Reader, message: pb.PlanTask, *, needs_target: bool = True) -> PlanArguments | None:
    """The planner's arguments of a task with a network, or noted violations and None."""
    before = reader.count
    problem = problem_from_proto(reader, message.network, message.hardware, message.inputs)
    target = target_of(reader, message, needs_target=needs_target)
    corners = _corners(reader.at("corners"), message.corners)
    settings = settings_from_proto(reader.at("settings"), message.settings, PlanSettings, corners=corners)
    if reader.count > before or problem is None or settings is None:
        return None
    return PlanArguments(problem=problem, target=target, settings=settings)


def _corners(reader: Reader, messages: Sequence[pb.Hardware]) -> tuple[Hardware, ...]:
    """Further hardware; violations are noted."""
    if len(messages) > MOST_CORNERS:
        reader.too_large(f"{len(messages)} corners", MOST_CORNERS, "corners")
        return ()
    corners = [hardware_from_proto(reader.item(i), message) for i, message in enumerate(messages)]
    return tuple(hardware for hardware in corners if hardware is not None)


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


def rename_engine(field: str, target: str = "task.target") -> str:
    """Path in a plan request of a field named by the planner; what is about the answer keeps its name.

    Args:
        target: path of the target that is planned for.
    """
    if field.startswith("prediction."):
        return field
    if field.startswith("targets["):
        return _with_units(field)
    places = {
        "gains.conductance": "settings.held_conductance_siemens",
        "gains.voltage": "settings.held_voltage_volts",
        **{name: f"settings.{wire}" for name, wire in SETTING_FIELDS.items()},
        "labels": "target.max_accuracy_drop.labels",
        **{name: name for name in ("target", "corners", "inputs", "network", "hardware")},
    }
    for name, path in places.items():
        if field == name or field.startswith((f"{name}[", f"{name}.")):
            path = f"task.{_with_units(path + field[len(name) :])}"
            return f"{target}{path.removeprefix('task.target')}" if path.startswith("task.target") else path
    return f"task.settings.{field}"


def rename_problem(field: str) -> str:
    """Path in a request for given gains of a field named by the engine; what is about the answer keeps its name."""
    return f"gains.{rename_gains(field)}" if field.startswith("gains.") else _with_units(field)


def _with_units(field: str) -> str:
    """A field of hardware, a corner or a target under its name in the message, which may end with a unit."""
    place, dot, inner = field.partition(".")
    if place == "hardware" or place.startswith("corners["):
        inner = rename_hardware(inner)
    elif place.startswith("target"):
        kinds = {TARGETS[name].__name__: field for name, field in TARGET_FIELDS.items()} | TARGET_FIELDS
        inner = kinds[inner].name if inner in kinds else inner
    return f"{place}{dot}{inner}"
