"""What the command line says on stderr: notes, warnings, errors and progress. The answer goes to stdout."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

Progress = Callable[[str, float], None]


class Stated(Container[str]):
    """Fields of which every number was written with a unit that leaves no doubt."""

    def __init__(self) -> None:
        self._clear: dict[str, bool] = {}

    def note(self, field: str, clear: bool) -> None:
        """A number of a field was given, with such a unit or without."""
        self._clear[field] = clear and self._clear.get(field, True)

    def __contains__(self, field: object) -> bool:
        return self._clear.get(str(field), False)


@dataclass
class Chat:
    """How much to say.

    Attributes:
        verbosity: 0 notes, 1 adds the log, 2 adds the debug log and tracebacks.
        quiet: errors only.
        stated: fields whose every number was given with a unit that says what it means (100%, 77K).
    """

    verbosity: int = 0
    quiet: bool = False
    stated: Stated = field(default_factory=lambda: Stated())
    _warned: set[str] = field(default_factory=set)

    def note(self, message: str) -> None:
        """One line for a person, not with ``--quiet``."""
        if not self.quiet:
            click.echo(message, err=True)

    def error(self, message: str) -> None:
        """``error: ...``, one line per line of the message."""
        for line in message.splitlines() or [""]:
            click.echo(f"error: {line}", err=True)

    def accept_implausible(self) -> None:
        """Let numbers pass that are most likely in another unit, with a warning."""
        from powerplan.plausibility import accept

        accept()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Show the log and the warnings of the engine on stderr while the block runs."""
        from powerplan.errors import PowerplanWarning
        from powerplan.plausibility import confirming, refusing

        logger = logging.getLogger("powerplan")
        before = logger.level
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        if self.verbosity:
            logger.addHandler(handler)
            logger.setLevel(logging.DEBUG if self.verbosity > 1 else logging.INFO)
        try:
            with warnings.catch_warnings(), confirming(self.stated), refusing():
                warnings.simplefilter("always", PowerplanWarning)
                warnings.showwarning = self._show_warning
                yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)

    def _show_warning(self, message: Warning | str, *_: object, **__: object) -> None:
        for line in str(message).splitlines():
            if not self.quiet and line not in self._warned:  # a command may calculate more than once
                click.echo(f"warning: {line}", err=True)
                self._warned.add(line)

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
            update("done", 1.0)
