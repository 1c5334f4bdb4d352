"""Which operators of ONNX are known. Neither torch nor onnx is imported here but where the rules are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto

#: names of the domain of the standard operators
STANDARD = ("", "ai.onnx")
#: operators that run graphs of their own
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
#: operator whose steps follow the largest values of every input
DYNAMIC_STEPS = "DynamicQuantizeLinear"


def operator_of(node: NodeProto) -> str:
    """The operator of a node, with its domain unless it is a standard one."""
    return str(node.op_type) if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
