"""Closed forms for continuous activations made of parabolas: ReLU and its kin, hard sigmoid, hard swish.

On the side of each knot κ where μ lies, f is continued as the parabola P through μ, and only the far tail
T = max(0, ±(z − κ)) is corrected for: no cancellation, however far away the knot is. With the jumps c of f' and 2d
of f'' at κ, and s = ±1 for a tail on the right or on the left,

    f = P + Σ (c T + s d T²),      P = p₀ + p₁(z − μ) + p₂(z − μ)²,

and the covariances with P follow from Stein's lemma, those among tails from T_i = T_j + gap on the same side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from powerplan.gaussian import Tail, higher_powers, positive_std, rectified, tail
from powerplan.moments.rules.activations.rule import ActivationMoments, ActivationRule, hermite_polynomial


@dataclass(frozen=True, kw_only=True, eq=False)
class _Correction:
    """u T + w T² at one knot: the tail, E[T] ... E[T⁴], the side s (+1 right) and the factors u = c, w = s d."""

    knot: float
    tail: Tail
    powers: tuple[Tensor, ...]
    side: Tensor
    u: float
    w: Tensor | None

    @cached_property
    def mean(self) -> Tensor:
        first = self.u * self.powers[0]
        return first if self.w is None else first + self.w * self.powers[1]

    @cached_property
    def slope(self) -> Tensor:
        """E of the derivative in z."""
        first = self.u * self.side * self.tail.mass
        return first if self.w is None else first + 2 * self.w * self.side * self.powers[0]

    def curvature(self, std: Tensor) -> Tensor:
        """σ² E of the second derivative in z."""
        first = self.u * std * self.tail.density
        return first if self.w is None else first + 2 * self.w * std * std * self.tail.mass


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
        first, slope = centre, p1
        spread = p1 * p1 * variance
        if p2 is not None:
            first = first + p2 * variance
            spread = spread + 2 * (p2 * variance) ** 2
        for i, tail_i in enumerate(corrections):
            first = first + tail_i.mean
            slope = slope + tail_i.slope
            spread = spread + 2 * p1 * tail_i.slope * variance
            if p2 is not None:
                spread = spread + 2 * p2 * tail_i.curvature(std) * variance
            spread = spread + _second_moment(tail_i, tail_i) - tail_i.mean**2
            for tail_j in corrections[:i]:
                spread = spread + 2 * (_second_moment(tail_j, tail_i) - tail_j.mean * tail_i.mean)
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
                for correction, (c, d) in zip(corrections, self._jumps, strict=True):
                    t = correction.tail
                    point = -t.alpha.clamp(-40, 40)
                    total = total + c * std * hermite_polynomial(k - 2, point) * t.density
                    if d:
                        total = total + 2 * d * std * std * hermite_polynomial(k - 3, point) * t.density
            coefficients.append(torch.where(positive, total, zero))
        return coefficients[:order]

    def _local(self, mean: Tensor, right: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
        """Value, slope and half the second derivative (None if always zero) of the piece at the mean.

        A mean on a knot belongs to the piece on its right, or on its left.
        """
        values: list[Tensor] = []
        slopes: list[Tensor] = []
        halves: list[Tensor] = []
        for a0, a1, a2 in self.pieces:
            values.append(a0 + mean * (a1 + a2 * mean) if a2 else a0 + a1 * mean)
            slopes.append(a1 + 2 * a2 * mean if a2 else torch.full_like(mean, a1))
            halves.append(torch.full_like(mean, a2))
        value, slope, half = values[0], slopes[0], halves[0]
        for knot, *others in zip(self.knots, values[1:], slopes[1:], halves[1:], strict=True):
            beyond = mean >= knot if right else mean > knot
            value, slope, half = (
                torch.where(beyond, o, before) for o, before in zip(others, (value, slope, half), strict=True)
            )
        return value, slope, half if any(a2 for _, _, a2 in self.pieces) else None

    def _corrections(self, mean: Tensor, std: Tensor) -> list[_Correction]:
        curved = any(a2 for _, _, a2 in self.pieces)
        corrections = []
        for knot, (c, d) in zip(self.knots, self._jumps, strict=True):
            t = tail(mean, std, knot)
            side = 2 * (t.alpha < 0).to(mean.dtype) - 1
            powers = (t.mean, t.square, *higher_powers(t, std)) if curved else (t.mean, t.square)
            corrections.append(
                _Correction(knot=knot, tail=t, powers=powers, side=side, u=c, w=side * d if curved else None)
            )
        return corrections


def _second_moment(lower: _Correction, upper: _Correction) -> Tensor:
    """E of the product of two corrections, the lower knot first (or both the same)."""
    gap = upper.knot - lower.knot
    if gap == 0:
        return _product(lower, lower, 0.0)
    # both right of μ: T_lower = T_upper + gap where T_upper > 0; both left: the reverse; else disjoint
    both_right = (1 + lower.side) * (1 + upper.side) / 4
    both_left = (1 - lower.side) * (1 - upper.side) / 4
    return both_right * _product(upper, lower, gap) + both_left * _product(lower, upper, gap)


def _product(far: _Correction, near: _Correction, gap: float) -> Tensor:
    """E[(u T + w T²)(u' (T + gap) + w' (T + gap)²)] with T that of ``far``."""
    m = far.powers
    if far.w is None or near.w is None:
        return far.u * near.u * (m[1] + gap * m[0])
    # near's factor as polynomial in T; its constant term is multiplied by the correction itself
    constant, linear, square = near.u * gap + near.w * gap**2, near.u + 2 * gap * near.w, near.w
    m1, m2, m3, m4 = m
    return far.u * (constant * m1 + linear * m2 + square * m3) + far.w * (constant * m2 + linear * m3 + square * m4)


def piecewise_linear(*pieces: tuple[float, float], knots: tuple[float, ...] = ()) -> PiecewiseQuadratic:
    """Lines a₀ + a₁z between knots."""
    return PiecewiseQuadratic(pieces=tuple((a0, a1, 0.0) for a0, a1 in pieces), knots=knots)


RELU = piecewise_linear((0.0, 0.0), (0.0, 1.0), knots=(0.0,))
