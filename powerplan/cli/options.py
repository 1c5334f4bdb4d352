"""Options that commands share. Each decorator adds a family of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click

from powerplan.cli.chat import Chat
from powerplan.cli.completion import PresetName, WirePresetName, completing
from powerplan.cli.networks import network_choice
from powerplan.cli.quantities import ByLayer, CostsValue, JSONValue, Quantity, Seconds, WholeNumber
from powerplan.cli.steps import StepsType
from powerplan.hardware.by_layer import is_by_layer
from powerplan.hardware.describe import described_fields, is_quantity
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.wires.published import wires_of
from powerplan.settings import (
    MOST_SEED,
    SEED,
    Choice,
    Corners,
    Flag,
    Names,
    Number,
    PerLayer,
    Setting,
    Settings,
    StepValues,
    Weights,
    Whole,
    table,
)

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
        type=click.Path(),
        metavar="FILE",
        help="Calibration inputs, one per row: .npy, .npz (array 'inputs', optional 'labels') or .csv.",
    ),
    click.option(
        "--labels",
        "labels_file",
        type=click.Path(),
        metavar="FILE",
        help="Classes of the inputs, for accuracy: .npy or .csv.",
    ),
    click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Use only the first N inputs."),
)


# ---------------------------------------------------------------- hardware


def hardware_options(function: _Command) -> _Command:
    """``--hardware FILE.toml`` or ``--preset``, and one option for every field of :class:`Hardware`, which wins."""
    return _technologies("hardware_file", _PREFIX + "preset")(function)


def several_hardware_options(function: _Command) -> _Command:
    """The same for commands that take several technologies."""
    return _technologies("hardware_files", "presets", more=" Repeatable.", multiple=True)(function)


def _technologies(file: str, preset: str, *, more: str = "", **given: Any) -> Callable[[_Command], _Command]:
    """Options of files and presets under these names, and those of all fields."""
    return _all(
        click.option("--hardware", file, type=click.Path(), metavar="FILE.toml", help=_FILE + more, **given),
        click.option("--preset", preset, type=PresetName(), metavar="NAME", help=_PRESET + more, **given),
        click.option(
            "--wire-preset", _PREFIX + "wire_preset", type=WirePresetName(), metavar="NAME", help=_WIRE_PRESET
        ),
        _hardware_fields,
    )


_FILE = "Hardware file; the options below override it."
_WIRE_PRESET = "Published resistances of wires (see powerplan presets), as node_22nm; the options below override it."
_PRESET = "A published technology (see powerplan presets); the options below override it."


def _hardware_fields(function: _Command) -> _Command:
    """One option for every field of :class:`Hardware`."""
    described = described_fields(Hardware)
    for f in reversed(fields(Hardware)):
        unit, text = described.get(f.name, ("", ""))
        default = "none" if f.default is None else f"{f.default:g}" if isinstance(f.default, float) else f.default
        text = f"{text[:1].upper()}{text[1:]}  [default: {str(default).lower()}]".replace("None", "none")
        flag = "--" + f.name.replace("_", "-")
        if f.type == "bool":
            add = click.option(f"{flag}/--no-{flag[2:]}", _PREFIX + f.name, default=None, help=text)
        else:
            kind = ByLayer(unit) if is_by_layer(f) else _kind(str(f.type), unit, f.name)
            names = getattr(f.metadata.get("kind"), "names", None)
            complete = completing(names) if names else None
            add = click.option(flag, _PREFIX + f.name, type=kind, shell_complete=complete, help=text)
        function = add(function)
    return function


def _kind(annotation: str, unit: str, name: str) -> click.ParamType:
    """How the text of an option becomes the value of a field."""
    if is_quantity(annotation):
        return Quantity(unit, many="tuple" in annotation, about=f"hardware.{name}")
    if annotation.startswith(("str", "int")):
        return click.STRING if annotation.startswith("str") else click.INT
    return CostsValue() if annotation.startswith("Costs") else JSONValue()


def take_hardware(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the hardware options from a command's arguments; those that were given, by field name."""
    names = [name for name in options if name.startswith(_PREFIX)]
    fields = {name.removeprefix(_PREFIX): options.pop(name) for name in names}
    given = {name: value for name, value in fields.items() if value is not None}
    wires = given.pop("wire_preset", None)
    return given if wires is None else {**wires_of(wires), **given}


