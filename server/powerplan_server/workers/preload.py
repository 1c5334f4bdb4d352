"""Imported once by the fork server, so that every worker starts with the engine already in memory."""

from __future__ import annotations

import contextlib
import gc
import importlib
import signal

# The fork server must outlive a SIGTERM to the process group: running requests are finished first.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

_MODULES = (
    "torch",
    "cvxpy",
    "powerplan.planning",
    "powerplan.moments",
    "powerplan.montecarlo",
    "powerplan_server.workers.child",
    "powerplan_server.engine",
)
for name in _MODULES:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)

gc.freeze()  # keeps the shared pages shared: the collector of a worker does not touch what is here
