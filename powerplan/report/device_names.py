"""Names of the hardware of several plans: a published technology by its name, others by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cache

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.presets import presets

#: fields in which a plan on a technology may differ from its preset
_FREE = ("time",)


def device_names(hardwares: Sequence[Hardware]) -> list[str]:
    """A name for each hardware: its preset, or ``hardware 2``; equal ones have one name.

    Empty names if no preset is among them and they differ in plain numbers only, which speak for themselves.
    """
    published = [preset_name(hardware) for hardware in hardwares]
    if not any(published) and not _differ_in_models(hardwares):
        return [""] * len(hardwares)
    own = list(dict.fromkeys(h for h, name in zip(hardwares, published, strict=True) if not name))
    return [name or f"hardware {own.index(hardware) + 1}" for hardware, name in zip(hardwares, published, strict=True)]


def preset_name(hardware: Hardware) -> str:
    """The preset that a hardware has all the numbers of, the most detailed one; "" if there is none."""
    matching = [
        (len(own), name) for name, own in _own_fields() if all(getattr(hardware, f) == v for f, v in own.items())
    ]
    return max(matching)[1] if matching else ""


@cache
def _own_fields() -> tuple[tuple[str, dict[str, object]], ...]:
    """What each preset says beyond the defaults."""
    default = Hardware()
    own = []
    for preset in presets():
        values = {f.name: getattr(preset.hardware, f.name) for f in fields(Hardware) if f.name not in _FREE}
        own.append((preset.name, {name: v for name, v in values.items() if v != getattr(default, name)}))
    return tuple((name, values) for name, values in own if values)


def _differ_in_models(hardwares: Sequence[Hardware]) -> bool:
    """Whether curves, measurements or other models differ, whose parts say nothing to a reader."""
    plain = (int, float, str, type(None))
    for field in fields(Hardware):
        different = [v for h in hardwares if (v := getattr(h, field.name)) != getattr(hardwares[0], field.name)]
        if different and not all(isinstance(v, plain) for v in (*different, getattr(hardwares[0], field.name))):
            return True
    return False
