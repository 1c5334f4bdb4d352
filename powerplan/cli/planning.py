"""What ``plan`` and ``frontier`` share: the arguments of the planner, and words for how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from powerplan.cli.case import Case, per_layer, read_case, read_hardware
from powerplan.cli.chat import Chat
from powerplan.cli.exits import Exit
from powerplan.cli.options import take_settings
from powerplan.cli.output import with_options
from powerplan.cli.quantities import Quantity
from powerplan.planning.settings import PlanSettings
from powerplan.planning.targets import TARGETS, build_target, further_fields

if TYPE_CHECKING:
    from powerplan.planning import Plan

#: option of the part of the chips or inputs that must meet a target, by the target's field
PARTS = {"chips": "--chips", "inputs": "--target-inputs"}
_PROBLEM = (
    "network_file",
    "example",
    "inputs_file",
    "labels_file",
    "batch",
    "analog",
    "digital",
    "reads",
    "weight_slices",
)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for every kind of target."""
    for kind, target in reversed(TARGETS.items()):
        quantity = Quantity(target.written_unit(), about=f"target.{kind}")
        command = click.option(_flag(kind), kind, type=quantity, help=f"Target: {target.help}.")(command)
    return part_options(command)


def part_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the part of the chips, or of the inputs, that must meet a target."""
    bounds = {"chips": "the target", "inputs": "a target on MSE or NMSE"}
    for part, flag in reversed(PARTS.items()):
        words = f"Part of the {part} that must meet {bounds[part]} (0.95 or 95%) [default: their mean must]."
        command = click.option(flag, part_name(part), type=Quantity("", about=f"target.{part}"), help=words)(command)
    return command


def part_name(part: str) -> str:
    """The argument of a command for such a part: ``inputs`` by itself is the calibration batch."""
    return f"part_of_{part}"


def take_parts(options: dict[str, Any]) -> dict[str, float]:
    """Remove the parts from a command's arguments; those that were given, by the target's field."""
    parts = {part: options.pop(part_name(part)) for part in PARTS}
    return {part: value for part, value in parts.items() if value is not None}


def take_target(options: dict[str, Any]) -> tuple[str, float, dict[str, Any]]:
    """Remove the targets from a command's arguments; kind, bound and further fields of the one that was given."""
    bounds = {kind: options.pop(kind) for kind in TARGETS}
    chosen = {kind: value for kind, value in bounds.items() if value is not None}
    if len(chosen) != 1:
        got = " and ".join(map(_flag, chosen)) or "none"
        raise click.UsageError(f"target: got {got}; give exactly one of {', '.join(map(_flag, TARGETS))}.")
    ((kind, value),) = chosen.items()
    further = take_parts(options)
    for part, asked in further.items():
        if part not in further_fields(kind):
            words = f"{PARTS[part]}: got {asked:g} with {_flag(kind)}; only bounds on the error are on {part}."
            raise click.UsageError(words)
    if "labels" not in further_fields(kind):
        build_target(kind, value, **further)  # refuse a bad number before any work
    return kind, value, further


def _flag(kind: str) -> str:
    return "--" + kind.replace("_", "-")


def plan_arguments(chat: Chat, options: dict[str, Any]) -> tuple[Case, dict[str, Any]]:
    """The case and the keyword arguments of ``pp.plan`` from the options of a command."""
    settings = take_settings(options, PlanSettings)
    case = read_case(chat, **{name: options[name] for name in _PROBLEM})
    for name in ("conductance", "voltage"):
        if name in settings:
            settings[name] = per_layer(name, settings[name], case.network)
    if "corners" in settings:
        settings["corners"] = [read_hardware(file, {}) for file in settings["corners"]]
    return case, settings


def print_outcome(chat: Chat, plan: Plan, code: Exit) -> None:
    """Say on stderr why the exit code is not 0."""
    if code in (Exit.INFEASIBLE, Exit.LIMIT):
        chat.error(with_options(f"{plan.termination.outcome.value}: {plan.termination.message}"))
    elif code is Exit.VERIFICATION:
        worst = max(plan.verifications, key=lambda check: check.ratio)
        advice = "Plan again with --calibrate, or with a lower target."
        if worst.calibrated:
            advice = "One plan in forty does by chance: plan with more draws (--verify), or with a lower target."
        chat.error(
            f"verification: simulated / target = {worst.ratio:.4f}, above 1 by more than its 95 % interval. {advice}"
        )
