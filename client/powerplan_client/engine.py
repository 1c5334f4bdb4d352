"""The engine, where it is installed beside the client: found by name, since the client stands without it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from powerplan_client.errors import FeatureUnavailable


def engine_module(name: str, otherwise: str) -> Any:
    """A module of the engine.

    Raises:
        FeatureUnavailable: it is not installed; ``otherwise`` says what to do.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise FeatureUnavailable(otherwise, code="UNIMPLEMENTED", reason="FEATURE_UNAVAILABLE") from error


def local_transport() -> Any:
    """Carries out calls in this process; see ``powerplan_server.local.LocalTransport``.

    Raises:
        FeatureUnavailable: the engine is not installed.
    """
    advice = "Run: pip install powerplan-crossbar, or name a server with target=..."
    return engine_module("powerplan_server.local", f"The engine is not installed. {advice}").LocalTransport()
