"""Ctrl-C is an interruption, whatever a library makes of it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from powerplan.cli import main


def test_an_interrupt_wrapped_in_another_error_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrapped(*args: object, **options: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            raise RuntimeError("Error calling __set_name__") from interrupt

    monkeypatch.setattr("powerplan.examples.load_example", wrapped)
    result = CliRunner().invoke(main, ["predict", "--example", "iris"])
    assert result.exit_code == 130
    assert "interrupted" in result.output
