"""Where an optimisation stands after a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Iterate:
    """A step of an optimisation.

    Attributes:
        iteration: steps made, or choices of conductance steps looked at, >= 0.
        objective: what is made least, at the gains of this step: power [W], or with a power budget the MSE. The target
            may not be met there yet; of a search over steps, the best found that meets it; None = none yet.
        bound: lower bound on the objective of all gains that meet the target, by the certificate of this step, under
            which the result's certificate holds; None = none yet.
    """

    iteration: int
    objective: float | None
    bound: float | None


OnStep = Callable[[Iterate], None]


def unheard(iterate: Iterate) -> None:
    """Told of a step where nobody asks."""
