"""A job: one plan, told apart by the content of everything that decides it.

Why: docs/decisions/studies.md [0202].
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from powerplan._version import __version__

#: the option that numbers are meant although they are most likely in another unit
ACCEPT = "accept_implausible"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One plan to be made. Equal jobs have equal keys, whatever study they are from.

    Attributes:
        network: SHA-256 of the saved network.
        inputs: SHA-256 of the calibration inputs, an npy file.
        labels: likewise of their classes; None if there are none.
        hardware: the fields that differ from their defaults, as ``Hardware.to_dict`` gives them.
        target: {kind: value}, with its further fields.
        options: the other settings of the plan that differ from their defaults, plain values; corners as ``hardware``.

    What is at its default is left out, so that a setting that is new leaves the keys of old jobs as they were.
    """

    network: str
    inputs: str
    labels: str | None
    hardware: Mapping[str, Any]
    target: Mapping[str, float]
    options: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of the job and of powerplan's version, hexadecimal."""
        return _digest({"powerplan": __version__, **asdict(self)})

    @cached_property
    def group(self) -> str:
        """The same for jobs that differ only in their target: they share the work of prediction."""
        return _digest({**asdict(self), "target": None})

    def within(self, seconds: float) -> Job:
        """The job whose plan ends after some seconds with the best gains until then, or sooner if it says so itself."""
        deadline = min(self.options.get("deadline", math.inf), seconds)
        return replace(self, options={**self.options, "deadline": deadline})

    def to_json(self) -> str:
        """The job as JSON."""
        return _canonical(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Inverse of :meth:`to_json`."""
        return cls(**json.loads(text))


def without_defaults(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values that differ from their defaults."""
    return {name: value for name, value in values.items() if value != defaults[name]}


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()
