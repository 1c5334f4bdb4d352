"""``powerplan plan``."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.case import check_output_file, read_hardware
from powerplan.cli.chat import Chat
from powerplan.cli.exits import Exit, plan_exit
from powerplan.cli.output import write_json, write_text
from powerplan.cli.planning import plan_arguments, print_outcome, take_target, target_options
from powerplan.cli.sections import SectionedCommand
from powerplan.cli.server import calculator, server_options
from powerplan.planning.settings import PlanSettings
from powerplan.planning.targets import build_target


@click.command("plan", cls=SectionedCommand, short_help="Gains that meet a target error at least power.")
@opt.network_options
@target_options
@opt.settings_options(PlanSettings)
@click.option(
    "--output",
    "output_file",
    type=click.Path(),
    metavar="FILE.json",
    help="Write the plan to a file (Plan.load reads it).",
)
@opt.plot_option("gain, power and share of error of every layer beside the baseline")
@click.option(
    "--plot-arrays",
    "arrays_file",
    type=click.Path(),
    metavar="FILE",
    help="Draw conductance, IR drop and weight error of every device, in its array (.png, .svg, .pdf).",
)
@server_options()
@opt.accept_option
@opt.output_options
@opt.hardware_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    output_file: str | None,
    plot_file: str | None,
    arrays_file: str | None,
    as_json: bool,
    hardware_file: str | None,
    **rest: Any,
) -> None:
    """Gains that meet a target error at least power, or at least error within a power budget.

    Give exactly one target. With --json the answer is the plan file itself.

    \b
    powerplan plan --example digits --max-nmse 1% --verify 2000 --plot plan.png
    powerplan plan --network net.npz --inputs x.npy --hardware reram.toml --max-power 5mW --output plan.json
    powerplan plan --example digits --max-accuracy-drop 1% --corner hot.toml --corner aged.toml
    """
    kind, value, further = take_target(rest)
    hardware = read_hardware(hardware_file, opt.take_hardware(rest))
    if output_file is not None:
        check_output_file("output", output_file)
    for file in filter(None, (plot_file, arrays_file)):
        from powerplan.report.plots import check_plot_file

        check_plot_file(file)
    engine = calculator(rest)
    case, arguments = plan_arguments(chat, rest)
    target = build_target(kind, value, case.labels, **further)
    chat.resume = "No plan was written. For the best plan found within a time: --deadline 60s"
    with chat.progress() as progress:
        plan = engine.plan(case.network, hardware, case.inputs, target, progress=progress, **arguments)
    if output_file is not None:
        plan.save(output_file)
        chat.note(f"wrote {output_file}")
    if plot_file is not None:
        from powerplan.report.plots import plot_plan

        baseline = (
            None
            if plan.baseline_gains is None
            else engine.predict(case.network, hardware, plan.baseline_gains, case.inputs)
        )
        plot_plan(plan, baseline=baseline, title=case.name, file=plot_file)
        chat.note(f"wrote {plot_file}")
    if arrays_file is not None:
        from powerplan.report.heat_plots import plot_arrays

        plot_arrays(plan, case.network, title=case.name, file=arrays_file)
        chat.note(f"wrote {arrays_file}")
    if as_json:
        from powerplan.planning.plan_file import plan_to_dict

        write_json(plan_to_dict(plan))
    else:
        from powerplan.report.tables import plan_table

        write_text(plan_table(plan, network=case.network))
    code = plan_exit(plan)
    print_outcome(chat, plan, code)
    if code is not Exit.OK:
        click.get_current_context().exit(int(code))
