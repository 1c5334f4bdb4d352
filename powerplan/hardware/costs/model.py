"""Energy, latency and area of the layers of a network on a hardware with costs.

With n conversions of a layer, d driven rows, k columns that share an ADC (at most those of an array) and reads of
length t that are converted in k t_ADC, of every layer

    E_arrays = P_arrays t h,      E_amplifiers = n P_amplifier t h,   h = 1 + (k − 1) t_ADC/t,
    E_ADC = n E_ADC(bits),        E_DAC = d E_DAC(bits),              E_drivers = crossings C V²,
    latency = reads (t_DAC + t + k t_ADC + t_digital),                E_leakage = arrays P_leakage period,

h = 1 where values are held until they are converted, the period that of one inference: the sum of all latencies, or the
largest where layers are pipelined. Slices of the weights of a layer are read at once, in the time of the slowest; where
they share converters, k t_ADC is the sum of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from powerplan.checks import Checker, frozen_array
from powerplan.hardware.costs.arithmetic import larger, smaller, where_known
from powerplan.hardware.costs.breakdown import COMPONENTS, CostBreakdown
from powerplan.hardware.costs.converters import Converter, NumberConverter
from powerplan.hardware.costs.counts import Counts, count
from powerplan.hardware.costs.values import Costs
from powerplan.hardware.hardware import Hardware, LayerHardware
from powerplan.network import Network


@dataclass(frozen=True, kw_only=True, eq=False)
class Precision:
    """What a search decides of every layer: (L,) arrays or tensors, of real numbers too.

    Attributes:
        adc_bits, dac_bits: of the converters; NaN where there are none.
        columns_per_adc: columns that share an ADC.
    """

    adc_bits: Any
    dac_bits: Any
    columns_per_adc: Any

    @classmethod
    def of(cls, layers: Sequence[LayerHardware]) -> Precision:
        """That of the hardware of every layer."""

        def each(name: str, absent: float) -> np.ndarray:
            values = [getattr(layer, name) for layer in layers]
            return np.array([absent if value is None else value for value in values], dtype=np.float64)

        return cls(
            adc_bits=each("adc_bits", np.nan),
            dac_bits=each("dac_bits", np.nan),
            columns_per_adc=each("columns_per_adc", 1),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CostModel:
    """The costs of a network on a hardware, as functions of what is decided.

    Attributes:
        costs: of the hardware.
        counts: of every layer.
        precision: that of the hardware.
        layer_names: (L,).
        read_time: of one read [s].
        slice_bits: that a row is driven with at a time, with the sign (L,); NaN = with all.
        weight_slices: layers, by number, that are slices of the weights of one, and whether they share converters.
        adc, dac: converters, those of the hardware's energies where the costs have none.
    """

    costs: Costs
    counts: Counts
    precision: Precision
    layer_names: tuple[str, ...]
    read_time: float
    slice_bits: np.ndarray
    weight_slices: tuple[tuple[tuple[int, ...], bool], ...]
    adc: Converter
    dac: Converter

    @classmethod
    def of(cls, network: Network, hardware: Hardware) -> CostModel | None:
        """The model, or None where the hardware has no costs.

        Raises:
            InvalidInput: a layer without bits, or with too few, for a model of converters that goes by them.
        """
        costs = hardware.costs
        if costs is None:
            return None
        layers = hardware.of_layers(network.layer_names)
        cuts = [layer.input_slices for layer in layers]
        number = network.layer_names.index
        model = cls(
            costs=costs,
            counts=count(network, hardware),
            precision=Precision.of(layers),
            layer_names=network.layer_names,
            read_time=hardware.read_time,
            weight_slices=tuple((tuple(map(number, names)), shared) for names, shared in network.weight_slices),
            slice_bits=np.array([np.nan if cut is None else cut.slice_bits + 1 for cut in cuts]),
            adc=costs.adc or NumberConverter(energy_per_conversion=hardware.adc_energy),
            dac=costs.dac or NumberConverter(energy_per_conversion=hardware.dac_energy),
        )
        check = Checker("hardware.")
        for name, converter, bits in (
            ("adc_bits", model.adc, model.precision.adc_bits),
            ("dac_bits", model.dac, model._driven_bits(model.precision)),
        ):
            _check_bits(check, name, converter, bits, network.layer_labels)
        check.done()
        return model

    def energies(self, array_power: Any, precision: Precision | None = None) -> dict[str, Any]:
        """Energy of one inference by component (L,) [J].

        Args:
            array_power: (L,) of devices and feedback resistors [W], as a prediction has it (read after read in
                ``read_time`` each).
            precision: None = that of the hardware.
        """
        costs, own = self.costs, precision or self.precision
        counts = self.counts.like(own.adc_bits)
        held = self.read_time
        if costs.sample_hold_energy is None:
            held = held + self._waiting_time(own)
        input_bits = where_known(own.dac_bits, costs.value_bits)
        return {
            "arrays": array_power * held,
            "amplifiers": counts.amplifiers * counts.reads * (costs.amplifier_power * held),
            "adc": counts.conversions * self.adc.energy(own.adc_bits, self._conversions(own) / self.read_time),
            "dac": counts.driven * self.dac.energy(self._driven_bits(own), 1 / self.read_time),
            "drivers": counts.crossings * (costs.row_capacitance * costs.row_voltage**2),
            "sample_hold": counts.conversions * (costs.sample_hold_energy or 0.0),
            "shift_add": counts.conversions * costs.shift_add_energy,
            "outputs": counts.outputs * costs.output_energy,
            "buffers": (counts.inputs * input_bits + counts.outputs * costs.value_bits) * costs.buffer_energy,
            "leakage": counts.arrays * (costs.leakage_power * self.period(own)),
        }

    @property
    def read_times(self) -> np.ndarray:
        """(L,) how long the arrays of every layer are read [s]."""
        nothing = np.zeros(len(self.layer_names))
        return np.asarray(nothing + self.energies(nothing + 1)["arrays"])

    @property
    def energy_beside_arrays(self) -> float:
        """Energy of one inference [J] without that of devices and feedback resistors."""
        return float(sum(np.sum(part) for part in self.energies(np.zeros(len(self.layer_names))).values()))

    def latencies(self, precision: Precision | None = None) -> Any:
        """Latency of every layer in one inference (L,) [s]."""
        own = precision or self.precision
        counts = self.counts.like(own.adc_bits)
        driving = self.dac.time(self._driven_bits(own), counts.rows)
        each = driving + self.read_time + self._conversions_time(own) + self.costs.digital_time
        return _largest(counts.reads * each, [group for group, _ in self.weight_slices])

    def period(self, precision: Precision | None = None) -> Any:
        """Between one inference and the next [s]."""
        latencies = self.latencies(precision)
        return latencies.max() if self.costs.pipelined else latencies.sum()

    def areas(self, precision: Precision | None = None) -> dict[str, Any]:
        """Area by component (L,) [m²]."""
        costs, own = self.costs, precision or self.precision
        counts = self.counts.like(own.adc_bits)
        adcs = counts.full_arrays * -(-counts.columns // own.columns_per_adc)
        adcs = adcs + counts.last_arrays * -(-counts.columns_left // own.columns_per_adc)
        converters = adcs * self.adc.area(own.adc_bits, self._conversions(own) / self.read_time)
        return {
            "arrays": counts.devices * costs.device_area + counts.arrays * costs.array_area,
            "amplifiers": counts.amplifiers * costs.amplifier_area,
            "adc": _largest(converters, self._sharing),
            "dac": counts.row_converters * self.dac.area(self._driven_bits(own), 1 / self.read_time),
        }

    def breakdown(self, array_power: np.ndarray) -> CostBreakdown:
        """What one inference takes with this power of devices and feedback resistors (L,) [W]."""
        nothing = np.zeros(len(self.layer_names))

        def table(columns: dict[str, Any]) -> np.ndarray:
            filled = [nothing + columns.get(name, 0.0) for name in COMPONENTS]
            return frozen_array(np.stack(filled, axis=1))

        return CostBreakdown(
            layer_names=self.layer_names,
            components=tuple(COMPONENTS),
            energy_by_component=table(self.energies(array_power)),
            latency_by_layer=frozen_array(nothing + self.latencies()),
            area_by_component=table(self.areas()),
            operations=2 * float(self.counts.products.sum()),
            pipelined=self.costs.pipelined,
        )

    def _driven_bits(self, own: Precision) -> Any:
        """Bits of what drives a row in one read."""
        if np.isnan(self.slice_bits).all():
            return own.dac_bits
        bits = np.where(np.isnan(self.slice_bits), self.precision.dac_bits, self.slice_bits)
        return _like(bits, own.dac_bits)

    @property
    def _sharing(self) -> list[tuple[int, ...]]:
        """The slices that share converters."""
        return [group for group, shared in self.weight_slices if shared]

    def _together(self, each: Any) -> Any:
        """Numbers (L,), summed over slices that share converters."""
        if not self._sharing:
            return each
        together = np.eye(len(self.layer_names))
        for group in self._sharing:
            together[np.ix_(group, group)] = 1
        return _like(together, each) @ each

    def _columns(self, own: Precision) -> Any:
        """That one converter converts after a read of one array (L,)."""
        return smaller(own.columns_per_adc, self.counts.like(own.adc_bits).columns)

    def _conversions(self, own: Precision) -> Any:
        """Of one converter after a read (L,)."""
        return self._together(self._columns(own))

    def _conversions_time(self, own: Precision) -> Any:
        """Of all that one converter converts after a read."""
        return self._together(self._columns(own) * self._conversion_time(own))

    def _waiting_time(self, own: Precision) -> Any:
        """From the first conversion after a read to the last."""
        return self._conversions_time(own) - self._conversion_time(own)

    def _conversion_time(self, own: Precision) -> Any:
        return self.adc.time(own.adc_bits, self.counts.like(own.adc_bits).rows)


def _like(values: np.ndarray, like: Any) -> Any:
    """Values as an array, or as a tensor like another."""
    return values if isinstance(like, np.ndarray) else like.new_tensor(values)


def _largest(each: Any, groups: Sequence[tuple[int, ...]]) -> Any:
    """Numbers (L,), of every group the largest for its first member, and 0 for the others."""
    for group in groups:
        others, first = np.ones(each.shape), np.zeros(each.shape)
        others[list(group)] = 0
        first[group[0]] = 1
        each = each * _like(others, each) + reduce(larger, [each[i] for i in group]) * _like(first, each)
    return each


def _check_bits(check: Checker, name: str, converter: Converter, bits: np.ndarray, layer_names: Sequence[str]) -> None:
    least, most = converter.least_bits, converter.most_bits
    if least is None:
        return
    least = max(math.ceil(least), 2)  # hardware has no converters of one bit
    wrong = np.flatnonzero(~((bits >= least) & (bits <= (np.inf if most is None else most))))
    if wrong.size:
        given, layer = bits[wrong[0]], layer_names[wrong[0]]
        known = f"at least {least} bits" if most is None else f"{least} to {most:g} bits"
        check.fail(
            name,
            None if np.isnan(given) else int(given),
            f"{known} in every layer (not in {layer!r}): hardware.costs know no others",
            f"Give {name}, or costs whose {name[:3]} is a number.",
        )
