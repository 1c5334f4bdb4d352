"""``powerplan export``."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.networks import network_choice
from powerplan.cli.output import document, write_json
from powerplan.cli.planned import read_network, read_plan


@click.command(
    "export", cls=Command, short_help="Target conductances per tile and read-out settings of a plan, as files."
)
@click.argument("plan_file", type=click.Path(), metavar="PLAN.json")
@network_choice
@click.option("--output", required=True, metavar="PATH", help="A file (npz) or a folder (csv).")
@click.option("--format", "file_format", type=click.Choice(["npz", "csv"]), default="npz", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace an existing file, or a folder with an earlier export.")
@opt.accept_option
@opt.output_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    plan_file: str,
    network_file: str | None,
    example: str | None,
    analog: tuple[str, ...],
    digital: tuple[str, ...],
    reads: str,
    weight_slices: dict[str, Any] | None,
    output: str,
    file_format: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Target conductances per tile and read-out settings of a plan, as files.

    The size of a tile is that of the plan's hardware (--array-rows, --array-columns of powerplan plan). The manifest
    in the file or folder names every table with its unit, shape and SHA-256.

    \b
    powerplan export plan.json --network net.npz --output tiles.npz
    powerplan export plan.json --network net.npz --output tiles --format csv
    """
    from powerplan.deployment import export
    from powerplan.units import si

    plan = read_plan(plan_file)
    network = read_network(chat, network_file, example, analog, digital, reads, weight_slices)
    exported = export(plan, network, output, format=file_format, overwrite=overwrite)
    rows: list[dict[str, Any]] = [
        {
            "layer": layer.name,
            "tiles": len(layer.tiles),
            "copies": layer.copies,
            "largest_tile": list(max(layer.tiles, key=lambda tile: tile.positive.size).positive.shape),
            "conductance_min": min(float(side.min()) for tile in layer.tiles for side in tile.sides),
            "conductance_max": max(float(side.max()) for tile in layer.tiles for side in tile.sides),
        }
        for layer in exported.layers
    ]
    if as_json:
        write_json(
            document("export_summary", path=output, file_format=file_format, network_sha256=network.digest, layers=rows)
        )
        return
    devices = "pairs" if exported.hardware.devices_per_weight == 2 else "devices"
    for row in rows:
        tiles = f"{row['tiles']} tile{'s' if row['tiles'] != 1 else ''}"
        if row["copies"] != 1:
            tiles += f" in {row['copies']} copies"
        size = "x".join(map(str, row["largest_tile"]))
        span = f"{si(row['conductance_min'], 'S')} to {si(row['conductance_max'], 'S')}"
        click.echo(f"{plan.prediction.label_of(row['layer'])}: {tiles}, largest {size} {devices}, {span}")
    chat.note(f"wrote {output}")
