"""Layers of a torch module and of the network that was made of it: BatchNorms folded in both, matched by weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from powerplan.errors import InvalidInput
from powerplan.network import Network
from powerplan.network.ops import CrossbarOp
from powerplan.network.torch_import import copied, from_torch

LAYERS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
#: largest difference of the outputs that rounding makes, as a fraction of the largest output
_FOLDED = 1e-3


def folded(module: Any, input_shape: tuple[int, ...]) -> Any:
    """A copy in evaluation whose BatchNorms are part of the layers that the import folds them into; itself without any.

    Raises:
        InvalidInput: a module that cannot be imported, or whose layers do not hold what the import folds (a norm that
            is called twice, say, once where it cannot be folded).
    """
    norms = [name for name, part in module.named_modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return module
    ops = {node.name: node.op for node in from_torch(module, input_shape=input_shape).nodes}
    plain, merged = copied(module).eval(), copied(module).eval()
    for name, layer in merged.named_modules():
        op = ops.get(name)
        if isinstance(layer, LAYERS) and isinstance(op, CrossbarOp):
            for field, array in op.tensors().items():
                setattr(layer, field, torch.nn.Parameter(torch.tensor(array), requires_grad=False))
    for name in norms:
        if name not in ops:
            merged.set_submodule(name, torch.nn.Identity())
    with torch.no_grad():
        draw = torch.Generator().manual_seed(0)
        inputs = torch.randn(4, *input_shape, dtype=next(module.parameters()).dtype, generator=draw)
        wanted, got = plain(inputs), merged(inputs)
    if not torch.allclose(wanted, got, rtol=0, atol=_FOLDED * float(wanted.abs().max())):
        raise InvalidInput.of(
            "module",
            type(module).__name__,
            "BatchNorms that fold into one layer each",
            "Fold them yourself, with one layer per call, and plan for that module.",
        )
    return merged


def matched_layers(module: Any, network: Network) -> Mapping[str, str]:
    """Name of the network's layer for every torch layer that holds weights of that shape."""
    free = {node.array_name: node.op for node in network.crossbars}
    matched: dict[str, str] = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, LAYERS):
            continue
        _check_convertible(name, layer)
        weight = layer.weight.detach().cpu().numpy()
        match = next(
            (
                key
                for key, op in free.items()
                if op.tensors()["weight"].shape == weight.shape
                and np.allclose(op.tensors()["weight"], weight, rtol=1e-6, atol=0)
            ),
            None,
        )
        if match is None:
            raise InvalidInput.of(
                f"module.{name}", weight, "weights of a layer of the network", "Plan for the network of this module."
            )
        matched[name] = match
        del free[match]
    if free:
        raise InvalidInput.of("module", type(module).__name__, f"layers for {', '.join(free)}", "Give the whole model.")
    return matched


def _check_convertible(name: str, layer: Any) -> None:
    """Refuse convolutions that aihwkit's torch tiles do not have."""
    advice = "Simulate with powerplan."
    if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
        raise InvalidInput.of(f"module.{name}", type(layer).__name__, "Linear or Conv2d", advice)
    for field, only in (("groups", 1), ("padding_mode", "zeros")):
        value = getattr(layer, field, only)
        if value != only:
            raise InvalidInput.of(f"module.{name}.{field}", value, f"{only!r}, all that aihwkit computes", advice)
