"""What commands on a finished plan share: its file, and the network it was made for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from powerplan.cli.chat import Chat
from powerplan.cli.networks import load_network
from powerplan.errors import InvalidInput
from powerplan.network import Network

if TYPE_CHECKING:
    from powerplan.planning import Plan

_Command = TypeVar("_Command", bound=Callable[..., Any])


def network_choice(command: _Command) -> _Command:
    """``--network FILE.npz`` or ``--example NAME``."""
    named = click.option("--example", metavar="NAME", help="Built-in example instead, e.g. digits.")(command)
    return click.option(
        "--network", "network_file", metavar="FILE.npz", help="Network file (Network.save) or ONNX model."
    )(named)


def read_plan(path: str) -> Plan:
    """The plan in a file.

    Raises:
        InvalidInput: no such file, or not a plan.
    """
    from powerplan.planning import Plan

    if not Path(path).is_file():
        raise InvalidInput.of("plan", path, "an existing plan file", "Write one with powerplan plan --output.")
    return Plan.load(path)


def read_network(chat: Chat, network_file: str | None, example: str | None) -> Network:
    """The network of exactly one of ``--network`` and ``--example``."""
    if (network_file is None) == (example is None):
        raise click.UsageError("network: give exactly one of --network FILE.npz and --example NAME.")
    if network_file is not None:
        if not Path(network_file).is_file():
            raise InvalidInput.of("network", network_file, "an existing file", "Check the path.")
        return load_network(network_file)
    from powerplan.examples import example_names, load_example

    assert example is not None
    if example in example_names():
        chat.note(f"training the {example} example")
    return load_example(example).network
