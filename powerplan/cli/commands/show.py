"""``powerplan show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.networks import placed, placement_options
from powerplan.cli.output import document, write_json, write_text
from powerplan.errors import InvalidInput
from powerplan.reading.networks import load_network


@click.command("show", cls=Command, short_help="The layers of a network file, or the answer in a plan file.")
@click.argument("file", type=click.Path(), metavar="FILE")
@placement_options
@opt.output_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    file: str,
    analog: tuple[str, ...],
    digital: tuple[str, ...],
    reads: str,
    weight_slices: dict[str, Any] | None,
    as_json: bool,
) -> None:
    """The layers of a network file (.npz, .onnx), or the answer in a plan file (.json)."""
    if not Path(file).is_file():
        raise InvalidInput.of("file", file, "an existing network (.npz, .onnx) or plan (.json) file", "Check the path.")
    if Path(file).suffix.lower() == ".json":
        from powerplan.planning import Plan
        from powerplan.planning.plan_file import plan_to_dict

        plan = Plan.load(file)
        if as_json:
            write_json(plan_to_dict(plan))
        else:
            write_text(plan.table())
        return
    from powerplan.report.tables import network_rows, network_table

    network = placed(load_network(file), analog, digital, reads, weight_slices)
    if as_json:
        write_json(
            document(
                "network",
                digest=network.digest,
                input_shape=network.input_shape,
                output_shape=network.output_shape,
                nodes=network_rows(network),
            )
        )
    else:
        click.echo(network_table(network))
