"""``powerplan plan``."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.case import check_output_file, read_hardware
from powerplan.cli.chat import Chat
from powerplan.cli.exits import Exit, plan_exit
from powerplan.cli.output import write_json
from powerplan.cli.planning import plan_arguments, print_outcome
from powerplan.cli.quantities import Quantity
from powerplan.cli.server import calculator, server_options
from powerplan.planning.settings import PlanSettings


@click.command("plan", short_help="Gains that meet a target error at least power.")
@opt.network_options
@click.option(
    "--max-nmse",
    type=Quantity(about="target.max_nmse"),
    help="Target: largest NMSE, as a fraction or in % (0.01 or 1%).",
)
@click.option("--max-mse", type=Quantity(), help="Target: largest MSE of the outputs.")
@click.option("--max-output-mse", type=Quantity(), help="Target: largest MSE of every single output.")
@click.option(
    "--max-accuracy-drop",
    type=Quantity(about="target.max_accuracy_drop"),
    help="Target: largest fall of the expected accuracy (0.01 or 1%); needs the classes of the inputs.",
)
@click.option(
    "--max-flip-rate",
    type=Quantity(about="target.max_flip_rate"),
    help="Target: largest fraction of outputs that change class (0.01 or 1%).",
)
@click.option("--max-power", type=Quantity("W"), help="Target: largest power [W]; then the MSE is minimised.")
@opt.settings_options(PlanSettings)
@click.option("--output", "output_file", metavar="FILE.json", help="Write the plan to a file (Plan.load reads it).")
@opt.plot_option("gain, power and share of error of every layer beside the baseline")
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
    from powerplan.planning.targets import TARGETS, build_target

    bounds = {name: rest.pop(name) for name in TARGETS}
    chosen = {name: value for name, value in bounds.items() if value is not None}
    if len(chosen) != 1:
        got = " and ".join(_flag(name) for name in chosen) or "none"
        raise click.UsageError(f"target: got {got}; give exactly one of {', '.join(map(_flag, TARGETS))}.")
    ((kind, value),) = chosen.items()
    if kind != "max_accuracy_drop":
        build_target(kind, value)  # refuse a bad number before any work
    hardware = read_hardware(hardware_file, opt.take_hardware(rest))
    if output_file is not None:
        check_output_file("output", output_file)
    if plot_file is not None:
        from powerplan.report.plots import check_plot_file

        check_plot_file(plot_file)
    engine = calculator(rest)
    case, arguments = plan_arguments(chat, rest)
    target = build_target(kind, value, case.labels)
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
    if as_json:
        from powerplan.planning.plan_file import plan_to_dict

        write_json(plan_to_dict(plan))
    else:
        from powerplan.report.tables import plan_table

        click.echo(plan_table(plan, network=case.network))
    code = plan_exit(plan)
    print_outcome(chat, plan, code)
    if code is not Exit.OK:
        click.get_current_context().exit(int(code))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
