"""What torch's functions and tensor methods mean as operations of a network, by their names.

A rule takes the arguments of the torch call it stands for, in the same order and with the same names, with a
:class:`~powerplan.network.torch_import.value.Value` in place of every tensor that depends on the network's input, and
returns the resulting Value or Values. It raises Refused with a reason where powerplan has no such operation.
Modules need no rules of their own: their ``forward`` is run, and calls these functions.
"""

from __future__ import annotations

from typing import Any

from powerplan.network.torch_import.rules import arrays, attention, einsum, elementwise, normalising, pooling, shaping

RULES: dict[str, Any] = {
    **elementwise.RULES,
    **arrays.RULES,
    **einsum.RULES,
    **shaping.RULES,
    **pooling.RULES,
    **normalising.RULES,
    **attention.RULES,
}

#: modules of torch.nn that call nothing else than these functions; N stands for 1, 2 and 3
MODULES = """
AdaptiveAvgPoolNd AdaptiveMaxPoolNd AlphaDropout AvgPoolNd BatchNormNd CELU ChannelShuffle CircularPadNd ConstantPadNd
ConvNd ConvTransposeNd Dropout DropoutNd ELU Embedding FeatureAlphaDropout Flatten GELU GLU GroupNorm Hardsigmoid
Hardswish Hardtanh Identity InstanceNormNd LayerNorm LeakyReLU Linear LogSoftmax MaxPoolNd Mish MultiheadAttention PReLU
PixelShuffle RMSNorm ReLU ReLU6 ReflectionPadNd ReplicationPadNd SELU Sequential SiLU Sigmoid Softmax Softmax2d Softplus
Softsign Tanh TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer Unflatten Upsample ZeroPadNd
""".split()  # noqa: SIM905


def supported() -> str:
    """All that can be imported, for error messages."""
    names = ", ".join(sorted(name for name in RULES if not name.startswith("__")))
    return f"the modules {', '.join(MODULES)}; the functions and methods {names}; + - * / @ and indexing"
