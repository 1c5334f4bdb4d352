"""How the errors of single inputs and of single outputs are spread over chips.

The outputs of one input are b + e on a chip that reads it once, e Gaussian with the covariance C (K, K) that every
prediction of single outputs has: its error is a sum of weighted χ² of the eigenvalues of C. Those of one output at all
inputs are b + J z, with the block of G = J Jᵀ that is between them; where G is not formed, they are those of chips that
are drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from powerplan.moments.chips.beyond import expected_error
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.chips.predicted import ChipSource, PredictedSpread
from powerplan.moments.chips.quadratic_form import QuadraticForm
from powerplan.moments.chips.sampled import SampledSpread
from powerplan.moments.chips.spectrum import forms_gram
from powerplan.spread import Spread

#: eigenvalues that count, as a part of the largest
_LEAST = 1e-10


@torch.no_grad()
def spread_by_input(source: ChipSource) -> tuple[Spread, ...]:
    """The spread of every input's MSE over its outputs, (B).

    Raises:
        InvalidInput: the covariance of the outputs is not known.
    """
    mean, covariance = source.known_moments
    bias = mean - source.ideal
    mse = (bias.square() + covariance.diagonal(dim1=1, dim2=2)).mean(1)
    return _spreads(source, covariance, bias, mse)


@torch.no_grad()
def spread_by_output(source: ChipSource) -> tuple[Spread, ...]:
    """The spread of every output's MSE over all inputs, (K).

    Raises:
        InvalidInput: the covariance of the outputs is not known.
    """
    mean, covariance = source.known_moments
    chips = LinearChips.of(source.predictor, source.predictor.program(*source.predictor.gain_tensors(source.gains)))
    bias = mean - source.ideal
    if not forms_gram(chips):
        drawn = torch.cat([(bias + errors).square().mean(1) for errors in source.outputs.drawn()])
        return tuple(SampledSpread.of(each.cpu().numpy()) for each in drawn.double().mT)
    mse = (bias.square() + covariance.diagonal(dim1=1, dim2=2)).mean(0)
    blocks = chips.gram().double().diagonal(dim1=1, dim2=3).permute(2, 0, 1)
    return _spreads(source, blocks, bias.mT, mse)


def _spreads(source: ChipSource, covariances: Tensor, biases: Tensor, mse: Tensor) -> tuple[Spread, ...]:
    """Of n sums of squares, each of m errors with a covariance (n, m, m) and biases (n, m), whose means are (n,)."""
    signal = source.predictor.signal_power
    values, vectors = torch.linalg.eigh((covariances + covariances.mT) / 2)
    along = (vectors.mT @ biases.unsqueeze(-1)).squeeze(-1).square()
    factor, error = source.spectrum.stretch
    spreads = []
    for own, met, mean in zip(values.cpu().numpy(), along.cpu().numpy(), mse.tolist(), strict=True):
        some = own > _LEAST * max(own[-1], 0.0)
        weights = own[some] / len(own)
        varying = float(weights.sum() + met[some].sum() / len(own))
        form = QuadraticForm(
            weights=weights,
            freedom=weights * 0 + 1,
            offsets=met[some] / own[some],
            constant=max(mean - varying, 0.0),
        )
        beyond = max(error, expected_error(mean / signal if signal > 0 else 0.0))
        spreads.append(PredictedSpread.of(form.stretched(factor), beyond, source.relative_error))
    return tuple(spreads)
