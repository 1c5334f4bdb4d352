"""The best choice of options in a local model, and what bounds all of them.

With prices λ of the constraints, weak duality bounds every choice: its objective is at least that of the least

    Lagrangian(choice, y) = objective + Σ_r λ_r (error_r − 1).

From the choice whose Lagrangian is least, every switch of a single site raises it by some Δ >= 0; a choice that differs
in several is taken to be above the sum of theirs. Choices are looked at in the order of these sums, with gains on the
target, until the sums alone are above the best one. What a sum was seen to be above the Lagrangian of its choice
lowers the bound.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from powerplan.planning import policy
from powerplan.planning.bits.local_model import LocalModel
from powerplan.planning.bits.scores import Limits, Score


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """Choices that were looked at, the best first.

    Attributes:
        choices: (N, sites).
        y: (N, m) on the target.
        scores: (N,) of the objective.
        prices: (R,) of the constraints at the best one, as changes of its energy [J] per relative change of a bound.
        bound: no other choice of the model has a lower score.
        violation: by how much of the score a sum of switches was above the Lagrangian of its choice.
    """

    choices: np.ndarray
    y: np.ndarray
    scores: np.ndarray
    prices: np.ndarray
    bound: float
    violation: float


def ranked(model: LocalModel, score: Score, limits: Limits, start: np.ndarray) -> Ranked | None:
    """The choices of a model in the order of their scores; None where none is seen to meet the constraints.

    Args:
        start: (sites,) a choice to begin with.
    """
    best = _descended(model, score, limits, start)
    if best is None:
        return None
    found = _Search(model, score, limits, *best).run()
    return found if len(found.choices) else None


def undominated(model: LocalModel, score: Score, limits: Limits) -> list[np.ndarray]:
    """The options of every side that no other one is better than in all that counts, and the finest."""
    counts = score.signs + (score.signs == 0) * limits.bind
    kept = []
    for rows, held, table in zip(model.costs.increments, model.costs.held, model.effects.tables, strict=True):
        costs = [counts[j] * rows[:, :, j] for j in np.flatnonzero(counts)]
        worse = np.hstack([*costs, held, table])
        size = np.abs(worse).max(0) * policy.TIE
        own, index = [], np.arange(len(worse))
        for i, row in enumerate(worse[:-1]):
            better = (worse <= row + size).all(1) & ((worse < row - size).any(1) | (index > i))
            own += [] if better.any() else [i]
        kept.append(np.array([*own, len(worse) - 1]))
    return kept


def _scored(
    model: LocalModel, score: Score, limits: Limits, choices: np.ndarray, y: np.ndarray, prices: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (N,), y (N, m) and prices (N, R) of choices with gains on the target; inf where that cannot be met, and
    raised where limits are exceeded."""
    y, multiples = model.on_target(choices, 1.0, prices, y)
    totals = model.totals(choices, y)
    values = score.value(totals) * (1 + policy.BEYOND_LIMITS * limits.excess(totals))
    return np.where(np.isfinite(multiples), values, np.inf), y, multiples[:, None] * prices


