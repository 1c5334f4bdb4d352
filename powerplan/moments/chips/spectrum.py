"""How the mean squared error is spread over chips.

With the errors e = J z that a chip's reads have in common, the bias b and G = J Jᵀ over all N outputs of all inputs,

    MSE of a chip ≈ |b + J z|²/N + rest,            G = Σ_i λ_i u_i u_iᵀ,
                  = Σ_i λ_i/N χ²(1, (u_i·b)²/λ_i) + what b has beyond the u_i + rest.

The rest is what differs from read to read and from input to input; it averages out and is a constant, what the mean
over chips has beyond |b|² + tr G. Of few outputs and inputs G is formed. Of many it is met in products G z only: its
largest part is found in a random subspace that holds b, of the remainder R the trace is known and tr R² estimated from
random vectors (Meyer, Musco, Musco, Woodruff, *Hutch++*, SOSA 2021); a single χ² of as many degrees of freedom as these
two ask for stands for it. What the network makes of z beyond J z widens it (:mod:`powerplan.moments.chips.beyond`).

Why: docs/decisions/chips.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from powerplan.errors import InvalidInput
from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.chips.beyond import stretch
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.chips.predicted import ChipSource, PredictedChips, PredictedSpread
from powerplan.moments.chips.quadratic_form import QuadraticForm
from powerplan.moments.chips.rounding import widening
from powerplan.moments.predictor import Predictor
from powerplan.moments.samples.count import has_rare_errors
from powerplan.network.graph import Network

if TYPE_CHECKING:
    from powerplan.moments.prediction import Prediction

#: outputs of all inputs together up to which the Gram matrix is formed
MOST_EXACT = 256
#: random vectors of the subspace, and those that tell what is beyond it
_SUBSPACE, _PROBES = 9, 8
#: eigenvalues that are told apart
_MOST_WEIGHTS = 64
#: eigenvalues that count, as a part of the largest
_LEAST = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """What errors in common look like over all outputs of all inputs.

    Attributes:
        weights: λ/N (n,).
        directions: u (n, B, K).
        bias: b (B, K).
        remainder: tr R/N.
        remainder_square: tr R²/N² and its standard error.
        rest: the part of the MSE that does not vary.
        stretch: standard deviation over that of the linearised network, and its standard error.
    """

    weights: Tensor
    directions: Tensor
    bias: Tensor
    remainder: float
    remainder_square: tuple[float, float]
    rest: float
    stretch: tuple[float, float] = (1.0, 0.0)

    @classmethod
    def of(cls, chips: LinearChips, mse: float, *, seed: int) -> Spectrum:
        """That of chips whose MSE is known on average; ``seed`` of random vectors."""
        bias = chips.bias
        varying = max(mse - float(bias.square().mean()), 0.0)
        weights, directions, remainder, square = _exact(chips) if forms_gram(chips) else _sketched(chips, varying, seed)
        common = float(weights.sum()) + remainder
        rest = max(varying - common, 0.0)
        linear = cls(
            weights=weights,
            directions=directions.reshape(-1, *bias.shape),
            bias=bias,
            remainder=remainder,
            remainder_square=square,
            rest=rest,
        )
        signal, variance = chips.predictor.signal_power, linear.linear.std**2
        wider = widening(chips.rounding, common, float(bias.square().mean()), bias.numel(), variance)
        nmse = mse / signal if signal > 0 else 0.0
        return replace(linear, stretch=stretch(chips, variance, nmse, seed, wider))

    @property
    def form(self) -> QuadraticForm:
        """The distribution of a chip's MSE."""
        return self.linear.stretched(self.stretch[0])

    @property
    def relative_error(self) -> float:
        """Standard error of its standard deviation, as a part of it."""
        variance = self.linear.std**2
        return (
            math.hypot(self.remainder_square[1] / variance, self.stretch[1] / self.stretch[0]) if variance > 0 else 0.0
        )

    @cached_property
    def linear(self) -> QuadraticForm:
        """The distribution of the MSE of linearised chips."""
        size = self.bias.numel()
        along = (self.directions.flatten(1) @ self.bias.flatten()).square() / size
        weights, offsets = self.weights, along / self.weights
        freedom = torch.ones_like(weights)
        square = self.remainder_square[0]
        constant = self.rest + float(self.bias.square().mean() - along.sum())
        if square > 0 and self.remainder > 0:
            weight = square / self.remainder
            weights = torch.cat([weights, weights.new_tensor([weight])])
            freedom = torch.cat([freedom, weights.new_tensor([self.remainder / weight])])
            offsets = torch.cat([offsets, weights.new_zeros(1)])
        else:
            constant += self.remainder
        return QuadraticForm(
            weights=weights.cpu().numpy(),
            freedom=freedom.cpu().numpy(),
            offsets=offsets.cpu().numpy(),
            constant=max(constant, 0.0),
        )


