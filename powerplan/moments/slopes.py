"""Kept calls whose derivative does not say how noise changes their value: at jumps, and near poles with much noise.

Why: docs/decisions/networks.md [0274].
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import cast

import torch
from torch import Tensor

from powerplan.errors import RangeWarning, UnsupportedOperation, Violation
from powerplan.moments.rules.activations import activation_rule
from powerplan.moments.rules.activations.quadrature import Quadrature
from powerplan.moments.walks.marginal import Trace
from powerplan.network.digital import digital
from powerplan.network.graph import Network
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import Function, Op
from powerplan.network.slopes import op_slope_explains
from powerplan.remembered import remembered

#: draws of noise at which a call is compared with its slope, and the part of the noise that shows the slope
_DRAWS, _SMALL = 16, 1e-4
#: first order holds as long as the squares of the two are within this factor
_HOLDS = 2.0


def check_slopes(network: Network) -> None:
    """Refuse operations behind crossbars that jump: first order leaves out the error of jumps, which may be all of it.

    Raises:
        UnsupportedOperation: naming every such node.
    """
    violations = _jumping(network)
    if violations:
        raise UnsupportedOperation(*violations)


@remembered
def _jumping(network: Network) -> tuple[Violation, ...]:
    return tuple(
        Violation(
            field=f"network.nodes[{node.name!r}]",
            value=str(node.op.attributes().get("label", node.op.type)),
            reason="it jumps, or its derivative is cut off or replaced: first order misses its error",
            allowed="operations that follow their derivative, if their inputs are noisy",
            advice="Replace it by a smooth function, or move it after the network; simulate() handles it.",
        )
        for node in network.nodes
        if node.name in network.noisy and not is_of_one_value(node.op) and not op_slope_explains(node.op)
    )


def is_of_one_value(op: Op) -> bool:
    """True for functions of one value: their moments need no slope."""
    return isinstance(op, Function) and op.of_one_value


def beyond_first_order(network: Network, trace: Trace, inputs: Tensor) -> tuple[str, ...]:
    """Names of the functions whose value does not change by the noise that reaches them as their slope says.

    Close to a pole (a reciprocal or a logarithm at zero, a negative power) it changes by any other factor.
    """
    return tuple(node.name for node in network.nodes if node.name in network.noisy and not _holds(node, trace, inputs))


def _holds(node: Node, trace: Trace, inputs: Tensor) -> bool:
    if is_of_one_value(node.op):
        rule = activation_rule(cast(Function, node.op))
        mean, variance = _moments(node.inputs[0], trace, inputs)
        return not isinstance(rule, Quadrature) or rule.holds(
            mean.expand_as(mean + variance), variance.expand_as(mean + variance)
        )
    if node.op.portable and not isinstance(node.op, Function):
        return True
    moments = [_moments(name, trace, inputs) for name in node.inputs]
    rows = max(mean.shape[0] for mean, _ in moments)
    means = [mean.expand(rows, *mean.shape[1:]) for mean, _ in moments]
    stds = [variance.clamp(min=0).sqrt().expand(rows, *variance.shape[1:]) for _, variance in moments]
    centre, generator = digital(node.op, *means), torch.Generator().manual_seed(0)
    whole = sloped = 0.0
    for _ in range(_DRAWS):
        noise = [std * torch.randn(std.shape, generator=generator, dtype=std.dtype).to(std) for std in stds]
        large, small = (
            digital(node.op, *(mean + part * n for mean, n in zip(means, noise, strict=True))) - centre
            for part in (1.0, _SMALL)
        )
        known = large.isfinite() & small.isfinite()  # noise is Gaussian here, and may leave where a call is defined
        whole += float((large[known] ** 2).sum())
        sloped += float(((small[known] / _SMALL) ** 2).sum())
    return sloped <= _HOLDS * whole and whole <= _HOLDS * sloped


def _moments(name: str, trace: Trace, inputs: Tensor) -> tuple[Tensor, Tensor]:
    if name == INPUT:
        return inputs.double(), torch.zeros_like(inputs).double()
    step = trace.behind(name)
    return step.mean.double(), step.variance.double()


def warn_beyond_first_order(names: Collection[str]) -> None:
    """Warn (RangeWarning) that a prediction does not hold at these nodes."""
    if names:
        warnings.warn(
            f"the prediction does not hold at {', '.join(names)}: within the noise that reaches it, the function there "
            "does not follow its slope (it is near a pole, or strongly curved). Use simulate() there, lower "
            "the noise, or replace it by a function without a pole.",
            RangeWarning,
            stacklevel=3,
        )
