"""What of a crossbar layer does not depend on gains.

Why: docs/decisions/read-out.md [0193].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.stored import Stored, stored_as
from powerplan.network.array_maps import ArrayMap, ConstantRowMap
from powerplan.network.forward import is_kept, node_map, same_numbers
from powerplan.network.graph import Network
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp
from powerplan.remembered import remembered


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayConstants:
    """The constants of one array as tensors.

    Attributes:
        map: the linear maps of one read, of errors and variances.
        affine: the same of values: where biases are a row, it drives that row with the constant 1.
        reads: both maps of every read, by node, of which ``map`` and ``affine`` are the first unless one is chosen.
        stored: what the devices hold.
        bias: added digitally, or None.
        dtype, device: of the tensors.
    """

    name: str
    map: ArrayMap
    affine: ArrayMap
    reads: Mapping[str, tuple[ArrayMap, ArrayMap]]
    stored: Stored
    bias: Tensor | None
    dtype: torch.dtype
    device: str

    @classmethod
    def all_of(
        cls, network: Network, hardware: Hardware, dtype: torch.dtype, device: str = "cpu"
    ) -> tuple[ArrayConstants, ...]:
        """The arrays of a network, in order; kept as long as the network, which never changes."""
        return _all_of(network, hardware.weight_mapping, hardware.bias_mapping, dtype, device)

    @classmethod
    def of(
        cls, network: Network, nodes: tuple[Node, ...], stored_weights: Stored, dtype: torch.dtype, device: str
    ) -> ArrayConstants:
        """Those of the array that these nodes read."""
        first = nodes[0]
        assert isinstance(first.op, CrossbarOp)
        maps = {node.name: node_map(network, node) for node in nodes}
        reads: dict[str, tuple[ArrayMap, ArrayMap]] = {name: (map, map) for name, map in maps.items()}
        if stored_weights.has_bias_row:
            reads = {name: (ConstantRowMap(map, 0.0), ConstantRowMap(map, 1.0)) for name, map in maps.items()}
        bias = stored_weights.bias
        return cls(
            name=first.array_name,
            map=reads[first.name][0],
            affine=reads[first.name][1],
            reads=reads,
            stored=stored_weights,
            bias=None if bias is None else same_numbers(bias, dtype, device),
            dtype=dtype,
            device=device,
        )

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.stored.weight.size

    @property
    def weight(self) -> Tensor:
        """W (n_out, n_in), with the row of biases if there is one; of large arrays made anew where it must be."""
        return same_numbers(self.stored.weight, self.dtype, self.device) if self._weight is None else self._weight

    @cached_property
    def _weight(self) -> Tensor | None:
        """The weight where it is kept."""
        kept = is_kept(self.stored.weight, self.dtype, self.device)
        return same_numbers(self.stored.weight, self.dtype, self.device) if kept else None

    @property
    def offset(self) -> float:
        """w of an offset mapping; 0 for pairs. The device of a weight holds σW + w."""
        return self.stored.offset or 0.0

    @property
    def sign(self) -> Tensor:
        """σ, broadcasts to (n_out, n_in): of the weights; with an offset mapping 1."""
        return signs(self.weight, pairs=self.stored.offset is None)

    @property
    def positions(self) -> int:
        """Positions of all reads of one inference."""
        return sum(map.positions for map, _ in self.reads.values())

    @property
    def magnitudes(self) -> Tensor:
        """σW + w by group, (G, o, n_in)."""
        return self.map.matrices(self.weight * self.sign + self.offset)

    @cached_property
    def magnitude_sums(self) -> Tensor:
        """Σ_i (σW + w)_ij over the columns of each group, weighted by nothing: (G, n_in)."""
        return self.magnitudes.sum(1)


def signs(weight: Tensor, *, pairs: bool) -> Tensor:
    """σ of weights, broadcasts to their shape: with an offset mapping 1."""
    return weight.sign() if pairs else weight.new_ones(1, 1)


@remembered
def _all_of(
    network: Network, weight_mapping: str, bias_mapping: str, dtype: torch.dtype, device: str
) -> tuple[ArrayConstants, ...]:
    constants = []
    for nodes in network.reads.values():
        op = nodes[0].op
        assert isinstance(op, CrossbarOp)
        stored_weights = stored_as(op, weight_mapping, bias_mapping)
        constants.append(ArrayConstants.of(network, nodes, stored_weights, dtype, device))
    return tuple(constants)
