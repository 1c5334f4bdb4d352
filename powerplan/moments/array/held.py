"""Moments of what the devices of an array hold: kept, or, of large networks, made where they are read.

Mean and variance of every weight take twice the memory of the weights, and a backward pass would keep them, and the
squares of the means, for all arrays. A walk goes from array to array: the moments that were made last are the ones it
reads, and are all that is kept. What a backward pass needs of others is not saved by the forward pass but made again.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

_T = TypeVar("_T")


class HeldMoments(NamedTuple):
    """Mean W̄ (n_out, n_in) and variance V (broadcasts to that) of the weights, Σ_i (g⁺ + g⁻)_ij (G, n_in) [S], and the
    gain α () of drift compensation, times the scale of the column, (n_out, 1), where there is one."""

    mean: Tensor
    variance: Tensor
    row_conductance: Tensor
    compensation: Tensor | float

    def scaled(self, scale: Tensor) -> HeldMoments:
        """With outputs times a scale (n_out, 1)."""
        return self._replace(
            mean=scale * self.mean,
            variance=scale**2 * self.variance,
            compensation=scale * self.compensation,
        )

    def driven(self, scale: Tensor) -> HeldMoments:
        """With inputs times a scale (n_out, n_in)."""
        return self._replace(mean=scale * self.mean, variance=scale**2 * self.variance)


class Held(ABC):
    """The moments of one array at its gains."""

    @property
    @abstractmethod
    def moments(self) -> HeldMoments:
        """The moments."""

    @property
    @abstractmethod
    def mean_square(self) -> Tensor:
        """W̄² (n_out, n_in)."""

    @abstractmethod
    def kept(self, name: str, make: Callable[[], _T]) -> _T:
        """What is made of the moments, by its name."""

    @abstractmethod
    def changed(self, change: Callable[[HeldMoments], HeldMoments]) -> Held:
        """Those of the array with outputs or inputs times a scale."""


class Kept(Held):
    """Moments that are kept as long as the array."""

    def __init__(self, moments: HeldMoments) -> None:
        self._moments = moments
        self._made: dict[tuple[str, bool], Any] = {}  # with derivatives, and without

    @property
    def moments(self) -> HeldMoments:
        return self._moments

    @property
    def mean_square(self) -> Tensor:
        return self.kept("mean square", lambda: self._moments.mean * self._moments.mean)

    def kept(self, name: str, make: Callable[[], _T]) -> _T:
        key = name, torch.is_grad_enabled()
        if key not in self._made:
            self._made[key] = make()
        made: _T = self._made[key]
        return made

    def changed(self, change: Callable[[HeldMoments], HeldMoments]) -> Kept:
        return Kept(change(self._moments))


@dataclass(frozen=True, eq=False)
class MadeAgain(Held):
    """Moments that are made where they are not the last ones made."""

    make: Callable[[], HeldMoments]
    last: LastMade

    @property
    def moments(self) -> HeldMoments:
        return self.last.of(self)

    @property
    def mean_square(self) -> Tensor:
        return self.last.square_of(self)

    def kept(self, name: str, make: Callable[[], _T]) -> _T:
        return make()

    def changed(self, change: Callable[[HeldMoments], HeldMoments]) -> MadeAgain:
        return replace(self, make=lambda: change(self.make()))


class _Saved(NamedTuple):
    """A tensor that a backward pass needs, by what it is of an array, and its layout."""

    held: MadeAgain
    name: str
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class LastMade:
    """The moments made last of all arrays of a network."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Keep nothing."""
        #: weak: arrays know of this, and of each other they would never be free
        self._owner: Callable[[], MadeAgain | None] = lambda: None
        self._differentiable = False
        self._tensors: dict[str, Tensor] = {}
        self._moments: HeldMoments | None = None

    def of(self, held: MadeAgain) -> HeldMoments:
        """The moments of an array."""
        if self._moments is None or self._owner() is not held or self._differentiable != torch.is_grad_enabled():
            self.forget()  # their memory is free first
            self._moments = held.make()
            self._owner, self._differentiable = weakref.ref(held), torch.is_grad_enabled()
            self._tensors = {"mean": self._moments.mean, "variance": self._moments.variance}
        return self._moments

    def square_of(self, held: MadeAgain) -> Tensor:
        """The squared means of an array."""
        mean = self.of(held).mean
        if "square" not in self._tensors:
            self._tensors["square"] = mean * mean
        return self._tensors["square"]

    def pack(self, tensor: Tensor) -> Tensor | _Saved:
        """What is saved of a tensor."""
        owner, place = self._owner(), tensor.untyped_storage().data_ptr()
        for name, own in self._tensors.items():
            if owner is not None and own.untyped_storage().data_ptr() == place and own.numel() > 1:
                return _Saved(owner, name, tensor.shape, tensor.stride(), int(tensor.storage_offset()))
        return tensor.detach()  # an output with its graph would keep the node that saves it, for ever

    def unpack(self, saved: Tensor | _Saved) -> Tensor:
        """The tensor again."""
        if isinstance(saved, Tensor):
            return saved
        with torch.no_grad():
            whole = self.square_of(saved.held) if saved.name == "square" else getattr(self.of(saved.held), saved.name)
            same: Tensor = whole.as_strided(saved.size, saved.stride, saved.offset)
            return same


@contextmanager
def made_again(arrays: Sequence[Held]) -> Iterator[None]:
    """While this lasts, what a backward pass will need of moments that are made again is not saved."""
    last = next((held.last for held in arrays if isinstance(held, MadeAgain)), None)
    if last is None or not torch.is_grad_enabled():
        yield
        return
    with torch.autograd.graph.saved_tensors_hooks(last.pack, last.unpack):
        yield
    last.forget()  # their graph knows of their array, and this of the graph: a circle that nobody would find
