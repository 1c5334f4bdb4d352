"""Which hardware is hard to believe: limits of every quantity, and the unit that was likely meant.

The limits are far outside what is built (see docs/troubleshooting.md), so that what lies beyond is a mistake of units
or an experiment of thought.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from powerplan.errors import Violation
from powerplan.hardware.aging import LogTimeDrift, PowerLawDrift
from powerplan.hardware.by_layer import one_by_one
from powerplan.hardware.curves import Curve, Polynomial
from powerplan.plausibility import Plausible
from powerplan.settings import Number

if TYPE_CHECKING:
    from powerplan.hardware.hardware import Hardware

_MILLI, _MICRO, _NANO, _PICO, _FEMTO, _PERCENT = 1e-3, 1e-6, 1e-9, 1e-12, 1e-15, 1e-2
_SMALL = (_MICRO, _MILLI, _NANO, _PICO)
#: a hundred years
_LONG = 3.2e9
#: points at which curves are looked at
_POINTS = 33

_DEVICE = Plausible(unit="S", low=1e-12, high=1e-2, why="a device of 100 ohm to 1 Tohm", mistakes=_SMALL, usual=5e-5)
_VOLTAGE = Plausible(unit="V", low=1e-5, high=20.0, why="rows of an array", mistakes=(_MILLI, _MICRO), usual=0.2)
_PART = Plausible(unit="", high=1.0, why="an error as large as the value itself", mistakes=(_PERCENT,))
_STUCK = Plausible(unit="", high=0.3, why="arrays with more broken devices are not used", mistakes=(_PERCENT,))
_ENERGY = Plausible(
    unit="J", low=1e-18, high=1e-6, why="converters take fJ to nJ", mistakes=(_PICO, _NANO, _FEMTO, 1e12), usual=1e-12
)
_TIME = Plausible(unit="s", high=_LONG, why="a hundred years", mistakes=(_MILLI, _MICRO, _NANO))
_DRIFT = Plausible(unit="1", high=1.0, why="devices drift with exponents of about 0.001 to 0.2", mistakes=(_PERCENT,))
#: seconds of one reading or of a reference time
_MOMENT = Plausible(unit="s", low=1e-12, high=1e6, why="one reading", mistakes=(_NANO, _MICRO, 1e9, 1e12))

_WIRE = Plausible(unit="ohm", high=1e3, why="wires have about 0.1 to 10 ohm per cell", mistakes=(_MILLI,), usual=1.0)
_TERMINAL = Plausible(unit="ohm", high=1e5, why="what devices are driven and read through", mistakes=(_MILLI,))

#: numbers of costs by their unit
_COSTS = {
    "J": Plausible(unit="J", low=1e-20, high=1e-6, why="one action takes aJ to nJ", mistakes=(_PICO, _FEMTO, 1e12)),
    "W": Plausible(unit="W", low=1e-12, high=1.0, why="one amplifier or array", mistakes=(_MICRO, _MILLI, _NANO)),
    "s": Plausible(unit="s", low=1e-13, high=1e-2, why="one conversion or read", mistakes=(_NANO, _MICRO, 1e9)),
    "V": Plausible(unit="V", low=1e-2, high=20.0, why="supplies and rows", mistakes=(_MILLI, 1e3)),
    "F": Plausible(unit="F", low=1e-21, high=1e-10, why="wires and gates: aF to pF", mistakes=(_FEMTO, _PICO, 1e15)),
    "m2": Plausible(unit="m2", low=1e-18, high=1e-4, why="parts of a chip", mistakes=(_PICO, _MICRO, 1e12)),
    "m": Plausible(unit="m", low=5e-10, high=1e-5, why="nodes of 1 nm to 10 um", mistakes=(_NANO, _MICRO)),
}

_FIELDS = {
    "conductance_min": _DEVICE,
    "conductance_max": _DEVICE,
    "programming_noise_proportional": _PART,
    "programming_noise_reference": _DEVICE,
    "read_noise_std": Plausible(
        unit="A", high=1e-3, why="columns carry uA to mA", mistakes=(_MICRO, _NANO), usual=1e-7
    ),
    "voltage_max": _VOLTAGE,
    "feedback_resistance": Plausible(
        unit="ohm", low=1.0, high=1e12, why="an amplifier's feedback", mistakes=(1e3, 1e6)
    ),
    "read_time": Plausible(unit="s", low=1e-12, high=1.0, why="one read", mistakes=(_NANO, _MICRO, 1e9), usual=1e-7),
    "column_gain_std": _PART,
    "device_gain_std": _PART,
    "time": _TIME,
    "stuck_on_fraction": _STUCK,
    "stuck_off_fraction": _STUCK,
    "load_conductance": Plausible(
        unit="S", low=1e-12, high=1.0, why="the load of a column", mistakes=_SMALL, usual=1e-3
    ),
    "adc_range": Plausible(unit="V", low=1e-6, high=100.0, why="what converters take", mistakes=(_MILLI, _MICRO)),
    "adc_headroom": Plausible(unit="1", low=0.01, high=100.0, why="times the full scale", mistakes=(_PERCENT,)),
    "wire_resistance_row": _WIRE,
    "wire_resistance_column": _WIRE,
    "driver_resistance": _TERMINAL,
    "sense_resistance": _TERMINAL,
    "dac_energy": _ENERGY,
    "adc_energy": _ENERGY,
}


@lru_cache(maxsize=256)
def hardware_doubts(hardware: Hardware) -> tuple[Violation, ...]:
    """Every number of a hardware beyond the plausible."""
    return tuple(_doubts(hardware))


def _doubts(hardware: Hardware) -> Iterator[Violation]:
    for name, limits in _FIELDS.items():
        for place, value in one_by_one(getattr(hardware, name)):
            yield from limits.doubt(f"hardware.{name}{place}", value)
    yield from _costs(hardware)
    yield from _temperature(hardware)
    plausible = Plausible(
        unit="S",
        high=10 * hardware.conductance_max,
        why="ten times the largest conductance",
        mistakes=_SMALL,
        usual=0.02 * hardware.conductance_max,
    )
    rows = Plausible(unit="V", high=hardware.voltage_max, why="the largest row voltage", mistakes=(_MILLI, _MICRO))
    yield from plausible.doubt("hardware.programming_noise_std", hardware.programming_noise_std)
    yield from rows.doubt("hardware.input_noise_std", hardware.input_noise_std)
    if hardware.bandwidth is not None:
        natural = 0.5 / hardware.read_time
        band = Plausible(
            unit="Hz",
            low=1e-4 * natural,
            high=1e4 * natural,
            why=f"about 1/(2 read_time) = {natural:.3g} Hz",
            mistakes=(1e6, 1e9, 1e3, 1e-3, 1e-6),
            usual=natural,
        )
        yield from band.doubt("hardware.bandwidth", hardware.bandwidth)
    if hardware.programming_noise_polynomial is not None:
        curve = Polynomial(
            coefficients=hardware.programming_noise_polynomial, reference=hardware.programming_noise_reference
        )
        yield from plausible.doubt("hardware.programming_noise_polynomial", _largest(curve, hardware))
    yield from plausible.doubt("hardware.programming_noise_curve", _largest(hardware.programming_noise_curve, hardware))
    for k, snapshot in enumerate(hardware.measurements or ()):
        place = f"hardware.measurements[{k}]"
        yield from _TIME.doubt(f"{place}.time", snapshot.time)
        yield from replace(plausible, usual=hardware.conductance_max).doubt(
            f"{place}.mean", _largest(snapshot.mean, hardware)
        )
        yield from plausible.doubt(f"{place}.std", _largest(snapshot.std, hardware))
    yield from _aging(hardware, plausible)


def _costs(hardware: Hardware) -> Iterator[Violation]:
    """Numbers of the costs and of their models of converters, by their units."""
    costs = hardware.costs
    if costs is None:
        return
    for place, value in (("", costs), (".adc", costs.adc), (".dac", costs.dac)):
        for each in () if value is None else fields(value):
            kind, number = each.metadata.get("kind"), getattr(value, each.name)
            limits = _COSTS.get(kind.unit) if isinstance(kind, Number) else None
            if limits is not None:
                yield from limits.doubt(f"hardware.costs{place}.{each.name}", number)


def _temperature(hardware: Hardware) -> Iterator[Violation]:
    """Celsius is no multiple of kelvin, so that its likely value is an offset."""
    limits = Plausible(unit="K", low=173.0, high=500.0, why="-100 to 227 degrees Celsius")
    for doubt in limits.doubt("hardware.temperature", hardware.temperature):
        celsius = hardware.temperature + 273.15
        advice = f"Did you mean {hardware.temperature:g} degrees Celsius, {celsius:g} K?"
        yield Violation(field=doubt.field, value=doubt.value, allowed=doubt.allowed, advice=advice)


def _aging(hardware: Hardware, plausible: Plausible) -> Iterator[Violation]:
    match hardware.drift:
        case PowerLawDrift(exponent_mean=mean, exponent_std=std, reference_time=start):
            yield from _DRIFT.doubt("hardware.drift.exponent_mean", _largest(mean, hardware))
            yield from _DRIFT.doubt("hardware.drift.exponent_std", _largest(std, hardware))
            yield from _MOMENT.doubt("hardware.drift.reference_time", start)
        case LogTimeDrift() as drift:
            for name in ("shift_slope", "std_slope", "std_offset"):
                yield from plausible.doubt(f"hardware.drift.{name}", getattr(drift, name))
            yield from _MOMENT.doubt("hardware.drift.reference_time", drift.reference_time)
    noise = hardware.low_frequency_noise
    if noise is not None:
        limits = _PART if noise.relative else plausible
        yield from limits.doubt("hardware.low_frequency_noise.std", _largest(noise.std, hardware))
        yield from _MOMENT.doubt("hardware.low_frequency_noise.read_time", noise.read_time)


def _largest(curve: Curve | None, hardware: Hardware) -> float | None:
    """The largest magnitude of a curve over the conductance range."""
    if curve is None:
        return None
    import torch

    from powerplan.hardware.curve_values import curve_values

    low, high = hardware.conductance_min, hardware.conductance_max
    targets = torch.linspace(low, high, _POINTS, dtype=torch.float64)
    largest = float(curve_values(curve, targets, high).abs().max())
    return largest if math.isfinite(largest) else math.inf
