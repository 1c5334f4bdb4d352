"""What the network is: a graph of layers, from arrays, from torch and from files."""

from powerplan.network import ops
from powerplan.network.graph import Network, from_parts
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import *  # noqa: F403 - every operation
from powerplan.network.parts import to_parts

__all__ = ["INPUT", "Network", "Node", "from_parts", "to_parts"]
__all__ += ops.__all__
