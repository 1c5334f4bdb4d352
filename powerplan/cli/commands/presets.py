"""``powerplan presets``."""

from __future__ import annotations

import click

from powerplan.cli import options as opt
from powerplan.cli.command import Command
from powerplan.cli.completion import PresetName
from powerplan.cli.output import document, write_json


@click.command("presets", cls=Command, short_help="Published device technologies.")
@click.argument("names", nargs=-1, type=PresetName())
@opt.output_options
def command(names: tuple[str, ...], as_json: bool) -> None:
    """List the published technologies for --preset, or only NAMES: range, source, notes.

    Without NAMES also the published wires that --wire-preset knows.

    \b
    powerplan presets
    powerplan presets pcm_nandakumar2019 --json
    """
    from powerplan.checks import choice
    from powerplan.hardware.presets import Presets, presets
    from powerplan.hardware.wires.published import wire_presets

    every = presets()
    chosen = Presets(p for p in every if not names or p.name in [choice("preset", n, every.names) for n in names])
    if not as_json:
        click.echo(str(chosen) if names else f"{chosen}\n\nwires:\n\n{wire_presets()}")
        return
    write_json(
        document(
            "presets",
            presets=[
                {
                    "name": preset.name,
                    "kind": preset.kind,
                    "citation": preset.citation,
                    "conductances": list(preset.conductances),
                    "times": list(preset.times),
                    "caveats": list(preset.caveats),
                    "hardware": preset.hardware.to_dict(),
                }
                for preset in chosen
            ],
            wires=[vars(wires) for wires in wire_presets()],
        )
    )
