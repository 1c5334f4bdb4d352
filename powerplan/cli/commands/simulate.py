"""``powerplan simulate``."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.gains import gains_and_hardware
from powerplan.cli.output import document, write_json
from powerplan.cli.pages import check_page, write_page
from powerplan.cli.quantities import Quantity
from powerplan.cli.sections import SectionedCommand
from powerplan.cli.server import calculator, server_options, with_labels
from powerplan.hardware import Gains
from powerplan.montecarlo.settings import SimulationSettings


@click.command("simulate", cls=SectionedCommand, short_help="Error and power at given gains, by Monte Carlo.")
@opt.network_options
@opt.gains_options
@opt.settings_options(SimulationSettings, without=("dtype", "memory_limit", "layer_moments"))
@click.option(
    "--sweep",
    type=Quantity(many=True),
    default="1,0.5,0.25,0.125",
    show_default=True,
    help="Factors on the conductance gains at which --plot compares with the prediction.",
)
@opt.plot_option("predicted against simulated error and power")
@opt.html_option
@server_options()
@opt.accept_option
@opt.output_options
@opt.hardware_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    sweep: tuple[float, ...],
    plot_file: str | None,
    html_file: str | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Error and power at given gains, by Monte Carlo, compared with the prediction.

    \b
    powerplan simulate --example digits --gains plan.json --draws 5000
    powerplan simulate --network net.npz --inputs x.npy --labels y.npy --conductance 20uS --plot check.png
    """
    if plot_file is not None:
        from powerplan.report.plots import check_plot_file

        check_plot_file(plot_file)
    if html_file is not None:
        check_page(html_file)
    settings = opt.take_settings(rest, SimulationSettings)
    engine = calculator(rest, settings.get("device", "cpu"))
    case, hardware, gains = gains_and_hardware(chat, rest)
    engine = with_labels(engine, case.labels)
    network, inputs, labels = case.network, case.inputs, case.labels
    chat.resume = "Nothing was kept. Fewer draws take less time, with wider intervals: --draws 200"
    with chat.progress() as progress:
        bar = None if progress is None else lambda done, total: progress("simulating", done / total)
        simulation = engine.simulate(network, hardware, gains, inputs, progress=bar, **settings)
    prediction = engine.predict(network, hardware, gains, inputs)
    accuracy, predicted_accuracy = (
        None if labels is None else value.accuracy_with_error(labels) for value in (simulation, prediction)
    )
    input_error = None if labels is None else simulation.accuracy_input_error(labels)
    if plot_file is not None:
        from powerplan.report.plots import plot_predicted_simulated

        pairs = [(prediction, simulation)] if 1.0 in sweep else []
        for factor in (f for f in sweep if f != 1.0):
            scaled = Gains(conductance=tuple(factor * c for c in gains.conductance), voltage=gains.voltage)
            scaled.check(network, hardware)
            pairs.append(
                (
                    engine.predict(network, hardware, scaled, inputs),
                    engine.simulate(network, hardware, scaled, inputs, **settings),
                )
            )
        plot_predicted_simulated({case.name: pairs}, file=plot_file)
        chat.note(f"wrote {plot_file}")
    ideal = None if labels is None else simulation.ideal_accuracy(labels)
    if html_file is not None:
        write_page(chat, simulation, html_file, case.name, bound=settings.get("yield_at"))
    chips = simulation.chips_for(labels)
    yield_at = settings.get("yield_at")
    nmse = simulation.chips.nmse
    interval = (None, None) if yield_at is None else nmse.yield_interval(yield_at)
    if as_json:
        write_json(
            document(
                "simulation",
                network_sha256=network.digest,
                hardware=hardware.to_dict(),
                gains=gains.to_dict(),
                accuracy=accuracy and accuracy[0],
                accuracy_standard_error=accuracy and accuracy[1],
                accuracy_input_standard_error=input_error,
                ideal_accuracy=ideal,
                mse_confidence_interval=simulation.mse_confidence_interval,
                nmse_confidence_interval=simulation.nmse_confidence_interval,
                power_confidence_interval=simulation.power_confidence_interval,
                predicted={
                    "mse": prediction.mse,
                    "nmse": prediction.nmse,
                    "power": prediction.power,
                    "accuracy": predicted_accuracy and predicted_accuracy[0],
                    "accuracy_standard_error": predicted_accuracy and predicted_accuracy[1],
                },
                inputs=simulation.inputs and simulation.inputs.to_dict(),
                chips=chips and chips.to_dict(),
                yield_at=yield_at,
                chip_yield=None if yield_at is None else nmse.yield_at(yield_at),
                chip_yield_low=interval[0],
                chip_yield_high=interval[1],
                costs=simulation.costs and simulation.costs.to_dict(),
                **{name: getattr(simulation, name) for name in _KEYS},
            )
        )
    else:
        from powerplan.report.tables import simulation_table

        click.echo(
            simulation_table(
                simulation,
                prediction=prediction,
                accuracy=accuracy,
                predicted_accuracy=predicted_accuracy,
                input_error=input_error,
                ideal_accuracy=ideal,
                chips=chips,
                yield_at=yield_at,
            )
        )


#: what --json tells of the simulation
_KEYS = (
    "draws",
    "seed",
    "mse",
    "mse_standard_error",
    "nmse",
    "nmse_standard_error",
    "signal_power",
    "mse_by_output",
    "mse_by_output_standard_error",
    "power",
    "power_standard_error",
    "power_by_layer",
    "power_by_layer_standard_error",
    "converter_power_by_layer",
    "energy",
    "layer_names",
    "layer_kinds",
)
