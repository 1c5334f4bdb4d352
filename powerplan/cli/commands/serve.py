"""``powerplan serve``: the planning service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.exits import Exit
from powerplan.errors import MissingExtra

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _settings(function: _Command) -> _Command:
    """One option for every setting of the server but the secret ones."""
    from powerplan_server.config import options

    for option in reversed(options()):
        kind, text = option.metadata["kind"], option.metadata["help"]
        if option.metadata["secret"]:
            continue
        flag = "--" + option.name.replace("_", "-")
        shown = str(option.default).lower() if kind == "flag" else option.default
        text = f"{text[:1].upper()}{text[1:]}." + ("" if option.default == "" else f"  [default: {shown}]")
        if kind == "flag":
            add = click.option(f"{flag}/--no-{flag[2:]}", option.name, default=None, help=text)
        else:
            add = click.option(flag, option.name, metavar=kind.upper(), help=text)
        function = add(function)
    return function


@click.command("serve", cls=Command, short_help="Answer planning requests over gRPC.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(),
    metavar="FILE.toml",
    envvar="POWERPLAN_SERVE_CONFIG",
    help="Settings file; environment variables and options override it.",
)
@click.option("--print-config", is_flag=True, help="Print the settings in effect, without secrets, and exit.")
@click.option("--check", is_flag=True, help="Check settings, ports, certificates and data folder, and exit.")
@click.option(
    "--backup", type=click.Path(), metavar="FOLDER", help="Copy jobs and uploads, even of a running server, and exit."
)
@_settings
@click.pass_obj
def command(
    chat: Chat, /, config_file: str | None, print_config: bool, check: bool, backup: str | None, **options: Any
) -> None:
    """Answer planning requests over gRPC until SIGTERM.

    Every setting can also be an environment variable POWERPLAN_SERVE_<NAME> or a key of the TOML file; an option wins
    over the environment, the environment over the file. Tokens come from --token-file or POWERPLAN_SERVE_TOKENS.

    \b
    powerplan serve --listen 127.0.0.1:50051
    powerplan serve --listen 0.0.0.0:50051 --tls-certificate cert.pem --tls-key key.pem --token-file tokens.txt
    powerplan serve --config serve.toml --check
    powerplan serve --config serve.toml --backup /backups/monday
    """
    from powerplan_server.config import load_config

    config = load_config(config_file, overrides=options)
    if print_config:
        click.echo(config.to_toml(), nl=False)
        return
    if backup is not None:
        from powerplan_server.backup import back_up

        jobs, uploads = back_up(config, Path(backup))
        click.echo(f"{backup}: {jobs} jobs, {uploads} uploads")
        return
    if check:
        _check(config)
        return
    try:
        from powerplan_server.server import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "grpcio", "server", "Serving") from error
    from powerplan_server import logs

    logs.set_up(config.log_level)
    serve(config)


def _check(config: Any) -> None:
    """Say what a server would find; exit code 2 if something would stop it."""
    from powerplan_server.self_check import check

    findings = check(config)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        click.echo(f"{'ok  ' if finding.good else 'FAIL'} {finding.what:<{width}}  {finding.words}")
    if not all(finding.good for finding in findings):
        raise click.exceptions.Exit(Exit.BAD_INPUT)
