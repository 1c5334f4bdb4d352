"""What ``plan`` and ``frontier`` share: the arguments of the planner, and words for how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from powerplan.cli.chat import Chat
from powerplan.cli.exits import Exit
from powerplan.cli.options import split_names, take_prediction
from powerplan.cli.problem import Problem, per_layer, read_hardware, read_problem

if TYPE_CHECKING:
    from powerplan.planning import Plan

_PROBLEM = ("network_file", "example", "inputs_file", "labels_file", "batch", "analog", "digital")


def plan_arguments(chat: Chat, options: dict[str, Any], seed: int) -> tuple[Problem, dict[str, Any]]:
    """The problem and the keyword arguments of ``pp.plan`` from the options of a command."""
    problem = read_problem(chat, **{name: options[name] for name in _PROBLEM})
    arguments = {
        "granularity": options["granularity"],
        "optimize": split_names(options["optimize"]),
        "conductance": per_layer("conductance", options["conductance"], problem.network),
        "voltage": per_layer("voltage", options["voltage"], problem.network),
        "verify_draws": options["verify_draws"],
        "calibrate": options["calibrate"],
        "seed": seed,
        "tolerance": options["tolerance"],
        "max_iterations": options["max_iterations"],
        "deadline": options["deadline"],
        **take_prediction(options),
    }
    for name in ("conductance_steps", "voltage_steps"):
        if options[name] is not None:
            arguments[name] = options[name]
    if options["corner_files"]:
        arguments["corners"] = [read_hardware(file, {}) for file in options["corner_files"]]
    if options["output_weights"] is not None:
        arguments["output_weights"] = options["output_weights"]
    return problem, arguments


def print_outcome(chat: Chat, plan: Plan, code: Exit) -> None:
    """Say on stderr why the exit code is not 0."""
    if code in (Exit.INFEASIBLE, Exit.LIMIT):
        chat.error(f"{plan.termination.outcome.value}: {plan.termination.message}")
    elif code is Exit.VERIFICATION:
        worst = max(check.ratio for check in plan.verifications)
        chat.error(
            f"verification: simulated / target = {worst:.4f}, above 1 by more than its error. "
            "Plan again with --calibrate, or with a lower target."
        )
