"""What gains do to an array with these inputs: the row voltages and the conductances that come of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from powerplan.errors import LimitWarning, Violation
from powerplan.hardware.gains import (
    Gains,
    column_conductance_limits,
    conductance_span,
    reference_voltage,
    reference_voltage_limits,
    row_voltage_limits,
)
from powerplan.hardware.hardware import Hardware
from powerplan.network import Network
from powerplan.plausibility import Plausible, quantity

_ROW = Plausible(unit="V", low=1e-9, high=20.0, why="rows of an array", mistakes=(1e-3, 1e-6))
_LARGEST = Plausible(unit="S", low=1e-13, why="what the largest weight is stored as")


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatingPoint:
    """A network at some gains, with inputs (B, *input_shape)."""

    network: Network
    hardware: Hardware
    gains: Gains
    inputs: np.ndarray

    def doubts(self) -> tuple[Violation, ...]:
        """Row voltages and conductances beyond the plausible, under the gains that cause them."""
        return tuple(self._doubts())

    def _doubts(self) -> Iterator[Violation]:
        for i, volts in enumerate(self._row_voltages):
            for doubt in _ROW.doubt(f"gains.voltage[{i}]", volts):
                likely = "" if volts < 1 else " Was it given in mV?"
                yield replace(
                    doubt, value=f"{quantity(volts, 'V')} on a row", advice=f"Check the unit of the gain.{likely}"
                )
        span = conductance_span(self.hardware)
        limits = column_conductance_limits(self.network, self.hardware, self.gains.voltage)
        for i, (gain, limit) in enumerate(zip(self.gains.conductance, limits, strict=True)):
            largest = float((gain / limit).max()) * span
            for doubt in _LARGEST.doubt(f"gains.conductance[{i}]", largest):
                yield replace(doubt, value=f"{quantity(largest, 'S')} at most", advice="Check the unit of the gain.")

    @cached_property
    def _row_voltages(self) -> tuple[float, ...]:
        """The largest voltage on a row of every layer, of ideal activations and of a constant row [V]."""
        limits = row_voltage_limits(self.network, self.hardware, self.inputs)
        constants = reference_voltage_limits(self.network, self.hardware)
        return tuple(
            max(float((gain / limit).max()), reference_voltage(gain) / most) * self.hardware.voltage_max
            for gain, limit, most in zip(self.gains.voltage, limits, constants, strict=True)
        )

    def warn_beyond_voltage(self) -> None:
        """Warn (LimitWarning) if ideal activations of these inputs drive rows beyond ``voltage_max``."""
        most = self.hardware.voltage_max
        hardwares = self.hardware.of_layers(self.network.layer_names)
        layers = zip(self.network.layer_labels, hardwares, self._row_voltages, strict=True)
        high = [(name, own, volts) for name, own, volts in layers if volts > most * (1 + 1e-6)]
        if high:
            beyond = [f"{name}: {volts:.4g} V" for name, _, volts in high]
            saturates = all(own.dac_bits for _, own, _ in high)
            outcome = "the converters saturate there" if saturates else "the results assume they do not saturate"
            warnings.warn(
                f"rows are driven beyond hardware.voltage_max = {most:g} V ({', '.join(beyond)}): "
                f"{outcome}. Lower gains.voltage, or plan with these inputs.",
                LimitWarning,
                stacklevel=3,
            )
