"""The job store that the settings name."""

from __future__ import annotations

from powerplan.errors import MissingExtra
from powerplan_server.config import ServeConfig
from powerplan_server.jobs.salvage import open_store
from powerplan_server.jobs.store import JobStore
from powerplan_server.jobs.values import JobLimits

_ALL = 2**31 - 1  # as many jobs as there are workers, of however many servers


def open_jobs(config: ServeConfig) -> JobStore:
    """Open it; a damaged file is replaced, see :mod:`.salvage`.

    Raises:
        InvalidInput, CorruptFile: it cannot be used.
    """
    limits = JobLimits(
        unfinished=config.job_queue_size,
        unfinished_of_tenant=config.tenant_job_queue_size or config.job_queue_size,
        running_of_tenant=config.tenant_workers or _ALL,
        outcomes_of_tenant=config.job_quota,
        retention=config.job_retention,
    )
    if config.database:
        try:
            from powerplan_server.jobs.postgres import PostgresJobs
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "psycopg", "cluster", "Sharing jobs in a database") from error
        return JobStore(PostgresJobs(config.database), limits=limits)
    return open_store(config.data_path / "jobs.sqlite", limits=limits)
