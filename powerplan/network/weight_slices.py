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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from powerplan.checks import Checker
from powerplan.errors import InvalidInput
from powerplan.network.analog import Choice, chosen_layers
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp, SliceSum

if TYPE_CHECKING:
    from powerplan.network.graph import Network

#: most slices of a weight, and most bits of one
MOST_SLICES, MOST_BITS = 16, 16
#: share of a step up to which a weight below a digit is taken as that digit
_ROUNDING = 1e-6


def with_weight_slices(
    network: Network, bits: Sequence[int] | Mapping[str, Sequence[int]], layers: Choice, *, shared_converters: bool
) -> Network:
    """The network with these layers in slices; see :meth:`Network.with_weight_slices`."""
    bits_of = _bits_by_layer(network, bits, layers)
    again = [name for group, _ in network.weight_slices for name in group if name in bits_of]
    if again:
        advice = "Give the bits of all slices of a layer at once, as (2, 2, 2, 2)."
        raise InvalidInput.of("weight_slices", f"slices of {again[0]!r}", "layers that are no slices yet", advice)
    by_array: dict[str, list[np.ndarray]] = {}
    nodes: list[Node] = []
    for node in network.nodes:
        if node.array_name not in bits_of or not isinstance(node.op, CrossbarOp):
            nodes.append(node)
            continue
        parts = by_array.setdefault(node.array_name, _sliced(node.op.weight, bits_of[node.array_name]))
        sliced = _slices(node, node.op, parts)
        nodes += sliced
        if len(sliced) > 1:
            total = SliceSum(shared_converters=shared_converters)
            nodes.append(Node(name=node.name, op=total, inputs=tuple(part.name for part in sliced)))
    return replace(network, nodes=tuple(nodes))


def check_sliced(network: Network, planned: Sequence[str]) -> None:
    """Refuse whole weights for a plan of slices.

    Args:
        planned: crossbar layers of the plan.

    Raises:
        InvalidInput: layers of the network whose slices the plan is for.
    """
    names = {*network.layer_names}
    slices = [name for name in planned if name not in names and name.rpartition(".slice")[0] in names]
    if slices:
        allowed = f"the network of the plan, whose weights are in slices ({', '.join(slices[:3])}, ...)"
        advice = "Slice it as the plan's: --weight-slices, or Network.with_weight_slices."
        raise InvalidInput.of("network", network, allowed, advice)


def _bits_by_layer(
    network: Network, bits: Sequence[int] | Mapping[str, Sequence[int]], layers: Choice
) -> dict[str, list[int]]:
    """Bits of the slices of every layer that is sliced.

    Raises:
        InvalidInput: bits out of range, or a layer that two choices take or none.
    """
    if not isinstance(bits, Mapping):
        taken = set(network.layer_names) if layers is None else chosen_layers(network, "layers", layers)
        return dict.fromkeys(taken, _checked("weight_slices", bits))
    if layers is not None:
        raise InvalidInput.of("layers", layers, "None where weight_slices names them", "Leave it out.")
    bits_of: dict[str, list[int]] = {}
    for choice, own in bits.items():
        counts = _checked(f"weight_slices[{choice!r}]", own)
        for name in chosen_layers(network, "weight_slices", choice):
            if name in bits_of:
                allowed = f"choices that take a layer once, and two take {name!r}"
                raise InvalidInput.of("weight_slices", choice, allowed, "Name its layers one by one.")
            bits_of[name] = counts
    return bits_of


def _checked(field: str, bits: Sequence[int]) -> list[int]:
    """Bits of the slices of a layer."""
    check = Checker()
    counts = list(bits) if isinstance(bits, Sequence) and not isinstance(bits, str) else [bits]
    if not 1 <= len(counts) <= MOST_SLICES or not all(type(m) is int and 1 <= m <= MOST_BITS for m in counts):
        allowed = f"1 to {MOST_SLICES} whole numbers of bits, 1 to {MOST_BITS} each, the most significant slice first"
        check.fail(field, bits, allowed, "Give the bits of every slice, as (4, 4).")
    check.done()
    return counts


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
