"""What is least among choices: a product of powers of energy, latency and area of one inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from powerplan.planning import policy
from powerplan.planning.bits.costs import ChoiceCosts
from powerplan.planning.settings import PlanSettings

#: exponents of energy, latency and area by objective; those of latency and area break ties by energy
EXPONENTS: Mapping[str, tuple[float, float, float]] = {
    "energy": (1.0, 0.0, 0.0),
    "power": (1.0, -1.0, 0.0),
    "latency": (policy.TIE_BREAK, 1.0, 0.0),
    "energy_delay": (1.0, 1.0, 0.0),
    "area": (policy.TIE_BREAK, 0.0, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One objective.

    Attributes:
        name: one of :data:`EXPONENTS`.
    """

    name: str

    @property
    def exponents(self) -> tuple[float, float, float]:
        """Of energy, latency and area."""
        return EXPONENTS[self.name]

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Of (N, 3) energy, latency and area."""
        powers = [
            np.ones(len(totals)) if not e else column**e for e, column in zip(self.exponents, totals.T, strict=True)
        ]
        return np.asarray(np.prod(powers, axis=0))

    def below(self, energy: float, costs: ChoiceCosts) -> float:
        """What no choice scores less than, where none takes less than this energy [J]."""
        ends = costs.ends()
        totals = [energy, *(ends[int(e < 0), j] for j, e in enumerate(self.exponents) if j)]
        return float(self.value(np.array([totals]))[0])

    @property
    def signs(self) -> np.ndarray:
        """(3,) whether more of each is worse (1), better (−1) or all the same (0)."""
        return np.sign(self.exponents)

    def slopes(self, totals: np.ndarray) -> np.ndarray:
        """(3,) derivatives at energy, latency and area (3,)."""
        value = float(self.value(totals[None])[0])
        return np.array([value * e / t if e else 0.0 for e, t in zip(self.exponents, totals, strict=True)])


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper limits of energy [J], latency [s] and area [m²] of one inference.

    Attributes:
        most: in this order; inf = none.
    """

    most: tuple[float, float, float] = (np.inf, np.inf, np.inf)

    @classmethod
    def of(cls, settings: PlanSettings) -> Limits:
        """Those of a plan."""
        energy, latency, area = settings.max_energy, settings.max_latency, settings.max_area
        return cls(most=(energy or np.inf, latency or np.inf, area or np.inf))

    @property
    def each(self) -> dict[str, float]:
        """Those that there are, by what they are on."""
        return {
            name: most for name, most in zip(("energy", "latency", "area"), self.most, strict=True) if most < np.inf
        }

    @property
    def bind(self) -> np.ndarray:
        """(3,) which there are."""
        return np.isfinite(self.most)

    def excess(self, totals: np.ndarray) -> np.ndarray:
        """(N,) by what parts of them (N, 3) energy, latency and area are above, added up."""
        return np.asarray(np.maximum(totals / np.array(self.most) - 1, 0.0).sum(1))
