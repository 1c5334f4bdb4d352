"""Imported once by the fork server, so that every worker starts with the engine already in memory."""

from __future__ import annotations

import contextlib
import gc
import signal

# The fork server must outlive a SIGTERM to the process group: running requests are finished first.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

# What cannot be imported fails again in the call that needs it, which says so.
with contextlib.suppress(ImportError):
    import cvxpy  # noqa: F401
    import torch  # noqa: F401

    import powerplan_server.engine
    import powerplan_server.workers.child  # noqa: F401
    from powerplan import explain, frontier, plan, predict, simulate  # noqa: F401

gc.freeze()  # keeps the shared pages shared: the collector of a worker does not touch what is here
