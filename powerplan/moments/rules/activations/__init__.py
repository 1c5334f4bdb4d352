"""Gaussian moments of every activation: closed forms for pieces of parabolas, quadrature for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from powerplan.moments.rules.activations.piecewise import RELU, PiecewiseQuadratic, piecewise_linear
from powerplan.moments.rules.activations.quadrature import Quadrature
from powerplan.moments.rules.activations.rule import ActivationMoments, ActivationRule
from powerplan.network.digital import activation_function
from powerplan.network.ops import Activation

__all__ = ["ActivationMoments", "ActivationRule", "activation_rule"]


def activation_rule(op: Activation) -> ActivationRule:
    """The Gaussian moments of an activation."""
    parameters = dict(op.parameters or {})
    function = activation_function(op)
    match op.kind:
        case "leaky_relu":
            return piecewise_linear((0.0, parameters["negative_slope"]), (0.0, 1.0), knots=(0.0,))
        case "hard_tanh":
            low, high = parameters["low"], parameters["high"]
            return piecewise_linear((low, 0.0), (0.0, 1.0), (high, 0.0), knots=(low, high))
        case "elu":
            alpha = parameters["alpha"]
            return Quadrature(function=function, derivative=_elu_derivative(1.0, alpha), singularity=4.0, kinked=True)
        case "softsign":
            return Quadrature(function=function, derivative=_softsign_derivative, singularity=1.0, kinked=True)
        case "selu":
            slope = _elu_derivative(_SELU_SCALE, _SELU_ALPHA)
            return Quadrature(function=function, derivative=slope, singularity=4.0, kinked=True)
        case kind if kind in _PIECEWISE:
            return _PIECEWISE[kind]
        case kind:
            derivative, singularity, knot = _SMOOTH[kind]
            return Quadrature(function=function, derivative=derivative, singularity=singularity, knot=knot)


_PIECEWISE: dict[str, PiecewiseQuadratic] = {
    "identity": piecewise_linear((0.0, 1.0)),
    "relu": RELU,
    "hard_sigmoid": piecewise_linear((0.0, 0.0), (0.5, 1 / 6), (1.0, 0.0), knots=(-3.0, 3.0)),
    "hard_swish": PiecewiseQuadratic(pieces=((0.0, 0.0, 0.0), (0.0, 0.5, 1 / 6), (0.0, 1.0, 0.0)), knots=(-3.0, 3.0)),
}

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _elu_derivative(scale: float, alpha: float) -> Callable[[Tensor], Tensor]:
    return lambda z: torch.where(z > 0, scale, scale * alpha * torch.exp(z.clamp(max=0)))


def _softsign_derivative(z: Tensor) -> Tensor:
    return (1 + z.abs()) ** -2


def _gelu_tanh_derivative(z: Tensor) -> Tensor:
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    t = torch.tanh(scale * (z + cubic * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * scale * (1 + 3 * cubic * z * z)


def _gelu_derivative(z: Tensor) -> Tensor:
    below: Tensor = torch.special.ndtr(z)
    return below + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _silu_derivative(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def _mish_derivative(z: Tensor) -> Tensor:
    t = torch.tanh(torch.nn.functional.softplus(z, threshold=40.0))
    return t + z * (1 - t * t) * torch.sigmoid(z)


#: derivative, distance of the nearest complex singularity (for the entire GELU: of equivalent accuracy), its real part
_SMOOTH: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "tanh": (lambda z: 1 - torch.tanh(z) ** 2, math.pi / 2, 0.0),
    "sigmoid": (lambda z: torch.sigmoid(z) * torch.sigmoid(-z), math.pi, 0.0),
    "softplus": (torch.sigmoid, math.pi, 0.0),
    "gelu": (_gelu_derivative, 1.5, 0.0),
    "gelu_tanh": (_gelu_tanh_derivative, 1.5, 0.0),
    "silu": (_silu_derivative, math.pi, 0.0),
    # tanh(log(1 + e^z)) is infinite where (1 + e^z)² = −1
    "mish": (_mish_derivative, 3 * math.pi / 4, 0.5 * math.log(2)),
}
