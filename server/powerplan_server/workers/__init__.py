"""Worker processes: one calculation each, killable at any moment.

:mod:`.protocol` is what server and worker say to each other, :mod:`.child` the worker's side, :mod:`.pool` the
server's.

Why: docs/decisions/service.md [0060].
"""

from powerplan_server.workers.pool import WorkerPool
from powerplan_server.workers.protocol import Call, WorkerFunction

__all__ = ["Call", "WorkerFunction", "WorkerPool"]
