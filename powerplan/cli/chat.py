"""What the command line says on stderr: notes, warnings, errors and progress. The answer goes to stdout."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import click

from powerplan.cli.output import write_text
from powerplan.cli.progress import Lines

Progress = Callable[[str, float], None]
Plans = TypeVar("Plans")


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
        resume: what a person does who stopped the command and wants its answer; said after Ctrl-C.
    """

    verbosity: int = 0
    quiet: bool = False
    stated: Stated = field(default_factory=lambda: Stated())
    resume: str = ""
    _lines: Lines | None = None
    _reached: tuple[str, float, float] | None = None
    _warned: set[str] = field(default_factory=set)

    def note(self, message: str) -> None:
        """One line for a person, not with ``--quiet``."""
        if not self.quiet:
            click.echo(message, err=True)

    def interrupted(self) -> None:
        """Ctrl-C: how far the command came, and how to go on."""
        reached = ""
        if self._reached is not None:
            stage, fraction, begun = self._reached
            reached = f" at {stage}: {100 * fraction:.0f} % after {time.monotonic() - begun:.0f} s"
        click.echo(f"interrupted{reached}", err=True)
        if self.resume:
            self.note(self.resume)

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
            self.hush()
            logger.removeHandler(handler)
            logger.setLevel(before)

    def _show_warning(self, message: Warning | str, *_: object, **__: object) -> None:
        for line in str(message).splitlines():
            if not self.quiet and line not in self._warned:  # a command may calculate more than once
                click.echo(f"warning: {line}", err=True)
                self._warned.add(line)

    def doing(self, stage: str, fraction: float | None = None) -> None:
        """What the command does now, in lines on stderr where it takes long and stderr is no terminal."""
        if self.quiet or sys.stderr.isatty():
            return
        if self._lines is None:
            self._lines = Lines()
        self._lines.doing(stage, fraction)

    def hush(self) -> None:
        """No more lines about what is being done."""
        if self._lines is not None:
            self._lines.stop()
            self._lines = None

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A progress callback ``(stage, fraction)``: a bar on a terminal, else a line now and then; None if quiet."""
        if self.quiet:
            yield None
            return
        begun = time.monotonic()
        if not sys.stderr.isatty():
            self.doing("calculating")  # until the engine says what
            try:
                yield self._remembered(self.doing, begun)
            finally:
                self.hush()
            return
        steps = 1000
        with click.progressbar(length=steps, file=sys.stderr, width=30, show_pos=False) as bar:

            def update(stage: str, fraction: float) -> None:
                bar.label = f"{stage:<12.12}"
                bar.update(round(min(max(fraction, 0.0), 1.0) * steps) - bar.pos)

            yield self._remembered(update, begun)
            update("done", 1.0)

    @contextmanager
    def showing(self, done: Sequence[Plans], table: Callable[[Sequence[Plans]], str] | None) -> Iterator[None]:
        """After Ctrl-C, what is done by then goes to stdout; without a ``table`` it is only counted."""
        try:
            yield
        except KeyboardInterrupt:
            shown = table is not None and done
            if table is not None and done:
                write_text(table(done))
            self.resume = (
                f"{len(done)} plans were made{', those above' if shown else ''}. "
                "A study keeps plans as they are made, and goes on where it was stopped: powerplan batch run"
            )
            raise

    def _remembered(self, update: Progress, begun: float) -> Progress:
        """The callback, which also keeps what is said after Ctrl-C."""

        def remember(stage: str, fraction: float) -> None:
            self._reached = (stage, fraction, begun)
            update(stage, fraction)

        return remember
