"""A local worker process that plans, except that two seeds misbehave."""

from __future__ import annotations

from misbehaving import MisbehavingPlanner

from powerplan.batch import work
from powerplan.batch.executors.child import main

if __name__ == "__main__":
    work.Planner = MisbehavingPlanner
    main()
