"""Pieces of a prediction: the inputs and directions that are predicted together, and how expensive all of them are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from powerplan.moments.predictor import Predictor
from powerplan.planning import policy


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a prediction that is made by itself: inputs, and (of random combinations) directions; None = all."""

    part: slice
    directions: slice | None = None

    def of(self, predictor: Predictor) -> Predictor:
        """The predictor with this piece's directions."""
        if self.directions is None:
            return predictor
        return replace(predictor, directions=predictor.directions[:, self.directions])

    def share(self, predictor: Predictor) -> float:
        """Its share of inputs × directions."""
        inputs, directions = len(predictor.inputs), predictor.directions.shape[1]
        share = len(range(inputs)[self.part]) / inputs
        return share if self.directions is None else share * len(range(directions)[self.directions]) / directions


EVERYTHING = Piece(part=slice(None))


def parts(predictor: Predictor, sample: Piece = EVERYTHING) -> list[Piece]:
    """The sample a part of its inputs at a time, as :attr:`Predictor.parts` divides them."""
    inputs = range(len(predictor.inputs))
    within = inputs[sample.part]
    cut = (range(max(p.start, within.start), min(p.stop, within.stop)) for p in predictor.parts)
    return [replace(sample, part=slice(r.start, r.stop)) for r in cut if r]


def differentiable_pieces(predictor: Predictor, sample: Piece = EVERYTHING) -> list[Piece]:
    """Pieces of the sample whose values, all kept for the backward passes, fit the predictor's memory limit; at least
    one input and one direction each."""
    shapes = predictor.network.shapes
    values = sum(math.prod(shapes[node.name]) for node in predictor.network.nodes) * predictor.inputs.element_size()
    inputs = range(len(predictor.inputs))[sample.part]
    directions = range(predictor.directions.shape[1])[sample.directions or slice(None)]
    per_input, per_direction = policy.BACKWARD_TENSORS * values, policy.BACKWARD_TENSORS_OF_DIRECTION * values
    together = len(directions)
    if not predictor.is_exact:
        together = min(together, max(1, (predictor.memory_limit - per_input) // per_direction))
    some = max(1, predictor.memory_limit // (per_input + together * per_direction))
    if some >= len(inputs) and together == len(directions):
        return [sample]
    return [
        Piece(
            part=slice(i, min(i + some, inputs.stop)),
            directions=sample.directions
            if together == len(directions)
            else slice(d, min(d + together, directions.stop)),
        )
        for i in range(inputs.start, inputs.stop, some)
        for d in range(directions.start, directions.stop, together)
    ]


def is_expensive(predictor: Predictor) -> bool:
    """Whether a prediction is so expensive that none is spent on what is of little use: by the entries of all adjoints,
    inputs × directions × values of all nodes."""
    shapes = predictor.network.shapes
    values = sum(math.prod(shapes[node.name]) for node in predictor.network.nodes)
    return len(predictor.inputs) * predictor.directions.shape[1] * values > policy.EXPENSIVE
