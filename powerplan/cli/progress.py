"""Progress where stderr is no terminal: a line within the first second, then now and then, with what is being done."""

from __future__ import annotations

import threading
import time

import click

#: seconds before the first line, to the second one, and between any two after it
FIRST, SECOND, NEXT = 0.8, 5.0, 20.0


class Lines:
    """Lines on stderr, written by a thread, so that they come also while the calculation says nothing."""

    def __init__(self) -> None:
        self._begun = self._since = self._moved = time.monotonic()
        self._text, self._fraction, self._longest = "", 0.0, 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def doing(self, text: str, fraction: float | None = None, *, at_once: bool = False) -> None:
        """What is being done from now on, and the fraction of all that is done, which tells the time left.

        Args:
            at_once: write it now.
        """
        now = time.monotonic()
        if not fraction:  # what comes before any fraction says nothing about the time left
            self._since, self._longest = now, 0.0
        elif fraction != self._fraction:
            self._longest = max(self._longest, now - self._moved)
        if not fraction or fraction != self._fraction:
            self._moved = now
        self._text, self._fraction = text, fraction or 0.0
        if at_once:
            self._write()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="powerplan-progress", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """No more lines."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = FIRST
        while not self._stopped.wait(pause):
            self._write()
            pause = SECOND if pause == FIRST else NEXT

    def _write(self) -> None:
        now = time.monotonic()
        done = f": {100 * self._fraction:.0f} %" if self._fraction else ""
        left = self._left(now)
        more = f", about {left:.0f} s left" if left >= 0.5 else ""
        click.echo(f"{self._text}{done} after {now - self._begun:.0f} s{more}", err=True)

    def _left(self, now: float) -> float:
        """The time left [s], 0 where nothing tells it: it falls from what it was when the fraction last moved, and is
        unknown once the fraction has stood for longer than ever before."""
        stood = now - self._moved
        if self._fraction <= 0.1 or stood > self._longest:
            return 0.0
        return (self._moved - self._since) * (1 / self._fraction - 1) - stood
