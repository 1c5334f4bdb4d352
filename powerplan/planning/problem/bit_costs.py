"""What depends on the bits of converters, as functions that a plan can descend on and bound.

A table knows the energy of the converters of a layer at whole bits b. With u = 2^(b − 1) − 1, the top level, and
x = log u, two functions stand for it between them, both convex in x and nowhere above it at whole bits:

    smooth    a + a' (x − x_min) + Σ_t a_t u^t, all a ≥ 0, as near to the table as it gets (a linear program): what is
              descended on;
    hull      its lower convex hull: what choices of whole bits are compared by. It is the table itself wherever bits
              cost the more the more there are.

So the least of the smooth function bounds every choice of bits from below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from powerplan.hardware.converters import top_level
from powerplan.moments.predictor import Moments, Predictor
from powerplan.planning import policy
from powerplan.planning.problem.variables import FreeGains


@dataclass(frozen=True, kw_only=True, eq=False)
class BitCost:
    """What the converters of one kind in one layer take.

    Attributes:
        widths: whole bits in the table.
        values: energy [J], or a time [s], there, (n,) > 0.
    """

    widths: range
    values: np.ndarray

    @cached_property
    def logs(self) -> np.ndarray:
        """log u at whole bits, (n,), increasing."""
        return np.log([top_level(b) for b in self.widths])

    @property
    def varies(self) -> bool:
        """Whether it depends on the bits."""
        return bool((self.values != self.values[0]).any())

    def value(self, bits: Tensor, *, smooth: bool) -> Tensor:
        """Its value () at bits ()."""
        x = torch.log(torch.as_tensor(top_level(bits)))
        if smooth:
            coefficients = torch.as_tensor(self._coefficients).to(x)
            powers = (torch.tensor(policy.EXPONENTS_OF_LEVELS).to(x) * (x - float(self.logs[-1]))).exp()
            return coefficients[0] * (x - float(self.logs[0])) + coefficients[1:] @ powers
        offsets, slopes = (torch.as_tensor(part).to(x) for part in self._hull)
        return torch.Tensor.max(offsets + slopes * x)

    def beyond_hull(self, bits: int) -> float:
        """How much more the table has than the hull at whole bits."""
        offsets, slopes = self._hull
        step = self.widths.index(bits)
        return float(self.values[step] - (offsets + slopes * self.logs[step]).max())

    @cached_property
    def _coefficients(self) -> np.ndarray:
        """a' and a_t for u over its largest value, (1 + T,)."""
        powers = np.exp(np.outer(self.logs - self.logs[-1], policy.EXPONENTS_OF_LEVELS))
        basis = np.column_stack([self.logs - self.logs[0], powers]) / self.values[:, None]
        answer = optimize.linprog(-basis.sum(0), A_ub=basis, b_ub=np.ones(len(basis)))
        return np.asarray(answer.x)

    @cached_property
    def _hull(self) -> tuple[np.ndarray, np.ndarray]:
        """Offsets and slopes of the lines whose maximum is the hull."""
        corners: list[tuple[float, float]] = []
        for x, y in zip(self.logs, self.values, strict=True):
            while len(corners) > 1 and _turns_down(corners[-2], corners[-1], (x, y)):
                corners.pop()
            corners.append((x, y))
        xs, ys = np.array(corners).T
        if len(xs) == 1:
            return ys, np.zeros(1)
        slopes = np.diff(ys) / np.diff(xs)
        return ys[:-1] - slopes * xs[:-1], slopes


def _turns_down(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class EnergyOfBits:
    """Energy of one inference [J] where bits are free.

    Attributes:
        held: how long the array of every layer is read, summed over what depends on bits of columns [s].
        costs: of every layer by the kind of converters [J].
        rest: what neither gains nor bits change [J].
        smooth: which of both functions.
    """

    held: tuple[BitCost, ...]
    costs: Mapping[str, tuple[BitCost, ...]]
    rest: float
    smooth: bool
    needs_covariance = False
    rises = True

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """That of the arrays of every layer, of feedback resistors if it is counted, and of all that depends on bits by
        kind; then the rest."""
        hardware, trace, like = predictor.hardware, moments.trace, moments.array_power
        arrays = [trace.array(nodes[0].name).array for nodes in predictor.network.reads.values()]

        def at_bits(curves: tuple[BitCost, ...], kind: str) -> Tensor:
            bits = [torch.as_tensor(getattr(array, kind)).to(like) for array in arrays]
            return torch.stack([curve.value(b, smooth=self.smooth) for curve, b in zip(curves, bits, strict=True)])

        seconds = like.new_tensor([curve.values[0] for curve in self.held])
        if any(curve.varies for curve in self.held):
            seconds = at_bits(self.held, "adc_bits")
        parts = [moments.array_power * seconds]
        if hardware.feedback_resistance is not None or hardware.feedback_tracking:
            parts.append(moments.tia_power * seconds)
        parts += [at_bits(curves, kind) for kind, curves in self.costs.items()]
        return torch.cat([*parts, like.new_tensor([self.rest] if self.rest else [])])

    def beyond_hull(self, bits: Mapping[str, tuple[int, ...]]) -> float:
        """How much more whole bits take than their hull [J]."""
        pairs = ((curve, b) for kind, curves in self.costs.items() for curve, b in zip(curves, bits[kind], strict=True))
        return sum(curve.beyond_hull(b) for curve, b in pairs)

    def residuals(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """None: every layer has its own energy."""
        return moments.mean.new_zeros(0)

    def exponents(self, layout: FreeGains) -> np.ndarray:
        """Those of the gains."""
        return layout.power_exponents
