"""Moment rules of max-pooling: maxima of Gaussians by pairs.

The larger of two independent Gaussians x₁, x₂ with μ₁ >= μ₂ is x₁ + T, T = max(0, x₂ − x₁), hence (Clark, 1961),
with θ² = v₁ + v₂, α = (μ₁ − μ₂)/θ and Q = P(x₂ > x₁) the upper normal tail of α,

    E = μ₁ + E[T],     Var = v₁ (1 − 2Q) + Var T,     slopes 1 − Q in x₁, Q in x₂.

A window is a tree of pairs, along one axis after the other; the larger of two is taken as Gaussian again, and the
entries of a window as independent. If they are not (one kernel serves all positions), and their correlation ρ is
known, each is a common part of variance ρv, which moves the maximum as a whole, and an independent one of (1 − ρ)v:
the tree is that of the independent parts, with slopes w_j, and the common part adds (Σ_j w_j √(ρ v_j))².

Why: docs/decisions/moments.md [0161].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from powerplan.gaussian import positive_std, sides, tail
from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized, residual_of
from powerplan.network.digital import digital
from powerplan.network.ops import AdaptiveMaxPool, AveragePool, MaxPool, Op, Shape

#: a constant this many standard deviations below an entry is never the larger one
_NEVER = 40.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Branch:
    """The largest of some entries: moments, variance of the linear part, and its slope in every entry."""

    mean: Tensor
    variance: Tensor
    linear: Tensor
    slopes: list[Tensor]


class _Windows:
    """Windows along one axis (with batch): entry j of output i is the input entry places[j, i], or none = n of n."""

    def __init__(self, axis: int, places: Tensor, size: int) -> None:
        self._axis, self._places, self._size = axis, places, size
        #: the places of every entry as a slice, where windows are evenly apart and within the input
        self._spans: list[slice] | None = None
        starts, count = places[:, :1], places.shape[1]
        step = int(places[0, 1] - starts[0]) if count > 1 else 1
        even = starts + step * torch.arange(count, device=places.device)
        if int(places.max()) < size and torch.equal(places, even):
            self._spans = [slice(int(start), int(start) + step * (count - 1) + 1, step) for start in starts[:, 0]]

    @property
    def slots(self) -> int:
        """Entries of the input, and one more where there are windows beyond it."""
        return self._size + (self._spans is None)

    def entries(self, x: Tensor, none: float, lead: int = 0) -> list[Tensor]:
        """Every entry of all windows, of x with ``lead`` axes more, ``none`` where there is none."""
        axis = self._axis + lead
        if self._spans is not None:
            return [x[(slice(None),) * axis + (span,)] for span in self._spans]
        padded = _with_slot(x, axis, none)
        return [padded.index_select(axis, place) for place in self._places]

    def add(self, total: Tensor, j: int, value: Tensor, lead: int = 0) -> None:
        """Add values to where the entries j of all windows are."""
        axis = self._axis + lead
        if self._spans is not None:
            total[(slice(None),) * axis + (self._spans[j],)] += value
        else:
            total.index_add_(axis, self._places[j], value)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pass:
    """Maxima of windows along one axis: their slopes in every entry."""

    axis: int
    windows: _Windows
    slopes: list[Tensor]

    def push(self, x: Tensor) -> Tensor:
        """Perturbations (B, R, *shape) through the linear part."""
        total: Tensor | None = None
        for entry, slope in zip(self.windows.entries(x, 0.0, 1), self.slopes, strict=True):
            part = entry * slope.unsqueeze(1)
            total = part if total is None else total + part
        assert total is not None
        return total

    def pull(self, adjoint: Tensor, size: int) -> Tensor:
        """Adjoints (B, K, *shape) through the transpose; ``size`` of the input along the axis."""
        rows = max(adjoint.shape[0], self.slopes[0].shape[0])
        shape = [rows, *adjoint.shape[1:]]
        shape[self.axis + 2] = self.windows.slots
        total = adjoint.new_zeros(shape)
        for j, slope in enumerate(self.slopes):
            self.windows.add(total, j, adjoint * slope.unsqueeze(1), 1)
        return total.narrow(self.axis + 2, 0, size)


@linearize.register
def _(op: MaxPool, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    mean = means[0]
    assert op.stride is not None
    assert op.dilation is not None
    tables = []
    for size, m, k, s, (before, _), d in zip(
        mean.shape[2:],
        op.output_shape((tuple(mean.shape[1:]),))[1:],
        op.kernel,
        op.stride,
        op.pads,
        op.dilation,
        strict=True,
    ):
        place = torch.arange(m).unsqueeze(0) * s - before + torch.arange(k).unsqueeze(1) * d
        tables.append(torch.where((place < 0) | (place >= size), size, place))
    return _pooled(mean, variances[0], tables)


@linearize.register
def _(op: AdaptiveMaxPool, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    mean = means[0]
    tables = []
    for size, m in zip(mean.shape[2:], op.size, strict=True):
        i = torch.arange(m)
        first, behind = (i * size) // m, -((-(i + 1) * size) // m)
        place = first + torch.arange(int((behind - first).max())).unsqueeze(1)
        tables.append(torch.where(place < behind, place, size))
    return _pooled(mean, variances[0], tables)


def correlated_maxima(op: MaxPool | AdaptiveMaxPool, mean: Tensor, variance: Tensor, correlation: Tensor) -> Linearized:
    """The linearisation of max-pooling for entries of a window with a common correlation.

    Args:
        mean, variance: (B, C, *spatial).
        correlation: ρ, 0 <= ρ <= 1, broadcasts to them.
    """
    apart = linearize(op, [mean], [variance * (1 - correlation)])
    positive, std = positive_std(variance * correlation)
    common = apart.push(torch.where(positive, std, torch.zeros_like(std)).unsqueeze(1)).squeeze(1)
    return replace(apart, variance=apart.variance + common * common)


def linearize_joint(
    op: Op, means: Sequence[Tensor], variances: Sequence[Tensor], correlation: Tensor | None
) -> Linearized:
    """The linearisation of any operation; of max-pooling with the correlation in its windows, if it is known."""
    if correlation is not None and isinstance(op, MaxPool | AdaptiveMaxPool):
        return correlated_maxima(op, means[0], variances[0], correlation)
    return linearize(op, means, variances)


def window_correlation(op: MaxPool | AdaptiveMaxPool, errors: Tensor) -> Tensor:
    """Mean correlation of two entries of a window, (C, *1) in [0, 1], from samples of errors (N, C, *spatial)."""
    average = window_average(op, tuple(errors.shape[1:]))
    return correlation_of_means(average, digital(average, errors) ** 2, digital(average, errors**2))


def window_average(op: MaxPool | AdaptiveMaxPool, shape: Shape) -> AveragePool:
    """Means over windows of the size of the pooling's, side by side, of a value of this shape."""
    if isinstance(op, AdaptiveMaxPool):
        return AveragePool(kernel=tuple(-(-n // m) for n, m in zip(shape[1:], op.size, strict=True)))
    return AveragePool(kernel=tuple(min(k, n) for k, n in zip(op.kernel, shape[1:], strict=True)))


def correlation_of_means(average: AveragePool, means: Tensor, entries: Tensor) -> Tensor:
    """ρ by channel (C, *1) from the variances (N, C, *windows) of window means and, averaged, of their entries.

    The mean of n entries of variance v has variance v (1 + (n − 1) ρ)/n.
    """
    count = math.prod(average.kernel)
    axes = (0, *range(2, means.dim()))
    of_means, of_entries = (value.sum(axes, keepdim=True)[0] for value in (means, entries))
    ratio = of_means / torch.where(of_entries > 0, of_entries, torch.ones_like(of_entries))
    return ((count * ratio - 1) / max(count - 1, 1)).clamp(0, 1)


def _pooled(mean: Tensor, variance: Tensor, tables: Sequence[Tensor]) -> Linearized:
    """Maxima over windows given along every spatial axis."""
    branch = _Branch(mean=mean, variance=variance, linear=variance, slopes=[])
    passes: list[_Pass] = []
    sizes: list[int] = []
    for axis, table in enumerate(tables, start=1):
        places = table.to(mean.device)
        sizes.append(branch.mean.shape[axis + 1])
        windows = _Windows(axis + 1, places, sizes[-1])
        branch = _window(branch, windows)
        passes.append(_Pass(axis=axis, windows=windows, slopes=branch.slopes))

    def pull(adjoint: Tensor) -> tuple[Tensor, ...]:
        for step, size in zip(reversed(passes), reversed(sizes), strict=True):
            adjoint = step.pull(adjoint, size)
        return (adjoint,)

    def push(perturbation: Tensor) -> Tensor:
        for step in passes:
            perturbation = step.push(perturbation)
        return perturbation

    return Linearized(
        mean=branch.mean,
        variance=branch.variance,
        pull=pull,
        push=push,
        residual=residual_of(branch.variance, branch.linear),
    )


def _window(branch: _Branch, windows: _Windows) -> _Branch:
    """The largest entry of every window along an axis, by a balanced tree."""
    with torch.no_grad():
        spread = branch.variance.max().sqrt()
        lowest = float(branch.mean.min() - _NEVER * (1 + 1e-3) * spread - 1)
    each = (
        windows.entries(value, none)
        for value, none in ((branch.mean, lowest), (branch.variance, 0.0), (branch.linear, 0.0))
    )
    leaves = [
        _Branch(mean=mean, variance=variance, linear=linear, slopes=[])
        for mean, variance, linear in zip(*each, strict=True)
    ]
    while len(leaves) > 1:
        pairs = [_larger(a, b) for a, b in zip(leaves[::2], leaves[1::2], strict=False)]
        leaves = pairs + leaves[len(pairs) * 2 :]
    (root,) = leaves
    return root if root.slopes else _Branch(**{**vars(root), "slopes": [torch.ones_like(root.mean)]})


def _larger(a: _Branch, b: _Branch) -> _Branch:
    """The larger of two independent Gaussians."""
    positive, theta = positive_std(a.variance + b.variance)
    apart = a.mean - b.mean
    t, first = tail(apart, theta), sides(apart).clamp_(min=0)
    if not bool(positive.all()):
        t = t._replace(**{name: torch.where(positive, getattr(t, name), 0.0) for name in ("mean", "mass", "square")})
    excess, beaten = t.mean, t.mass
    mean = torch.lerp(b.mean, a.mean, first) + excess
    leading = torch.lerp(b.variance, a.variance, first)
    extra = t.square - excess * excess
    slope_a = first + (1 - 2 * first) * beaten
    slope_b = 1 - slope_a
    return _Branch(
        mean=mean,
        variance=(leading * (1 - 2 * beaten) + extra).clamp(min=0),
        linear=slope_a * slope_a * a.linear + slope_b * slope_b * b.linear,
        slopes=[slope_a * s for s in a.slopes or [torch.ones_like(slope_a)]]
        + [slope_b * s for s in b.slopes or [torch.ones_like(slope_b)]],
    )


def _with_slot(x: Tensor, axis: int, value: float) -> Tensor:
    """One more entry at the end of an axis, for places outside the input."""
    shape = list(x.shape)
    shape[axis] = 1
    return torch.cat([x, x.new_full(shape, value)], axis)
