"""Linear layers and convolutions that are not put on a crossbar: computed digitally, without noise.

Why: docs/decisions/networks.md [0172].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from powerplan.checks import Checker, choice
from powerplan.network.ops.base import Op, Shape, build_op, register
from powerplan.network.ops.crossbar import Conv, ConvTranspose, CrossbarOp, Linear

_LAYERS = (Linear.type, Conv.type, ConvTranspose.type)


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class DigitalLayer(Op):
    """What a crossbar operation computes, computed digitally.

    Attributes:
        operation: type of the crossbar operation, "linear", "conv" or "conv_transpose".
        parameters: the attributes of that operation; None = its defaults.
        weight, bias: the tensors of that operation.
    """

    type: ClassVar[str] = "digital_layer"

    operation: str
    weight: np.ndarray
    bias: np.ndarray | None = None
    parameters: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        choice("digital_layer.operation", self.operation, _LAYERS)
        if not isinstance(self.parameters, Mapping | None):
            check = Checker("digital_layer.")
            check.fail("parameters", self.parameters, "a mapping of attributes", "Give a dict, or None.")
            check.done()
        layer = self.layer  # raises if its attributes or tensors do not fit
        object.__setattr__(self, "parameters", MappingProxyType(layer.attributes()))
        object.__setattr__(self, "weight", layer.weight)
        object.__setattr__(self, "bias", layer.bias)

    @classmethod
    def of(cls, layer: CrossbarOp) -> DigitalLayer:
        """The digital twin of a crossbar operation."""
        return cls(operation=layer.type, parameters=layer.attributes(), weight=layer.weight, bias=layer.bias)

    @cached_property
    def layer(self) -> CrossbarOp:
        """The crossbar operation that computes the same."""
        tensors = {"weight": self.weight} if self.bias is None else {"weight": self.weight, "bias": self.bias}
        op = build_op(self.operation, self.parameters or {}, tensors)
        assert isinstance(op, CrossbarOp)
        return op

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return self.layer.output_shape(inputs)

    def attributes(self) -> dict[str, Any]:
        return {"operation": self.operation, "parameters": dict(self.parameters or {})}

    def tensors(self) -> dict[str, np.ndarray]:
        return self.layer.tensors()
