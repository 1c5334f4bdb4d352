"""``powerplan batch``: studies of many plans."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.command import Group
from powerplan.cli.exits import Exit
from powerplan.cli.output import document, write_json
from powerplan.cli.progress import Lines
from powerplan.cli.quantities import Seconds
from powerplan.cli.server import server_options
from powerplan.errors import PowerplanError

if TYPE_CHECKING:
    from powerplan.batch import Study, StudyResult
    from powerplan.batch.runner import Progress

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: seconds between two lines of progress where stderr is not a terminal
_LINE_SECONDS = 10.0
#: most causes of failures that are listed, and most points named with each
_MOST_CAUSES, _MOST_NAMES = 20, 3

_study = click.argument("study_file", metavar="STUDY")
_folder = click.option(
    "--folder", metavar="DIR", help="Where ledger, networks and inputs are kept; default: NAME.powerplan next to STUDY."
)


def _run_options(function: _Command) -> _Command:
    for option in reversed(
        (
            click.option("--workers", type=click.IntRange(min=1), help="Processes (or calls per server) at a time."),
            click.option(
                "--executor",
                type=click.Choice(["local", "servers", "ray"]),
                help="Where to plan: processes of this machine, planning servers or a Ray cluster; default: local, or "
                "servers if there is --server.",
            ),
            click.option(
                "--server", "servers", multiple=True, metavar="HOST:PORT", help="Planning server; may be repeated."
            ),
            server_options(with_address=False),
            click.option("--ray-address", metavar="ADDRESS", help="Ray cluster; default: one on this machine."),
            click.option(
                "--time-limit", type=Seconds(), help="End every plan after this time, with the best gains so far."
            ),
            click.option(
                "--attempts",
                type=click.IntRange(min=1),
                help="How often a job is started if its worker crashes; default 3.",
            ),
        )
    ):
        function = option(function)
    return function


@click.group("batch", cls=Group, short_help="Studies: many plans from one file.")
def command() -> None:
    """Studies: many plans from one file, resumed after any interruption.

    Every command has its own --help, and --json for one JSON document as the answer.

    \b
    powerplan batch run study.toml --dry-run
    powerplan batch run study.toml
    powerplan batch export study.toml --output table.csv
    """


@command.command("run")
@_study
@_folder
@_run_options
@click.option("--dry-run", is_flag=True, help="Check the file, measure a few jobs, estimate time and memory of a run.")
@opt.output_options
@click.pass_obj
def run(chat: Chat, /, study_file: str, folder: str | None, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Plan every point of a study that is not done yet.

    The exit code is 0 if every point has a plan, 6 if some failed, 130 after Ctrl-C; run again to go on.
    """
    study = _load(study_file)
    if dry_run:
        _estimate(chat, study, folder, options["workers"], as_json)
        return
    _finish(chat, study, _run(chat, study, folder, options), as_json)


@command.command("retry")
@_study
@_folder
@_run_options
@opt.output_options
@click.pass_obj
def retry(chat: Chat, /, study_file: str, folder: str | None, as_json: bool, **options: Any) -> None:
    """Plan failed points again, and those whose plan in the ledger is damaged."""
    study = _load(study_file)
    count = study.retry(folder=folder)
    chat.note(f"{count} job{'' if count == 1 else 's'} queued again")
    _finish(chat, study, _run(chat, study, folder, options), as_json)


@command.command("status")
@_study
@_folder
@opt.output_options
def status(study_file: str, folder: str | None, as_json: bool) -> None:
    """How far a study is, and what failed. The exit code is that of run, or 0 while points are left."""
    study = _load(study_file)
    entries, runners = study.entries(folder=folder)
    counts = _counts(entry.state.value for entry in entries)
    failures = [
        {"point": point.name, "code": entry.failure.code, "message": entry.failure.message}
        for point, entry in zip(study.points, entries, strict=True)
        if entry.failure is not None
    ]
    if as_json:
        write_json(document("study_status", name=study.name, runners=runners, points=counts, failures=failures))
    else:
        parts = ", ".join(f"{count} {state}" for state, count in counts.items())
        click.echo(f"{study.name}: {len(entries)} points: {parts}; runners at work: {runners}")
        _print_failures(failures)
    if failures and counts["done"] + counts["failed"] == len(entries):
        click.get_current_context().exit(int(Exit.FAILED_POINTS))


