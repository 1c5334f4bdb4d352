"""A model of power and error near a point, for every choice of options: exponentials in few coordinates of the gains.

Coordinates y move the gains of one kind in one layer together. Power by layer and every term of an error follow from
what single coordinates change them by, as p (1 + Σ_j a_j (e^{t_j y_j} − 1)), of which t is known: 1 and 2 of power, −2
of an error; where that is no sum of positive terms, as p e^{b·y}. What options add to a term of the error has a
response of its own, since rounding falls with gains in another way than noise:

    e(y, options) = e(y) + d(y) Σ_site w_site D_option,

D what is added with the option in all layers, w the part of it that a layer adds alone. So an error is known for every
choice of options from one prediction for each option and site and two for each coordinate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from powerplan.planning import policy
from powerplan.planning.bits.choices import Choices
from powerplan.planning.bits.costs import ChoiceCosts
from powerplan.planning.bits.newton import least_in_box


@dataclass(frozen=True, kw_only=True, eq=False)
class Exponentials:
    """Values (V,) as sums of exponentials of y (m,) that are 1 at y = 0: factor_v(y) = Σ_k of v coefficient_k
    e^{exponents_k · y}.

    Attributes:
        of: (K,) the value of every exponential.
        coefficients: (K,) > 0.
        exponents: (K, m).
    """

    of: np.ndarray
    coefficients: np.ndarray
    exponents: np.ndarray

    @classmethod
    def fitted(cls, ratios: np.ndarray, steps: np.ndarray, rising: np.ndarray, falling: np.ndarray) -> Exponentials:
        """From what values become by single steps.

        Args:
            ratios: (m, V) of the values after the step of a coordinate over those before.
            steps: (m,) changes of the coordinates.
            rising, falling: (m,) exponents of what rises, and falls, with a coordinate.
        """
        m, count = ratios.shape
        logs = np.log(np.maximum(ratios, np.finfo(float).tiny)) / steps[:, None]
        logs = logs.clip(-policy.STEEPEST, policy.STEEPEST)
        exponents = np.where(logs > 0, rising[:, None], falling[:, None])
        parts = (ratios - 1) / np.expm1(exponents * steps[:, None])
        parts = np.where(np.abs(parts) < policy.NO_RESPONSE, 0.0, parts)
        rest = 1 - parts.sum(0)
        summed = (rest >= 0) & (parts >= 0).all(0)
        of, coefficients, rows = [], [], []
        for j, v in zip(*np.nonzero(parts * summed), strict=True):
            of.append(v)
            coefficients.append(parts[j, v])
            rows.append(exponents[j, v] * np.eye(m)[j])
        for v in range(count):
            if not summed[v] or rest[v] > 0:
                of.append(v)
                coefficients.append(rest[v] if summed[v] else 1.0)
                rows.append(np.zeros(m) if summed[v] else logs[:, v])
        return cls(of=np.array(of), coefficients=np.array(coefficients), exponents=np.array(rows).reshape(-1, m))

    def beside(self, other: Exponentials, count: int) -> Exponentials:
        """Its ``count`` values, then those of another."""
        return Exponentials(
            of=np.concatenate([self.of, count + other.of]),
            coefficients=np.concatenate([self.coefficients, other.coefficients]),
            exponents=np.vstack([self.exponents, other.exponents]),
        )

    def at(self, y: np.ndarray, count: int) -> np.ndarray:
        """(N, count) factors at y (N, m)."""
        every = self.coefficients * np.exp(y @ self.exponents.T)
        factors = np.zeros((len(y), count))
        np.add.at(factors.T, self.of, every.T)
        return factors


@dataclass(frozen=True, kw_only=True, eq=False)
class OptionEffects:
    """What options add to the terms of the constraints of the finest ones.

    Attributes:
        tables: by side (options, T), with the option in all layers, over the bounds.
        shares: by side (options, L, T), the parts of that which the layers add.
    """

    tables: tuple[np.ndarray, ...]
    shares: tuple[np.ndarray, ...]

    def only(self, kept: Sequence[np.ndarray]) -> OptionEffects:
        """With these options of every side."""
        tables, shares = (
            tuple(rows[own] for rows, own in zip(by_side, kept, strict=True)) for by_side in (self.tables, self.shares)
        )
        return replace(self, tables=tables, shares=shares)

    def added(self, choices: np.ndarray) -> np.ndarray:
        """(N, T) at choices (N, sites)."""
        total = np.zeros((len(choices), self.tables[0].shape[1]))
        sides = np.split(choices, len(self.tables), axis=1)
        for table, shares, own in zip(self.tables, self.shares, sides, strict=True):
            for layer in range(own.shape[1]):
                option = own[:, layer]
                total += shares[option, layer] * table[option]
        return np.maximum(total, 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalModel:
    """Costs and constraints of all choices near a point.

    Attributes:
        powers: (L,) of the arrays at the point [W].
        terms: (2 T,) of the constraints over their bounds at the point with the finest options, then what they are to
            be multiplied by that options add.
        constraint_of: (2 T,) the constraint of every term.
        lower, upper: limits of y (m,).
    """

    choices: Choices
    costs: ChoiceCosts
    effects: OptionEffects
    powers: np.ndarray
    power_response: Exponentials
    terms: np.ndarray
    term_response: Exponentials
    constraint_of: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @property
    def constraints(self) -> int:
        """Number of constraints R."""
        return int(self.constraint_of.max()) + 1

    def array_powers(self, y: np.ndarray) -> np.ndarray:
        """(N, L) [W] at y (N, m)."""
        return np.asarray(self.powers * self.power_response.at(y, len(self.powers)))

    def errors(self, choices: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(N, R) constraints over their bounds at choices (N, sites) and y (N, m)."""
        terms = self._terms(choices) * self.term_response.at(y, len(self.terms))
        return np.asarray(terms @ np.eye(self.constraints)[self.constraint_of])

    def totals(self, choices: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(N, 3) energy, latency and area."""
        totals = self.costs.beside(choices)
        totals[:, 0] += (self.array_powers(y) * self.costs.read_times(choices)).sum(1)
        return totals

    def least(self, choices: np.ndarray, energy: float, prices: np.ndarray, start: np.ndarray) -> np.ndarray:
        """y (N, m) at which energy · weight + Σ_r price_r error_r is least.

        Args:
            energy: weight of the energy.
            prices: (R,) or (N, R) of the constraints.
            start: (N, m).
        """
        powers, terms = self.power_response, self.term_response
        priced = np.broadcast_to(prices, (len(choices), self.constraints))[:, self.constraint_of]
        weights = np.hstack(
            [
                (energy * self.powers * self.costs.read_times(choices))[:, powers.of] * powers.coefficients,
                (priced * self._terms(choices))[:, terms.of] * terms.coefficients,
            ]
        )
        exponents, of = self._exponents
        return least_in_box(weights @ np.eye(len(exponents))[of], exponents, self.lower, self.upper, start)

    @cached_property
    def _exponents(self) -> tuple[np.ndarray, np.ndarray]:
        """(K, m) the exponents of powers and terms, each once, and which of them every exponential has."""
        every = np.vstack([self.power_response.exponents, self.term_response.exponents])
        exponents, of = np.unique(every, axis=0, return_inverse=True)
        return exponents, of.ravel()

    def on_target(
        self, choices: np.ndarray, energy: float, prices: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """y (N, m) where multiples of the prices (R,) keep the constraints, the worst just so, and these multiples
        (N,); inf where none do."""
        count, reach = len(choices), policy.LARGEST_LOG_PRICE
        low, high, log = np.full(count, -reach), np.full(count, reach), np.zeros(count)
        y = start.copy()

        def excess(own: np.ndarray, log: np.ndarray) -> np.ndarray:
            y[own] = self.least(choices[own], energy, np.exp(log)[:, None] * prices, y[own])
            return np.asarray(np.log(self.errors(choices[own], y[own]).max(1)))

        every = np.arange(count)
        out_of_reach = excess(every, high) > policy.MODEL_CONSTRAINT
        best = y.copy()
        y[:] = start
        slack = excess(every, low) <= policy.MODEL_CONSTRAINT
        best[slack], high[slack] = y[slack], -reach
        y[:] = start
        own = np.flatnonzero(~out_of_reach & ~slack)
        last_log, last = np.full(count, np.nan), np.full(count, np.nan)
        for tries in range(policy.PRICES_TRIED):
            if not len(own):
                break
            at, now = log[own], excess(own, log[own])
            good = now <= policy.MODEL_CONSTRAINT
            best[own[good]] = y[own[good]]
            low[own], high[own] = np.where(good, low[own], at), np.where(good, at, high[own])
            with np.errstate(all="ignore"):
                secant = at - now * (at - last_log[own]) / (now - last[own])
            guess = np.where(np.isfinite(secant), secant, at + 1.5 * now)
            last_log[own], last[own] = at, now
            inside = (guess > low[own]) & (guess < high[own]) & (tries % 4 < 3)
            log[own] = np.where(inside, guess, 0.5 * (low[own] + high[own]))
            own = own[np.abs(now) > policy.MODEL_CONSTRAINT]
        return best, np.where(out_of_reach, np.inf, np.exp(high))

    def _terms(self, choices: np.ndarray) -> np.ndarray:
        """(N, 2 T) terms at y = 0."""
        added = self.effects.added(choices)
        return np.asarray(self.terms * np.hstack([np.ones_like(added), added]))
