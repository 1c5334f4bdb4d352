"""What one conversion takes: energy [J], time [s] and area of the converter [m²], by its number of bits.

Bits may be real numbers, arrays or tensors, so that a search over bits can follow slopes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from powerplan.checks import Checker
from powerplan.hardware.costs.arithmetic import between_points, larger, logarithm
from powerplan.hardware.fields import Numbers, check_fields, of, takes
from powerplan.hardware.plain import Typed, from_plain
from powerplan.settings import Number

_ENERGY, _TIME = Number(at_least=0, unit="J"), Number(at_least=0, unit="s")
_AREA, _CAPACITANCE = Number(at_least=0, unit="m2"), Number(at_least=0, unit="F")
_VOLTAGE, _FACTOR = Number(above=0, unit="V"), Number(above=0)
_MOST_POINTS = 64


@dataclass(frozen=True, kw_only=True)
class Converter(Typed):
    """A model of analog-to-digital or digital-to-analog converters."""

    #: fewest bits that it is made for; None: it does not depend on bits
    least_bits: ClassVar[float | None] = None
    #: most bits that it knows; None: no limit
    most_bits: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        check = Checker()
        check_fields(self, check)
        self._check(check)
        check.done()

    def _check(self, check: Checker) -> None:
        """Note what fields do not allow together."""

    def energy(self, bits: Any, rate: Any) -> Any:
        """Of one conversion [J].

        Args:
            bits: resolution.
            rate: conversions per second of one converter, where the model gives no own.
        """
        raise NotImplementedError

    def time(self, bits: Any, rows: Any) -> Any:
        """Of one conversion [s]; 0 = within the read.

        Args:
            bits: resolution.
            rows: rows of the array.
        """
        raise NotImplementedError

    def area(self, bits: Any, rate: Any) -> Any:
        """Of one converter [m²]."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class NumberConverter(Converter):
    """A converter of which the numbers are known.

    Attributes:
        energy_per_conversion: [J], >= 0.
        conversion_time: of one conversion [s], >= 0; 0 = within the read.
        converter_area: [m2], >= 0.
    """

    type: ClassVar[str] = "number"
    energy_per_conversion: float = takes(_ENERGY, 0.0)
    conversion_time: float = takes(_TIME, 0.0)
    converter_area: float = takes(_AREA, 0.0)

    def energy(self, bits: Any, rate: Any) -> Any:
        return self.energy_per_conversion

    def time(self, bits: Any, rows: Any) -> Any:
        return self.conversion_time

    def area(self, bits: Any, rate: Any) -> Any:
        return self.converter_area


@dataclass(frozen=True, kw_only=True)
class TableConverter(Converter):
    """Converters of several resolutions; between them a straight line in the logarithm of the energy. Bits beyond the
    table are refused.

    Attributes:
        bits: resolutions, increasing, 2 to 64 of them.
        energies: of one conversion at each [J], > 0.
        areas: of one converter at each [m2], > 0; None = not counted.
        conversion_time: of one conversion [s], >= 0; 0 = within the read.
    """

    type: ClassVar[str] = "table"
    bits: tuple[float, ...] = field(metadata=of(Numbers(least=2, most=_MOST_POINTS, each=Number(above=0))))
    energies: tuple[float, ...] = field(
        metadata=of(Numbers(least=2, most=_MOST_POINTS, each=Number(above=0, unit="J")))
    )
    areas: tuple[float, ...] | None = takes(Numbers(least=2, most=_MOST_POINTS, each=Number(above=0, unit="m2")))
    conversion_time: float = takes(_TIME, 0.0)

    def __post_init__(self) -> None:
        if isinstance(self.areas, tuple) and not self.areas:  # a message's list is never absent
            self._set("areas", None)
        super().__post_init__()

    def _check(self, check: Checker) -> None:
        if check.violations:
            return
        if any(low >= high for low, high in zip(self.bits, self.bits[1:], strict=False)):
            check.fail("bits", self.bits, "increasing numbers", "Sort the table by bits.")
        for name, values in (("energies", self.energies), ("areas", self.areas)):
            if values is not None and len(values) != len(self.bits):
                check.fail(name, values, f"{len(self.bits)} numbers, one for each of bits", "Give one for each.")

    @property
    def least_bits(self) -> float | None:  # type: ignore[override]
        return self.bits[0]

    @property
    def most_bits(self) -> float | None:  # type: ignore[override]
        return self.bits[-1]

    def energy(self, bits: Any, rate: Any) -> Any:
        return between_points(bits, self.bits, self.energies)

    def time(self, bits: Any, rows: Any) -> Any:
        return self.conversion_time

    def area(self, bits: Any, rate: Any) -> Any:
        return 0.0 if self.areas is None else between_points(bits, self.bits, self.areas)


