"""Closed forms for continuous activations made of parabolas: ReLU and its kin, hard sigmoid, hard swish.

On the side of each knot κ where μ lies, f is continued as the parabola P through μ, and only the far tail
T = max(0, ±(z − κ)) is corrected for: no cancellation, however far away the knot is. With the jumps c of f' and 2d
of f'' at κ, and s = ±1 for a tail on the right or on the left,

    f = P + Σ (c T + s d T²),      P = p₀ + p₁(z − μ) + p₂(z − μ)²,

and the covariances with P follow from Stein's lemma, those among tails from T_i = T_j + gap on the same side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.gaussian import Tail, higher_powers, positive_std, rectified, sides, tail
from powerplan.moments.rules.activations.rule import ActivationMoments, ActivationRule, hermite_polynomial


class _Correction(NamedTuple):
    """c T + s d T² at one knot: its tail, E[T], E[T²] and, where f is curved, E[T³] and E[T⁴]; c and d; the knot."""

    tail: Tail
    powers: tuple[Tensor, ...]
    c: float
    d: float
    knot: float

    def polynomial(self, *factors: float) -> Tensor:
        """Σ factor_n E[Tⁿ], n = 1, 2, ..."""
        total, *others = (factor * power for factor, power in zip(factors, self.powers, strict=False) if factor)
        for part in others:
            total = total + part
        return total

    def signed(self, even: Tensor, odd: Tensor | None) -> Tensor:
        """What does not depend on the side, and what has its sign s."""
        return even if odd is None else even - odd * self.tail.side

    def mean(self) -> Tensor:
        return self.signed(self.c * self.powers[0], self.d * self.powers[1] if self.d else None)

    def slope(self) -> Tensor:
        """E of the derivative in z."""
        first = -self.c * self.tail.side * self.tail.mass
        return first + 2 * self.d * self.powers[0] if self.d else first

    def curvature(self, std: Tensor) -> Tensor:
        """σ² E of the second derivative in z."""
        odd = 2 * self.d * std * self.tail.mass if self.d else None
        return std * self.signed(self.c * self.tail.density, odd)

    def square(self) -> Tensor:
        c, d = self.c, self.d
        return self.signed(self.polynomial(0, c * c, 0, d * d), 2 * c * d * self.powers[2] if d else None)


def _of_product(far: _Correction, near: _Correction, gap: float, side: int) -> Tensor:
    """E[(c T + s d T²)(c' (T + gap) + s d' (T + gap)²)] with T that of ``far``, on the side s."""
    u, w = far.c, side * far.d
    constant = near.c * gap + side * near.d * gap * gap
    linear, square = near.c + 2 * gap * side * near.d, side * near.d
    return far.polynomial(u * constant, u * linear + w * constant, u * square + w * linear, w * square)


@dataclass(frozen=True, kw_only=True)
class PiecewiseQuadratic(ActivationRule):
    """A continuous f that is a₀ + a₁z + a₂z² between knots.

    Attributes:
        pieces: (a₀, a₁, a₂) from left to right.
        knots: increasing, one fewer than pieces.
    """

    pieces: tuple[tuple[float, float, float], ...]
    knots: tuple[float, ...] = ()

    @cached_property
    def _jumps(self) -> list[tuple[float, float]]:
        """c and d at every knot."""
        jumps = []
        for knot, below, above in zip(self.knots, self.pieces, self.pieces[1:], strict=False):
            d = above[2] - below[2]
            jumps.append((above[1] - below[1] + 2 * d * knot, d))
        return jumps

    def moments(self, mean: Tensor, variance: Tensor) -> ActivationMoments:
        if self == RELU:
            return ActivationMoments(*rectified(mean, variance))
        positive, std = positive_std(variance)
        centre, p1, p2 = self._local(mean)
        corrections = self._corrections(mean, std)
        moved = _total([part.mean() for part in corrections], mean)
        sloped = _total([part.slope() for part in corrections], mean)
        first, slope, linear = centre + moved, p1 + sloped, p1 * (p1 + 2 * sloped)
        square = _total([part.square() for part in corrections], mean)
        for lower, upper in combinations(corrections, 2):
            gap = upper.knot - lower.knot
            # both tails right of μ: T_lower = T_upper + gap where T_upper > 0; both left: the reverse; else disjoint
            right, left = (-lower.tail.side).clamp(min=0), upper.tail.side.clamp(min=0)
            both = right * _of_product(upper, lower, gap, 1) + left * _of_product(lower, upper, gap, -1)
            square = square + 2 * both
        if p2 is not None:
            curved = p2 * variance
            first = first + curved
            linear = linear + 2 * p2 * (curved + _total([part.curvature(std) for part in corrections], mean))
        spread = linear * variance + square - moved * moved
        if bool(positive.all()):
            return ActivationMoments(mean=first, variance=spread.clamp(min=0), slope=slope)
        _, flat_slope, _ = self._local(mean, right=False)
        return ActivationMoments(
            mean=torch.where(positive, first, centre),
            variance=torch.where(positive, spread, variance * flat_slope**2).clamp(min=0),
            slope=torch.where(positive, slope, flat_slope),
        )

    def hermite(self, mean: Tensor, variance: Tensor, order: int) -> list[Tensor]:
        positive, std = positive_std(variance)
        zero = torch.zeros_like(mean)
        _, _, p2 = self._local(mean)
        corrections = self._corrections(mean, std)
        coefficients = [torch.where(positive, std * self.moments(mean, variance).slope, zero)]
        for k in range(2, order + 1):
            # a_k = σ^k E[f^(k)]
            total = zero
            if k == 2:
                for correction in corrections:
                    total = total + correction.curvature(std)
                if p2 is not None:
                    total = total + 2 * p2 * std * std
            else:
                for t, _, c, d, _ in corrections:
                    point = -t.signed.clamp(-40, 40)
                    total = total + c * std * hermite_polynomial(k - 2, point) * t.density
                    if d:
                        total = total + 2 * d * std * std * hermite_polynomial(k - 3, point) * t.density
            coefficients.append(torch.where(positive, total, zero))
        return coefficients[:order]

    def _local(self, mean: Tensor, right: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
        """Value, slope and half the second derivative (None if always zero) of the piece at the mean.

        A mean on a knot belongs to the piece on its right, or on its left.
        """
        curved = any(a2 for _, _, a2 in self.pieces)
        pieces = [self._piece(mean, *piece, curved=curved) for piece in self.pieces]
        local = pieces[0]
        for knot, beyond in zip(self.knots, pieces[1:], strict=True):
            reached = sides(mean - knot) if right else -sides(knot - mean)
            local = [torch.lerp(before, o, reached.clamp(min=0)) for before, o in zip(local, beyond, strict=True)]
        value, slope, *halves = local
        return value, slope, halves[0] if curved else None

    @staticmethod
    def _piece(z: Tensor, a0: float, a1: float, a2: float, *, curved: bool) -> list[Tensor]:
        """Value, slope and, if asked for, half the second derivative of a₀ + a₁z + a₂z²."""
        value = a0 + z * (a1 + a2 * z) if a2 else a0 + a1 * z
        slope = a1 + 2 * a2 * z if a2 else torch.full_like(z, a1)
        return [value, slope, torch.full_like(z, a2)] if curved else [value, slope]

    def _corrections(self, mean: Tensor, std: Tensor) -> list[_Correction]:
        curved = any(a2 for _, _, a2 in self.pieces)
        corrections = []
        for knot, (c, d) in zip(self.knots, self._jumps, strict=True):
            if not (c or d):
                continue
            t = tail(mean, std, knot)
            powers = (t.mean, t.square, *higher_powers(t, std)) if curved else (t.mean, t.square)
            corrections.append(_Correction(t, powers, c, d, knot))
        return corrections


def _total(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """The sum of tensors, 0 without any."""
    return sum(parts[1:], parts[0]) if parts else torch.zeros_like(like)


def piecewise_linear(*pieces: tuple[float, float], knots: tuple[float, ...] = ()) -> PiecewiseQuadratic:
    """Lines a₀ + a₁z between knots."""
    return PiecewiseQuadratic(pieces=tuple((a0, a1, 0.0) for a0, a1 in pieces), knots=knots)


RELU = piecewise_linear((0.0, 0.0), (0.0, 1.0), knots=(0.0,))
