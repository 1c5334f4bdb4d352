"""How much wider chips are spread than those of the linearised network.

The error of a chip is b + J z + r(z): devices err with the errors that arrive at their rows, and operations are not
linear. r is the same whenever the chip is read, and goes with J z. Chips are drawn in pairs, z and −z; the MSE of the
two is S ± A, even and odd in z and so uncorrelated, and with the linearised chips of the same numbers

    Var MSE = Var MSE_linear + E[(S − E S)² − (S_linear − E S_linear)²] + E[A² − A_linear²].

The first term is known without drawing; the others vary little, the more so the smaller the errors are.

Why: docs/decisions/chips.md.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from powerplan.moments.chips.linear import LinearChips, Source

#: pairs of chips, and multiplications that they may take, in networks whose arrays serve several positions, and in
#: others, whose predictions take fewer
_SHARED, _UNSHARED = (128, 1 << 31), (24, 1 << 23)
#: fewest pairs that are worth drawing
_FEWEST = 8
#: live tensors of the size of the largest value for every chip
_CHIP_TENSORS = 8
#: widening by rounding from which as many pairs are drawn as with several positions
_FEW_BITS = 0.05
#: by how many times the NMSE the standard deviation is off without it, about
_EXPECTED = 1.0


def stretch(chips: LinearChips, variance: float, nmse: float, seed: int, widening: float = 0.0) -> tuple[float, float]:
    """Standard deviation of a chip's MSE over that of the linearised network, and its standard error.

    What few pairs say is weighed against what is known without: 1, off by about the NMSE. Where chips cost too much it
    is just that.

    Args:
        variance: of the MSE of linearised chips.
        widening: by which part rounding in converters makes it larger at most; the middle is taken where pairs do not
            tell it.
    """
    seen = chips.sees_rounding
    expected, unseen = expected_error(nmse), 0.0 if seen else widening / 2
    prior = math.hypot(expected, widening) if seen else expected
    most, work = _SHARED if chips.is_shared or widening > _FEW_BITS else _UNSHARED
    pairs = min(most, work // (2 * chips.multiplications))
    if variance <= 0 or prior <= 0 or pairs < _FEWEST:
        return 1 + widening / 2, math.hypot(expected, widening / 2)
    generator = torch.Generator().manual_seed(seed)
    at_once = chips.most_chips(_CHIP_TENSORS)
    drawn = [_pairs(chips, min(at_once, pairs - done), generator) for done in range(0, pairs, at_once)]
    even, odd = (torch.cat(parts, 1) for parts in zip(*drawn, strict=True))
    even = (even - even.mean(1, keepdim=True)) * math.sqrt(pairs / (pairs - 1))
    whole, linear = even.square() + odd.square()
    beyond = (whole - linear) / (2 * variance)
    chance = float(beyond.var()) / pairs
    weight = prior**2 / (prior**2 + chance)
    return 1 + weight * float(beyond.mean()) + unseen, math.hypot(math.sqrt(weight * chance), unseen)


def expected_error(nmse: float) -> float:
    """About by which part the standard deviation is off where no pairs tell it."""
    return _EXPECTED * min(nmse, 0.1)


def _pairs(chips: LinearChips, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Even and odd part of the MSE of pairs of chips, without and with the network linearised, (2, count) each."""
    normals: dict[Source, Tensor] = {
        source: torch.randn(count, *numbers, generator=generator).to(chips.bias.device)
        for source, numbers in chips.numbers.items()
    }
    linear, one, other = chips.pairs(normals)
    mse = [[(chips.bias + e).square().mean((1, 2)) for e in pair] for pair in ((one, other), (linear, -linear))]
    values = torch.stack([torch.stack(pair) for pair in mse])  # (2, 2, count)
    return values.mean(1), (values[:, 0] - values[:, 1]) / 2
