"""Networks on the command line: files, examples, and the choice of their layers on crossbars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from powerplan.cli.completion import ExampleName
from powerplan.network import Network
from powerplan.network.reads import READS

_Command = TypeVar("_Command", bound=Callable[..., Any])


def placement_options(command: _Command) -> _Command:
    """Which layers of a network are on crossbars, ``--analog`` and ``--digital``, and how: ``--reads``,
    ``--weight-slices``."""
    analog = click.option(
        "--analog",
        multiple=True,
        metavar="LAYERS",
        help="Layers on crossbars, the others are digital: a type (linear, conv2d), a name, module path or pattern, "
        "or a number from 0 (-1 = the last); repeatable. Default: as the file has them.",
    )
    digital = click.option(
        "--digital", multiple=True, metavar="LAYERS", help="Layers to compute digitally, likewise; repeatable."
    )
    reads = click.option(
        "--reads",
        type=click.Choice(READS),
        default=READS[0],
        help="What nodes with one array or weight read: the same devices (shared), or an array each.",
    )
    slices = click.option(
        "--weight-slices",
        type=WeightSlices(),
        multiple=True,
        callback=_together,
        metavar="[LAYERS:]BITS,BITS,..[,shared]",
        help="Weights sliced over several devices: bits of every slice, from the most significant, 4,4; of some layers "
        "fc1:4,4 (repeatable); with shared, slices are converted one after the other by the same converters.",
    )
    return analog(digital(reads(slices(command))))


class WeightSlices(click.ParamType):
    """Bits of the slices of weights, of the layers that they are for (None = all), and whether they share
    converters."""

    name = "BITS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        layers, _, bits = value.rpartition(":")
        parts = [part.strip() for part in bits.split(",")]
        shared = parts[-1] == "shared"
        try:
            return layers.strip() or None, tuple(int(part) for part in parts[: len(parts) - shared]), shared
        except ValueError:
            self.fail(f"got {value!r}; allowed: whole numbers of bits, such as 4,4 or 4,4,shared or fc1:4,4.")


def _together(context: click.Context, param: click.Parameter, values: Sequence[Any]) -> dict[str, Any] | None:
    """Arguments of :meth:`Network.with_weight_slices`; None where nothing is given."""
    if not values:
        return None
    layers, bits, shared = (list(each) for each in zip(*values, strict=True))
    if len(values) > 1 and (None in layers or len(set(layers)) < len(layers)):
        raise click.BadParameter("got several; allowed: one for all layers, or one for each choice of layers, fc1:4,4.")
    if len(set(shared)) > 1:
        raise click.BadParameter("got shared for some layers; allowed: for all that are sliced, or for none.")
    return {
        "bits": bits[0] if layers == [None] else dict(zip(layers, bits, strict=True)),
        "shared_converters": shared[0],
    }


def network_choice(command: _Command) -> _Command:
    """``--network FILE`` or ``--example NAME``, and which of its layers are on crossbars."""
    file = click.option(
        "--network",
        "network_file",
        type=click.Path(),
        metavar="FILE",
        help="Network: .npz (Network.save) or an ONNX model (.onnx).",
    )
    example = click.option(
        "--example", metavar="NAME", type=ExampleName(), help="Built-in example instead, e.g. digits."
    )
    return file(example(placement_options(command)))


def placed(
    network: Network,
    analog: Sequence[str],
    digital: Sequence[str],
    reads: str = READS[0],
    weight_slices: Mapping[str, Any] | None = None,
) -> Network:
    """The network with the layers on crossbars, their arrays and slices that the options choose; nothing given = as it
    is.

    Raises:
        InvalidInput: a choice that takes no layer, or leaves none on a crossbar.
    """
    network = network.with_separate_reads() if reads == "separate" else network
    network = network.with_analog(analog or None, digital or None) if analog or digital else network
    return network.with_weight_slices(**weight_slices) if weight_slices else network
