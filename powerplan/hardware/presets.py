"""Published technologies by name, each with the hardware that describes it.

Why: docs/decisions/devices.md [0103].
"""

from __future__ import annotations

from functools import cache, cached_property

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.technologies import TECHNOLOGIES, Technology


class Preset(Technology):
    """A published technology and its hardware."""

    @cached_property
    def hardware(self) -> Hardware:
        """Its description, at the earliest time that was measured."""
        return Hardware(**self.fields)

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


@cache
def presets() -> Presets:
    """Every published technology, with kind, measured range, source and caveats. Print it for a readable list."""
    return Presets(Preset(**vars(technology)) for technology in TECHNOLOGIES.values())
