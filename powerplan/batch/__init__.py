"""Studies: thousands of plans from one file, on all cores, on servers or on a cluster, resumed after any interruption.

    study file → points (:mod:`.points`) → jobs by content (:mod:`.jobs`) → ledger (:mod:`.ledger`)
    → runner (:mod:`.runner`) and executors → :class:`StudyResult` → table (:mod:`.table`), report

The names are loaded when first used: worker processes and the runner need little of this.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from powerplan.batch.executors import (
        local_executor as local_executor,
        ray_executor as ray_executor,
        server_executor as server_executor,
    )
    from powerplan.batch.results import (
        Failure as Failure,
        PointResult as PointResult,
        PointState as PointState,
        StudyResult as StudyResult,
    )
    from powerplan.batch.study import Study as Study
    from powerplan.batch.table import export as export

_HOME_OF = {
    **dict.fromkeys(("local_executor", "ray_executor", "server_executor"), "powerplan.batch.executors"),
    **dict.fromkeys(("Failure", "PointResult", "PointState", "StudyResult"), "powerplan.batch.results"),
    "Study": "powerplan.batch.study",
    "export": "powerplan.batch.table",
}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'powerplan.batch' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
