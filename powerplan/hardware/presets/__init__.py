"""Published technologies by name."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

from powerplan.checks import choice
from powerplan.errors import RangeWarning
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.presets.preset import Preset as Preset, Presets as Presets


@cache
def presets() -> Presets:
    """Every published technology, with kind, measured range, source and caveats. Print it for a readable list."""
    from powerplan.hardware.presets import generic, pcm, reram, sonos

    return Presets((*pcm.PRESETS, *reram.PRESETS, *sonos.PRESETS, *generic.PRESETS))


def preset_hardware(name: str, **changes: Any) -> Hardware:
    """The hardware of a published technology, some fields changed (see :meth:`Hardware.preset`)."""
    known = {preset.name: preset for preset in presets()}
    preset = known[choice("preset", name, known)]
    hardware = preset.hardware.replace(**changes) if changes else preset.hardware
    outside = preset.outside(hardware)
    if outside:
        warnings.warn(f"{name} is used outside what was measured: {'; '.join(outside)}", RangeWarning, stacklevel=3)
    return hardware
