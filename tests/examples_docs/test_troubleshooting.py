"""Troubleshooting is complete: every exit code, error, warning, outcome, failure code and reason has its line."""

from __future__ import annotations

import re
from pathlib import Path

import powerplan.errors
from powerplan.batch.results import Failure
from powerplan.cli.exits import Exit
from powerplan.planning import Outcome
from powerplan_client._generated import errors_pb2

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")


def section(page: str, start: str, end: str) -> str:
    """What the page includes from another: both markers have to be there."""
    text = (DOCS / page).read_text(encoding="utf-8")
    assert f'{{include}} {page}\n:start-after: "{start}"\n:end-before: "{end}"' in PAGE
    assert text.index(start) < text.index(end)
    return text[text.index(start) : text.index(end)]


def test_every_exit_code() -> None:
    table = section("cli.md", "## Exit codes", "## JSON")
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {int(code) for code in Exit}


def test_every_error_and_warning() -> None:
    raised = {
        name
        for name, value in vars(powerplan.errors).items()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == "powerplan.errors"
    }
    missing = {name for name in raised if f"| `{name}`" not in PAGE}
    assert missing <= {"PowerplanError", "PowerplanWarning"}  # the roots


def test_every_outcome_and_failure_code() -> None:
    codes = re.findall(r'"(\w+)" \(', Failure.__doc__ or "")
    assert len(codes) >= 6
    for word in (*codes, *(outcome.value for outcome in Outcome)):
        assert f"| `{word}` |" in PAGE, word


def test_every_reason_on_the_wire() -> None:
    table = section("service.md", "## Errors", "## Security")
    reasons = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name} - {
        "UNSPECIFIED"
    }
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == reasons
