"""What commands on a finished plan share: its file, and the network it was made for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from powerplan.cli.chat import Chat
from powerplan.cli.networks import placed
from powerplan.errors import InvalidInput
from powerplan.network import Network
from powerplan.network.reads import READS
from powerplan.reading.networks import load_network

if TYPE_CHECKING:
    from powerplan.planning import Plan


def read_plan(path: str) -> Plan:
    """The plan in a file.

    Raises:
        InvalidInput: no such file, or not a plan.
    """
    from powerplan.planning import Plan

    if not Path(path).is_file():
        raise InvalidInput.of("plan", path, "an existing plan file", "Write one with powerplan plan --output.")
    return Plan.load(path)


def read_network(
    chat: Chat,
    network_file: str | None,
    example: str | None,
    analog: Sequence[str] = (),
    digital: Sequence[str] = (),
    reads: str = READS[0],
    weight_slices: Mapping[str, Any] | None = None,
) -> Network:
    """The network of exactly one of ``--network`` and ``--example``, with the layers on crossbars that are chosen."""
    if (network_file is None) == (example is None):
        raise click.UsageError("network: give exactly one of --network FILE and --example NAME.")
    if network_file is not None:
        return placed(load_network(network_file), analog, digital, reads, weight_slices)
    from powerplan.examples import example_names, load_example

    assert example is not None
    if example in example_names():
        chat.note(f"training the {example} example")
    return placed(load_example(example).network, analog, digital, reads, weight_slices)
