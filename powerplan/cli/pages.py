"""``--html FILE`` of commands that tell one result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from powerplan.cli.case import check_output_file
from powerplan.cli.chat import Chat

if TYPE_CHECKING:
    from powerplan.moments.prediction import Prediction
    from powerplan.montecarlo.simulation import Simulation


def check_page(file: str) -> None:
    """Refuse a file that cannot be written, or is no page, before any long work.

    Raises:
        InvalidInput: naming --html.
    """
    from powerplan.report.html import check_report_file

    check_output_file("html", file)
    check_report_file(file)


def write_page(chat: Chat, result: Prediction | Simulation, file: str, title: str, bound: float | None = None) -> None:
    """Write the page of a result, its chips parted at a bound on their NMSE."""
    from powerplan.report.html import write_report

    write_report(result, file, title=title, bound=bound)
    chat.note(f"wrote {file}")
