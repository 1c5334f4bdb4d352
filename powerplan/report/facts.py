"""Facts that reports show in lists: a name, a value, a remark; those of the hardware."""

from __future__ import annotations

from dataclasses import dataclass

from powerplan.hardware import Hardware
from powerplan.hardware.describe import described_fields
from powerplan.report.device_charts import measured_text
from powerplan.report.text import typeset, value_text


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name, its value and a remark (may be empty)."""

    name: str
    value: str
    remark: str = ""

    def __post_init__(self) -> None:
        for field in ("value", "remark"):
            object.__setattr__(self, field, typeset(getattr(self, field)))


def hardware_facts(hardware: Hardware) -> list[Fact]:
    """The fields of the hardware that describe something, with their meaning."""
    described = described_fields(Hardware)
    off = hardware_off(hardware)
    facts = []
    for key, value in hardware.to_dict().items():
        unit, text = described.get(key, ("", ""))
        if key not in off:
            words = measured_text(hardware) if key == "measurements" else value_text(value, unit)
            facts.append(Fact(name=key, value=words, remark=text[:1].upper() + text[1:]))
    return facts


def hardware_off(hardware: Hardware) -> tuple[str, ...]:
    """Names of the fields that are 0, none or off: effects that this hardware does not have."""
    shown = ("conductance_min", "clip_conductance")
    return tuple(key for key, value in hardware.to_dict().items() if not value and key not in shown)
