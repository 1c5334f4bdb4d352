"""Values of published curves at target conductances, as differentiable torch functions."""

from __future__ import annotations

import torch
from torch import Tensor

from powerplan.hardware.curves import Curve, Logarithm, Piecewise, Polynomial, Power, Saturating, Table


def curve_values(curve: Curve, target: Tensor, conductance_max: float) -> Tensor:
    """The curve at target conductances [S], any shape; the slope is finite everywhere, one-sided at a knot."""
    return _values(curve, target / (curve.reference or conductance_max))


def _values(curve: Curve, u: Tensor) -> Tensor:
    match curve:
        case Polynomial():
            value = torch.full_like(u, curve.coefficients[-1])
            for coefficient in reversed(curve.coefficients[:-1]):
                value = value * u + coefficient
            return value
        case Logarithm():  # limits on u instead of the value: the logarithm is never taken at 0
            if not curve.slope:
                return _constant(u, curve.offset, curve.low, curve.high)
            return curve.slope * u.clamp(*curve.inside()).log() + curve.offset
        case Power():
            if not curve.exponent:
                return _constant(u, curve.coefficient, curve.low, curve.high)
            return curve.coefficient * u.clamp(*curve.inside()) ** curve.exponent
        case Saturating():
            return -curve.amplitude * torch.expm1(-u / curve.scale)
        case Table():
            return _interpolated(curve, u)
        case Piecewise():
            return _joined(curve, u)
    raise TypeError(curve)


def _joined(curve: Piecewise, u: Tensor) -> Tensor:
    value = _values(curve.pieces[0], u)
    for start, piece in zip(curve.breaks, curve.pieces[1:], strict=True):
        value = torch.where(u < start, value, _values(piece, u))
    return value


def _constant(u: Tensor, value: float, low: float, high: float | None) -> Tensor:
    """A curve that is flat, within its limits."""
    return torch.full_like(u, min(max(value, low), value if high is None else high))


def _interpolated(table: Table, u: Tensor) -> Tensor:
    points = torch.tensor(table.points, dtype=u.dtype, device=u.device)
    values = torch.tensor(table.values, dtype=u.dtype, device=u.device)
    slopes = values.diff() / points.diff()
    index = torch.bucketize(u.detach(), points[1:-1].contiguous(), right=True)
    return values[index] + slopes[index] * (u - points[index])
