"""What the devices of a layer hold: the weights of its rows, and how a weight becomes conductances.

Differential pair:  G±_ij = G_min + c_i r_j max(±W_ij, 0)
Offset:             G_ij  = G_min + c_i r_j (W_ij + w),        w = max(−W, 0) over the layer,

r_j the relative gain of a row (see :mod:`powerplan.hardware.gains`). The current of a single device decodes to
(W_ij + w + G_min/(c_i r_j)) x_j: what is more than W_ij x_j is subtracted digitally, with the digital input.

Where biases are mapped to a row, they are the weights of one more row of every group, the last, driven by the constant
1 with the voltage v_ref.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from powerplan.checks import frozen_array, without_zeros
from powerplan.errors import InvalidInput
from powerplan.hardware.hardware import Hardware
from powerplan.network import CrossbarOp
from powerplan.network.ops import ConvTranspose
from powerplan.remembered import remembered


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """The weights of one layer as its devices hold them.

    Attributes:
        weight: W (n_out, n), n the rows of a group, that of the constant included.
        groups: G.
        has_bias_row: the last row of every group is driven by the constant 1 and holds the bias.
        bias: added digitally, one entry per output channel, or None.
        offset: w, added to every weight before it is stored; None = every weight is a differential pair.
    """

    weight: np.ndarray
    groups: int
    has_bias_row: bool
    bias: np.ndarray | None
    offset: float | None

    @property
    def rows(self) -> int:
        """Rows of a group."""
        return int(self.weight.shape[1])

    def by_row(self, inputs: np.ndarray, constant: float) -> np.ndarray:
        """A quantity of every row (G, n) from those of the inputs (rows of all groups,) and that of the constant."""
        by_group = inputs.reshape(self.groups, -1)
        return np.pad(by_group, ((0, 0), (0, 1)), constant_values=constant) if self.has_bias_row else by_group

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
    def column_scales(self) -> np.ndarray:
        """The same to divide by: a column of zeros as that of the largest weight, 1 if all are zero."""
        return without_zeros(self.column_peaks)

    @cached_property
    def row_peaks(self) -> np.ndarray:
        """Largest magnitude of every row, (G, n) float64."""
        return frozen_array(self.magnitude.reshape(self.groups, -1, self.rows).max(axis=1), np.float64)


def stored(op: CrossbarOp, hardware: Hardware) -> Stored:
    """What the devices of an operation hold on this hardware; kept as long as the operation.

    Raises:
        InvalidInput: the bias of a transposed convolution as a row: it is added once, after outputs that overlap.
    """
    return stored_as(op, hardware.weight_mapping, hardware.bias_mapping)


@remembered
def stored_as(op: CrossbarOp, weight_mapping: str, bias_mapping: str) -> Stored:
    """The same by what it depends on of the hardware."""
    weight, bias = op.matrix, op.bias
    row = bias_mapping == "row" and bias is not None
    if row and isinstance(op, ConvTranspose):
        raise InvalidInput.of(
            "hardware.bias_mapping",
            "row",
            "'digital' for a network with a transposed convolution that has a bias: its arrays are read once per "
            "input position and their outputs overlap",
            "Set bias_mapping='digital', or compute the layer digitally (Network.with_analog).",
        )
    if row:
        assert bias is not None
        weight, bias = np.concatenate([weight, bias[:, None]], axis=1), None
    offset = max(float(-weight.min()), 0.0) if weight_mapping == "offset" else None
    return Stored(weight=weight, groups=op.groups, has_bias_row=row, bias=bias, offset=offset)
