"""Operations that have no moments: kept calls whose derivative does not say how noise changes their value."""

from __future__ import annotations

from powerplan.errors import UnsupportedOperation, Violation
from powerplan.network import Network


def check_slopes(network: Network) -> None:
    """Refuse operations behind crossbars that jump: first order leaves out the error of jumps, which may be all of it.

    Raises:
        UnsupportedOperation: naming every such node.
    """
    violations = [
        Violation(
            field=f"network.nodes[{node.name!r}]",
            value=str(node.op.attributes().get("label", node.op.type)),
            reason="it jumps, or its derivative is cut off or another's: first order leaves its error out",
            allowed="operations that change as their derivative says, where their inputs are noisy",
            advice="Replace it by a smooth function, or put it behind the network; simulate() has it right as it is.",
        )
        for node in network.nodes
        if node.name in network.noisy and not node.op.slope_explains
    ]
    if violations:
        raise UnsupportedOperation(*violations)
