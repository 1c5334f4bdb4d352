"""The ideal (noise-free) forward pass, in torch."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

import numpy as np
import torch

from powerplan.errors import InvalidInput
from powerplan.network.array_maps import ArrayMap, array_map
from powerplan.network.digital import digital
from powerplan.network.graph import INPUT, Network, Node
from powerplan.network.ops import CrossbarOp


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


def crossbar_tensors(
    op: CrossbarOp, dtype: torch.dtype, device: str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Matrix (n_out, n_in) and bias or None of a crossbar operation in torch; kept as long as the operation."""
    kept = _TENSORS.setdefault(op, {})
    key = (dtype, str(device))
    if key not in kept:
        weight, bias = (
            None if a is None else torch.tensor(np.asarray(a), dtype=dtype, device=device) for a in (op.matrix, op.bias)
        )
        assert weight is not None
        kept[key] = weight, bias
    return kept[key]


_TENSORS: WeakKeyDictionary[CrossbarOp, dict[tuple[torch.dtype, str], tuple[torch.Tensor, torch.Tensor | None]]] = (
    WeakKeyDictionary()
)


def node_map(network: Network, node: Node) -> ArrayMap:
    """The linear maps of a crossbar node."""
    assert isinstance(node.op, CrossbarOp)
    return array_map(node.op, network.shapes[node.inputs[0]])


def ideal_values(
    network: Network,
    inputs: np.ndarray | torch.Tensor,
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    keep: bool = True,
) -> Mapping[str, torch.Tensor]:
    """Value (B, *shape) of every node, and of "input", without noise.

    Args:
        keep: keep every node's value; False = only that of the output, in less memory.
    """
    values = {INPUT: torch.as_tensor(np.array(inputs), dtype=dtype, device=device)}
    readers = network.last_readers
    for node in network.nodes:
        x = [values[name] for name in node.inputs]
        if isinstance(node.op, CrossbarOp):
            maps = node_map(network, node)
            weight, bias = crossbar_tensors(node.op, dtype, device)
            values[node.name] = maps.add_bias(maps.apply(x[0], weight), bias)
        elif x:
            values[node.name] = digital(node.op, *x)
        else:
            values[node.name] = digital(node.op).to(device, dtype)
        if not keep:
            for name in readers.get(node.name, ()):
                if name != network.output:
                    del values[name]
    output = values[network.output]
    batch = len(values[INPUT]) if INPUT in values else len(inputs)
    if len(output) != batch:  # an output that no input reaches
        values[network.output] = output.expand(batch, *output.shape[1:])
    return values
