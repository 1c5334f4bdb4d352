"""What a call asks of its transport. Calls are generators that yield these steps and get the answers sent back.

So a call is written once and driven by a blocking loop or by an asyncio loop, and tested with neither.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from google.protobuf.message import Message


@dataclass(frozen=True)
class Unary:
    """Send a request, get its response."""

    rpc: str
    request: Message
    timeout: float | None


@dataclass(frozen=True)
class Upload:
    """Send the bytes of a blob from an offset on; get the response."""

    sha256: str
    content: memoryview
    offset: int
    timeout: float | None


@dataclass(frozen=True)
class Open:
    """Open a stream of responses; get the stream."""

    rpc: str
    request: Message
    timeout: float | None


@dataclass(frozen=True)
class Next:
    """Get the next response of a stream, None at its end."""

    stream: Any


@dataclass(frozen=True)
class Emit:
    """Hand a value to the caller's iterator."""

    value: Any


@dataclass(frozen=True)
class Sleep:
    """Wait."""

    seconds: float


Step = Union[Unary, Upload, Open, Next, Emit, Sleep]
T = TypeVar("T")
Call = Generator[Step, Any, T]