def check_chips(
    network: Network, hardware: Hardware, method: str, field: str = "chip_spread", value: object = True
) -> None:
    """Refuse a wish about single chips on hardware whose chips are not told by variances, and with a method whose mean
    is not theirs.

    Raises:
        InvalidInput: rare and large errors, or the method "diagonal".
    """
    unasked = "False" if value is True else "None"
    if method == "diagonal":
        raise InvalidInput.of(
            field,
            value,
            f"{unasked} with method 'diagonal', which leaves out the correlations that the spread over chips rests on",
            "Take the method linearized or covariance.",
        )
    if has_rare_errors(network, hardware):
        raise InvalidInput.of(
            field,
            value,
            f"{unasked} where devices are stuck, converters saturate alike or activations "
            "jump: such errors are rare and large, and how a chip's error is spread does not follow from its variances",
            "Simulate: Simulation.chips tells it."
            if value is True
            else "Plan for the mean and verify it with 4000 draws (verify_draws, --verify): that tells the yield.",
        )


@torch.no_grad()
def predict_chips(
    predictor: Predictor, gains: Gains, programmed: Sequence[ProgrammedArray], prediction: Prediction
) -> PredictedChips:
    """How the error of a prediction is spread over chips."""
    spectrum = Spectrum.of(LinearChips.of(predictor, programmed), prediction.mse, seed=predictor.seed)
    relative = prediction.mse_standard_error / prediction.mse if prediction.mse > 0 else 0.0
    spread = PredictedSpread.of(spectrum.form, spectrum.relative_error, relative)
    mean, covariance = prediction.output_mean, prediction.output_covariance
    return PredictedChips(
        mse=spread,
        signal_power=prediction.signal_power,
        source=ChipSource(
            predictor=predictor,
            gains=gains,
            spectrum=spectrum,
            moments=None if mean is None or covariance is None else (mean, covariance),
            relative_error=relative,
        ),
    )


def forms_gram(chips: LinearChips) -> bool:
    """Whether the Gram matrix of all outputs of all inputs is formed."""
    return chips.predictor.is_exact and len(chips.traces) == 1 and chips.bias.numel() <= MOST_EXACT


_Parts = tuple[Tensor, Tensor, float, tuple[float, float]]


def _exact(chips: LinearChips) -> _Parts:
    gram = chips.gram().double()
    size = gram.shape[0] * gram.shape[1]
    values, vectors = torch.linalg.eigh(gram.reshape(size, size))
    values, vectors = values.flip(0).clamp(min=0) / size, vectors.mT.flip(0)
    some = (values > _LEAST * values[0]) & (torch.arange(len(values)) < _MOST_WEIGHTS)
    left = values[~some]
    return values[some], vectors[some], float(left.sum()), (float(left.square().sum()), 0.0)


def _sketched(chips: LinearChips, varying: float, seed: int) -> _Parts:
    """By products; ``varying`` is what tr G/N is at most."""
    bias = chips.bias
    size = bias.numel()
    generator = torch.Generator().manual_seed(seed)
    signs = 2.0 * torch.randint(0, 2, (_SUBSPACE + _PROBES - 1, size), generator=generator).to(bias) - 1

    def product(vectors: Tensor) -> Tensor:
        """G v for v (R, N)."""
        return chips.gram_times(vectors.reshape(-1, *bias.shape)).flatten(1)

    norm = bias.norm() or bias.new_ones(())
    started = torch.cat([bias.flatten().unsqueeze(0) / norm, signs[: _SUBSPACE - 1]])
    met = product(started)
    basis = torch.linalg.qr(torch.cat([started[:1], met]).mT)[0].mT
    # the first of them is the bias, whose product is known
    along = basis[0] @ started[0]
    met = torch.cat([along * met[:1], product(basis[1:])]) if along != 0 else product(basis)
    inside = met @ basis.mT
    beyond = met - inside @ basis
    values, vectors = torch.linalg.eigh((inside + inside.mT) / 2)
    probes = signs[_SUBSPACE - 1 :]
    probes = probes - probes @ basis.mT @ basis
    left = product(probes)
    left = left - left @ basis.mT @ basis
    squares = left.square().sum(1) / size**2
    some = values > _LEAST * values[-1]
    # of random combinations of the outputs the trace is as good by the probes, which are there
    common = float(chips.mean_square()) if chips.predictor.is_exact else None
    trace = float((probes * left).sum(1).mean()) / size if common is None else common - float(values.sum()) / size
    square = float(squares.mean()) + 2 * float(beyond.square().sum()) / size**2
    return (
        values[some] / size,
        vectors.mT[some] @ basis,
        min(max(trace, 0.0), max(varying - float(values[some].sum()) / size, 0.0)),
        (square, float(squares.std()) / math.sqrt(_PROBES)),
    )
