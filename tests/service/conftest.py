"""One real server for the tests of well-behaved clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from service_process import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """``powerplan serve`` with default limits and no tokens."""
    running = Service(tmp_path_factory.mktemp("service"))
    yield running
    assert running.stop() == 0
