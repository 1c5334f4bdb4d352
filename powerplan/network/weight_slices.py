"""Layers whose weights are sliced over several devices.

The magnitude of a weight, in 2^M − 1 steps of the largest of its layer, has digits of m_1, m_2, ... bits from the most
significant, M together. Slice k is an array of weights W_k, the digit k of every weight times what it is worth, with
the sign of the weight, and

    W = Σ_k W_k.

Its devices hold the digit over their whole range, as its conductance gain is that of its own weights: what it is worth
is part of the number that a column is decoded by, and errors of its devices count by so much less. The last slice holds
what is left without rounding, so that the sum is the layer. Every slice is a layer with gains, columns and converters
of its own; their sum is digital.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from powerplan.checks import Checker
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp, SliceSum

if TYPE_CHECKING:
    from powerplan.network.graph import Network

#: most slices of a weight, and most bits of one
MOST_SLICES, MOST_BITS = 16, 16
#: share of a step up to which a weight below a digit is taken as that digit
_ROUNDING = 1e-6


def with_weight_slices(
    network: Network, bits: Sequence[int], layers: frozenset[str], *, shared_converters: bool
) -> Network:
    """The network with these layers in slices; see :meth:`Network.with_weight_slices`."""
    check = Checker()
    counts = [bits] if isinstance(bits, int) else list(bits)
    if not 1 <= len(counts) <= MOST_SLICES or not all(isinstance(m, int) and 1 <= m <= MOST_BITS for m in counts):
        allowed = f"1 to {MOST_SLICES} whole numbers of bits, 1 to {MOST_BITS} each, the most significant slice first"
        check.fail("weight_slices", bits, allowed, "Give the bits of every slice, as (4, 4).")
    check.done()
    by_array: dict[str, list[np.ndarray]] = {}
    nodes: list[Node] = []
    for node in network.nodes:
        if node.array_name not in layers or not isinstance(node.op, CrossbarOp):
            nodes.append(node)
            continue
        parts = by_array.setdefault(node.array_name, _sliced(node.op.weight, counts))
        sliced = _slices(node, node.op, parts)
        nodes += sliced
        if len(sliced) > 1:
            total = SliceSum(shared_converters=shared_converters)
            nodes.append(Node(name=node.name, op=total, inputs=tuple(part.name for part in sliced)))
    return replace(network, nodes=tuple(nodes))


def _slices(node: Node, op: CrossbarOp, parts: list[np.ndarray]) -> list[Node]:
    """The nodes that read the slices; the bias is with the first."""
    if len(parts) == 1:
        return [node]
    slices = []
    for k, weight in enumerate(parts, start=1):
        fields = {"weight": weight} if k == 1 else {"weight": weight, "bias": None}
        array = None if node.array is None else f"{node.array}.slice{k}"
        part: CrossbarOp = replace(op, **fields)  # type: ignore[type-var]
        slices.append(replace(node, name=f"{node.name}.slice{k}", op=part, array=array))
    return slices


def _sliced(weight: np.ndarray, bits: Sequence[int]) -> list[np.ndarray]:
    """The slices of weights that are not all 0, in their precision."""
    largest = float(np.abs(weight).max())
    step = largest / (2.0 ** sum(bits) - 1)
    left = np.asarray(weight, dtype=np.float64)
    parts = []
    for k in range(1, len(bits)):
        unit = step * 2.0 ** sum(bits[k:])
        part = np.sign(left) * np.floor(np.abs(left) / unit + _ROUNDING) * unit if unit else 0 * left
        left = left - part
        parts.append(part)
    kept = [part.astype(weight.dtype) for part in (*parts, left) if np.any(part)]
    return kept if len(kept) > 1 else [weight]
