"""What the devices of a layer hold: the weights of its rows, and how a weight becomes conductances.

Differential pair:  G±_ij = G_min + c_i r_j max(±W_ij, 0)
Offset:             G_ij  = G_min + c_i r_j (W_ij + w),        w = max|W| over the layer,

r_j the relative gain of a row (see :mod:`powerplan.hardware.gains`). The current of a single device decodes to
(W_ij + w + G_min/(c_i r_j)) x_j: what is more than W_ij x_j is subtracted digitally, with the digital input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np

from powerplan.checks import frozen_array
from powerplan.hardware.hardware import Hardware
from powerplan.network import CrossbarOp


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """The weights of one layer as its devices hold them.

    Attributes:
        weight: W (n_out, n), n the rows of a group.
        groups: G.
        bias: added digitally, one entry per output channel, or None.
        offset: w, added to every weight before it is stored; None = every weight is a differential pair.
    """

    weight: np.ndarray
    groups: int
    bias: np.ndarray | None
    offset: float | None

    @property
    def sides(self) -> tuple[np.ndarray, ...]:
        """What the devices hold above G_min in units of c r, (n_out, n) >= 0: of I⁺ and I⁻, or of the one device."""
        weight = np.asarray(self.weight, dtype=np.float64)
        if self.offset is None:
            return np.maximum(weight, 0), np.maximum(-weight, 0)
        return (weight + self.offset,)

    @property
    def magnitude(self) -> np.ndarray:
        """The largest of the devices of every weight, (n_out, n): |W| or W + w."""
        return np.abs(self.weight) if self.offset is None else self.sides[0]

    @cached_property
    def column_peaks(self) -> np.ndarray:
        """Largest magnitude of every column (output), (n_out,) float64."""
        return frozen_array(self.magnitude.max(axis=1), np.float64)

    @cached_property
    def row_peaks(self) -> np.ndarray:
        """Largest magnitude of every row (input), (G·n,) float64."""
        grouped = self.magnitude.reshape(self.groups, -1, self.weight.shape[1])
        return frozen_array(grouped.max(axis=1).reshape(-1), np.float64)


def stored(op: CrossbarOp, hardware: Hardware) -> Stored:
    """What the devices of an operation hold on this hardware; kept as long as the operation."""
    kept = _STORED.setdefault(op, {})
    key = hardware.weight_mapping
    if key not in kept:
        weight = op.matrix
        offset = float(np.abs(weight).max()) if key == "offset" else None
        kept[key] = Stored(weight=weight, groups=op.groups, bias=op.bias, offset=offset)
    return kept[key]


_STORED: WeakKeyDictionary[CrossbarOp, dict[str, Stored]] = WeakKeyDictionary()
