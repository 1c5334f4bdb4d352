"""Targets as optimisation problems: what is minimised, and what is bounded in which corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from powerplan.checks import Checker, real_array
from powerplan.errors import InvalidInput
from powerplan.moments.predictor import Predictor
from powerplan.planning.objectives import ERROR, POWER
from powerplan.planning.problem.error_rate import ErrorRate
from powerplan.planning.problem.measures import Constraint, Error, Measure, Power
from powerplan.planning.targets import (
    MaxAccuracyDrop,
    MaxFlipRate,
    MaxMSE,
    MaxNMSE,
    MaxOutputMSE,
    MaxPower,
    Target,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Requirement:
    """min objective (in corner 0) s.t. every constraint."""

    objective: Measure
    constraints: tuple[Constraint, ...]


def requirement(target: Target, predictors: Sequence[Predictor], weights: np.ndarray | None) -> Requirement:
    """The optimisation problem of a target.

    Args:
        predictors: one per corner, the nominal one first.
        weights: (K,) of the outputs in the error, with mean 1; None = all alike.

    Raises:
        InvalidInput: labels that do not fit, weights with a target that has no error, a drop beyond the accuracy.
    """
    nominal = predictors[0]
    if isinstance(target, MaxAccuracyDrop | MaxFlipRate) and weights is not None:
        raise InvalidInput.of(
            "output_weights",
            weights,
            f"None with {type(target).__name__}",
            "Classes are decided by all outputs alike; weights are for targets on the error.",
        )
    tensor = None if weights is None else torch.as_tensor(weights / len(weights)).to(nominal.ideal)
    constraints = tuple(
        constraint
        for corner, predictor in enumerate(predictors)
        for constraint in _bounded(target, predictor, tensor, corner)
    )
    objective = ERROR if isinstance(target, MaxPower) else POWER
    return Requirement(objective=objective.measure(tensor), constraints=constraints)


def _bounded(target: Target, predictor: Predictor, weights: Tensor | None, corner: int) -> list[Constraint]:
    """What a target bounds in one corner."""
    by_output = weights is not None or isinstance(target, MaxOutputMSE | MaxAccuracyDrop | MaxFlipRate)
    if by_output and not predictor.is_exact:
        raise InvalidInput.of(
            "output_combinations",
            predictor.directions.shape[1],
            "0 with output weights, single outputs and targets on classes",
            "Random combinations of the outputs give their mean variance only; give output_combinations=0.",
        )
    match target:
        case MaxPower():
            return [Constraint(measure=Power(), value=target.value, corner=corner)]
        case MaxMSE():
            return [Constraint(measure=Error(weights=weights), value=target.value, corner=corner)]
        case MaxNMSE():
            signal = signal_power(predictor.ideal, weights)
            return [Constraint(measure=Error(weights=weights), value=target.value, unit=signal, corner=corner)]
        case MaxOutputMSE():
            outputs = predictor.ideal.shape[1]
            each = torch.ones(outputs).to(predictor.ideal) if weights is None else outputs * weights
            rows = torch.diag(each)
            return [
                Constraint(measure=Error(weights=rows[k]), value=target.value, corner=corner, output=k)
                for k in range(outputs)
                if each[k] > 0
            ]
        case MaxAccuracyDrop() | MaxFlipRate():
            measure = ErrorRate.of(predictor.ideal, target.labels if isinstance(target, MaxAccuracyDrop) else None)
            if measure.ideal + target.value >= 1:
                raise InvalidInput.of(
                    "target.MaxAccuracyDrop",
                    target.value,
                    f"less than the accuracy of the ideal network on these inputs, {1 - measure.ideal:.6g}",
                    "Any gains meet it; give a smaller drop.",
                )
            return [Constraint(measure=measure, value=target.value, offset=measure.ideal, corner=corner)]


def signal_power(ideal: Tensor, weights: Tensor | None) -> float:
    """(Weighted) mean over inputs and outputs of y*².

    Raises:
        InvalidInput: it is zero.
    """
    squares = ideal**2
    power = float(squares.mean() if weights is None else squares.mean(0) @ weights)
    if not power:
        raise InvalidInput.of(
            "target", "MaxNMSE", "MaxMSE where the ideal outputs are all zero", "A relative error has no meaning."
        )
    return power


def output_weights(weights: object, outputs: int) -> np.ndarray | None:
    """(K,) weights >= 0 of the outputs, scaled to mean 1; None if not given.

    Raises:
        InvalidInput: wrong shape, negative or not finite, all zero.
    """
    if weights is None:
        return None
    check = Checker()
    array = real_array(check, "output_weights", weights, ndim=1)
    if array is not None:
        allowed = f"({outputs},) numbers >= 0, not all 0"
        if array.shape != (outputs,):
            check.fail("output_weights", array, allowed, "Give one weight per output.")
        elif array.min() < 0 or not array.max() > 0:
            check.fail("output_weights", array.min(), allowed, "A weight of 0 leaves an output out.")
    check.done()
    assert array is not None
    scaled = array.astype(np.float64) / array.max()
    return np.asarray(scaled / scaled.mean())