# ---------------------------------------------------------------- gains

gains_options = _all(
    click.option(
        "--gains",
        "gains_file",
        type=click.Path(),
        metavar="FILE.json",
        help="Gains, or a plan (whose hardware is then the default).",
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

# ---------------------------------------------------------------- settings

#: the flag of a setting that is not called like it
_FLAGS = {"verify_draws": "--verify", "corners": "--corner", "yield_at": "--yield-at"}


def settings_options(kind: type[Settings], *, without: Sequence[str] = ("device",)) -> Callable[[_Command], _Command]:
    """One option for every setting of a class; what is not given is at its default."""
    return _all(*(_setting_option(row) for row in table(kind) if row.name not in without))


def _setting_option(row: Setting) -> Callable[[_Command], _Command]:
    flag = _FLAGS.get(row.name, "--" + row.name.replace("_", "-"))
    words = f"{row.words}  [default: {row.default_words}]"
    text = re.sub("``([^`]+)``", lambda found: _FLAGS.get(found[1], found[1]), words)
    match row.kind:
        case Flag():
            return click.option(f"{flag}/--no-{flag[2:]}", row.name, default=None, help=text)
        case Corners():
            return click.option(
                flag, row.name, multiple=True, type=click.Path(), metavar="FILE.toml", help=f"{text} Repeatable."
            )
        case Names(names=names):
            completes = completing(names)
            return click.option(flag, row.name, metavar="NAMES", callback=_names, shell_complete=completes, help=text)
        case Number(unit="s"):
            return click.option(flag, row.name, type=Seconds(), help=text)
        case Number(unit=unit):
            return click.option(flag, row.name, type=Quantity(unit), help=text)
        case Whole(unit=unit):
            return click.option(flag, row.name, type=WholeNumber(unit), help=text)
        case PerLayer(unit=unit):
            return click.option(flag, row.name, type=Quantity(unit, many=True), help=text)
        case Weights():
            return click.option(flag, row.name, type=Quantity(many=True), metavar="W1,W2,...", help=text)
        case StepValues(unit=unit):
            from powerplan.hardware.steps_text import allowed_steps

            return click.option(flag, row.name, type=StepsType(unit), help=f"{text} As text: {allowed_steps(unit)}.")
    complete = completing(row.kind.names) if isinstance(row.kind, Choice) else None
    return click.option(flag, row.name, metavar="NAME", shell_complete=complete, help=text)


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else split_names(value)


def take_settings(options: dict[str, Any], kind: type[Settings]) -> dict[str, Any]:
    """Remove the options of :func:`settings_options` from a command's arguments; those that were given, checked.

    Raises:
        InvalidInput: listing every value that is not allowed.
    """
    rows = [row for row in table(kind) if row.name in options]
    taken = {row.name: options.pop(row.name) for row in rows}
    settings = {name: value for name, value in taken.items() if value not in (None, ())}
    kind(**{row.name: settings[row.name] for row in rows if row.name in settings and row.kind.allowed})
    return settings


seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0, max=MOST_SEED),
    default=SEED.default,
    show_default=True,
    help=SEED.metadata["words"],
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
    return click.option(
        "--plot", "plot_file", type=click.Path(), metavar="FILE", help=f"Draw {what}: .png, .svg or .pdf."
    )


def html_option(command: _Command) -> _Command:
    """``--html FILE``: the result as a page."""
    option = click.option(
        "--html",
        "html_file",
        type=click.Path(),
        metavar="FILE.html",
        help="Write the result as an HTML page with a histogram of chips.",
    )
    return option(command)


def split_names(text: str) -> tuple[str, ...]:
    """Comma-separated names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
