"""How what a part of the chips keeps within changes with the gains, beside the mean over chips.

With K(s) the cumulant generating function of a chip's error Q, and weights ω along a path of s that invert its density,

    d quantile = E[dQ | Q = quantile] = Σ_s ω ∂K/s,
    ∂K/s = (tr P dG + 2 (P b)·db + 2 s/N (P b)ᵀ dG (P b))/N + d rest,      P = (1 − 2 s G/N)⁻¹,

in which dG stands only between a few directions v, as changes of |Jᵀ v|², and in its trace. (E[dQ | Q]: Hong, *Oper.
Res.* 57 (2009) 118.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.chips.predicted import ChipSource
from powerplan.moments.chips.spectrum import Spectrum
from powerplan.moments.predictor import Predictor
from powerplan.moments.sources.errors import total

#: directions that count, by their coefficients as a part of the largest
_LEAST = 1e-3


def ratio_slope(
    source: ChipSource,
    tensors: Callable[[Tensor], tuple[Sequence[Tensor], Sequence[Tensor]]],
    theta: np.ndarray,
    part: float,
) -> np.ndarray:
    """Derivative (n,) of log(what a part of the chips keeps within / mean) in free gains, at those there are.

    Args:
        tensors: conductance and voltage gains of every layer, of free gains (n,).
        theta: the free gains.
    """
    with torch.enable_grad():
        point = torch.tensor(theta, requires_grad=True)
        programmed = source.predictor.program(*tensors(point))
        ratio = log_ratio(source.predictor, programmed, source.spectrum, part)
        (slope,) = torch.autograd.grad(ratio, point, allow_unused=True, materialize_grads=True)
    return np.asarray(slope.numpy())


def log_ratio(predictor: Predictor, programmed: Sequence[ProgrammedArray], spectrum: Spectrum, part: float) -> Tensor:
    """A number () with the derivative that log(quantile/mean) has at these gains; its value means nothing.

    Args:
        programmed: differentiable in the gains; the inputs in a single part.
        spectrum: at these gains.
        part: of the chips, whose error is the quantile.
    """
    form, size = spectrum.linear, spectrum.bias.numel()
    if not form.varies:
        return spectrum.bias.new_zeros(())
    quantile = form.quantile(part)
    s, weights = form.conditional(quantile)

    def mean(values: np.ndarray) -> np.ndarray:
        """Over the path, of values (m, ...)."""
        return np.asarray(np.tensordot(weights, values, 1).real)

    # P along the u_i, and what it is for all other directions
    own = spectrum.weights.cpu().numpy()
    along = 1 / (1 - 2 * np.multiply.outer(s, own))
    beyond = 1 / (1 - 2 * s * form.weights[-1]) if len(form.weights) > len(own) else np.ones_like(s)
    directions, bias = spectrum.directions.flatten(1), spectrum.bias.flatten()
    inside = directions @ bias
    left = bias - inside @ directions
    # the bias beyond all u_i is one more direction
    basis = torch.cat([directions, (left / (left.norm() or 1.0)).unsqueeze(0)])
    every = np.column_stack([along, beyond])
    met = every * np.append(inside.cpu().numpy(), float(left.norm()))  # P b
    quadratic = np.diag(np.append(mean(along - beyond[:, None]), 0.0))
    quadratic += mean((2 * s / size)[:, None, None] * met[:, :, None] * met[:, None, :])
    moved = torch.as_tensor(mean(met)).to(basis) @ basis - bias
    factors, vectors = np.linalg.eigh(quadratic)
    some = np.abs(factors) > _LEAST * np.abs(factors).max()
    met_in = torch.as_tensor(vectors[:, some]).to(basis).mT @ basis

    chips = LinearChips.of(predictor, programmed)
    moments = predictor.moments(programmed)
    mse = moments.variance.mean().double() + (moments.mean - predictor.ideal).square().mean()
    pulled = chips.pull(met_in.to(predictor.inputs).reshape(-1, *spectrum.bias.shape))
    squares = total([numbers.square().flatten(1).sum(1).double() for numbers in pulled.values()])
    changed = (torch.as_tensor(factors[some]).to(basis) @ squares + 2 * moved @ chips.bias.flatten()) / size
    changed = changed + (float(mean(beyond)) - 1) * chips.mean_square()
    factor = spectrum.stretch[0]  # held
    stretched = form.mean + factor * (quantile - form.mean)
    ratio: Tensor = (mse + factor * changed) / stretched - mse / float(mse.detach())
    return ratio
