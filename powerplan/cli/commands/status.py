"""``powerplan status``: whether a planning server works, and what it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.output import document, write_json
from powerplan.cli.quantities import Seconds
from powerplan.cli.server import server_options
from powerplan.errors import ServerUnreachable
from powerplan.remote import connect, errors


@click.command("status", cls=Command, short_help="Check a planning server: versions, features, limits.")
@click.argument("address", metavar="HOST:PORT")
@click.option("--timeout", type=Seconds(), default=10.0, show_default=True, help="How long to wait for an answer.")
@click.option(
    "--statistics", is_flag=True, help="Also how many of your calls it answered, and how their time was spent."
)
@server_options(with_address=False)
@opt.output_options
@click.pass_obj
def command(chat: Chat, /, address: str, timeout: float, statistics: bool, as_json: bool, **options: Any) -> None:
    """Check that a planning server works, and show its versions, limits and features.

    The exit code is 0 if it answers, 7 if not.

    \b
    powerplan status planner.example.com:50051 --server-ca ca.pem
    """
    with connect(address, **options) as client, errors():
        from powerplan_client.errors import DeadlineExceeded

        try:
            info = client.server_info(timeout=timeout)
            counted = client.statistics(timeout=timeout) if statistics else None
        except DeadlineExceeded as error:
            raise ServerUnreachable(
                f"server: no answer from {address} within {timeout:g} s. Check the address, or give more --timeout."
            ) from error
    if as_json:
        more = {} if counted is None else {"statistics": {**asdict(counted), "since": counted.since.isoformat()}}
        write_json(document("status", address=address, **asdict(info), **more))
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
    if counted is not None:
        click.echo(f"\nsince {counted.since:%Y-%m-%d %H:%M:%S} UTC: count and mean seconds of each part")
        for method, parts in counted.methods.items():
            told = {name: part for name, part in vars(parts).items() if part.count}
            click.echo(f"{method:<{width}}  " + ", ".join(f"{name} {_mean(part)}" for name, part in told.items()))


def _mean(part: Any) -> str:
    return f"{part.count} x {part.seconds / part.count:.3g}"
