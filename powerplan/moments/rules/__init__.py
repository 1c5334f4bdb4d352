"""What each digital operation does to Gaussian moments: one file per idea, rules keyed by the operation's class."""

from powerplan.moments.rules import (  # noqa: F401
    elementwise,
    layers,
    maxima,
    normalising,
    products,
    separable,
    shaping,
    softmax,
)
from powerplan.moments.rules.covariance import HERMITE_ORDER, beyond_linear, propagate
from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized

__all__ = ["HERMITE_ORDER", "Linearized", "beyond_linear", "linearize", "propagate"]