@dataclass(frozen=True, kw_only=True)
class SurveyADC(Converter):
    """The best published ADCs, a fit to B. Murmann's survey (Andrulis et al., arXiv:2404.06553, and their package).

    With b effective bits, f conversions per second and a node of L nm:

        energy [pJ] = 10^((SNDR − FoM)/10)/2 · exp(26.0496 + 1.8800 ln L − 2.8291 ln b − 1.4702)
        SNDR = 6.0206 b + 1.7609 dB,   FoM = min(213.78 − 2.8719 ln f, 128.31 + 3.2205 b) dB
        area [um²] = exp(1.3462 + 0.99328 ln L + 0.18072 ln f + 0.29912 ln(energy/pJ))

    At whole effective bits these are the authors' values; between them theirs are FoM at the next whole number.

    Attributes:
        node: feature size of the technology [m], > 0.
        rate: conversions per second of one ADC [Hz], > 0; None = as many in the time of a read as columns share it.
        lost_bits: bits that noise and distortion take from the resolution to leave the effective ones, >= 0.
        energy_factor: the energy as a multiple of the fit's, > 0: it has the best of what was published.
        area_factor: the area as a multiple of the fit's, > 0.
    """

    type: ClassVar[str] = "survey"
    node: float = field(metadata=of(Number(above=0, at_most=1e-5, unit="m")))
    rate: float | None = takes(Number(above=0, at_most=1e12, unit="Hz"))
    lost_bits: float = takes(Number(at_least=0, at_most=8), 0.0)
    energy_factor: float = takes(_FACTOR, 1.0)
    area_factor: float = takes(_FACTOR, 1.0)

    @property
    def least_bits(self) -> float | None:  # type: ignore[override]
        return 4 + self.lost_bits

    def energy(self, bits: Any, rate: Any) -> Any:
        effective = bits - self.lost_bits
        sndr = (20 * math.log10(2)) * effective + 10 * math.log10(1.5)
        by_rate = 213.7806687348118 - 2.8719030399529957 * logarithm(rate if self.rate is None else self.rate)
        by_bits = 128.3068287398817 + 3.2205115109984 * effective
        scale = math.exp(26.0496215686518 - 1.4702022133784405) * (1e9 * self.node) ** 1.8800369206815004
        power_of_ten = larger(sndr - by_rate, sndr - by_bits) / 10
        picojoules = 10**power_of_ten / 2 * (scale * effective**-2.8291256050594527)
        return self.energy_factor * 1e-12 * picojoules

    def time(self, bits: Any, rows: Any) -> Any:
        return 0.0 if self.rate is None else 1 / self.rate

    def area(self, bits: Any, rate: Any) -> Any:
        picojoules = 1e12 / self.energy_factor * self.energy(bits, rate)
        rated = (rate if self.rate is None else self.rate) ** 0.18071538424508238
        sized = math.exp(1.3461916439910742) * (1e9 * self.node) ** 0.9932794744745022
        return self.area_factor * 1e-12 * sized * rated * picojoules**0.29912426192653485


@dataclass(frozen=True, kw_only=True)
class CapacitorADC(Converter):
    """Successive approximation by capacitors, as ZigZag's in-memory models count it (arXiv:2405.14978).

        energy = (bit_capacitance b + matching_capacitance 4^b) V²,   time = b (0.00653 rows + 0.640) ns,
        area = 10^(1.206 − 0.0369 b) 2^b um²

    Attributes:
        voltage: of the supply [V], > 0.
        bit_capacitance: switched per bit [F], >= 0.
        matching_capacitance: what accuracy of 4^b asks for [F], >= 0.
    """

    type: ClassVar[str] = "capacitor"
    least_bits: ClassVar[float | None] = 1
    voltage: float = takes(_VOLTAGE, 0.9)
    bit_capacitance: float = takes(_CAPACITANCE, 100e-15)
    matching_capacitance: float = takes(_CAPACITANCE, 1e-18)

    def energy(self, bits: Any, rate: Any) -> Any:
        return (self.bit_capacitance * bits + self.matching_capacitance * 4.0**bits) * self.voltage**2

    def time(self, bits: Any, rows: Any) -> Any:
        return bits * (6.53e-12 * rows + 0.640e-9)

    def area(self, bits: Any, rate: Any) -> Any:
        return 1e-12 * 10 ** (1.206 - 0.0369 * bits) * 2.0**bits


@dataclass(frozen=True, kw_only=True)
class CapacitorDAC(Converter):
    """Capacitors switched for every bit: energy = bit_capacitance b V² (arXiv:2405.14978).

    Attributes:
        voltage: of the supply [V], > 0.
        bit_capacitance: switched per bit [F], >= 0.
        converter_area: [m2], >= 0.
    """

    type: ClassVar[str] = "capacitor"
    least_bits: ClassVar[float | None] = 1
    voltage: float = takes(_VOLTAGE, 0.9)
    bit_capacitance: float = takes(_CAPACITANCE, 50e-15)
    converter_area: float = takes(_AREA, 0.0)

    def energy(self, bits: Any, rate: Any) -> Any:
        return self.bit_capacitance * bits * self.voltage**2

    def time(self, bits: Any, rows: Any) -> Any:
        return 0.0

    def area(self, bits: Any, rate: Any) -> Any:
        return self.converter_area


#: what models of either are annotated as
ADC: TypeAlias = Converter
DAC: TypeAlias = Converter
ADCS: Mapping[str, type[Converter]] = {
    kind.type: kind for kind in (SurveyADC, CapacitorADC, TableConverter, NumberConverter)
}
DACS: Mapping[str, type[Converter]] = {kind.type: kind for kind in (CapacitorDAC, TableConverter, NumberConverter)}


def as_adc(value: Any) -> Converter:
    """A model of ADCs: itself, a mapping of its fields, or the energy of a conversion [J]."""
    return _as_converter(value, ADCS, "a model of ADCs")


def as_dac(value: Any) -> Converter:
    """A model of DACs, as :func:`as_adc`."""
    return _as_converter(value, DACS, "a model of DACs")


def _as_converter(value: Any, kinds: Mapping[str, type[Converter]], what: str) -> Converter:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return NumberConverter(energy_per_conversion=value)
    converter: Converter = from_plain(value, kinds, what)
    return converter
