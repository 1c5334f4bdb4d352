"""Comparison of an imported network with what it was imported from, on a few random inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from powerplan.network.forward import ideal_values
from powerplan.network.graph import Network
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import Embedding

#: how far the same arrays may be apart, relative to the largest entry, when one was computed in single precision
_ROUNDING = 1e-5
#: entries of an output that are many
_LARGE_OUTPUT = 1 << 18


def random_inputs(network: Network, dtype: torch.dtype, batch: int | None = None) -> torch.Tensor:
    """Inputs of the shape of the network's, None = a few, two if they or outputs are large; indices for embeddings."""
    is_large = math.prod(network.input_shape) > 4096 or math.prod(network.output_shape) > _LARGE_OUTPUT
    batch = batch or (2 if is_large else 8)
    generator, size = torch.Generator().manual_seed(0), (batch, *network.input_shape)
    tables = [len(n.op.weight) for n in network.nodes if isinstance(n.op, Embedding) and INPUT in n.inputs]
    if tables:
        return torch.randint(0, min(tables), size, generator=generator)
    # drawn in one precision: the inputs are the same in the other
    return torch.randn(size, generator=generator).to(dtype)


def outputs(network: Network, inputs: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    """What a network computes in a precision, as float64."""
    values = ideal_values(network, inputs.numpy(), dtype=dtype, keep={network.output})
    return values[network.output].double().numpy()


def difference(computed: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference relative to the largest entry; infinite for different shapes, and where only one is finite.

    One number per input, (B,), is (B, 1) in a network.
    """
    if wanted.ndim == 1 and computed.shape == (len(wanted), 1):
        wanted = wanted[:, None]
    if wanted.shape != computed.shape or not np.array_equal(np.isfinite(computed), np.isfinite(wanted)):
        return math.inf
    finite = np.isfinite(wanted)
    return float(np.abs(computed - wanted)[finite].max(initial=0.0)) / max(
        float(np.abs(wanted)[finite].max(initial=0.0)), 1e-6
    )


def same_but_rounding(network: Network, exact: Network) -> bool:
    """Whether a network is another one with its arrays rounded to single precision."""
    return (network.output, len(network.nodes)) == (exact.output, len(exact.nodes)) and all(
        _same_node(a, b) for a, b in zip(network.nodes, exact.nodes, strict=True)
    )


def _same_node(a: Node, b: Node) -> bool:
    ours, theirs = a.op.tensors(), b.op.tensors()
    return (
        (a.name, a.inputs, a.op.type, ours.keys()) == (b.name, b.inputs, b.op.type, theirs.keys())
        and _same_values(a.op.attributes(), b.op.attributes())
        and all(difference(ours[key].astype(np.float64), theirs[key]) <= _ROUNDING for key in ours)
    )


def _same_values(a: Any, b: Any) -> bool:
    """Plain values, floats within rounding: an epsilon may be that of the precision."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_values(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same_values, a, b))
    return bool(a == b)
