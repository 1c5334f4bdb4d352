"""What a published technology is: the fields of a hardware with their source and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Described(Protocol):
    """What a technology asks of a hardware: conductance range [S] and time of inference [s]."""

    @property
    def conductance_min(self) -> float: ...

    @property
    def conductance_max(self) -> float: ...

    @property
    def time(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A published technology.

    Attributes:
        name: what :meth:`Hardware.preset` calls it.
        kind: of device.
        fields: of the hardware that describes it, at the earliest time that was measured.
        citation: where the numbers come from.
        times: first and last time of inference [s] that the numbers hold for; None = not bounded by the source.
        caveats: what to know before relying on it.
    """

    name: str
    kind: str
    fields: Mapping[str, Any]
    citation: str
    times: tuple[float, float | None] = (0.0, None)
    caveats: tuple[str, ...] = ()

    @property
    def conductances(self) -> tuple[float, float]:
        """Smallest and largest conductance [S] that was measured."""
        return self.fields.get("conductance_min", 0.0), self.fields["conductance_max"]

    def outside(self, hardware: Described) -> list[str]:
        """Where a description made from this technology leaves what was measured."""
        warnings = []
        low, high = self.conductances
        if hardware.conductance_min < low:
            warnings.append(f"conductance_min = {hardware.conductance_min:g} S, measured from {low:g} S")
        if hardware.conductance_max > high:
            warnings.append(f"conductance_max = {hardware.conductance_max:g} S, measured up to {high:g} S")
        first, last = self.times
        if hardware.time < first or (last is not None and hardware.time > last):
            warnings.append(f"time = {hardware.time:g} s, measured {self._when}")
        return warnings

    @property
    def _when(self) -> str:
        first, last = self.times
        if first == last:
            return f"at {first:g} s only"
        return f"from {first:g} s" + ("" if last is None else f" to {last:g} s")
