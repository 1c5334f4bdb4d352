"""What the command line says on stderr: notes, warnings, errors and progress. The answer goes to stdout."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

Progress = Callable[[str, float], None]


@dataclass
class Chat:
    """How much to say.

    Attributes:
        verbosity: 0 notes, 1 adds the log, 2 adds the debug log and tracebacks.
        quiet: errors only.
    """

    verbosity: int = 0
    quiet: bool = False

    def note(self, message: str) -> None:
        """One line for a person, not with ``--quiet``."""
        if not self.quiet:
            click.echo(message, err=True)

    def error(self, message: str) -> None:
        """``error: ...``, one line per line of the message."""
        for line in message.splitlines() or [""]:
            click.echo(f"error: {line}", err=True)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Show the log and the warnings of the engine on stderr while the block runs."""
        from powerplan.errors import PowerplanWarning

        logger = logging.getLogger("powerplan")
        before = logger.level
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        if self.verbosity:
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG if self.verbosity > 1 else logging.INFO)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", PowerplanWarning)
                warnings.showwarning = self._show_warning
                yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)

    def _show_warning(self, message: Warning | str, *_: object, **__: object) -> None:
        if not self.quiet:
            click.echo(f"warning: {message}", err=True)

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A progress callback ``(stage, fraction)`` that draws a bar; None unless stderr is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        steps = 1000
        with click.progressbar(length=steps, file=sys.stderr, width=30, show_pos=False) as bar:

            def update(stage: str, fraction: float) -> None:
                bar.label = f"{stage:<12.12}"
                bar.update(round(min(max(fraction, 0.0), 1.0) * steps) - bar.pos)

            yield update
