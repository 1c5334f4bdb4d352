"""Which operators of ONNX are known. Neither torch nor onnx is imported here but where the rules are."""

from __future__ import annotations

#: operators that run graphs of their own
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
#: operators that compute with whole numbers
QUANTISED = frozenset(
    {
        "QLinearConv",
        "QLinearMatMul",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
    }
)


def supported() -> frozenset[str]:
    """All operators that can be imported."""
    from powerplan.network.onnx_import.constants import CONSTANTS
    from powerplan.network.onnx_import.rules import RULES

    return frozenset(RULES) | frozenset(CONSTANTS)
