"""What became of each tenant's calls and jobs since the server started, and where their time went.

One count for two readers: a tenant asks for its own by GetStatistics, the operator finds all of them among the metrics.
The parts are those of inference servers: waiting, computing, the cache.

Why: docs/decisions/service.md [0623].
"""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily

from powerplan_client._generated import v1

#: the calculations of submitted jobs, as a method
JOB = "PlanJob"
PARTS = tuple(field.name for field in v1.MethodStatistics.DESCRIPTOR.fields if field.message_type)
_MOST_TENANTS = 1000  # beyond which those that called longest ago are forgotten


@dataclass
class _Sum:
    count: int = 0
    seconds: float = 0.0


_Methods = defaultdict[str, dict[str, _Sum]]


class Statistics:
    """Counts and seconds by tenant, method and part."""

    def __init__(self) -> None:
        self.since = time.time()
        self._tenants: OrderedDict[str, _Methods] = OrderedDict()

    def add(self, tenant: str, method: str, **seconds: float) -> None:
        """Count a call or job once in each part that is named, with its seconds there."""
        methods = self._tenants.setdefault(tenant, defaultdict(dict))
        self._tenants.move_to_end(tenant)
        for part, taken in seconds.items():
            total = methods[method].setdefault(part, _Sum())
            total.count += 1
            total.seconds += taken
        if len(self._tenants) > _MOST_TENANTS:
            self._tenants.popitem(last=False)

    def ended(self, tenant: str, method: str, seconds: float, *, well: bool) -> None:
        """Count a call or job that ended."""
        self.add(tenant, method, **{"success" if well else "failure": seconds})

    def computed(self, tenant: str, method: str, timings: v1.Timings) -> None:
        """Count what a worker did."""
        self.add(tenant, method, decode=timings.decode_seconds, solve=timings.solve_seconds)
        if timings.verify_seconds:
            self.add(tenant, method, verify=timings.verify_seconds)

    def of(self, tenant: str) -> list[v1.MethodStatistics]:
        """A tenant's statistics by method."""
        return [
            v1.MethodStatistics(
                method=method,
                **{part: v1.CountAndSeconds(count=sum.count, seconds=sum.seconds) for part, sum in parts.items()},
            )
            for method, parts in sorted(self._tenants.get(tenant, {}).items())
        ]

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The statistics of all tenants, as metrics."""
        labels = ["tenant", "method", "part"]
        count = CounterMetricFamily("powerplan_tenant_calls", "Calls and jobs of each tenant, by part", labels=labels)
        seconds = CounterMetricFamily("powerplan_tenant_seconds", "Time of each tenant's calls and jobs", labels=labels)
        for tenant, methods in list(self._tenants.items()):
            for method, parts in list(methods.items()):
                for part, total in list(parts.items()):
                    count.add_metric([tenant, method, part], total.count)
                    seconds.add_metric([tenant, method, part], total.seconds)
        yield count
        yield seconds
