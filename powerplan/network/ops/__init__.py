"""The operations a network is made of: frozen values, numpy only."""

from powerplan.network.ops.base import MOST_ELEMENTS, Op, Shape, build_op, operation_types, operations, register
from powerplan.network.ops.crossbar import Conv, ConvTranspose, CrossbarOp, Linear
from powerplan.network.ops.digital_layer import DigitalLayer
from powerplan.network.ops.elementwise import ACTIVATIONS, Activation, Add, MatMul, Multiply, Scale, SliceSum
from powerplan.network.ops.function import Function
from powerplan.network.ops.normalising import GroupNorm, LayerNorm, RMSNorm, Softmax
from powerplan.network.ops.pooling import AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, MaxPool, Mean
from powerplan.network.ops.shaping import (
    Concat,
    Constant,
    Embedding,
    Flatten,
    Pad,
    Permute,
    Reshape,
    Slice,
    Take,
    Upsample,
)

__all__ = [
    "ACTIVATIONS",
    "MOST_ELEMENTS",
    "Activation",
    "AdaptiveAveragePool",
    "AdaptiveMaxPool",
    "Add",
    "AveragePool",
    "Concat",
    "Constant",
    "Conv",
    "ConvTranspose",
    "CrossbarOp",
    "DigitalLayer",
    "Embedding",
    "Flatten",
    "Function",
    "GroupNorm",
    "LayerNorm",
    "Linear",
    "MatMul",
    "MaxPool",
    "Mean",
    "Multiply",
    "Op",
    "Pad",
    "Permute",
    "RMSNorm",
    "Reshape",
    "Scale",
    "Shape",
    "Slice",
    "SliceSum",
    "Softmax",
    "Take",
    "Upsample",
    "build_op",
    "operation_types",
    "operations",
    "register",
]
