"""The rate of wrong classes, predicted from the mean and covariance of the outputs, as a smooth function of the gains.

For input b with wanted class t the K − 1 margins d_k = y_t − y_k are Gaussian with mean m and covariance S. The chance
to be right, P(d > 0), is the integral of a Gaussian over an orthant. With S = L Lᵀ and w uniform in the unit cube,
conditioning one margin on those before it (the separation of variables of Genz, J. Comput. Graph. Stat. 1, 1992),

    P(d > 0) = E_w[ Π_i e_i ],    e_i = Φ((m_i − Σ_{j<i} L_ij u_j) / L_ii),    u_j = Φ⁻¹(w_j e_j),

is the mean of an infinitely differentiable function of m and S. The points w are fixed (a scrambled Sobol sequence,
shifted for every input), so the rate has exact derivatives and no noise between two evaluations.

Why: docs/decisions/targets.md [0121].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from powerplan.errors import InvalidInput
from powerplan.moments.accuracy import check_labels
from powerplan.moments.predictor import Moments, Predictor
from powerplan.planning import policy

if TYPE_CHECKING:
    from powerplan.planning.problem.variables import FreeGains


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorRate:
    """Expected fraction of inputs whose class is not the wanted one.

    Attributes:
        ideal: the rate without noise.
        wanted: (B,) wanted class.
        rivals: (B, C) the other classes, nearest first; empty (B, 0) for a single output.
        right: (B,) True where the ideal network has the wanted class.
        points: (B, N, C) in the unit cube.
        floor: variance added to every margin.
        only_lost: inputs that the ideal network gets wrong do not count: the rate then never falls with the noise.
    """

    ideal: float
    wanted: Tensor
    rivals: Tensor
    right: Tensor
    points: Tensor
    floor: float
    only_lost: bool = False
    needs_covariance = True
    rises = False

    @classmethod
    def of(cls, ideal: Tensor, labels: Sequence[int] | None) -> ErrorRate:
        """For ideal outputs (B, K) and labels (B,); None = the class of the ideal outputs.

        Raises:
            InvalidInput: labels that are not (B,) classes.
        """
        batch, outputs = ideal.shape
        classes = ideal.argmax(1) if outputs > 1 else (ideal[:, 0] > 0).long()
        wanted = classes
        if labels is not None:
            wanted = torch.as_tensor(check_labels(np.array(labels), (batch, outputs))).to(classes)
        right = classes == wanted
        rivals = _rivals(ideal, wanted)
        return cls(
            ideal=float((~right).double().mean()),
            wanted=wanted,
            rivals=rivals,
            right=right,
            points=_points(batch, max(rivals.shape[1], 1)).to(ideal),
            floor=policy.MARGIN_FLOOR * float((ideal**2).mean()) + float(np.finfo(float).tiny),
        )

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """Rate of the inputs that the ideal network gets right, and of those it gets wrong if they count."""
        if moments.covariance is None:
            raise InvalidInput.of(
                "target",
                "a target on classes",
                "a predictor that gives the output covariance",
                "Use method='linearized' or 'covariance', or a target on the error.",
            )
        here = self.of_part(part)
        rates = here.rates(moments.mean, moments.covariance)
        return rates[:1] if self.only_lost else rates

    def rates(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """(2,) rate of wrong classes among the inputs that the ideal network gets right, and among the others, over all
        inputs, for outputs of mean (B, K) and covariance (B, K, K)."""
        wrong = self.wrong(mean, covariance)
        zero = torch.zeros_like(wrong)
        return torch.stack([torch.where(self.right, wrong, zero).mean(), torch.where(self.right, zero, wrong).mean()])

    def residuals(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """None: what the bias does is not a square."""
        return moments.mean.new_zeros(0)

    def exponents(self, layout: FreeGains) -> np.ndarray:
        """Those of noise, 1/c²."""
        return np.full(layout.count, policy.NOISE_EXPONENT)

    def of_part(self, part: slice) -> ErrorRate:
        """The rate for a part of the inputs."""
        by_input = {name: getattr(self, name)[part] for name in ("wanted", "rivals", "right", "points")}
        return replace(self, **by_input)

    def wrong(self, mean: Tensor, covariance: Tensor) -> Tensor:
        """(B,) chance of another class than the wanted one, for outputs of mean (B, K) and covariance (B, K, K)."""
        margin, spread = self._margins(mean, covariance)
        diagonal = spread.diagonal(dim1=-2, dim2=-1)
        factor = torch.linalg.cholesky(spread + torch.diag_embed(policy.MARGIN_JITTER * diagonal + self.floor))
        log_right = torch.zeros(self.points.shape[:2]).to(mean)
        normals: list[Tensor] = []
        for i in range(margin.shape[1]):
            centre = margin[:, i, None]
            if normals:
                centre = centre - torch.einsum("bnj,bj->bn", torch.stack(normals, dim=2), factor[:, i, :i])
            log_chance = torch.special.log_ndtr(centre / factor[:, i, i, None])
            log_right = log_right + log_chance
            if i + 1 < margin.shape[1]:
                chance = (self.points[:, :, i] * log_chance.exp()).clamp(policy.TAIL, 1 - 1e-16)
                normals.append(torch.special.ndtri(chance))
        return -torch.expm1(log_right).mean(1)

    def _margins(self, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """Means (B, C) and covariances (B, C, C) of the margins over the rivals."""
        if mean.shape[1] == 1:
            sign = 2.0 * self.wanted.to(mean) - 1.0
            return mean * sign[:, None], covariance
        rows = torch.arange(len(mean), device=mean.device)
        own, rivals = self.wanted, self.rivals
        margin = mean[rows, own][:, None] - mean.gather(1, rivals)
        cross = covariance[rows, own].gather(1, rivals)
        among = covariance[rows[:, None, None], rivals[:, :, None], rivals[:, None, :]]
        spread = covariance[rows, own, own][:, None, None] - cross[:, :, None] - cross[:, None, :] + among
        return margin, spread


def _rivals(ideal: Tensor, wanted: Tensor) -> Tensor:
    """(B, C) classes other than the wanted one, in rising order of the ideal margin."""
    batch, outputs = ideal.shape
    if outputs == 1:
        return torch.empty(batch, 0, dtype=torch.long)
    others = ideal.clone()
    others[torch.arange(batch), wanted] = -torch.inf
    count = min(outputs - 1, policy.MOST_RIVALS)
    return others.argsort(dim=1, descending=True, stable=True)[:, :count]


def _points(batch: int, rivals: int) -> Tensor:
    """(B, N, C) points of a Sobol sequence, shifted modulo 1 for every input."""
    count = int(
        np.clip(2 ** int(np.log2(max(policy.INTEGRAL_POINTS // batch, 1))), policy.FEWEST_POINTS, policy.MOST_POINTS)
    )
    sequence = qmc.Sobol(rivals, rng=0).random(count)
    shifts = np.random.default_rng(1).random((batch, 1, rivals))
    return torch.as_tensor((sequence + shifts) % 1.0)
