"""The rule of an operation: registered by its class, at the mean if it has none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from torch import Tensor

from powerplan.moments.rules.jacobian import at_the_mean
from powerplan.moments.rules.linearized import Linearized
from powerplan.network.ops import Op


@singledispatch
def linearize(op: Op, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    """The statistical linearisation of a digital operation for independent Gaussian inputs, each (B or 1, *shape).

    Differentiable in means, variances and, through ``pull`` and ``push``, in adjoints and perturbations. Two inputs
    are taken as the same value if they are the same tensor, else as independent. An operation without a rule of its
    own is taken at the mean by automatic differentiation (:mod:`~powerplan.moments.rules.jacobian`).
    """
    return at_the_mean(op, means, variances)
