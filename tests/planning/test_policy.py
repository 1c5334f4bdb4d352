"""Numerical policy stands in one place, each number with a sentence."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from powerplan.planning import policy

PLANNING = Path(policy.__file__).parent
#: scipy's codes of a linear program, and how many corners a call may have: no policy
ELSEWHERE = {"_LIMIT", "INFEASIBLE", "MOST_CORNERS"}


def constants(path: Path) -> list[tuple[ast.Assign, list[str]]]:
    """The module's assignments of numbers, with the names that they bind."""
    assigned = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    numeric = [
        node
        for node in assigned
        if any(isinstance(leaf, ast.Constant) and type(leaf.value) in (int, float) for leaf in ast.walk(node.value))
    ]
    return [
        (node, [leaf.id for t in node.targets for leaf in ast.walk(t) if isinstance(leaf, ast.Name)])
        for node in numeric
    ]


@pytest.mark.parametrize("room", ["problem", "solve", "verify", "explain"])
def test_no_room_has_numbers_of_its_own(room: str) -> None:
    paths = sorted((PLANNING / room).glob("*.py"))
    assert len(paths) > 3
    assert {name for path in paths for _, names in constants(path) for name in names} - ELSEWHERE == set()


def test_every_number_says_why() -> None:
    lines = Path(policy.__file__).read_text().splitlines()
    numbers = constants(Path(policy.__file__))
    assert len(numbers) > 50
    for node, names in numbers:
        sentence = lines[node.lineno - 2]
        assert sentence.startswith("#: "), names
        assert sentence.endswith("."), names


def test_every_number_is_used() -> None:
    text = "".join(path.read_text() for path in PLANNING.rglob("*.py"))
    for _, names in constants(Path(policy.__file__)):
        for name in names:
            assert f"policy.{name}" in text, name
