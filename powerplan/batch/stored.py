"""The plans of a ledger, read when they are asked for: a study of many points need not fit into memory.

Why: docs/decisions/studies.md [0203].
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from powerplan.batch.ledger import read_plan
from powerplan.planning import Plan

#: plans kept although nobody holds them
LAST_PLANS = 32


class StoredPlans:
    """The plans in the ledger of a folder by the key of their job.

    A plan that somebody holds is the same object when it is asked for again; of the others the last few are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in_use: WeakValueDictionary[str, Plan] = WeakValueDictionary()
        self._last: deque[Plan] = deque(maxlen=LAST_PLANS)

    def reader(self, key: str) -> Callable[[], Plan]:
        """What reads the plan of a job that is done."""
        return partial(self.read, key)

    def read(self, key: str) -> Plan:
        """The plan of a job that is done.

        Raises:
            InvalidInput: the ledger is gone, or holds no such plan any more.
            CorruptFile: it is damaged.
        """
        plan = self._in_use.get(key)
        if plan is None:
            plan = self._in_use[key] = Plan.from_dict(json.loads(read_plan(self._folder, key)))
        self._last.append(plan)
        return plan
