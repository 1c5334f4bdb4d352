"""Studies: thousands of plans from one file, on all cores, on servers or on a cluster, resumed after any interruption.

study file → points (:mod:`.expand`) → jobs by content (:mod:`.jobs`) → ledger (:mod:`.ledger`)
→ runner and executors → :class:`StudyResult` → table, report
"""

from powerplan.batch.results import Failure, PointResult, PointState, StudyResult

__all__ = ["Failure", "PointResult", "PointState", "StudyResult"]
