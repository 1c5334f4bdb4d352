"""What a published technology is: a hardware description with its source and its limits."""

from __future__ import annotations

from dataclasses import dataclass

from powerplan.hardware.hardware import Hardware


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published technology.

    Attributes:
        name: what :meth:`Hardware.preset` calls it.
        kind: of device.
        hardware: its description, at the earliest time that was measured.
        citation: where the numbers come from.
        times: first and last time of inference [s] that the numbers hold for; None = not bounded by the source.
        caveats: what to know before relying on it.
    """

    name: str
    kind: str
    hardware: Hardware
    citation: str
    times: tuple[float, float | None] = (0.0, None)
    caveats: tuple[str, ...] = ()

    @property
    def conductances(self) -> tuple[float, float]:
        """Smallest and largest conductance [S] that was measured."""
        return self.hardware.conductance_min, self.hardware.conductance_max

    def outside(self, hardware: Hardware) -> list[str]:
        """Where a description made from this preset leaves what was measured."""
        found = []
        low, high = self.conductances
        if hardware.conductance_min < low:
            found.append(f"conductance_min = {hardware.conductance_min:g} S, measured from {low:g} S")
        if hardware.conductance_max > high:
            found.append(f"conductance_max = {hardware.conductance_max:g} S, measured up to {high:g} S")
        first, last = self.times
        if hardware.time < first or (last is not None and hardware.time > last):
            found.append(f"time = {hardware.time:g} s, measured {self._when}")
        return found

    @property
    def _when(self) -> str:
        first, last = self.times
        if first == last:
            return f"at {first:g} s only"
        return f"from {first:g} s" + ("" if last is None else f" to {last:g} s")

    def __str__(self) -> str:
        low, high = (1e6 * edge for edge in self.conductances)
        time = "at every time" if self.times == (0.0, None) else self._when
        lines = [
            f"{self.name}: {self.kind}",
            f"    range: {low:.4g} to {high:.4g} uS, {time}",
            f"    source: {self.citation}",
            *(f"    note: {caveat}" for caveat in self.caveats),
        ]
        return "\n".join(lines)


class Presets(tuple[Preset, ...]):
    """All presets; printed as a readable list."""

    __slots__ = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(preset.name for preset in self)

    def __str__(self) -> str:
        return "\n\n".join(str(preset) for preset in self)
