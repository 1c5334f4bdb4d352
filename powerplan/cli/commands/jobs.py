"""``powerplan jobs``: plans that a planning server makes in the background."""

from __future__ import annotations

from typing import Any

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.command import Group
from powerplan.cli.output import document, write_json
from powerplan.cli.server import server_options
from powerplan.remote import connect, errors

_ADDRESS = click.argument("address", metavar="HOST:PORT")
_ONE = click.argument("job_id", metavar="JOB")


@click.group("jobs", cls=Group, short_help="Jobs of a planning server: list, watch, cancel, delete.")
def command() -> None:
    """Jobs: plans that a planning server calculates in the background, of your token's tenant.

    They are submitted by clients (PlannerClient.submit, SubmitPlan). Every command has its own --help, and --json for
    one JSON document as the answer.
    """


@command.command("list", short_help="All jobs, newest first.")
@_ADDRESS
@server_options(with_address=False)
@opt.output_options
def list_command(address: str, as_json: bool, **options: Any) -> None:
    """All jobs that the server keeps, newest first."""
    with connect(address, **options) as client, errors():
        jobs = [_described(job) for job in client.list_jobs()]
    if as_json:
        write_json(document("jobs", jobs=jobs))
        return
    for job in jobs:
        click.echo(f"{job['job_id']}  {job['state']:<9}  {job['created']}  {job['request_id']}".rstrip())


@command.command("watch", short_help="Follow a job until it ends.")
@_ADDRESS
@_ONE
@server_options(with_address=False)
@opt.output_options
@click.pass_obj
def watch_command(chat: Chat, /, address: str, job_id: str, as_json: bool, **options: Any) -> None:
    """Follow a job until it ends; progress goes to stderr, the outcome to stdout."""
    with connect(address, **options) as client, errors():
        for event in client.watch_job(job_id):
            if not chat.quiet:
                click.echo(_line(event), err=True)
            last = event
    if as_json:
        write_json(document("job", **_described(last.job)))
    else:
        click.echo(last.state.value)


@command.command("cancel", short_help="Cancel a job.")
@_ADDRESS
@_ONE
@server_options(with_address=False)
@opt.output_options
def cancel_command(address: str, job_id: str, as_json: bool, **options: Any) -> None:
    """Cancel a job; a job that has ended is not changed."""
    with connect(address, **options) as client, errors():
        job = _described(client.cancel_job(job_id))
    if as_json:
        write_json(document("job", **job))
    else:
        click.echo(job["state"])


@command.command("delete", short_help="Delete a job and its plan.")
@_ADDRESS
@_ONE
@server_options(with_address=False)
@opt.output_options
def delete_command(address: str, job_id: str, as_json: bool, **options: Any) -> None:
    """Delete a job and its plan; a job that has not ended is cancelled first."""
    with connect(address, **options) as client, errors():
        client.delete_job(job_id)
    if as_json:
        write_json(document("job_deleted", job_id=job_id))
    else:
        click.echo("deleted")


def _described(job: Any) -> dict[str, Any]:
    """A job without its plan, as JSON has it."""
    times = {name: getattr(job, name) for name in ("created", "started", "ended", "expires")}
    return {
        "job_id": job.job_id,
        "request_id": job.request_id,
        "state": job.state.value,
        **{name: getattr(job, name) for name in ("stage", "fraction", "iteration", "objective", "bound")},
        **{name: None if time is None else time.isoformat(timespec="seconds") for name, time in times.items()},
        "outcome": None if job.plan is None else job.plan.termination.outcome.value,
        "error": None if job.error is None else str(job.error),
    }


def _line(event: Any) -> str:
    """An event on one line."""
    parts = [event.state.value]
    if event.stage:
        parts.append(f"{event.stage} {100 * event.fraction:.0f} %")
    if event.iteration is not None:
        parts.append(f"iteration {event.iteration}")
    for name in ("objective", "bound"):
        if (value := getattr(event, name)) is not None:
            parts.append(f"{name} {value:.4g}")
    return ", ".join(parts)
