"""What an inference takes, by layer and component.

Written by scripts/generate_client.py. Do not edit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan_client.compat import dataclass

#: components by name, and what they are
COMPONENTS = {
    "arrays": "devices and feedback resistors",
    "amplifiers": "bias of amplifiers",
    "adc": "converters of columns",
    "dac": "converters of rows",
    "drivers": "wires and gates of rows",
    "sample_hold": "sample and hold",
    "shift_add": "addition of partial sums",
    "outputs": "scale, bias and activation of outputs",
    "buffers": "buffers and moves between layers",
    "leakage": "leakage",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class CostBreakdown:
    """Energy, latency and area of one inference. L crossbar layers, C components.

    Operations count two for every product of an input with a weight in the crossbar layers, at every position; energy
    is that of the components listed. Functions between layers count where ``output_energy`` says so; memory and links
    outside the chip do not.

    Attributes:
        layer_names: (L,) names of the crossbar layers.
        components: (C,) names of the components.
        energy_by_component: (L, C) of one inference [J].
        latency_by_layer: (L,) of one inference [s].
        area_by_component: (L, C) [m²]; 0 where no costs tell it.
        operations: of one inference, of all layers.
        pipelined: layers work on different inputs at once.
    """

    layer_names: tuple[str, ...]
    components: tuple[str, ...]
    energy_by_component: np.ndarray
    latency_by_layer: np.ndarray
    area_by_component: np.ndarray
    operations: float
    pipelined: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As plain values, with the sums."""
        return {
            "layer_names": list(self.layer_names),
            "components": list(self.components),
            "energy_by_component": self.energy_by_component.tolist(),
            "latency_by_layer": self.latency_by_layer.tolist(),
            "area_by_component": self.area_by_component.tolist(),
            "operations": self.operations,
            "pipelined": self.pipelined,
            "energy": self.energy,
            "latency": self.latency,
            "period": self.period,
            "area": self.area,
            "tops_per_watt": self.tops_per_watt if self.energy > 0 else None,
        }

    @property
    def energy(self) -> float:
        """Of one inference [J]."""
        return float(np.sum(self.energy_by_component))

    @property
    def energy_by_layer(self) -> np.ndarray:
        """(L,) of one inference [J]."""
        return np.asarray(np.sum(self.energy_by_component, axis=1))

    @property
    def energy_of(self) -> dict[str, float]:
        """Of one inference by component [J], all layers."""
        return dict(zip(self.components, np.sum(self.energy_by_component, axis=0).tolist()))

    @property
    def latency(self) -> float:
        """From an input to its outputs [s]."""
        return float(np.sum(self.latency_by_layer))

    @property
    def period(self) -> float:
        """Between one inference and the next [s]: the latency, or of pipelined layers that of the slowest."""
        return float(np.max(self.latency_by_layer)) if self.pipelined else self.latency

    @property
    def area(self) -> float:
        """Of all components [m²]."""
        return float(np.sum(self.area_by_component))

    @property
    def operations_per_second(self) -> float:
        """One inference after the other; 1e12 are a TOPS."""
        return self.operations / self.period

    @property
    def tops_per_watt(self) -> float:
        """10¹² operations per joule; NaN where nothing takes energy."""
        return 1e-12 * self.operations / self.energy if self.energy > 0 else float("nan")

    @property
    def tops_per_mm2(self) -> float:
        """10¹² operations per second and mm²; NaN where no area is told."""
        return 1e-18 * self.operations_per_second / self.area if self.area > 0 else float("nan")