@command.command("export")
@_study
@_folder
@click.option(
    "--output", "output_file", required=True, type=click.Path(), metavar="FILE", help="A .csv, .parquet or .json file."
)
@click.option("--times", is_flag=True, help="Add seconds and attempts, which differ from run to run.")
@opt.output_options
@click.pass_obj
def export(chat: Chat, /, study_file: str, folder: str | None, output_file: str, times: bool, as_json: bool) -> None:
    """Write a table with one row per point."""
    from powerplan.batch import export as write_table

    result = _load(study_file).results(folder=folder)
    write_table(result, output_file, times=times)
    if as_json:
        write_json(document("study_export", output=output_file, rows=len(result.points)))
    chat.note(f"wrote {output_file}: {len(result.points)} rows")


@command.command("report")
@_study
@_folder
@click.option(
    "--output", "output_file", required=True, type=click.Path(), metavar="FILE.html", help="The report, one file."
)
@opt.output_options
@click.pass_obj
def report(chat: Chat, /, study_file: str, folder: str | None, output_file: str, as_json: bool) -> None:
    """Write a self-contained HTML report."""
    from powerplan.report.html import check_report_file, write_report

    check_report_file(output_file)
    result = _load(study_file).results(folder=folder)
    write_report(result, output_file, title=result.name)
    if as_json:
        write_json(document("study_report", output=output_file))
    chat.note(f"wrote {output_file}")


@command.command("schema")
def schema() -> None:
    """Print the JSON schema of study files, for editors and other tools."""
    from powerplan.batch.schema import file_schema

    write_json(file_schema())


def _load(study_file: str) -> Study:
    from powerplan.batch import Study

    return Study.load(study_file)


def _run(chat: Chat, study: Study, folder: str | None, options: dict[str, Any]) -> StudyResult:
    executor = _executor(options)
    try:
        with _terminable(), _progress(chat) as progress:
            return study.run(folder=folder, executor=executor, progress=progress, **options)
    except KeyboardInterrupt:
        with suppress(PowerplanError):  # stopped before anything was written
            entries, _ = study.entries(folder=folder)
            done = _counts(entry.state.value for entry in entries)["done"]
            chat.resume = f"{done} of {len(entries)} points are planned and kept. Run the same command to go on."
        raise


def _executor(options: dict[str, Any]) -> Any:
    """What makes the executor that the options name; takes its own out of them."""
    from powerplan.batch.executors import ray_executor, server_executor

    name, servers, address = (options.pop(option) for option in ("executor", "servers", "ray_address"))
    way = {option: options.pop(option) for option in list(options) if option.startswith("server_")}
    name = name or ("servers" if servers else "local")
    if (name == "servers") != bool(servers):
        raise click.UsageError("--server: give it with --executor servers, at least once, and with no other.")
    if name == "ray":
        return ray_executor(address=address, workers=options["workers"])
    return server_executor(servers, calls=options["workers"], **way) if name == "servers" else None


