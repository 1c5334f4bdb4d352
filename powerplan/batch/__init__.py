"""Studies: thousands of plans from one file, on all cores, on servers or on a cluster, resumed after any interruption.

study file → points (:mod:`.points`) → jobs by content (:mod:`.jobs`) → ledger (:mod:`.ledger`)
→ runner (:mod:`.runner`) and executors → :class:`StudyResult` → table (:mod:`.table`), report
"""

from powerplan.batch.executors import local_executor, ray_executor, server_executor
from powerplan.batch.results import Failure, PointResult, PointState, StudyResult
from powerplan.batch.study import Study
from powerplan.batch.table import export

__all__ = [
    "Failure",
    "PointResult",
    "PointState",
    "Study",
    "StudyResult",
    "export",
    "local_executor",
    "ray_executor",
    "server_executor",
]
