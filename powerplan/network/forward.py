"""The ideal (noise-free) forward pass, in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn import functional as F

from powerplan.network.graph import INPUT, Network
from powerplan.network.ops import Activation, Flatten, Linear, Op, Scale

#: elementwise functions by kind; parameters are passed by name
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "identity": lambda z: z,
    "relu": F.relu,
    "leaky_relu": lambda z, negative_slope: F.leaky_relu(z, negative_slope),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda z: F.softplus(z, threshold=1e9),
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "hard_tanh": lambda z, low, high: F.hardtanh(z, low, high),
}


def activation_function(op: Activation) -> Callable[[torch.Tensor], torch.Tensor]:
    """The elementwise function of an activation, with its parameters bound."""
    function, parameters = FUNCTIONS[op.kind], dict(op.parameters or {})
    return (lambda z: function(z, **parameters)) if parameters else function


def digital(op: Op, x: torch.Tensor, *, batch_axes: int = 1) -> torch.Tensor:
    """A digital (noise-free) operation applied to values x, (*batch, *shape) with ``batch_axes`` leading batch axes.

    The number of batch axes matters to ``Scale`` and ``Flatten`` only: the axes behind them are the value's own.
    """
    match op:
        case Activation():
            return activation_function(op)(x)
        case Scale():
            view = (-1,) + (1,) * (x.dim() - batch_axes - 1)
            return x * torch.as_tensor(op.scale, dtype=x.dtype, device=x.device).view(view) + torch.as_tensor(
                op.shift, dtype=x.dtype, device=x.device
            ).view(view)
        case Flatten():
            return x.flatten(batch_axes)
        case _:
            raise NotImplementedError(op.type)


def ideal_values(
    network: Network,
    inputs: np.ndarray | torch.Tensor,
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Mapping[str, torch.Tensor]:
    """Value (B, *shape) of every node, and of "input", without noise."""
    values = {INPUT: torch.as_tensor(np.array(inputs), dtype=dtype, device=device)}
    for node in network.nodes:
        (x,) = (values[name] for name in node.inputs)
        if isinstance(node.op, Linear):
            weight = torch.as_tensor(np.array(node.op.weight), dtype=dtype, device=device)
            bias = None if node.op.bias is None else torch.as_tensor(np.array(node.op.bias), dtype=dtype, device=device)
            values[node.name] = F.linear(x, weight, bias)
        else:
            values[node.name] = digital(node.op, x)
    return values
