"""Where jobs are planned: processes of this machine, planning servers, a Ray cluster.

All follow :mod:`.base`. The functions here make what ``Study.run(executor=...)`` takes, and import what they need only
when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from powerplan.batch.executors.base import Executor


def local_executor(*, workers: int | None = None) -> Callable[[Path], Executor]:
    """Processes of this machine; ``workers`` None = one per processor."""

    def make(folder: Path) -> Executor:
        from powerplan.batch.executors.local import LocalExecutor

        return LocalExecutor(folder, workers=workers)

    return make


def server_executor(addresses: Sequence[str], *, calls: int | None = None, **way: Any) -> Callable[[Path], Executor]:
    """Planning servers; see :class:`powerplan.batch.executors.servers.ServerExecutor`."""

    def make(folder: Path) -> Executor:
        from powerplan.batch.executors.servers import ServerExecutor

        return ServerExecutor(folder, addresses, calls=calls, **way)

    return make


def ray_executor(*, address: str | None = None, workers: int | None = None) -> Callable[[Path], Executor]:
    """A Ray cluster; see :class:`powerplan.batch.executors.cluster.RayExecutor`."""

    def make(folder: Path) -> Executor:
        from powerplan.batch.executors.cluster import RayExecutor

        return RayExecutor(folder, address=address, workers=workers)

    return make
