"""What choices cost: energy beside the arrays, latency and area as sums over sites, and how long arrays are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from powerplan.hardware.costs.model import CostModel
from powerplan.planning.bits.choices import Choices


@dataclass(frozen=True, kw_only=True, eq=False)
class ChoiceCosts:
    """Costs as sums over sites, which all are but the leakage of pipelined layers: that is taken as of the finest
    options.

    Attributes:
        rest: (3,) energy without arrays [J], latency [s] and area [m²] of the finest options.
        increments: by side (options, L, 3), what an option changes in a layer.
        held: by side (options, L), how long a layer's arrays are read over that of the finest options.
        seconds: (L,) that of the finest options [s].
    """

    model: CostModel
    choices: Choices
    rest: np.ndarray
    increments: tuple[np.ndarray, ...]
    held: tuple[np.ndarray, ...]
    seconds: np.ndarray

    @classmethod
    def of(cls, model: CostModel, choices: Choices) -> ChoiceCosts:
        """Those of a network on a hardware."""
        finest = choices.finest
        base, seconds = _by_layer(model, choices, finest)
        increments, held = [], []
        for number, side in enumerate(choices.sides):
            sites = slice(number * choices.layers, (number + 1) * choices.layers)
            rows = []
            for option in range(len(side.options)):
                choice = finest.copy()
                choice[sites] = option
                rows.append(_by_layer(model, choices, choice))
            increments.append(np.stack([row for row, _ in rows]) - base)
            held.append(np.stack([each for _, each in rows]) / seconds)
        return cls(
            model=model,
            choices=choices,
            rest=base.sum(0),
            increments=tuple(increments),
            held=tuple(held),
            seconds=seconds,
        )

    def only(self, kept: Sequence[np.ndarray]) -> ChoiceCosts:
        """With these options of every side."""
        return replace(
            self,
            choices=self.choices.only(kept),
            increments=tuple(rows[own] for rows, own in zip(self.increments, kept, strict=True)),
            held=tuple(rows[own] for rows, own in zip(self.held, kept, strict=True)),
        )

    def beside(self, choices: np.ndarray) -> np.ndarray:
        """(N, 3) energy without that of arrays, latency and area of choices (N, sites)."""
        totals = np.tile(self.rest, (len(choices), 1))
        for rows, own in self._by_side(choices, self.increments):
            totals += rows[own, np.arange(self.choices.layers)].sum(1)
        return totals

    def ends(self) -> np.ndarray:
        """(2, 3) the least and the most of each of all choices."""
        reach = [[rows.min(0).sum(0), rows.max(0).sum(0)] for rows in self.increments]
        return np.asarray(self.rest + np.sum(reach, axis=0))

    @property
    def cheapest(self) -> np.ndarray:
        """(sites,) the options that take least energy beside the arrays."""
        return np.concatenate([rows[:, :, 0].argmin(0) for rows in self.increments])

    def read_times(self, choices: np.ndarray) -> np.ndarray:
        """(N, L) how long the arrays are read [s]."""
        seconds = np.tile(self.seconds, (len(choices), 1))
        for rows, own in self._by_side(choices, self.held):
            seconds *= rows[own, np.arange(self.choices.layers)]
        return seconds

    def totals(self, array_power: np.ndarray, choice: np.ndarray) -> np.ndarray:
        """(3,) energy, latency and area of one choice (sites,) with the power of arrays (L,) [W], exactly."""
        precision = self.choices.precision(self.model, choice)
        energy, area = self.model.energies(array_power, precision), self.model.areas(precision)
        latency = np.sum(self.model.latencies(precision))
        return np.array([_total(energy), latency, _total(area)])

    def _by_side(self, choices: np.ndarray, tables: tuple[np.ndarray, ...]) -> Any:
        return zip(tables, np.split(choices, len(self.choices.sides), axis=1), strict=True)


def _by_layer(model: CostModel, choices: Choices, choice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(L, 3) energy without arrays, latency and area, and (L,) how long arrays are read."""
    precision = choices.precision(model, choice)
    nothing = np.zeros(choices.layers)
    energies, areas = model.energies(nothing, precision), model.areas(precision)
    latency = nothing + model.latencies(precision)
    leakage = energies.pop("leakage")
    # every layer leaks while any of them works
    leaks = nothing + leakage if model.costs.pipelined else np.sum(leakage) * latency / latency.sum()
    energy = nothing + sum(energies.values()) + leaks
    area = nothing + sum(areas.values())
    return np.stack([energy, latency, area], axis=1), model.energies(nothing + 1, precision)["arrays"] + nothing


def _total(by_component: dict[str, Any]) -> float:
    return float(sum(np.sum(part) for part in by_component.values()))
