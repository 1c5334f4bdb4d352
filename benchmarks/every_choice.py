"""Every choice of bits, planned or proven to be no better: an exhaustive search that plans as few as it can.

The energy of a choice b is what converters and the rest take at its bits, C(b), which costs tell without a plan, and
what the arrays take with gains planned for it, A(b). Fewer bits in any layer add rounding errors, which gains have to
make up for, so that A(b) >= A(h) wherever b <= h in all layers, and where no gains meet the target at h, none do at b.
So one plan at h bounds all choices below it, and those whose C(b) + A(h) is above the best energy found need none.

What is assumed is counted: in how many of the pairs that were planned A(b) < A(h), and by how much at most. Bounds are
lowered by that: what is pruned would be pruned with any violation that is as small.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import powerplan as pp
from powerplan.hardware.costs.model import CostModel

#: by what part the arrays' energy may be below that of a choice with more bits
_MARGIN = 0.002


class EveryChoice:
    """All choices of some bits for the converters of columns, one for every layer.

    Args:
        plan: gains planned at bits, one for every layer.
        bits: to choose from, increasing.
    """

    def __init__(
        self,
        plan: Callable[[tuple[int, ...]], pp.Plan],
        network: pp.Network,
        hardware: pp.Hardware,
        bits: Sequence[int],
    ) -> None:
        self.plan, self.bits, layers = plan, bits, len(network.layer_names)
        self.shape = (len(bits),) * layers
        beside, seconds = np.zeros(self.shape), []
        for ranks in itertools.product(range(len(bits)), repeat=layers):
            model = CostModel.of(network, hardware.replace(adc_bits=self._bits(ranks)))
            assert model is not None
            beside[ranks] = sum(np.sum(part) for part in model.energies(np.zeros(layers)).values())
            seconds.append(model.energies(np.ones(layers))["arrays"] + np.zeros(layers))
        assert np.ptp(seconds, axis=0).max() == 0, "arrays are read as long with any bits"
        #: energy without arrays, and what that of arrays is known to be at least
        self.beside, self.floor = beside, np.zeros(self.shape)
        self.arrays: dict[tuple[int, ...], float] = {}
        self.best, self.seconds = np.inf, 0.0

    @property
    def count(self) -> int:
        """Number of choices."""
        return int(self.beside.size)

    def searched(self, *, whole: bool) -> dict[str, Any]:
        """The best choice, what was planned, and what was seen of the assumption; ``whole``: plan all."""
        top, margin = tuple(n - 1 for n in self.shape), _MARGIN
        self._planned(top)
        for layer, rank in itertools.product(range(len(self.shape)), range(len(self.bits) - 1)):
            self._planned((*top[:layer], rank, *top[layer + 1 :]))
        while True:
            pruned = self.beside + self.floor * (1 - margin) >= self.best
            left = [ranks for ranks in zip(*np.nonzero(~pruned | whole), strict=True) if ranks not in self.arrays]
            if not left:
                seen, pairs, violated = self._violations()
                if seen <= margin:
                    break
                margin = seen
                continue
            self._planned(left[0] if whole else self._telling(np.array(left)))
        found = min(self.arrays, key=self._energy)
        infeasible = int(np.isinf(list(self.arrays.values())).sum())
        unplanned = int(np.isinf(self.floor).sum()) - infeasible
        return {
            "best_bits": self._bits(found),
            "best": self._energy(found),
            "choices": self.count,
            "planned": len(self.arrays),
            "planned_infeasible": infeasible,
            "pruned_infeasible": unplanned,
            "pruned_by_energy": self.count - len(self.arrays) - unplanned,
            "pairs": pairs,
            "pairs_violated": violated,
            "largest_violation": seen,
            "margin": margin,
            "every_s": self.seconds,
        }

    def _bits(self, ranks: Sequence[int]) -> tuple[int, ...]:
        return tuple(self.bits[rank] for rank in ranks)

    def _energy(self, ranks: tuple[int, ...]) -> float:
        return float(self.beside[ranks] + self.arrays[ranks])

    def _planned(self, ranks: tuple[int, ...]) -> None:
        """Plan a choice, and raise what is known of those with fewer bits."""
        ranks = tuple(int(rank) for rank in ranks)
        if ranks in self.arrays:
            return
        started = time.process_time()
        plan = self.plan(self._bits(ranks))
        self.seconds += time.process_time() - started
        assert plan.costs is not None
        self.arrays[ranks] = plan.costs.energy_of["arrays"] if plan.meets_target else np.inf
        self.best = min(self.best, self._energy(ranks))
        below = tuple(slice(0, rank + 1) for rank in ranks)
        self.floor[below] = np.maximum(self.floor[below], self.arrays[ranks])

    def _telling(self, left: np.ndarray) -> tuple[int, ...]:
        """The choice whose plan is expected to prune most of those left (N, layers): its arrays are guessed to take
        one half more than what single layers with its bits add to those with the most bits."""
        top = tuple(n - 1 for n in self.shape)
        guess = np.full(self.shape, self.arrays[top])
        for layer in range(len(self.shape)):
            alone = np.array([self.arrays[(*top[:layer], r, *top[layer + 1 :])] for r in range(len(self.bits))])
            rise = 1.5 * np.minimum(alone - self.arrays[top], self.best)
            guess += rise.reshape([-1 if k == layer else 1 for k in range(len(self.shape))])
        guess = np.maximum(guess, self.floor)
        beside = self.beside[tuple(left.T)]
        least = tuple(left[np.argmin(beside + self.floor[tuple(left.T)])])
        above = itertools.product(*(range(k, n) for k, n in zip(least, self.shape, strict=True)))
        tried = [ranks for ranks in above if ranks not in self.arrays]
        reach = [((left <= r).all(1) & (beside + guess[r] >= self.best)).sum() for r in tried]
        most = int(np.argmax(reach))
        return tried[most] if reach[most] > 1 else least

    def _violations(self) -> tuple[float, int, int]:
        """By what part the arrays at most took less with fewer bits where both met the target; pairs of planned
        choices with more and fewer bits, and in how many of them fewer bits took less."""
        ranks, values = np.array(list(self.arrays)), np.array(list(self.arrays.values()))
        largest, pairs, violated = 0.0, 0, 0
        for own, value in zip(ranks, values, strict=True):
            above = values[(ranks >= own).all(1) & (ranks != own).any(1)]
            pairs += len(above)
            lost = above > value
            violated += int(lost.sum())
            largest = max([largest, *(1 - value / above[lost & np.isfinite(above)])])
        return float(largest), pairs, violated
