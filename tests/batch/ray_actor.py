"""An actor that plans, except that two seeds misbehave."""

from __future__ import annotations

from misbehaving import MisbehavingPlanner

from powerplan.batch.executors.cluster import RayPlanner


class MisbehavingRayPlanner(RayPlanner):
    """As :class:`MisbehavingPlanner`."""

    def __init__(self) -> None:
        super().__init__()
        self._planner = MisbehavingPlanner(self._fetch)
