"""What of a hardware can be relaxed, and hardware with one field relaxed.

A number is multiplied by 1 ± the change; of a curve, and of a model of drift or low-frequency noise, what it gives is;
a converter gets one bit more, which has no derivative. Fields that choose between models are left alone.

Why: docs/decisions/planning.md [0221].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from powerplan.hardware import Hardware
from powerplan.hardware.aging import LogTimeDrift, LowFrequencyNoise, PowerLawDrift
from powerplan.hardware.by_layer import ByName, each_changed
from powerplan.hardware.curves import Logarithm, Piecewise, Polynomial, Power, Saturating, Table

#: hardware that is relaxed upwards; the rest is lowered
_RAISED = ("conductance_max", "voltage_max", "load_conductance", "adc_range", "adc_headroom", "read_time")
#: converters, relaxed by a bit
_BITS = ("dac_bits", "adc_bits")
#: numbers that move the levels of converters against what is converted
MOVES_LEVELS = ("adc_range", "adc_headroom")
#: scales of other fields, sizes, slices, measured tables, of which only the time can be chosen, and costs, which cause
#: no error
_LEFT_ALONE = (
    "programming_noise_reference",
    "array_rows",
    "array_columns",
    "measurements",
    "costs",
    "columns_per_adc",
    "input_slice_bits",
)
#: fields without effect unless one of others is set
_ONLY_WITH = {
    "temperature": ("thermal_noise",),
    "bandwidth": ("thermal_noise", "shot_noise"),
    "read_time": ("dac_energy", "adc_energy"),
    "time": ("drift", "measurements", "low_frequency_noise"),
    "adc_range": ("adc_bits",),
    "adc_headroom": ("adc_bits",),
}
#: the fields whose multiples make a curve or a model give the same multiple
_SCALED_BY: dict[type, tuple[str, ...]] = {
    Polynomial: ("coefficients",),
    Logarithm: ("slope", "offset", "low", "high"),
    Power: ("coefficient", "low", "high"),
    Saturating: ("amplitude",),
    Table: ("values",),
    Piecewise: ("pieces",),
    PowerLawDrift: ("exponent_mean", "exponent_std"),
    LogTimeDrift: ("shift_slope", "std_slope", "std_offset"),
    LowFrequencyNoise: ("std",),
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One field of the hardware and how it is relaxed: multiplied by ``factor``, or (a converter) by ``bits`` more."""

    parameter: str
    factor: float = 1.0
    bits: int = 0


def relaxable(hardwares: Sequence[Hardware], fraction: float) -> list[Change]:
    """The changes that relax what the hardware of any corner has, each by a fraction or by one bit."""
    changes = []
    for name in (field.name for field in fields(Hardware)):
        if not any(_is_set(hardware, name) for hardware in hardwares):
            continue
        if name in _BITS:
            changes.append(Change(parameter=name, bits=1))
        else:
            changes.append(Change(parameter=name, factor=1 + (fraction if name in _RAISED else -fraction)))
    return changes


def _is_set(hardware: Hardware, name: str) -> bool:
    value = getattr(hardware, name, None)
    if not value or isinstance(value, bool | str) or name in _LEFT_ALONE:
        return False
    needed = _ONLY_WITH.get(name)
    return needed is None or any(getattr(hardware, other) for other in needed)


def relaxed(hardware: Hardware, change: Change) -> Hardware:
    """The hardware with one field changed; itself where it does not have it. Noise stays what it is, in siemens.

    Raises:
        InvalidInput: the changed value is not allowed.
    """
    name, value = change.parameter, getattr(hardware, change.parameter)
    if not _is_set(hardware, name):
        return hardware
    if change.bits:
        changes: dict[str, Any] = {name: each_changed(value, lambda bits: bits + change.bits)}
    else:
        changes = {name: _scaled(value, change.factor)}
    if name == "conductance_max" and hardware.programming_noise_polynomial:
        changes["programming_noise_reference"] = hardware.polynomial_reference
    return hardware.replace(**changes)


def _scaled(value: Any, k: float) -> Any:
    """A number, numbers, a curve or a model, with what it gives multiplied by k."""
    if isinstance(value, tuple | ByName):
        return each_changed(value, lambda each: _scaled(each, k))
    if type(value) in _SCALED_BY:
        parts = {name: getattr(value, name) for name in _SCALED_BY[type(value)]}
        return replace(value, **{name: _scaled(part, k) for name, part in parts.items() if part is not None})
    return k * value
