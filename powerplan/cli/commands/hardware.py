"""``powerplan hardware``: hardware files from measurements, presets and options."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.case import read_hardware
from powerplan.cli.chat import Chat
from powerplan.cli.command import Group
from powerplan.cli.output import document, write_json
from powerplan.files import write_bytes


@click.group("hardware", cls=Group, short_help="Hardware files, from measurements or presets.")
def command() -> None:
    """Hardware as a TOML file: from measurements of devices, or from a preset and options.

    Every command has its own --help, and --json for one JSON document as the answer.
    """


@command.command("import", short_help="From a table of measured devices.")
@click.argument("file", type=click.Path(), metavar="FILE")
@click.option(
    "--columns",
    metavar="NAMES",
    help="Names of all columns in order, with units, '-' for one to ignore: 'target [uS], measured [uS], time [s]'. "
    "[default: those of the header]",
)
@click.option(
    "--degree",
    type=click.IntRange(1, 8),
    help="Mean and spread by polynomials of this degree.  [default: linear interpolation between levels]",
)
@click.option(
    "--least-readings",
    type=click.IntRange(min=3),
    default=3,
    show_default=True,
    metavar="N",
    help="Leave out levels with fewer readings.",
)
@click.option("--output", "output_file", type=click.Path(), metavar="FILE.toml", help="Write the hardware.")
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(),
    metavar="FILE",
    help="Plot the measurements and the curves: .png, .svg or .pdf.",
)
@opt.output_options
@click.pass_obj
def import_command(
    chat: Chat,
    /,
    file: str,
    columns: str | None,
    degree: int | None,
    least_readings: int,
    output_file: str | None,
    plot_file: str | None,
    as_json: bool,
) -> None:
    """Read a table of measured devices and summarise it.

    Columns are recognised by name: target (or level, or programmed), measured or resistance of single devices or
    mean and std of many, and time. Text separated by commas, semicolons, tabs or spaces, optionally gzipped.

    \b
    powerplan hardware import levels.csv --output chip.toml --plot chip.svg
    powerplan hardware import cells.tsv.gz --columns '-, resistance [ohm], level [1.25 uS], time [s]'
    """
    from powerplan.hardware.measured import read_measurements

    if plot_file is not None:
        from powerplan.report.plots import check_plot_file

        check_plot_file(plot_file)
    measurements = read_measurements(file, columns=columns, degree=degree, least_readings=least_readings)
    hardware = measurements.hardware()
    if output_file is not None:
        said = "".join(f"# {line}\n" for line in str(measurements).splitlines())
        write_bytes("output", output_file, f"{said}\n{hardware.to_toml()}".encode())
        chat.note(f"wrote {output_file}")
    if plot_file is not None:
        measurements.plot(plot_file)
        chat.note(f"wrote {plot_file}")
    if as_json:
        write_json(
            document(
                "measurements",
                source=measurements.source,
                notes=measurements.notes,
                levels=measurements.levels,
                hardware=hardware.to_dict(),
            )
        )
    else:
        click.echo(str(measurements))


@command.command("show", short_help="The TOML of a file, a preset and options.")
@opt.hardware_options
@opt.output_options
@click.pass_obj
def show_command(chat: Chat, /, hardware_file: str | None, as_json: bool, **options: Any) -> None:
    """The fields that differ from their defaults, as TOML.

    \b
    powerplan hardware show --preset pcm_nandakumar2019 --time 1d > pcm.toml
    """
    hardware = read_hardware(hardware_file, opt.take_hardware(options))
    if as_json:
        write_json(document("hardware", **hardware.to_dict()))
    else:
        click.echo(hardware.to_toml(), nl=False)
