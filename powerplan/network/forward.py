"""The ideal (noise-free) forward pass, in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.nn import functional as F

from powerplan.errors import InvalidInput
from powerplan.network.graph import INPUT, Network
from powerplan.network.ops import Activation, Flatten, Linear, Op, Scale

#: elementwise functions by kind; parameters are passed by name
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "identity": lambda z: z,
    "relu": F.relu,
    "leaky_relu": lambda z, negative_slope: F.leaky_relu(z, negative_slope),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda z: F.softplus(z, threshold=40.0),  # beyond, it is z to rounding
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
            scale, shift = (torch.tensor(a, dtype=x.dtype, device=x.device).view(view) for a in (op.scale, op.shift))
            return x * scale + shift
        case Flatten():
            return x.flatten(batch_axes)
        case _:
            raise NotImplementedError(op.type)


def torch_device(name: object) -> torch.device:
    """The torch device of this name.

    Raises:
        InvalidInput: a device that this machine does not have.
    """
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name not in devices:
        raise InvalidInput.of(
            "device", name, f"one of {', '.join(map(repr, devices))} on this machine", "Use device='cpu'."
        )
    return torch.device(str(name))


def linear_tensors(op: Op, dtype: torch.dtype, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight (n_out, n_in) and bias (n_out,) or None of a linear layer in torch; kept as long as the layer."""
    assert isinstance(op, Linear)
    kept = _LINEAR.setdefault(op, {})
    key = (dtype, str(device))
    if key not in kept:
        weight, bias = (
            None if a is None else torch.tensor(np.asarray(a), dtype=dtype, device=device) for a in (op.weight, op.bias)
        )
        assert weight is not None
        kept[key] = weight, bias
    return kept[key]


_LINEAR: WeakKeyDictionary[Op, dict[tuple[torch.dtype, str], tuple[torch.Tensor, torch.Tensor | None]]] = (
    WeakKeyDictionary()
)


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
            weight, bias = linear_tensors(node.op, dtype, device)
            values[node.name] = F.linear(x, weight, bias)
        else:
            values[node.name] = digital(node.op, x)
    return values
