"""Which jobs a worker takes next: neighbours that share their prediction, in short runs that keep all workers busy.

Why: docs/decisions/studies.md [0143].
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence

from powerplan.batch.jobs import Job

#: seconds of work that a worker takes at a time, and most jobs
_RUN_SECONDS, _MOST = 1.0, 32


class JobQueue:
    """The jobs that wait, by group; safe to share between threads.

    Args:
        workers: how many share it.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._lock = threading.Lock()
        self._groups: OrderedDict[str, deque[Job]] = OrderedDict()
        self._last: dict[int, str] = {}
        self._count = 0
        self._seconds = 0.0
        self._ended = 0

    def __len__(self) -> int:
        return self._count

    def put(self, jobs: Iterable[Job], *, first: bool = False) -> None:
        """Add jobs at the end of their groups, or at their front."""
        with self._lock:
            for job in reversed(list(jobs)) if first else jobs:
                group = self._groups.setdefault(job.group, deque())
                group.appendleft(job) if first else group.append(job)
                self._count += 1

    def take(self, worker: int) -> Sequence[Job]:
        """Jobs of one group for a worker: of the group it had last, else of the first that no other is at.

        Few enough that the others find work too; none if nothing waits.
        """
        with self._lock:
            if not self._count:
                return ()
            name = self._last.get(worker, "")
            if name not in self._groups:
                busy = {group for other, group in self._last.items() if other != worker}
                name = next((group for group in self._groups if group not in busy), next(iter(self._groups)))
            group = self._groups[name]
            taken = [group.popleft() for _ in range(min(len(group), self._size()))]
            if not group:
                del self._groups[name]
            self._count -= len(taken)
            self._last[worker] = name
            return taken

    def measured(self, seconds: float) -> None:
        """Note how long a job took."""
        with self._lock:
            self._seconds += seconds
            self._ended += 1

    def _size(self) -> int:
        mean = self._seconds / self._ended if self._ended else _RUN_SECONDS
        most = min(_MOST, _RUN_SECONDS / mean if mean else _MOST, self._count / (2 * self.workers))
        return max(1, int(most))
