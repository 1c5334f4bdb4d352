"""Rounds of samples that pass a network together: each is pooled by itself, as if it came alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import powerplan as pp
from powerplan.moments.predictor import Predictor
from powerplan.moments.rounds import by_round, in_rows, rowwise
from powerplan.moments.samples.coherence import KeptSamples, added_up
from powerplan.moments.samples.corrections import Corrections
from powerplan.moments.samples.statistics import ratio, shift_of
from powerplan.moments.sampling import _error_of
from powerplan.moments.walks.adjoint import sweep

ROUNDS = 3


@pytest.mark.parametrize("shape", [(7,), (4, 2, 2), (4, 5, 5)])
def test_every_round_is_pooled_by_itself(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    estimate, expected, mean = (torch.rand(ROUNDS * 2, *shape, generator=generator) + 0.5 for _ in range(3))
    together = ratio(estimate, expected, ROUNDS), shift_of(estimate, 0.1 * expected, expected, mean, ROUNDS)
    for number in range(ROUNDS):
        rows = slice(2 * number, 2 * number + 2)
        alone = estimate[rows], expected[rows], mean[rows]
        torch.testing.assert_close(together[0][rows], ratio(*alone[:2]).expand_as(together[0][rows]))
        shifted = shift_of(alone[0], 0.1 * alone[1], alone[1], alone[2])
        torch.testing.assert_close(together[1][rows], shifted)


def rounds_of(mse: list[float], by_sources: float, sampled: list[float]) -> tuple[float, float]:
    nothing = torch.zeros(())
    pairs = zip(mse, sampled, strict=True)
    return _error_of([(torch.tensor(m), nothing, nothing, torch.tensor([by_sources, s])) for m, s in pairs])


def test_the_sum_of_sources_is_corrected_beyond_the_chance_of_the_sampled_outputs() -> None:
    """By nothing within three standard errors (Student's, of four rounds: 4.9), by nearly all of it far beyond."""
    mse = [1.0, 1.02, 0.98, 1.0]
    factor, error = rounds_of(mse, 1.0, [0.9, 1.1, 1.0, 1.2])
    assert factor == 1
    beyond, more = rounds_of(mse, 1.0, [0.49, 0.51, 0.5, 0.5])
    chance = np.std([0.49, 0.51, 0.5, 0.5], ddof=1) / 2 * 1.6237
    assert beyond == pytest.approx(1 - 0.5 * (1 - (3 * chance / 0.5) ** 2), rel=1e-3)
    assert more == pytest.approx(np.hypot(error, chance), rel=1e-3)
    assert np.isnan(rounds_of([1.0, np.nan, 1.0, 1.0], np.nan, mse)[1])


def test_numbers_of_rounds_reach_their_rows() -> None:
    value = torch.arange(12.0).reshape(6, 2)
    assert by_round(value, ROUNDS).tolist() == [6.0, 22.0, 38.0]
    factors = torch.tensor([1.0, 10.0, 100.0])
    assert in_rows(factors, 6).tolist() == [1, 1, 10, 10, 100, 100]
    torch.testing.assert_close(rowwise(factors, value), value * in_rows(factors, 6).unsqueeze(1))


def test_errors_are_added_up_as_the_sweep_does() -> None:
    rng = np.random.default_rng(0)
    network = pp.from_torch(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)), (1, 6, 6))
    inputs = rng.random((2, 1, 6, 6))
    hardware = pp.Hardware(programming_noise_std=2e-6, column_gain_std=0.01)
    predictor = Predictor.of(network, hardware, inputs)
    programmed = predictor.program(*predictor.gain_tensors(pp.Gains.full_range(network, hardware, inputs)))
    trace = predictor.trace(programmed)
    known = Corrections(
        coherence={place: torch.tensor(1.5, dtype=torch.float64) for place in trace.steps},
        slopes={place: torch.tensor(0.9, dtype=torch.float64) for place in trace.steps if place.part == "digital"},
    )
    directions = predictor.directions.expand(2, -1, -1)
    added = added_up(trace, directions, KeptSamples(), rounds=1, known=known)
    found = sweep(trace, directions, joint=False, biases=False, coherence=known.coherence, slopes=known.slopes)
    torch.testing.assert_close(added.variance, sum(source.variance for source in found.sources))


def test_shifts_are_shrunk_by_the_chance_of_all_rounds() -> None:
    """Deviations as large as their chance in one round: the mean of 64 rounds, each shrunk by the chance of all, is the
    truth to a few parts in a hundred; shrunk by its own chance it is 1/√2 of it."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(1, 4096, generator=generator, dtype=torch.float64)
    one, rounds = torch.ones_like(truth), 64
    found = {
        averaged: torch.stack(
            [
                shift_of(
                    truth + torch.randn(truth.shape, generator=generator, dtype=truth.dtype),
                    one,
                    one,
                    torch.zeros_like(one),
                    averaged=averaged,
                )
                for _ in range(rounds)
            ]
        ).mean(0)
        for averaged in (1, rounds)
    }
    along = {averaged: float((mean * truth).sum() / (truth * truth).sum()) for averaged, mean in found.items()}
    assert along[rounds] == pytest.approx(1, abs=0.02)
    assert along[1] == pytest.approx(0.5**0.5, abs=0.02)
