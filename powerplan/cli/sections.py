"""Help of commands with many options, in sections: first what a first use needs, last what describes the hardware."""

from __future__ import annotations

import click

from powerplan.cli.command import Command
from powerplan.moments.settings import PredictionSettings
from powerplan.planning.settings import PlanSettings
from powerplan.settings import named

#: arguments that options are given to, by the section of their help; what is in none is among the "Options"
_SECTIONS: dict[str, tuple[str, ...]] = {
    "Network and inputs": ("network_file", "example", "analog", "digital", "reads", "weight_slices", "inputs_file"),
    "Target": ("max_mse", "max_nmse", "max_output_mse", "max_accuracy_drop", "max_flip_rate", "max_power"),
    "Gains": ("gains_file", "conductance", "voltage"),
    "Answer": ("output_file", "plot_file", "arrays_file", "html_file", "as_json", "quiet", "verbose"),
    "Options": (),
    "Planning": tuple(named(PlanSettings).keys() - named(PredictionSettings).keys()),
    "Prediction": tuple(named(PredictionSettings)),
    "Server": ("server", "server_ca", "server_certificate", "server_key", "server_plaintext"),
    "Hardware": ("hardware_file", "hardware_files", "presets"),
}
_SECTIONS["Network and inputs"] += ("labels_file", "batch")
_SECTIONS["Target"] += ("part_of_chips", "part_of_inputs", "first", "last", "points")
#: how the arguments of fields of the hardware begin
_FIELD = "hw_"


class SectionedCommand(Command):
    """A command that lists its options by what they are about."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in _SECTIONS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                rows[_title(parameter.name or "")].append(record)
        for title, records in rows.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _title(name: str) -> str:
    if name.startswith(_FIELD):
        return "Hardware"
    return next((title for title, names in _SECTIONS.items() if name in names), "Options")
