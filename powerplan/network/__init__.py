"""What the network is: a graph of layers, from arrays, from torch and from files."""

from powerplan.network.graph import INPUT, Network, Node
from powerplan.network.ops import ACTIVATIONS, Activation, Flatten, Linear, Op, Scale, build_op, operation_types
from powerplan.network.parts import from_parts, to_parts

__all__ = [
    "ACTIVATIONS",
    "INPUT",
    "Activation",
    "Flatten",
    "Linear",
    "Network",
    "Node",
    "Op",
    "Scale",
    "build_op",
    "from_parts",
    "operation_types",
    "to_parts",
]
