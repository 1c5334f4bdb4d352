"""What is least among choices: a product of powers of energy, latency and area of one inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from powerplan.planning import policy

#: exponents of energy, latency and area by objective; those of latency and area break ties by energy
EXPONENTS = {
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
        exponents: of energy, latency and area.
    """

    exponents: tuple[float, float, float]

    def value(self, totals: np.ndarray) -> np.ndarray:
        """Of (N, 3) energy, latency and area."""
        powers = [
            np.ones(len(totals)) if not e else column**e for e, column in zip(self.exponents, totals.T, strict=True)
        ]
        return np.asarray(np.prod(powers, axis=0))

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

    def met(self, totals: np.ndarray) -> np.ndarray:
        """(N,) whether (N, 3) energy, latency and area are within them."""
        return np.asarray((totals <= np.array(self.most)).all(1))
