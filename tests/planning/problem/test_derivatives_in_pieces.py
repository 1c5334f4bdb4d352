"""Derivatives made a piece of the inputs and directions at a time are those of the whole."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments.predictor import Predictor
from powerplan.planning.problem.error_rate import ErrorRate
from powerplan.planning.problem.measures import Constraint, Error, Measure
from powerplan.planning.problem.pieces import differentiable_pieces
from powerplan.planning.problem.sums import Sum
from powerplan.planning.problem.terms import Terms
from powerplan.planning.problem.variables import free_gains, hold


@pytest.mark.parametrize(("combinations", "rate"), [(0, False), (0, True), (4, False)])
@pytest.mark.parametrize("room", [1, 20_000])
def test_pieces_add_up(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, combinations: int, room: int, rate: bool
) -> None:
    """Power, error and rate of wrong classes: values, gradients and Jacobians; any memory limit, same random draws."""
    noisy, inputs = hardware.replace(read_noise_std=1e-8, feedback_resistance=1e4), inputs[:8]
    held = hold(network, noisy, inputs, None, None)
    free = free_gains(network, noisy, inputs, granularity="layer", optimize=("conductance", "voltage"), held_gains=held)
    found = []
    for limit in (1 << 30, room):
        predictor = Predictor.of(network, noisy, inputs, output_combinations=combinations, memory_limit=limit, seed=3)
        measure: Measure = ErrorRate.of(predictor.ideal, None) if rate else Error()
        terms = Terms(predictor, free, constraints=(Constraint(measure=measure, value=0.1),))
        pieces = differentiable_pieces(predictor)
        assert sum(piece.share(predictor) for piece in pieces) == pytest.approx(1)
        assert (len(pieces) > 1) == (limit == room)
        theta = free.upper - np.linspace(0.3, 1.5, free.count)
        found.append((*terms.values(theta), *terms.gradients(theta), *terms.derivatives(theta)))
        assert terms.evaluations == 3
    for whole, parted in zip(*found, strict=True):
        assert parted.terms == pytest.approx(whole.terms, rel=1e-12)
        assert parted.jacobian == pytest.approx(whole.jacobian, rel=1e-9, abs=1e-12 * whole.total)


def test_one_piece_is_kept_at_a_time(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that the backward passes of a piece needed is kept while the next piece is made."""
    held = hold(network, hardware, inputs, None, None)
    free = free_gains(network, hardware, inputs, granularity="layer", optimize=("conductance",), held_gains=held)
    predictor = Predictor.of(network, hardware, inputs[:8], memory_limit=1)
    terms = Terms(predictor, free)
    made: list[weakref.ref[Any]] = []
    measured = terms._measured

    def watched(*arguments: Any) -> Any:
        assert [each() for each in made] == [None] * len(made)
        values = measured(*arguments)
        made.extend(weakref.ref(value) for value in values)
        return values

    monkeypatch.setattr(terms, "_measured", watched)
    terms.derivatives(free.upper - 0.5)
    assert len(made) > 2


def test_costs_are_differentiated_once_for_all_directions(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight inputs with four directions each: 32 backward passes for the errors, eight for the powers."""
    held = hold(network, hardware, inputs, None, None)
    free = free_gains(network, hardware, inputs, granularity="layer", optimize=("conductance",), held_gains=held)
    predictor = Predictor.of(network, hardware, inputs[:8], output_combinations=4, memory_limit=1)
    passes: list[int] = []
    made = Sum.differentiated

    def counted(terms: torch.Tensor, theta: torch.Tensor) -> Sum:
        passes.append(1)
        return made(terms, theta)

    monkeypatch.setattr(Sum, "differentiated", counted)
    Terms(predictor, free).gradients(free.upper - 0.5)
    assert len(passes) == 32 + 8
