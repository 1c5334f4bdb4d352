"""Outputs on pages are compared with what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import run_page
from shown import is_shown

PRINTED = """\
layer    power   share
-------  ------  -----
linear1  145 uW  69.5 %
linear2  48 uW   23.3 %

NMSE     target 1.000 %, predicted 0.9857 %
planned  7 iterations, 13 predictions, 0.12 s
memory   about 1,341 MiB per worker
"""


@pytest.mark.parametrize(
    "shown",
    [
        PRINTED,
        "linear1 145 uW\n  69.5 %",  # wrapped in another way
        "linear1  145 uW  69.5 %\n...\nNMSE     target 1.000 %",
        "NMSE target 1.000 %, ... 0.9857 %",
        "NMSE target 1.000 %, predicted 0.9858 %",  # the last digit
        "planned 7 iterations, 13 predictions, 4.56 s",
        "memory about 323 MiB per worker",
    ],
)
def test_a_part_of_an_output_is_shown(shown: str) -> None:
    assert is_shown(shown, PRINTED)


@pytest.mark.parametrize(
    "shown",
    [
        "linear1  152 uW  69.5 %",
        "linear1  145 uW  69.5 %\nNMSE     target 1.000 %",  # lines between are left out without a sign
        "NMSE target 1.000 %\n...\nlinear1 145 uW",  # another order
        "linear3 145 uW",
        "linear2 48 mW",
        "planned 7 iterations, 13 predictions, 0.12 W",
    ],
)
def test_another_output_is_not(shown: str) -> None:
    assert not is_shown(shown, PRINTED)


@pytest.mark.parametrize(
    ("block", "output"),
    [("```python\nprint(2.5)\n```", "2.5"), ("```\npowerplan --version\n```", "powerplan, version")],
)
def test_a_page_with_another_output_fails(
    block: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n{block}\n\n```text\n{output}\n```\n")
    assert run_page(page) == 2
    page.write_text(f"Text.\n\n{block}\n\n```text\n{output} or so\n```\n")
    with pytest.raises(AssertionError, match=r"page.md:7 shows"):
        run_page(page)


def test_what_a_command_prints_is_compared_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```\n$ powerplan plan --nope\nerror: No such option '--nope'. ...\n```\n")
    assert run_page(page) == 1
    page.write_text("```\n$ powerplan plan --nope\nerror: No such option '--yes'. ...\n```\n")
    with pytest.raises(AssertionError, match="shown is"):
        run_page(page)
