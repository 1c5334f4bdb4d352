"""Targets as optimisation problems: what is minimised, and what is bounded in which corner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from powerplan.checks import Checker, real_array
from powerplan.errors import InvalidInput
from powerplan.moments.predictor import Predictor
from powerplan.planning.problem.measures import Constraint, Measure
from powerplan.planning.targets import Target


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
    if weights is not None and not target.takes_weights:
        raise InvalidInput.of(
            "output_weights",
            weights,
            f"None with {type(target).__name__}",
            "Classes are decided by all outputs alike; weights are for targets on the error.",
        )
    tensor = None if weights is None else torch.as_tensor(weights / len(weights)).to(nominal.ideal)
    constraints: list[Constraint] = []
    for corner, predictor in enumerate(predictors):
        if (weights is not None or target.needs_outputs) and not predictor.is_exact:
            raise InvalidInput.of(
                "output_combinations",
                predictor.directions.shape[1],
                "0 with output weights, single outputs and targets on classes",
                "Random combinations of the outputs give their mean variance only; give output_combinations=0.",
            )
        constraints += (c.times(predictor.input_factor) for c in target.constraints(predictor, tensor, corner))
    return Requirement(objective=target.objective.measure(tensor), constraints=tuple(constraints))


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
