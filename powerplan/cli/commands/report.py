"""``powerplan report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from powerplan.cli import options as opt
from powerplan.cli.case import check_output_file
from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.networks import placed, placement_options
from powerplan.errors import InvalidInput
from powerplan.reading.networks import load_network
from powerplan.reading.text import read_json

if TYPE_CHECKING:
    from powerplan.planning import Plan

#: answers that are no plans -> the command that writes their page
_OWN_PAGES = {
    "powerplan.comparison": "compare",
    "powerplan.prediction": "predict",
    "powerplan.simulation": "simulate",
}


@click.command("report", cls=Command, short_help="One HTML page about plans, to read and share.")
@click.argument("files", type=click.Path(), metavar="PLAN.json...", nargs=-1)
@click.option(
    "--output", "output_file", required=True, type=click.Path(), metavar="FILE.html", help="The page to write."
)
@click.option(
    "--network",
    "network_file",
    type=click.Path(),
    metavar="FILE",
    help="Network of the plans: adds operations and ranges.",
)
@placement_options
@click.option("--title", default="", help="What was planned, for the heading.")
@opt.chat_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    files: tuple[str, ...],
    output_file: str,
    network_file: str | None,
    analog: tuple[str, ...],
    digital: tuple[str, ...],
    reads: str,
    weight_slices: dict[str, Any] | None,
    title: str,
) -> None:
    """One self-contained HTML page about a plan, or comparing several.

    The files are plans (powerplan plan --output) or frontiers (powerplan frontier --json). Comparisons, predictions
    and simulations write their page when they are made: --html. The page needs no network, reads well on paper and on
    a phone, and holds no path of this machine.

    \b
    powerplan plan --example digits --max-nmse 1% --verify 2000 --output plan.json
    powerplan report plan.json --output report.html
    """
    if not files:
        raise click.UsageError("files: got none; give one or more plan files, PLAN.json.")
    from powerplan.report.html import check_report_file, write_report

    check_output_file("output", output_file)
    check_report_file(output_file)
    plans = read_plans(files)
    network = None
    if network_file is not None:
        network = placed(load_network(network_file), analog, digital, reads, weight_slices)
    write_report(plans, output_file, title=title, network=network)
    chat.note(f"wrote {output_file}")


def read_plans(files: tuple[str, ...]) -> dict[str, Plan]:
    """The plans of plan and frontier files: named after the files, those of a frontier after their targets.

    Raises:
        InvalidInput: a file that is not there, or the answer of a command that writes its own page.
        CorruptFile: a file that is neither a plan nor a frontier.
    """
    from powerplan.planning import Plan
    from powerplan.report.quantities import asked_text
    from powerplan.report.text import typeset

    plans: dict[str, Plan] = {}
    for file in files:
        if not Path(file).is_file():
            raise InvalidInput.of("file", file, "an existing plan (.json) file", "Check the path.")
        values = read_json("file", file)
        format = values.get("format") if isinstance(values, dict) else None
        if format in _OWN_PAGES:
            advice = f"Write the page when you make it: powerplan {_OWN_PAGES[format]} ... --html FILE.html."
            raise InvalidInput.of("file", file, "a plan or a frontier", advice)
        points = values.get("points", []) if format == "powerplan.frontier" else [values]
        of_file = [Plan.from_dict(point) for point in points]
        prefix = "" if len(files) == 1 else f"{Path(file).stem}, "
        for plan in of_file:
            name = Path(file).stem if len(of_file) == 1 else prefix + typeset(asked_text(plan))
            plans[_unused(name, plans)] = plan
    return plans


def _unused(name: str, taken: dict[str, Plan]) -> str:
    """The name, numbered if another file of another folder has it."""
    unused, i = name, 2
    while unused in taken:
        unused, i = f"{name} ({i})", i + 1
    return unused
