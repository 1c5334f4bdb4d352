"""``powerplan compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from powerplan.cli import options as opt
from powerplan.cli.case import check_output_file, read_hardware
from powerplan.cli.chat import Chat
from powerplan.cli.exits import Exit
from powerplan.cli.output import document, write_json, write_text
from powerplan.cli.planning import plan_arguments, take_target, target_options
from powerplan.cli.sections import SectionedCommand
from powerplan.cli.server import calculator, server_options
from powerplan.cli.sweeps import parse_sweeps
from powerplan.errors import InvalidInput
from powerplan.hardware.hardware import Hardware
from powerplan.planning.settings import PlanSettings
from powerplan.planning.targets import build_target

if TYPE_CHECKING:
    from powerplan.batch.results import PointResult


class _InOrder(SectionedCommand):
    """Keeps the order in which presets and files are given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        *_, order = self.make_parser(ctx).parse_args(list(args))
        ctx.meta[_ORDER] = [parameter.name for parameter in order if parameter.name in ("presets", "hardware_files")]
        return super().parse_args(ctx, args)


#: key of the kinds of technologies, as they are given
_ORDER = "powerplan.technologies"


@click.command("compare", cls=_InOrder, short_help="The same plan on several technologies, compared.")
@opt.network_options
@target_options
@click.option(
    "--sweep", "sweeps", multiple=True, metavar="FIELD=VALUES", help="Repeatable: adc_bits=4..10, time=1h,1d."
)
@opt.settings_options(PlanSettings)
@click.option(
    "--output",
    "--html",
    "output_file",
    type=click.Path(),
    metavar="FILE.html",
    help="Write a page: table, figures, failures.",
)
@opt.plot_option("power of every technology, or against error or the sweep")
@server_options()
@opt.accept_option
@opt.output_options
@opt.several_hardware_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    sweeps: tuple[str, ...],
    output_file: str | None,
    plot_file: str | None,
    as_json: bool,
    hardware_files: tuple[str, ...],
    presets: tuple[str, ...],
    **rest: Any,
) -> None:
    """Plan the same network for the same target on several technologies: presets, hardware files, swept fields.

    Fields given as options are changed on every technology. Without --preset and --hardware the default hardware is
    swept. Technologies that cannot do it say why; the exit code is 3 if none can, else 0.

    \b
    powerplan compare --example digits --preset pcm_hermes_2dev --preset rram_milo2021 --max-nmse 5%
    powerplan compare --example digits --hardware chip.toml --sweep adc_bits=4..10 --max-nmse 2% --plot bits.png
    powerplan compare --example digits --sweep array_rows+array_columns=16,32,64x128 --max-nmse 3% --plot tiles.png
    """
    kind, value, further = take_target(rest)
    changes = opt.take_hardware(rest)
    sweep = parse_sweeps(sweeps)
    from powerplan.batch.compare import combinations_of, compare_with, table_of
    from powerplan.batch.tiles import FIELDS

    # wires want arrays of a size: one of those that are swept
    sized = {name: value for name, value in combinations_of(sweep)[0].items() if name in FIELDS}
    order = click.get_current_context().meta[_ORDER]
    technologies = _technologies(order, hardware_files, presets, sized | changes)
    if plot_file is not None:
        from powerplan.report.plots import check_plot_file

        check_plot_file(plot_file)
    if output_file is not None:
        from powerplan.report.html import check_report_file

        check_output_file("output", output_file)
        check_report_file(output_file)
    engine = calculator(rest)
    case, arguments = plan_arguments(chat, rest)
    target = build_target(kind, value, case.labels, **further)
    done: list[PointResult] = []
    with chat.progress() as progress, chat.showing(done, None if as_json else table_of):
        result = compare_with(
            engine.plan,
            case.network,
            technologies,
            case.inputs,
            target,
            sweep=sweep,
            progress=progress,
            on_point=done.append,
            **arguments,
        )
    if plot_file is not None:
        from powerplan.report.comparison_plots import plot_comparison

        plot_comparison(result, title=case.name, file=plot_file)
        chat.note(f"wrote {plot_file}")
    if output_file is not None:
        result.report(output_file, title=case.name)
        chat.note(f"wrote {output_file}")
    if as_json:
        from powerplan.batch.table import rows

        write_json(document("comparison", points=rows(result)))
    else:
        write_text(result.table())
    if not any(plan.meets_target for point in result.done if (plan := point.plan) is not None):
        chat.error("infeasible: no technology meets the target.")
        click.get_current_context().exit(int(Exit.INFEASIBLE))


def _technologies(
    order: list[str], files: tuple[str, ...], presets: tuple[str, ...], changes: dict[str, Any]
) -> dict[str, Hardware]:
    """Every technology by the name of its preset or file."""
    given = {"presets": iter(presets), "hardware_files": iter(files)}
    named: dict[str, Hardware] = {}
    for kind in order:
        one = next(given[kind])
        name = one if kind == "presets" else Path(one).stem
        if name in named:
            raise InvalidInput.of("hardware", one, "different names", f"Another technology is called {name}.")
        named[name] = Hardware.preset(name, **changes) if kind == "presets" else read_hardware(one, changes)
    return named or {"default": Hardware().replace(**changes)}
