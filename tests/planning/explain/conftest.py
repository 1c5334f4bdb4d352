"""Advice and floors are searched for within some seconds: a busy machine needs more to find what an idle one does."""

from __future__ import annotations

import pytest

from powerplan.planning import policy


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ADVICE_SECONDS", 15.0)
