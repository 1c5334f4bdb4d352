"""Gaussian moments of activations: quadrature, and for pieces of parabolas closed forms, which are faster."""

from __future__ import annotations

import json
from functools import lru_cache

from torch import Tensor

from powerplan.moments.rules.activations.piecewise import RELU, PiecewiseQuadratic, piecewise_linear
from powerplan.moments.rules.activations.quadrature import Quadrature
from powerplan.moments.rules.activations.rule import ActivationMoments, ActivationRule
from powerplan.network.digital import activation_function, replayed
from powerplan.network.ops import Activation, Function
from powerplan.remembered import remembered

__all__ = ["ActivationMoments", "ActivationRule", "activation_rule"]


def activation_rule(op: Activation | Function) -> ActivationRule:
    """The Gaussian moments of an activation, or of a program of one value."""
    if isinstance(op, Function):
        return _rule_of_program(op)
    return _kind_rule(op)


@remembered
def _rule_of_program(op: Function) -> Quadrature:
    return _program_rule(json.dumps(op.attributes()["steps"], sort_keys=True))


@lru_cache(maxsize=256)
def _program_rule(steps: str) -> Quadrature:
    program = json.loads(steps)

    def function(z: Tensor) -> Tensor:
        result: Tensor = replayed(program, (z,))
        return result.to(z.dtype)

    return Quadrature(function=function)


@lru_cache(maxsize=256)
def _kind_rule(op: Activation) -> ActivationRule:
    parameters = dict(op.parameters or {})
    match op.kind:
        case "leaky_relu":
            return piecewise_linear((0.0, parameters["negative_slope"]), (0.0, 1.0), knots=(0.0,))
        case "hard_tanh":
            low, high = parameters["low"], parameters["high"]
            return piecewise_linear((low, 0.0), (0.0, 1.0), (high, 0.0), knots=(low, high))
        case kind if kind in _PIECEWISE:
            return _PIECEWISE[kind]
        case _:
            return Quadrature(function=activation_function(op))


_PIECEWISE: dict[str, PiecewiseQuadratic] = {
    "identity": piecewise_linear((0.0, 1.0)),
    "relu": RELU,
    "hard_sigmoid": piecewise_linear((0.0, 0.0), (0.5, 1 / 6), (1.0, 0.0), knots=(-3.0, 3.0)),
    "hard_swish": PiecewiseQuadratic(pieces=((0.0, 0.0, 0.0), (0.0, 0.5, 1 / 6), (0.0, 1.0, 0.0)), knots=(-3.0, 3.0)),
}
