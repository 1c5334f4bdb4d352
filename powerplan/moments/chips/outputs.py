"""Outputs of single chips, drawn from what predictions know of them: the classes of their inputs follow.

    y = mean + F z + w,      F Fᵀ ≈ G = J Jᵀ.

F z is what all inputs of a chip have in common, from the products of G with a few random vectors (Nyström's
approximation, which is never above G: Gittens, Mahoney, *J. Mach. Learn. Res.* 17 (2016) 117). w is what this leaves of
the covariance of an input's own outputs, drawn for every input by itself: small, and partly fresh in every read.

Why: docs/decisions/chips.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from powerplan.moments.chips.linear import LinearChips

#: chips drawn, and random vectors that G is met with
DRAWN, _VECTORS = 8192, 128
#: numbers drawn at a time
_BLOCK_ENTRIES = 1 << 22
#: smallest eigenvalue between these vectors that counts, as a part of the largest
_LEAST = 1e-9
#: standard deviations from which on a margin decides the class on every chip
_CERTAIN = 8.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Margins:
    """From which to which factor of all errors the inputs of chips are in the wanted class.

    Attributes:
        low, high: (D, b) of the inputs whose class is open.
        settled: inputs that are in another class on every chip.
        inputs: all of them.
    """

    low: Tensor
    high: Tensor
    settled: int
    inputs: int

    def wrong_rates(self, factor: float = 1.0) -> Tensor:
        """(D,) part of the inputs of every chip that are in another class, with all errors times a factor."""
        wrong = (self.low >= factor) | (self.high <= factor)
        return (wrong.sum(1) + self.settled).double() / self.inputs


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipOutputs:
    """The outputs of chips. B inputs, K outputs.

    Attributes:
        mean: over chips, (B, K).
        common: F (B, K, n).
        own: a factor of the covariance of w, (B, K, K).
        seed: of the draws.
    """

    mean: Tensor
    common: Tensor
    own: Tensor
    seed: int

    @classmethod
    @torch.no_grad()
    def of(cls, chips: LinearChips, mean: Tensor, covariance: Tensor) -> ChipOutputs:
        """Those of chips whose outputs have this mean (B, K) and covariance (B, K, K) at every input."""
        size, seed = mean.numel(), chips.predictor.seed
        generator = torch.Generator().manual_seed(seed)
        count = min(size, _VECTORS)
        vectors = torch.eye(size) if count == size else torch.randn(count, size, generator=generator)
        vectors = vectors.to(mean)
        met = chips.gram_times(vectors.reshape(count, *mean.shape)).flatten(1)
        values, directions = torch.linalg.eigh(_symmetric(met @ vectors.mT))
        some = values > _LEAST * values[-1]
        common = ((directions[:, some] / values[some].sqrt()).mT @ met).mT.reshape(*mean.shape, -1)
        values, directions = torch.linalg.eigh(_symmetric(covariance - common @ common.mT))
        return cls(mean=mean, common=common, own=directions * values.clamp(min=0).sqrt().unsqueeze(1), seed=seed)

    @property
    def covariance(self) -> Tensor:
        """Of the outputs of every input, (B, K, K)."""
        return self.common @ self.common.mT + self.own @ self.own.mT

    def margins(self, wanted: Tensor) -> Margins:
        """How far the chips drawn are from another class than the wanted one (B,)."""
        wanted = wanted.to(self.mean.device)
        open_ = ~self._is_certain()
        settled = int((classes_of(self.mean) != wanted)[~open_].sum())
        here = replace(self, mean=self.mean[open_], common=self.common[open_], own=self.own[open_])
        mean = _over_rivals(here.mean, wanted[open_])
        ends = [_ends(mean, _over_rivals(errors, wanted[open_])) for errors in here.drawn()]
        low, high = (torch.cat([each[i] for each in ends]) for i in (0, 1))
        return Margins(low=low, high=high, settled=settled, inputs=len(self.mean))

    def worst_mse(self, ideal: Tensor) -> Tensor:
        """(D,) mean squared error over the inputs of the worst output of every chip drawn, for ideal outputs (B, K)."""
        bias = self.mean - ideal
        return torch.cat([(bias + errors).square().mean(1).amax(1) for errors in self.drawn()])

    def drawn(self) -> Iterator[Tensor]:
        """Errors (d, B, K) of chips beside the mean, a block at a time: the same whenever they are asked for.

        They are drawn in single precision, of which the classes of chips that are drawn need no more.
        """
        common, own = self.common.float(), self.own.float()
        generator = torch.Generator(self.mean.device).manual_seed(self.seed)
        step = max(1, _BLOCK_ENTRIES // max(self.mean.numel(), self.common.shape[-1]))
        for first in range(0, DRAWN, step):
            count = min(step, DRAWN - first)
            normals = common.new_empty(count, common.shape[-1]).normal_(generator=generator)
            fresh = common.new_empty(count, *self.mean.shape).normal_(generator=generator)
            errors = (normals @ common.flatten(0, 1).mT).reshape(fresh.shape)
            yield errors + (fresh.transpose(0, 1) @ own.mT).transpose(0, 1)

    def _is_certain(self) -> Tensor:
        """(B,) whether an input has the same class on every chip."""
        covariance, variance = self.covariance, self.covariance.diagonal(dim1=-2, dim2=-1)
        if self.mean.shape[1] == 1:
            return self.mean[:, 0].abs() > _CERTAIN * variance[:, 0].sqrt()
        rows, top = torch.arange(len(self.mean)), self.mean.argmax(1)
        margin = self.mean[rows, top].unsqueeze(1) - self.mean
        spread = variance[rows, top].unsqueeze(1) + variance - 2 * covariance[rows, top]
        sure = margin > _CERTAIN * spread.clamp(min=0).sqrt()
        sure[rows, top] = True
        return sure.all(1)


def classes_of(outputs: Tensor) -> Tensor:
    """The class of outputs (..., K): the largest, of a single one its sign."""
    return outputs.argmax(-1) if outputs.shape[-1] > 1 else (outputs[..., 0] > 0).long()


def _over_rivals(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Of outputs (..., B, K) the wanted one (B,) less every other, (..., B, K); of a single output its wanted side."""
    if outputs.shape[-1] == 1:
        return outputs * (2.0 * wanted.to(outputs) - 1).unsqueeze(-1)
    place = wanted.unsqueeze(-1).expand(*outputs.shape[:-1], 1)
    return (outputs.gather(-1, place) - outputs).scatter(-1, place, torch.inf if outputs.ndim == 2 else 0.0)


def _ends(mean: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """(d, B) factors of errors (d, B, K) of margins between which all of them, of mean (B, K), are positive."""
    at = -mean / errors
    high = torch.where((errors < 0) & (mean > 0), at, torch.inf).amin(-1)
    low = torch.where((errors > 0) & (mean <= 0), at, torch.where(mean <= 0, torch.inf, -torch.inf)).amax(-1)
    return low.float(), high.float()


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2
