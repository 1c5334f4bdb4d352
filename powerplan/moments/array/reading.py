"""An array read at inputs of given moments: what weights make of what drives the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from powerplan.gaussian import rectified
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.read_out import Channel, Column

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """An array and the moments of its inputs. Weights are (n_out, n_in); results by column, (B, *columns).

    Attributes:
        mean, variance: of what drives the rows, (B, *input_shape).
        covariance: (B, n, n) of the inputs of a single position; None = independent inputs.
        slices: of inputs in slices, every single read.
        size: E|x|, (B, *input_shape); None = that of a Gaussian.
    """

    array: ProgrammedArray
    mean: Tensor
    variance: Tensor
    covariance: Tensor | None = None
    slices: tuple[Reading, ...] = ()
    size: Tensor | None = None
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def kept(self, name: str, make: Callable[[], _T]) -> _T:
        """What a read-out makes of the reading, by its name."""
        if name not in self._made:
            self._made[name] = make()
        made: _T = self._made[name]
        return made

    @property
    def reads(self) -> tuple[tuple[float, Reading], ...]:
        """The reads of one input, with the weights with which they are added."""
        return tuple(zip(self.array.slice_weights, self.slices, strict=True)) if self.slices else ((1.0, self),)

    def linear(self, weight: Tensor) -> Tensor:
        """Σ_j weight_ij E x_pj."""
        return self.array.affine.apply_columns(self.mean, weight)

    def squares(self, weight: Tensor) -> Tensor:
        """Σ_j weight_ij E[x_pj²]; the weight broadcasts to (n_out, n_in)."""
        if self._adds_up and weight is self.array.weight_variance:
            means, variances = self._weighted_by_devices
            return means + variances
        return self.array.weighted(self.mean * self.mean + self.variance, weight, self.array.affine)

    def passed(self, weight: Tensor) -> Tensor:
        """Variance of Σ_j weight_ij x_pj that the inputs cause."""
        if self.covariance is None:
            return self.array.map.apply_columns(self.variance, weight * weight)
        some = weight[:, : self.covariance.shape[-1]]
        return ((some @ self.covariance) * some).sum(-1).reshape(-1, *self.array.map.output_shape)

    @cached_property
    def through_devices(self) -> Tensor:
        """Variance of the output that errors of the inputs cause through those of devices, as if each position had its
        own, (B, *shape)."""
        array = self.array
        if self._adds_up:
            return array.map.gather_columns(self._weighted_by_devices[1])
        return array.map.gather_columns(array.weighted(self.variance, array.weight_variance, array.map))

    @property
    def _adds_up(self) -> bool:
        """Whether what devices make of squares is what they make of squared means and, which is asked for by itself, of
        variances."""
        return self.array.is_shared and self.array.affine is self.array.map and self.mean.shape == self.variance.shape

    @cached_property
    def _weighted_by_devices(self) -> tuple[Tensor, Tensor]:
        """Σ_j V_ij m_pj² and Σ_j V_ij v_pj by column, made together: V is as large as the weights."""
        array, both = self.array, torch.cat([self.mean * self.mean, self.variance])
        means, variances = array.weighted(both, array.weight_variance, array.map).chunk(2)
        return means, variances

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The physical columns of the whole array, tile by tile and side by side."""
        return tuple(self.array.read_out.columns(self, self.array.whole))

    def columns_of(self, channel: Channel) -> tuple[Column, ...]:
        """Those of a channel."""
        sides = len(self.array.whole.sides)
        return tuple(self.columns[tile * sides + side] for tile in channel.tiles for side in channel.sides)

    @property
    def magnitude(self) -> Tensor:
        """E|x|, (B, *input_shape)."""
        if self.size is not None:
            return self.size
        scale = self.array.scale
        if scale is not None and scale.non_negative:
            return self.mean.clamp(min=0)
        return 2 * rectified(self.mean, self.variance.expand_as(self.mean)).mean - self.mean