def _estimate(chat: Chat, study: Study, folder: str | None, workers: int | None, as_json: bool) -> None:
    from powerplan.batch.estimate import estimate

    chat.note("reading networks and inputs, measuring a few jobs")
    costs = estimate(study, folder=None if folder is None else Path(folder), workers=workers)
    if as_json:
        write_json(document("study_estimate", name=study.name, **vars(costs)))
        return
    ended = [f"{costs.done:,} done"] + ([f"{costs.failed:,} failed"] if costs.failed else [])
    rows = [
        ("points", f"{costs.points:,}"),
        ("different jobs", f"{costs.jobs:,} ({', '.join(ended)})"),
        ("axes", ", ".join(study.axes) or "none"),
        ("first, last", f"{study.points[0].name}, {study.points[-1].name}"),
    ]
    if costs.left:
        rows += [
            ("time per job", f"{_duration(costs.seconds_per_job)}, from {costs.sample} jobs measured"),
            ("time in all", f"about {_duration(costs.seconds)} with {costs.workers} workers"),
            ("memory", f"about {costs.memory / 2**20:,.0f} MiB per worker"),
        ]
    else:
        rows.append(("left to do", "nothing"))
    for name, text in rows:
        click.echo(f"{name:<15} {text}")
    if costs.unreadable:
        chat.note(f"warning: networks or inputs of {costs.unreadable} points cannot be read; these points will fail")
    if costs.failed:
        chat.note("Failed jobs are left out; to plan them again: powerplan batch retry")
    if costs.sample_failed:
        chat.note(f"warning: {costs.sample_failed} of the jobs measured failed or took over a minute")


def _finish(chat: Chat, study: Study, result: StudyResult, as_json: bool) -> None:
    """Say how a run ended; the exit code says if points failed."""
    counts = _counts(point.state.value for point in result.points)
    failures = [
        {"point": point.name, "code": point.failure.code, "message": point.failure.message}
        for point in result.failed
        if point.failure is not None
    ]
    if as_json:
        write_json(document("study_run", name=study.name, points=counts, failures=failures))
    else:
        click.echo(f"{study.name}: {counts['done']} of {len(result.points)} points planned, {counts['failed']} failed")
        _print_failures(failures)
    if failures:
        chat.note("Look at the failures, then: powerplan batch retry")
        click.get_current_context().exit(int(Exit.FAILED_POINTS))


def _print_failures(failures: list[dict[str, str]]) -> None:
    """Failures by cause, the most frequent first, each with a few of its points."""
    from powerplan.batch.results import by_cause

    listed = by_cause(((failure["code"], failure["message"]), failure["point"]) for failure in failures)
    for (code, message), names in listed[:_MOST_CAUSES]:
        if len(names) == 1:
            click.echo(f"  failed: {names[0]}: {code}: {message}")
            continue
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        click.echo(f"  failed: {len(names)} points: {code}: {message}")
        click.echo(f"          {', '.join(names[:_MOST_NAMES])}{more}")
    if len(listed) > _MOST_CAUSES:
        rest = sum(len(names) for _, names in listed[_MOST_CAUSES:])
        click.echo(f"  and {rest} points of {len(listed) - _MOST_CAUSES} other causes; powerplan batch export has all")


def _counts(states: Iterator[str]) -> dict[str, int]:
    counts = dict.fromkeys(("done", "failed", "running", "queued"), 0)
    for state in states:
        counts[state] += 1
    return counts


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a run as cleanly as Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(chat: Chat) -> Iterator[Callable[[Progress], None] | None]:
    """Progress on stderr: one line that changes on a terminal, else a line now and then."""
    if chat.quiet:
        yield None
        return
    terminal = sys.stderr.isatty()
    lines = Lines()
    shown, last = 0.0, ("", -1)

    def show(progress: Progress) -> None:
        nonlocal shown, last
        now = time.monotonic()
        ended = progress.done + progress.failed
        text = f"{progress.doing}: {ended:,}/{progress.total:,}" if ended else progress.doing
        text += f", {progress.failed:,} failed" if progress.failed else ""
        text += f", {progress.rate:.3g} jobs/s" if progress.rate else ""
        text += f", about {_duration(float(f'{progress.seconds_left:.2g}'))} left" if progress.seconds_left else ""
        state = (progress.doing, ended)
        pause = 0.1 if terminal else _LINE_SECONDS
        due = state != last and (now - shown >= pause or ended == progress.total or progress.doing != last[0])
        if due:
            shown, last = now, state
        if not terminal:
            lines.doing(text, at_once=due)
        elif due:
            click.echo(f"\r\033[K{text}", err=True, nl=False)

    try:
        yield show
    finally:
        lines.stop()
        if terminal and shown:
            click.echo(err=True)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
