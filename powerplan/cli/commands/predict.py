"""``powerplan predict``."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.gains import gains_and_hardware
from powerplan.cli.output import document, write_json
from powerplan.cli.pages import check_page, write_page
from powerplan.cli.sections import SectionedCommand
from powerplan.cli.server import calculator, server_options, with_labels
from powerplan.moments.settings import PredictionSettings


@click.command("predict", cls=SectionedCommand, short_help="Error and power at given gains, from second-order moments.")
@opt.network_options
@opt.gains_options
@opt.settings_options(PredictionSettings)
@opt.html_option
@click.option("--chips-by-input", is_flag=True, help="Tell how the error of every input is spread over chips.")
@click.option("--chips-by-output", is_flag=True, help="Tell how the error of every output is spread over chips.")
@server_options()
@opt.accept_option
@opt.output_options
@opt.hardware_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    html_file: str | None,
    chips_by_input: bool,
    chips_by_output: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Error and power at given gains, from second-order moments.

    \b
    powerplan predict --example iris --programming-noise-std 4uS
    powerplan predict --network net.npz --inputs x.npy --gains plan.json --method covariance
    """
    if html_file is not None:
        check_page(html_file)
    engine = calculator(rest)
    settings = opt.take_settings(rest, PredictionSettings)
    if chips_by_input or chips_by_output:
        settings["chip_spread"] = True
    case, hardware, gains = gains_and_hardware(chat, rest)
    engine = with_labels(engine, case.labels)
    with chat.progress() as progress:
        prediction = engine.predict(
            case.network,
            hardware,
            gains,
            case.inputs,
            **settings,
            progress=None if progress is None else partial(progress, "predicting"),
        )
    accuracy: tuple[float, float] | None = None
    input_error: float | None = None
    if case.labels is not None:
        if not prediction.tells_accuracy:
            chat.note("no accuracy: it needs every output by itself (--output-combinations 0)")
        else:
            seed = settings.get("seed", 0)
            accuracy = prediction.accuracy_with_error(case.labels, seed=seed)
            input_error = prediction.accuracy_input_error(case.labels, seed=seed)
    ideal = None if case.labels is None else prediction.ideal_accuracy(case.labels)
    if html_file is not None:
        write_page(chat, prediction, html_file, case.name)
    chips = prediction.chips_for(case.labels)
    singles = {
        "input": prediction.chips_by_input() if chips_by_input else None,
        "output": prediction.chips_by_output() if chips_by_output else None,
    }
    if as_json:
        write_json(
            document(
                "prediction",
                network_sha256=case.network.digest,
                hardware=hardware.to_dict(),
                gains=gains.to_dict(),
                accuracy=accuracy and accuracy[0],
                accuracy_standard_error=accuracy and accuracy[1],
                accuracy_input_standard_error=input_error,
                ideal_accuracy=ideal,
                inputs=prediction.inputs and prediction.inputs.to_dict(),
                chips=chips and chips.to_dict(),
                costs=prediction.costs and prediction.costs.to_dict(),
                **{
                    f"chips_by_{what}": [spread.summary() for spread in spreads]
                    for what, spreads in singles.items()
                    if spreads is not None
                },
                array_drops=[vars(drop) for drop in prediction.array_drops],
                **{name: getattr(prediction, name) for name in _KEYS},
            )
        )
    else:
        from powerplan.report.tables import prediction_table, spreads_table

        tables = [
            prediction_table(
                prediction, gains=gains, accuracy=accuracy, input_error=input_error, ideal_accuracy=ideal, chips=chips
            )
        ]
        tables += [spreads_table(f"MSE of {what}", spreads) for what, spreads in singles.items() if spreads is not None]
        click.echo("\n\n".join(tables))


#: what --json tells of the prediction
_KEYS = (
    "method",
    "mse",
    "mse_standard_error",
    "marginal_fields",
    "sampling_limited",
    "nmse",
    "nmse_standard_error",
    "signal_power",
    "mse_bias",
    "mse_by_layer",
    "mse_by_output",
    "mse_by_output_standard_error",
    "power",
    "power_standard_error",
    "power_by_layer",
    "array_power_by_layer",
    "tia_power_by_layer",
    "converter_power_by_layer",
    "wire_bias_by_layer",
    "wire_drop_by_layer",
    "largest_wire_drop_by_layer",
    "energy",
    "layer_names",
    "layer_kinds",
    "first_order",
)
