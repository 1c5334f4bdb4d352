"""Output of native code kept from standard output, which is the answer."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """While this lasts, file descriptor 1 is that of standard error.

    HiGHS prints lines of its own by C's stdio in some searches, whatever its options say.
    """
    with contextlib.suppress(Exception):  # no stream, or one that is closed
        sys.stdout.flush()
    try:
        stdout = os.dup(1)
    except OSError:  # there is no standard output
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
