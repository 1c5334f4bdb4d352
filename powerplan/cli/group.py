"""The root command: a table of commands, each loaded when it is used, and one place for errors."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from powerplan._version import __version__
from powerplan.cli.chat import Chat
from powerplan.cli.exits import EXIT_HELP, Exit
from powerplan.cli.output import with_options

#: command -> (module with its ``command``, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "plan": ("powerplan.cli.commands.plan", "Gains that meet a target error at least power."),
    "predict": ("powerplan.cli.commands.predict", "Error and power at given gains, from second-order moments."),
    "simulate": ("powerplan.cli.commands.simulate", "Error and power at given gains, by Monte Carlo."),
    "frontier": ("powerplan.cli.commands.frontier", "Plans for a list of targets: power against error."),
    "compare": ("powerplan.cli.commands.compare", "The same plan on several technologies, compared."),
    "batch": ("powerplan.cli.commands.batch", "Studies: many plans from one file."),
    "example": ("powerplan.cli.commands.example", "Write a built-in network and its inputs to files."),
    "hardware": ("powerplan.cli.commands.hardware", "Hardware files, from measurements or presets."),
    "presets": ("powerplan.cli.commands.presets", "Published device technologies."),
    "serve": ("powerplan.cli.commands.serve", "Answer planning requests over gRPC."),
    "mcp": ("powerplan.cli.commands.mcp", "Tools for assistants, over the Model Context Protocol."),
    "status": ("powerplan.cli.commands.status", "Check a planning server: versions, features, limits."),
    "jobs": ("powerplan.cli.commands.jobs", "Jobs of a planning server: list, watch, cancel, delete."),
    "explain": ("powerplan.cli.commands.explain", "A plan in words: layers, limits, what relaxing them saves."),
    "export": ("powerplan.cli.commands.export", "Target conductances per tile and read-out settings, as files."),
    "report": ("powerplan.cli.commands.report", "One HTML page about plans, to read and share."),
    "doctor": ("powerplan.cli.commands.doctor", "What is installed, and whether it works."),
    "show": ("powerplan.cli.commands.show", "The layers of a network file, or the answer in a plan file."),
}


#: what writing to stdout can end with; files have errors of their own
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF)


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it or to show its own help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As ever; without a stdout nothing is begun that writes to it, --help and --version too."""
        if sys.stdout is None and (args[:1] != ["serve"] or {"-h", "--help"} & set(args)):
            raise click.UsageError(
                "stdout: it is closed, and the answer would be lost. Send it to a file or /dev/null.", ctx
            )
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], list(COMMANDS), n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "Run powerplan --help."
            raise click.UsageError(f"command: got {args[0]!r}; allowed: {', '.join(COMMANDS)}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; every error becomes ``error: ...`` lines and an exit code."""
        chat = Chat()
        try:
            with chat.listening():
                code = super().main(args, prog_name, complete_var, standalone_mode=False, **{**extra, "obj": chat})
        except (click.Abort, KeyboardInterrupt):
            chat.interrupted()
            code = Exit.INTERRUPTED
        except click.ClickException as error:
            _show_usage_error(chat, error)
            code = Exit.BAD_INPUT
        except Exception as error:
            if _was_interrupted(error):
                chat.interrupted()
                code = Exit.INTERRUPTED
            else:
                code = _show_error(chat, error)
        status = code if isinstance(code, int) else Exit.OK
        if standalone_mode:
            if status != Exit.OK and sys.stdout is not None:
                _drop_what_cannot_be_written()
            sys.exit(int(status))
        return int(status)


@click.group(
    "powerplan",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
    epilog=EXIT_HELP,
)
@click.version_option(__version__, "--version", prog_name="powerplan")
@click.pass_context
def main(ctx: click.Context) -> None:
    """How much amplification does a neural network on noisy memristor crossbars need?

    Plans the gains of every layer for a target error at least power, predicts error and power, and checks
    both by simulation. What is installed, and whether it works: powerplan doctor.

    \b
    powerplan plan --example digits --max-nmse 1% --verify 2000
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _drop_what_cannot_be_written() -> None:
    """The interpreter would try once more when it ends, and exit with 120."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_usage_error(chat: Chat, error: click.ClickException) -> None:
    """A usage error, and where to look up the right use."""
    chat.error(error.format_message())
    ctx = getattr(error, "ctx", None)
    if ctx is not None:
        click.echo(f"Run '{ctx.command_path} --help' for the options.", err=True)


def _was_interrupted(error: BaseException | None) -> bool:
    """True if Ctrl-C lies behind the error: a library can turn it into another one, most often while it is imported."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _file_error(error: OSError) -> str:
    """What went wrong with a file or with stdout; "" if neither did."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if error.errno in _FULL:
        return f"stdout: the answer cannot be written: {error.strerror}. Redirect it elsewhere (> file)."
    return ""


def _show_error(chat: Chat, error: Exception) -> Exit:
    """The lines and the exit code of an error; with -vv also the traceback."""
    from powerplan.errors import (
        InvalidInput,
        MissingData,
        MissingExtra,
        PlausibilityWarning,
        PowerplanError,
        RefusedByServer,
        ServerUnreachable,
    )

    if chat.verbosity > 1:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    if isinstance(error, InvalidInput):
        for violation in error.violations:
            chat.error(with_options(" ".join(str(violation).split())))
        return Exit.BAD_INPUT
    if isinstance(error, PlausibilityWarning):
        chat.error(f"{error}\nIf you mean it, add --accept-implausible.")
        return Exit.BAD_INPUT
    if isinstance(error, MissingExtra | MissingData | RefusedByServer):
        chat.error(str(error))
        return Exit.BAD_INPUT
    if isinstance(error, ServerUnreachable):
        chat.error(str(error))
        return Exit.UNREACHABLE
    if isinstance(error, PowerplanError):
        chat.error(str(error) or type(error).__name__)
        return Exit.INTERNAL
    if isinstance(error, OSError) and (reason := _file_error(error)):
        chat.error(reason)
        return Exit.BAD_INPUT
    if isinstance(error, MemoryError):
        chat.error("out of memory: use fewer inputs (--batch) or fewer draws")
        return Exit.INTERNAL
    chat.error(f"internal error: {type(error).__name__}: {error}. Run again with -vv and report the traceback.")
    return Exit.INTERNAL
