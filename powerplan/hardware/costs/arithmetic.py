"""Functions of numbers, numpy arrays and torch tensors alike: formulas of costs are written once for all three."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers, or of those in arrays."""
    return (a + b + abs(a - b)) / 2


def smaller(a: Any, b: Any) -> Any:
    """The smaller of two numbers, or of those in arrays."""
    return (a + b - abs(a - b)) / 2


def logarithm(x: Any) -> Any:
    """The natural logarithm of numbers > 0."""
    return np.log(x) if isinstance(x, int | float | np.ndarray) else x.log()


def between_points(x: Any, points: Sequence[float], values: Sequence[float]) -> Any:
    """The curve through points that is a straight line in the logarithm of the values; constant beyond the ends."""
    logarithms = [math.log(value) for value in values]
    total = logarithms[0] + 0 * x
    for k in range(1, len(points)):
        width = points[k] - points[k - 1]
        inside = (abs(x - points[k - 1]) - abs(x - points[k]) + width) / 2
        total = total + inside * ((logarithms[k] - logarithms[k - 1]) / width)
    return math.e**total


def where_known(values: Any, otherwise: float) -> Any:
    """Values of an array or a tensor, and another where they are NaN."""
    if isinstance(values, np.ndarray):
        return np.where(np.isnan(values), otherwise, values)
    return values.masked_fill(values.isnan(), otherwise)
