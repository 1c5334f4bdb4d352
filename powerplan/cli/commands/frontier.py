"""``powerplan frontier``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import numpy as np

from powerplan.checks import Checker
from powerplan.cli import options as opt
from powerplan.cli.case import read_hardware
from powerplan.cli.chat import Chat
from powerplan.cli.exits import Exit, plan_exit
from powerplan.cli.output import document, write_json, write_text
from powerplan.cli.planning import part_options, plan_arguments, print_outcome, take_parts
from powerplan.cli.quantities import Quantity
from powerplan.cli.sections import SectionedCommand
from powerplan.cli.server import calculator, server_options
from powerplan.planning.settings import PlanSettings

if TYPE_CHECKING:
    from powerplan.planning import Plan


@click.command("frontier", cls=SectionedCommand, short_help="Plans for a list of targets: power against error.")
@opt.network_options
@click.option(
    "--max-nmse", type=Quantity(many=True, about="target.max_nmse"), help="Targets: 0.001,0.01,0.1 or 0.1%,1%,10%."
)
@click.option(
    "--from", "first", type=Quantity(about="target.max_nmse"), help="First of a geometric series of NMSE targets."
)
@click.option("--to", "last", type=Quantity(about="target.max_nmse"), help="Last of the series.")
@click.option("--points", type=click.IntRange(2, 1000), default=9, show_default=True, help="Length of the series.")
@part_options
@opt.settings_options(PlanSettings)
@opt.plot_option("power against NMSE, beside the baseline; with costs also energy against NMSE")
@server_options()
@opt.accept_option
@opt.output_options
@opt.hardware_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    max_nmse: tuple[float, ...] | None,
    first: float | None,
    last: float | None,
    points: int,
    plot_file: str | None,
    as_json: bool,
    hardware_file: str | None,
    **rest: Any,
) -> None:
    """Plans for a list of targets: the least power for every error.

    The exit code is the first of 3, 4, 5 (see powerplan --help) that applies to a point, else 0.

    \b
    powerplan frontier --example digits --from 0.1% --to 30% --points 12 --plot frontier.png
    """
    from powerplan.planning.targets import MaxNMSE

    parts = take_parts(rest)
    targets = [MaxNMSE(value, **parts) for value in _values(max_nmse, first, last, points)]
    hardware = read_hardware(hardware_file, opt.take_hardware(rest))
    if plot_file is not None:
        from powerplan.report.plots import check_plot_file

        check_plot_file(plot_file)
    engine = calculator(rest)
    case, arguments = plan_arguments(chat, rest)
    from powerplan.report.tables import frontier_table

    done: list[Plan] = []
    with chat.progress() as progress, chat.showing(done, None if as_json else frontier_table):

        def on_point(i: int, plan: Plan) -> None:
            done.append(plan)
            if progress is not None:
                progress(f"target {i + 1}", (i + 1) / len(targets))

        plans = engine.frontier(case.network, hardware, case.inputs, targets=targets, on_point=on_point, **arguments)
    if plot_file is not None:
        from powerplan.report.plots import plot_frontier

        plot_frontier(plans, title=case.name, file=plot_file)
        chat.note(f"wrote {plot_file}")
    if as_json:
        from powerplan.planning.plan_file import plan_to_dict

        write_json(document("frontier", points=[plan_to_dict(plan) for plan in plans]))
    else:
        write_text(frontier_table(plans))
    codes = [plan_exit(plan) for plan in plans]
    for plan, code in zip(plans, codes, strict=True):
        print_outcome(chat, plan, code)
    worst = min((code for code in codes if code is not Exit.OK), default=Exit.OK)
    if worst is not Exit.OK:
        click.get_current_context().exit(int(worst))


def _values(
    listed: tuple[float, ...] | None, first: float | None, last: float | None, points: int
) -> tuple[float, ...]:
    """The NMSE targets: listed, or a geometric series."""
    if listed is not None:
        if first is not None or last is not None:
            raise click.UsageError("targets: give either --max-nmse or --from and --to, not both.")
        return listed
    if first is None or last is None:
        raise click.UsageError("targets: give --max-nmse 0.001,0.01,0.1 or --from 0.1% --to 30%.")
    check = Checker()
    check.number("--from", first, above=0)
    check.number("--to", last, above=0)
    check.done()
    return tuple(float(v) for v in np.geomspace(first, last, points))
