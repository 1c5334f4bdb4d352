"""Values that lie on a lattice: what converters of columns pass on, as converters of rows meet it.

A converted column, its digital bias b added, takes the values l_k = kΔ + b only. A converter of rows with a step of
about Δ does not round these like a Gaussian: the errors of neighbouring l_k are alike, a beat of two lattices. For
z ~ N(m, s²) before the conversion l_k has the chance

    p_k = Φ(((k + ½)Δ + b − m)/s) − Φ(((k − ½)Δ + b − m)/s),

the end levels hold the tails, and mean and variance of Q(f(l_k)) and its covariance with f(l_k) are sums over k; f is
what stands in between and takes every entry by itself: activations, scales, sums and products with exact values. Sums
of several row tiles lie on the same lattice, with the m and s² of the sum. Where the value is on no lattice, the sums
are over the levels of Q itself, with the chance and the mean of z between their thresholds, and f is at most a ReLU:
what it leaves at 0 then makes no error.

Why: docs/decisions/read-out.md [0235].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from powerplan.gaussian import positive_std, rectified
from powerplan.hardware.converters import quantised, top_level
from powerplan.moments.conversion.staircase import Converted, converted
from powerplan.network.array_maps import ConvTransposeMap
from powerplan.network.digital import digital
from powerplan.network.ops import Activation, Add, Flatten, Multiply, Op, Permute, Reshape, Scale

if TYPE_CHECKING:
    from powerplan.moments.array.programmed import ProgrammedArray

#: s/Δ beyond which rounding errors are uniform, except for what is 0; and levels on either side of a lesser s/Δ
_WIDEST, _REACH = 8.0, 4.0
#: s/Δ of a value without noise, and variance in Δ² that counts as none
_LEAST = 1e-6
_ROOT = math.sqrt(2 * math.pi)

_Shaping = Flatten | Reshape | Permute


class Between(NamedTuple):
    """A digital operation behind a column, and its exact operands before and behind the value, (B or 1, *shape)."""

    op: Op
    before: tuple[Tensor, ...] = ()
    behind: tuple[Tensor, ...] = ()

    @property
    def is_relu(self) -> bool:
        """True for a ReLU."""
        return isinstance(self.op, Activation) and self.op.kind == "relu"

    def of(self, value: Tensor) -> Tensor:
        """What it makes of a value (B, *shape)."""
        return digital(self.op, *self.before, value, *self.behind)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lattice:
    """The levels of a value and the Gaussian that is rounded to them.

    Attributes:
        step, offset: Δ and b, (1, *shape); step None: no levels, any value.
        top: number of the highest level.
        mean, variance: m and s² (B, *shape), before the conversion.
        between: what follows, f; its shaping operations move the levels' chances alike.
    """

    step: Tensor | None
    offset: Tensor
    top: int
    mean: Tensor
    variance: Tensor
    between: tuple[Between, ...] = ()

    @classmethod
    def anywhere(cls, mean: Tensor, variance: Tensor) -> Lattice:
        """No levels: a Gaussian of these moments (B, *shape)."""
        return cls(step=None, offset=torch.zeros_like(mean[:1]), top=0, mean=mean, variance=variance)

    @property
    def rectified(self) -> bool:
        """True if a ReLU follows."""
        return any(step.is_relu for step in self.between)

    def after(self, op: Op, means: Sequence[Tensor], place: int) -> Lattice | None:
        """The lattice of what a digital operation makes of the value; None where it leaves it.

        Args:
            means: of all its inputs, (B or 1, *shape); but for the value all are exact.
            place: of the value among them.
        """
        step = Between(op, tuple(means[:place]), tuple(means[place + 1 :]))
        if self.step is not None:
            shape = means[place].shape[1:]
            stays = all(np.broadcast_shapes(exact.shape[1:], shape) == shape for exact in (*step.before, *step.behind))
            followed = isinstance(op, Activation | Scale | Add | Multiply | _Shaping) and stays
            return replace(self, between=(*self.between, step)) if followed else None
        if isinstance(op, _Shaping):
            offset, mean, variance = (step.of(x) for x in (self.offset, self.mean, self.variance))
            return replace(self, offset=offset, mean=mean, variance=variance)
        return replace(self, between=(*self.between, step)) if step.is_relu else None

    def value(self, level: Tensor) -> Tensor:
        """f of levels (B, *shape)."""
        for step in self.between:
            level = step.of(level)
        return level

    def moved(self, quantity: Tensor) -> Tensor:
        """A quantity of levels (B, *shape) where f puts them."""
        for step in self.between:
            quantity = step.of(quantity) if isinstance(step.op, _Shaping) else quantity
        return quantity


def lattice_of(
    array: ProgrammedArray, analog: tuple[Tensor, Tensor], converted: tuple[Tensor, Tensor]
) -> Lattice | None:
    """The lattice of a crossbar's output with these means and variances (B, *shape) before and after its conversion.

    With an offset mapping what is subtracted moves the levels with every input, the two sides of a divider have levels
    of their own, and reads of inputs in slices are added with weights: such outputs may have any value.
    """
    hardware, map = array.hardware, array.map
    bits = hardware.adc_bits
    if not array.averaged.isdisjoint(("rows", "noisy rows")):
        return None
    mean, variance = converted
    zero = torch.zeros_like(mean[:1])
    channels = array.read_out.channels(array)
    single = hardware.devices_per_weight == 2 and len(channels) == len(array.tiles)
    single = single and not isinstance(map, ConvTransposeMap)
    single = single and len(array.slice_weights) == 1
    if bits is None or not single or "columns" in array.averaged:
        return Lattice.anywhere(mean, variance)
    tiles = len(channels)
    step = (zero + array.read_out.limits(array, channels[0])) / top_level(bits)
    if tiles == 1:
        mean, variance = analog
    else:  # less what rounding added, which is Δ²/12 if there is more variance than that of two levels
        square = step**2
        variance = variance - square / 12 * (4 * variance / square).clamp(max=1) ** 2
    return Lattice(
        step=step,
        offset=map.add_bias(zero, array.constants.bias),
        top=tiles * top_level(bits),
        mean=mean,
        variance=variance,
    )


@torch.no_grad()
def converted_from(lattice: Lattice, mean: Tensor, variance: Tensor, limit: Tensor, bits: int) -> Converted:
    """As :func:`~powerplan.moments.conversion.staircase.converted`, of a value on a lattice; values only."""
    positive, std = positive_std(lattice.variance)
    noise = torch.where(positive, std, torch.zeros_like(std))
    plain = converted(mean, variance, limit, bits)
    if lattice.rectified:  # what is 0 makes no error
        plain = plain._replace(residual=plain.residual * lattice.moved(torch.special.ndtr(lattice.mean / std)))
    own_step = limit / top_level(bits)
    step = own_step if lattice.step is None else lattice.step
    top = top_level(bits) if lattice.step is None else lattice.top
    ratio = noise / step
    narrow = ratio <= _WIDEST
    place = (lattice.mean - lattice.offset) / step
    nearest = place.round()
    width = ratio.clamp(min=_LEAST)
    reach = int(_REACH * float(torch.where(narrow, ratio, torch.zeros_like(ratio)).max())) + 1
    any_mean, any_variance = lattice.mean, lattice.variance
    if lattice.rectified:
        any_mean, any_variance, *_ = rectified(lattice.mean, lattice.variance)
    below, density = torch.zeros_like(place), torch.zeros_like(place)
    first, square, shift, spread, product = (torch.zeros_like(mean) for _ in range(5))
    for k in range(-reach, reach + 1):
        edge = (nearest + k + 0.5 - place) / width
        above = torch.special.ndtr(edge) if k < reach else torch.ones_like(place)
        chance, below = lattice.moved(above - below), above
        value = lattice.value((nearest + k).clamp(-top, top) * step + lattice.offset)
        if lattice.step is None:  # any value between the edges, and E[z − E r] of these
            rounded, falls = value, torch.exp(-0.5 * edge * edge) * (noise / _ROOT) if k < reach else density * 0
            within, density = (lattice.mean - any_mean) * chance - (falls - density), falls
        else:
            rounded, within = quantised(value, limit, bits), (value - mean) * chance
            first, square = first + within, square + (value - mean) * within
        off = rounded - mean
        shift, spread, product = shift + chance * off, spread + chance * off * off, product + rounded * within
    own = any_variance if lattice.step is None else square - first * first
    product = product - first * (shift + mean)
    moving = own > _LEAST * own_step**2
    slope = torch.where(moving, product / torch.where(moving, own, torch.ones_like(own)), plain.slope)
    residual = (spread - shift * shift - slope**2 * variance).clamp(min=0)
    wide = Converted(mean + shift, slope, residual)
    return Converted(*(torch.where(lattice.moved(narrow), a, b) for a, b in zip(wide, plain, strict=True)))
