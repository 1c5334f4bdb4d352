"""``--server``: where a command calculates, and how a planning server is reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click
import numpy as np

import powerplan
from powerplan.remote import TOKEN_VARIABLE, Remote, connect

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = ("server", "server_ca", "server_certificate", "server_key", "server_plaintext")
_ADDRESS = click.option(
    "--server",
    metavar="HOST:PORT",
    help=f"Calculate on this planning server; a token is read from {TOKEN_VARIABLE}.",
)
_WAY = (
    click.option("--server-ca", type=click.Path(), metavar="FILE.pem", help="Certificate authority of the server."),
    click.option(
        "--server-certificate", type=click.Path(), metavar="FILE.pem", help="Client certificate, for mutual TLS."
    ),
    click.option("--server-key", type=click.Path(), metavar="FILE.pem", help="Private key of --server-certificate."),
    click.option("--server-plaintext", is_flag=True, help="No TLS to a server that is not on this machine."),
)


def server_options(*, with_address: bool = True) -> Callable[[_Command], _Command]:
    """``--server HOST:PORT`` and how to reach it."""

    def decorate(function: _Command) -> _Command:
        for option in reversed((_ADDRESS, *_WAY) if with_address else _WAY):
            function = option(function)
        return function

    return decorate


def calculator(options: dict[str, Any], device: str = "cpu") -> Any:
    """What calculates: the engine in this process, or a :class:`Remote`; takes its options out of ``options``.

    Both offer ``plan``, ``frontier``, ``predict`` and ``simulate`` with the engine's arguments and answers.
    """
    way = {name: options.pop(name) for name in _OPTIONS}
    if way["server"] is None:
        return powerplan  # which loads what it is asked for
    if device != "cpu":
        raise click.UsageError("--device: a server chooses its own; leave it out with --server.")
    return Remote(connect(**way))


def with_labels(engine: Any, labels: np.ndarray | None) -> Any:
    """The same calculator, for inputs with these labels (the engine in this process needs no telling)."""
    return replace(engine, labels=labels) if isinstance(engine, Remote) else engine
