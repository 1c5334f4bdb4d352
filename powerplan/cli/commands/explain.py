"""``powerplan explain``."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.case import read_case
from powerplan.cli.chat import Chat
from powerplan.cli.output import document, write_json, write_text
from powerplan.cli.planned import read_plan
from powerplan.cli.quantities import Seconds
from powerplan.cli.sections import SectionedCommand


@click.command("explain", cls=SectionedCommand, short_help="A plan in words: layers, limits, what relaxing them saves.")
@click.argument("plan_file", type=click.Path(), metavar="PLAN.json")
@opt.network_options
@click.option("--deadline", type=Seconds(), help="Seconds for each plan made again.")
@opt.accept_option
@opt.output_options
@click.pass_obj
def command(chat: Chat, /, plan_file: str, deadline: float | None, as_json: bool, **problem_options: Any) -> None:
    """A plan in words: which layers dominate error and power, which limits bind, what relaxing each by 10 % saves.

    Every shadow price is checked by planning again; --network and --inputs must be those of the plan.

    \b
    powerplan explain plan.json --network net.npz --inputs x.npy
    """
    plan = read_plan(plan_file)
    case = read_case(chat, **problem_options)
    chat.resume = "For an answer within a time, limit each plan made again: --deadline 10s"
    with chat.progress() as progress:
        explanation = plan.explain(case.network, case.inputs, deadline=deadline, progress=progress)
    if as_json:
        write_json(document("explanation", **{name: getattr(explanation, name) for name in _FIELDS}))
        return
    write_text(str(explanation))


_FIELDS = (
    *("objective", "value", "unlimited", "gap", "layers", "limits", "relaxations", "yields", "wires"),
    *("compensations", "energy", "bits", "sentences"),
)
