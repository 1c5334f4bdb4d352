"""Whether noise is small beside the steps of a rounding that it reaches.

Noise that covers several steps makes of them what it makes of a line, and a little more noise. Within one step it makes
nothing, or now and then a whole step: a rare and large error, as behind any other jump
(:func:`powerplan.moments.samples.count.jumps_matter`).
"""

from __future__ import annotations

from powerplan.moments.rules.activations import activation_rule
from powerplan.moments.rules.activations.quadrature import Quadrature
from powerplan.moments.walks.marginal import Trace
from powerplan.network import ops
from powerplan.network.graph import Network

#: standard deviations behind a step of this height, root mean square of all entries, beside which noise is small
_WITHIN = 3.0


def noise_is_within_steps(network: Network, trace: Trace) -> bool:
    """True if behind a function of one value noise is small beside the largest step of it."""
    for node in network.nodes:
        if node.name in network.noisy and isinstance(node.op, ops.Function) and node.op.of_one_value:
            rule, variance = activation_rule(node.op), float(trace.behind(node.name).variance.mean())
            if isinstance(rule, Quadrature) and rule.highest_step > _WITHIN * variance**0.5 > 0:
                return True
    return False
