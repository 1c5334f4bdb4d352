"""``powerplan serve``: the planning service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from powerplan.cli.chat import Chat
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


@click.command("serve", short_help="Answer planning requests over gRPC.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(),
    metavar="FILE.toml",
    envvar="POWERPLAN_SERVE_CONFIG",
    help="Settings file; environment variables and options override it.",
)
@click.option("--print-config", is_flag=True, help="Print the settings in force, without secrets, and stop.")
@_settings
@click.pass_obj
def command(chat: Chat, /, config_file: str | None, print_config: bool, **options: Any) -> None:
    """Answer planning requests over gRPC until SIGTERM.

    Every setting can also be an environment variable POWERPLAN_SERVE_<NAME> or a key of the TOML file; an option wins
    over the environment, the environment over the file. Tokens come from --token-file or POWERPLAN_SERVE_TOKENS.

    \b
    powerplan serve --listen 127.0.0.1:50051
    powerplan serve --listen 0.0.0.0:50051 --tls-certificate cert.pem --tls-key key.pem --token-file tokens.txt
    """
    from powerplan_server.config import load_config

    config = load_config(config_file, overrides=options)
    if print_config:
        click.echo(config.to_toml(), nl=False)
        return
    try:
        from powerplan_server.server import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "grpcio", "server", "Serving") from error
    from powerplan_server import logs

    logs.set_up(config.log_level)
    serve(config)
