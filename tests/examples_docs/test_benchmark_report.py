"""The benchmarks' timing helper and the page they are reported in."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks import report
from benchmarks.common import alternate, ratio
from benchmarks.memory import peak_memory


def test_functions_are_timed_in_turn_and_the_warm_up_does_not_count():
    calls: list[str] = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = alternate(functions, rounds=3, budget=60)
    assert calls == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_one_round_is_kept_when_it_takes_longer_than_the_budget():
    assert len(alternate({"a": lambda: None}, rounds=5, budget=0.0)["a"]) == 1


def test_the_ratio_is_the_median_of_the_rounds():
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0]) == 3.0


@pytest.mark.slow
def test_peak_memory_sees_what_a_call_holds():
    """Also where it is let go at once, and not what was held before."""
    size = 64 << 20
    held = b"x" * size

    def call() -> None:
        taken = bytearray(held)
        time.sleep(0.1)
        del taken

    assert 0.9 * size < peak_memory(call) < 1.5 * size


def test_records_of_a_result_of_unknown_form_become_tables():
    text = report.any_result({"gains": 3, "solvers": [{"method": "kkt", "time_s": 0.25}, {"method": "cvxpy"}]})
    assert "- gains: 3" in text
    assert "| method | time s |" in text
    assert "| kkt | 0.25 |" in text
    assert "| cvxpy |  |" in text


def test_the_page_is_what_its_results_give():
    results = {path.stem: json.loads(path.read_text()) for path in report.RESULTS.glob("*.json")}
    assert results
    assert report.DOCUMENT.read_text(encoding="utf-8") == report.document(results)
