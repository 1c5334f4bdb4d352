"""Options that commands share. Each decorator adds a family of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from powerplan.cli.chat import Chat
from powerplan.cli.networks import network_choice
from powerplan.cli.quantities import JSONValue, Quantity, Seconds
from powerplan.cli.steps import StepsType
from powerplan.hardware.describe import described_fields, is_quantity
from powerplan.hardware.hardware import Hardware

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: what the options of the hardware are called in a command's arguments
_PREFIX = "hw_"


def _all(*decorators: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorate(function: _Command) -> _Command:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


# ---------------------------------------------------------------- network and inputs

network_options = _all(
    network_choice,
    click.option(
        "--inputs",
        "inputs_file",
        metavar="FILE",
        help="Calibration inputs, one per row: .npy, .npz (array 'inputs', optional 'labels') or .csv.",
    ),
    click.option("--labels", "labels_file", metavar="FILE", help="Classes of the inputs, for accuracy: .npy or .csv."),
    click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Use only the first N inputs."),
)


# ---------------------------------------------------------------- hardware


def hardware_options(function: _Command) -> _Command:
    """``--hardware FILE.toml`` and one option for every field of :class:`Hardware`, which wins over the file."""
    described = described_fields(Hardware)
    for f in reversed(fields(Hardware)):
        unit, text = described.get(f.name, ("", ""))
        default = "none" if f.default is None else f"{f.default:g}" if isinstance(f.default, float) else f.default
        text = f"{text[:1].upper()}{text[1:]}  [default: {str(default).lower()}]"
        flag = "--" + f.name.replace("_", "-")
        if f.type == "bool":
            add = click.option(f"{flag}/--no-{flag[2:]}", _PREFIX + f.name, default=None, help=text)
        else:
            add = click.option(flag, _PREFIX + f.name, type=_kind(str(f.type), unit, f.name), help=text)
        function = add(function)
    function = click.option(
        "--preset",
        _PREFIX + "preset",
        metavar="NAME",
        help="A published technology (see powerplan presets); the options below override it.",
    )(function)
    return click.option(
        "--hardware", "hardware_file", metavar="FILE.toml", help="Hardware file; the options below override it."
    )(function)


def _kind(annotation: str, unit: str, name: str) -> click.ParamType:
    """How the text of an option becomes the value of a field."""
    if is_quantity(annotation):
        return Quantity(unit, many="tuple" in annotation, about=f"hardware.{name}")
    if annotation.startswith(("str", "int")):
        return click.STRING if annotation.startswith("str") else click.INT
    return JSONValue()


def take_hardware(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the hardware options from a command's arguments; those that were given, by field name."""
    names = [name for name in options if name.startswith(_PREFIX)]
    given = {name.removeprefix(_PREFIX): options.pop(name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


# ---------------------------------------------------------------- gains

gains_options = _all(
    click.option(
        "--gains", "gains_file", metavar="FILE.json", help="Gains, or a plan (whose hardware is then the default)."
    ),
    click.option(
        "--conductance",
        type=Quantity("S", many=True),
        help="Conductance gain [S per unit weight], one or one per layer; default: the largest the range allows.",
    ),
    click.option(
        "--voltage",
        type=Quantity("V", many=True),
        help="Voltage gain [V per unit activation], one or one per layer; default: voltage_max at the largest input.",
    ),
)

# ---------------------------------------------------------------- predictions


def _bytes(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Bytes as an integer; a number that is not whole is left to the checks of the engine."""
    return int(value) if value is not None and value.is_integer() else value


#: names of what :data:`prediction_options` gives, arguments of the engine's calculations
PREDICTION = ("method", "dtype", "output_combinations", "marginal_fields", "memory_limit")

prediction_options = _all(
    click.option(
        "--method", default="linearized", show_default=True, metavar="NAME", help="linearized, covariance or diagonal."
    ),
    click.option(
        "--dtype",
        default="float64",
        show_default=True,
        metavar="NAME",
        help="Precision: float64 or float32 (plans then want --tolerance 1e-4).",
    ),
    click.option(
        "--output-combinations",
        type=click.IntRange(min=0),
        metavar="N",
        help="Random combinations of the outputs, at least 2; 0 = every output by itself. Default: every output of up "
        "to 64, else 16 combinations; the MSE then has a standard error.",
    ),
    click.option(
        "--marginal-fields",
        type=click.IntRange(min=0),
        metavar="N",
        help="Random fields that correct variances for correlations; 0 = none. Default: as many as the network needs.",
    ),
    click.option(
        "--memory-limit",
        type=Quantity("B"),
        callback=_bytes,
        help="Memory that the inputs worked on at a time may take, roughly (256MB); default: 1 GiB.",
    ),
)


def take_prediction(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of :data:`prediction_options` from a command's arguments; those that were given."""
    given = {name: options.pop(name) for name in PREDICTION}
    return {name: value for name, value in given.items() if value is not None}


# ---------------------------------------------------------------- planning

plan_options = _all(
    prediction_options,
    click.option(
        "--granularity",
        default="layer",
        show_default=True,
        metavar="NAME",
        help="Gains that are free: one per network, layer or column, or a voltage per row (signal).",
    ),
    click.option(
        "--optimize",
        default="conductance",
        show_default=True,
        metavar="NAMES",
        help="Kinds of gains that are free: conductance, voltage or conductance,voltage.",
    ),
    click.option(
        "--conductance",
        type=Quantity("S", many=True),
        help="Conductance gain to hold [S per unit weight], one or one per layer.",
    ),
    click.option(
        "--voltage",
        type=Quantity("V", many=True),
        help="Voltage gain to hold [V per unit activation], one or one per layer.",
    ),
    click.option(
        "--verify",
        "verify_draws",
        type=click.IntRange(min=0),
        metavar="DRAWS",
        help="Check the plan by a simulation of so many draws.  [default: for targets on classes as many as it takes, "
        "else 0]",
    ),
    click.option(
        "--conductance-steps",
        type=StepsType("S"),
        help="Values a conductance gain can be set to [S per unit weight]: a list (1uS,2uS), low:high:step, "
        "low:high:3dB, low:high:x2, or a number of steps over the range (64, 64log); ';' between layers.",
    ),
    click.option(
        "--voltage-steps",
        type=StepsType("V"),
        help="Values a voltage gain can be set to [V per unit activation], likewise.",
    ),
    click.option(
        "--corner",
        "corner_files",
        multiple=True,
        metavar="FILE.toml",
        help="Further hardware in which the same gains must meet the target; repeatable.",
    ),
    click.option(
        "--output-weights",
        type=Quantity(many=True),
        metavar="W1,W2,...",
        help="Weights of the outputs in the error, one per output; default: all alike.",
    ),
    click.option(
        "--tolerance", type=Quantity(), default=1e-8, show_default=True, help="KKT residual at which to stop."
    ),
    click.option(
        "--max-iterations",
        type=click.IntRange(min=1),
        default=60,
        show_default=True,
        metavar="N",
        help="Most local geometric programs; with many gains, of ten quasi-Newton steps each.",
    ),
    click.option(
        "--calibrate/--no-calibrate",
        default=None,
        help="Plan again for the bound whose simulation meets the target.  [default: for targets on classes]",
    ),
    click.option("--deadline", type=Seconds(), help="Stop after so many seconds with the best gains found."),
)

seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of every random number."
)


# ---------------------------------------------------------------- output


def _verbose(ctx: click.Context, _: click.Parameter, count: int) -> None:
    _chat(ctx).verbosity = count


def _quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    _chat(ctx).quiet = value


def _chat(ctx: click.Context) -> Chat:
    return ctx.ensure_object(Chat)


chat_options = _all(
    click.option(
        "--quiet", "-q", is_flag=True, expose_value=False, is_eager=True, callback=_quiet, help="Errors only on stderr."
    ),
    click.option(
        "--verbose",
        "-v",
        count=True,
        expose_value=False,
        is_eager=True,
        callback=_verbose,
        help="Log to stderr; twice for debugging, with tracebacks.",
    ),
)

output_options = _all(
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
    chat_options,
)


def _accept(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        _chat(ctx).accept_implausible()


accept_option = click.option(
    "--accept-implausible",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_accept,
    help="Calculate with numbers that are most likely in another unit, such as 50 S for 50 uS.",
)


def plot_option(what: str) -> Callable[[_Command], _Command]:
    """``--plot FILE``: the figure a command can draw."""
    return click.option("--plot", "plot_file", metavar="FILE", help=f"Draw {what}: .png, .svg or .pdf.")


def split_names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
