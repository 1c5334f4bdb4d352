"""One crossbar layer as it is programmed, and the weights that its tiles then compute with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from powerplan.deployment.tiles import Tile


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedLayer:
    """One crossbar layer.

    Attributes:
        name: of the layer.
        groups: number of groups, each with rows and outputs of its own.
        copies: arrays of the same content for every tile: positions if each has its own, else 1.
        reads: how often each of these arrays is read in one inference.
        conductance_gain: c [S per unit weight], (n_out,).
        voltage_gain: v [V per unit activation] of every row, (rows of all groups,), that of the constant included.
        scale: decoded output per ampere of I⁺ − I⁻, (n_out,).
        bias: added digitally to the decoded output, one entry per output channel, or None.
        weight_offset: w of an offset mapping; None = every weight is a differential pair.
        conductance_min: of a device that holds 0 [S].
        has_bias_row: the last row of every group is driven by the constant 1 and holds the bias.
        tiles: the physical arrays.
        column_scale: what the decoded output is multiplied by before the bias is added, (n_out,); None = nothing.
    """

    name: str
    groups: int
    copies: int
    reads: int
    conductance_gain: np.ndarray
    voltage_gain: np.ndarray
    scale: np.ndarray
    bias: np.ndarray | None
    tiles: tuple[Tile, ...]
    weight_offset: float | None = None
    conductance_min: float = 0.0
    has_bias_row: bool = False
    column_scale: np.ndarray | None = None

    @property
    def matrix(self) -> np.ndarray:
        """The weights that the tiles compute with, W (n_out, inputs of one group), rebuilt from their targets, and from
        the scales of columns."""
        return self._weights[:, :-1] if self.has_bias_row else self._weights

    @property
    def stored_bias(self) -> np.ndarray | None:
        """The bias that the tiles compute with, b (n_out,), from their targets; None = no row of biases."""
        return self._weights[:, -1] if self.has_bias_row else None

    @property
    def _weights(self) -> np.ndarray:
        n_out, n_in = len(self.scale), len(self.voltage_gain) // self.groups
        weights = np.zeros((n_out, n_in))
        for tile in self.tiles:
            rows, outputs = slice(*tile.rows), slice(*tile.outputs)
            columns = slice(tile.rows[0] - tile.group * n_in, tile.rows[1] - tile.group * n_in)
            reference = self.conductance_min if tile.negative is None else tile.negative
            current = (tile.positive - reference) * self.voltage_gain[rows, None]  # A per unit activation
            weights[outputs, columns] = current.T * self.scale[outputs, None]
        weights -= self.weight_offset or 0.0
        return weights if self.column_scale is None else weights * self.column_scale[:, None]
