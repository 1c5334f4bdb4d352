"""What the operators of ONNX mean as operations of a network, by their names.

A rule takes the call (attributes, opset) and the inputs of the node in their order: a Value for what depends on the
network's input, an array for a constant, None for what is left out. It returns the resulting Value or Values, or an
array, and raises Refused with a reason where powerplan has no such operation. Most of the work is done by the rules
for torch, which keep track of the batch axis.
"""

from __future__ import annotations

from powerplan.network.onnx_import.constants import Rule
from powerplan.network.onnx_import.rules import (
    arrays,
    attention,
    domains,
    elementwise,
    normalising,
    pooling,
    quantised,
    recurrent,
    shaping,
)

RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **arrays.RULES,
    **shaping.RULES,
    **pooling.RULES,
    **normalising.RULES,
    **recurrent.RULES,
    **attention.RULES,
    **quantised.RULES,
    **domains.RULES,
}
