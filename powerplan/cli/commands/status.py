"""``powerplan status``: whether a planning server works, and what it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.output import document, write_json
from powerplan.cli.quantities import Seconds
from powerplan.cli.server import server_options
from powerplan.errors import ServerUnreachable
from powerplan.remote import connect, errors


@click.command("status", short_help="Whether a planning server works, and what it is.")
@click.argument("address", metavar="HOST:PORT")
@click.option("--timeout", type=Seconds(), default=10.0, show_default=True, help="For an answer.")
@server_options(with_address=False)
@opt.output_options
@click.pass_obj
def command(chat: Chat, /, address: str, timeout: float, as_json: bool, **options: Any) -> None:
    """Whether a planning server works, and what it is: versions, limits, features.

    The exit code is 0 if it answers, 7 if not.

    \b
    powerplan status planner.example.com:50051 --server-ca ca.pem
    """
    with connect(address, **options) as client, errors():
        from powerplan_client.errors import DeadlineExceeded

        try:
            info = client.server_info(timeout=timeout)
        except DeadlineExceeded as error:
            raise ServerUnreachable(
                f"server: no answer from {address} within {timeout:g} s. Check the address, or give more --timeout."
            ) from error
    if as_json:
        write_json(document("status", address=address, **asdict(info)))
        return
    rows = [
        ("server", f"{address}, version {info.server_version} (engine {info.engine_version})"),
        ("contract", ", ".join(info.api_versions)),
        ("solvers", ", ".join(info.solvers)),
        ("features", ", ".join(info.features)),
        ("operations", ", ".join(info.operations)),
        *((name.replace("_", " "), f"{value:,.0f}") for name, value in info.limits.items() if value),
    ]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"{name:<{width}}  {text}")