def _descended(
    model: LocalModel, score: Score, limits: Limits, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """A choice that no switch of a single site improves: it, y, prices and score.

    As many sites are switched together, those first that gain most, as improve it more than the best one alone does.
    """
    prices = np.full(model.constraints, float(model.totals(start[None], np.zeros((1, len(model.lower))))[0, 0]))
    choice, y, value = start, np.zeros(len(model.lower)), np.inf
    for _ in range(policy.MOST_SWITCHES):
        switched, sites = model.choices.switched(choice)
        values, ys, every = _scored(model, score, limits, switched, np.tile(y, (len(switched), 1)), prices)
        least = int(np.argmin(values))
        if not values[least] < value * (1 - policy.TIE):
            break
        for together in _joint(choice, switched, sites, values):
            one, one_y, one_prices = _scored(model, score, limits, together[None], ys[least][None], every[least])
            if one[0] < values[least]:
                choice, y, prices, value = together, one_y[0], one_prices[0], float(one[0])
                break
        else:
            choice, y, prices, value = switched[least], ys[least], every[least], float(values[least])
    return None if not np.isfinite(value) else (choice, y, prices, value)


def _joint(choice: np.ndarray, switched: np.ndarray, sites: np.ndarray, values: np.ndarray) -> Iterator[np.ndarray]:
    """Choices (sites,) with the best switches of several sites at once: of all that improve a choice, then of the half
    that gain most, and so on."""
    own = values[(switched == choice).all(1)].min()
    best = [int(np.flatnonzero(sites == site)[values[sites == site].argmin()]) for site in range(len(choice))]
    improving = [i for i in sorted(best, key=lambda i: values[i]) if values[i] < own * (1 - policy.TIE)]
    while len(improving) > 1:
        together = choice.copy()
        for i in improving:
            together[sites[i]] = switched[i, sites[i]]
        yield together
        improving = improving[: len(improving) // 2]


class _Search:
    """The choices beside the best one so far, in the order of their bounds."""

    def __init__(
        self,
        model: LocalModel,
        score: Score,
        limits: Limits,
        choice: np.ndarray,
        y: np.ndarray,
        prices: np.ndarray,
        value: float,
    ) -> None:
        self.model, self.score, self.limits = model, score, limits
        self.y, self.prices, self.value = y, prices, value
        totals = model.totals(choice[None], y[None])[0]
        self.slopes = score.slopes(totals)
        self.energy_slope = float(self.slopes[0])
        self.offset = value - float(self.slopes @ totals)
        self.incumbent = choice
        for j in np.flatnonzero(limits.bind):
            self._price(int(j))

    def run(self) -> Ranked:
        centre, value = self._centre()
        switched, sites = self.model.choices.switched(centre)
        rises = np.maximum(self._lagrangians(switched) - value, 0.0)
        found = [(self.incumbent[None], self.y[None], np.array([self.value]))]
        violation, bound, best = 0.0, np.inf, self.value
        sums = self._in_order(switched, sites, rises, centre)
        for _ in range(policy.MOST_LISTED // policy.LISTED_AT_ONCE):
            batch = list(itertools.islice(sums, policy.LISTED_AT_ONCE))
            if not batch:
                break
            floors = value + np.array([rise for rise, _ in batch])
            below = floors < best * (1 + policy.NEARLY_BEST)
            if not below.any():
                bound = float(floors[0])
                break
            choices = np.stack([choice for _, choice in batch])[below]
            over = floors[below] - self._lagrangians(choices)
            violation = max(violation, float(over.max()) / self.value)
            values, y, _ = _scored(
                self.model, self.score, self.limits, choices, np.tile(self.y, (len(choices), 1)), self.prices
            )
            found.append((choices, y, values))
            best = min(best, float(values.min()))
            bound = float(floors[-1])
        choices, y, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        choices, first = np.unique(choices, axis=0, return_index=True)
        y, values = y[first], values[first]
        order = np.argsort(values, kind="stable")
        within = self.limits.excess(self.model.totals(choices, y)) == 0
        order = order[(np.isfinite(values) & within)[order]]
        return Ranked(
            choices=choices[order],
            y=y[order],
            scores=values[order],
            prices=self.prices,
            bound=float(min(bound, best) * (1 - violation)),
            violation=violation,
        )

    def _price(self, j: int) -> None:
        """Price a limit, by as little as keeps it where the Lagrangian is least; none where it is kept without."""
        most = self.limits.most[j]
        slopes, offset, low, high = self.slopes, self.offset, 0.0, self.value * policy.DEAREST_LIMIT

        def price(amount: float) -> bool:
            self.slopes = slopes + amount / most * np.eye(3)[j]
            self.offset = offset - amount
            centre, _ = self._centre()
            total = self.model.totals(centre[None], self._at(centre[None]))[0, j]
            return bool(total <= most)

        if price(0.0):
            return
        for _ in range(policy.LIMIT_PRICES):
            middle = 0.5 * (low + high) if low else high * 1e-3
            low, high = (low, middle) if price(middle) else (middle, high)
        price(high)

    def _at(self, choices: np.ndarray) -> np.ndarray:
        """(N, m) where the Lagrangians of choices (N, sites) are least."""
        start = np.tile(self.y, (len(choices), 1))
        return self.model.least(choices, self.slopes[0], self.energy_slope * self.prices, start)

    def _centre(self) -> tuple[np.ndarray, float]:
        """The choice with the least Lagrangian, and that."""
        centre = self.incumbent
        value = float(self._lagrangians(centre[None])[0])
        for _ in range(policy.MOST_SWITCHES):
            switched, _ = self.model.choices.switched(centre)
            values = self._lagrangians(switched)
            least = int(np.argmin(values))
            if not values[least] < value - policy.TIE * abs(self.value):
                break
            centre, value = switched[least], float(values[least])
        return centre, value

    def _lagrangians(self, choices: np.ndarray) -> np.ndarray:
        """(N,) the least Lagrangians of choices (N, sites)."""
        prices, y = self.energy_slope * self.prices, self._at(choices)
        linear = self.offset + self.model.totals(choices, y) @ self.slopes
        return np.asarray(linear + (self.model.errors(choices, y) - 1) @ prices)

    def _in_order(
        self, switched: np.ndarray, sites: np.ndarray, rises: np.ndarray, centre: np.ndarray
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Choices with the sum of the rises of their switches, increasing."""
        by_site = [np.flatnonzero(sites == site) for site in range(len(centre))]
        by_site = [rows[np.argsort(rises[rows], kind="stable")] for rows in by_site]
        queue: list[tuple[float, tuple[int, ...], int]] = [(0.0, (0,) * len(centre), 0)]
        while queue:
            total, ranks, first = heapq.heappop(queue)
            choice = np.array(
                [switched[rows[rank], site] for site, (rows, rank) in enumerate(zip(by_site, ranks, strict=True))]
            )
            yield total, choice
            for site in range(first, len(ranks)):
                rank, rows = ranks[site], by_site[site]
                if rank + 1 < len(rows):
                    more = total + rises[rows[rank + 1]] - rises[rows[rank]]
                    heapq.heappush(queue, (more, (*ranks[:site], rank + 1, *ranks[site + 1 :]), site))
