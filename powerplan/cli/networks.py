"""Networks on the command line: files, examples, and the choice of their layers on crossbars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from powerplan.cli.completion import ExampleName
from powerplan.network import Network
from powerplan.network.reads import READS

_Command = TypeVar("_Command", bound=Callable[..., Any])


def placement_options(command: _Command) -> _Command:
    """``--analog LAYERS`` and ``--digital LAYERS``: which layers of a network are on crossbars; ``--reads``."""
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
    return analog(digital(reads(command)))


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


def placed(network: Network, analog: Sequence[str], digital: Sequence[str], reads: str = READS[0]) -> Network:
    """The network with the layers on crossbars, and their arrays, that the options choose; nothing given = as it is.

    Raises:
        InvalidInput: a choice that takes no layer, or leaves none on a crossbar.
    """
    network = network.with_separate_reads() if reads == "separate" else network
    return network.with_analog(analog or None, digital or None) if analog or digital else network
