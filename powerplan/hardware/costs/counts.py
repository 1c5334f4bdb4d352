"""How often every layer uses the components of a chip in one inference, and how many of them it has.

    inputs = rows × positions,                outputs = outputs × positions,
    driven = rows × column tiles × positions, conversions = quantities × row tiles × positions

and inputs in slices of their bits take so many reads at every position, rows driven and columns converted in each. An
output is one quantity per row tile, or two with dividers, whose two columns are converted separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.tiling import layer_arrays, output_tiles
from powerplan.network import CrossbarOp, Network


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of every crossbar layer, (L,) each, as floats.

    Attributes:
        inputs, outputs: values that enter and leave, all positions.
        products: multiplications by a weight.
        driven: row voltages, conversions: values converted, in one inference.
        crossings: devices on the rows that are driven, once per drive.
        reads: of one array, one after the other, those of inputs in slices each.
        arrays, devices: of the chip; devices are those that hold weights.
        rows: most rows in one array.
        row_converters: on the chip.
        amplifiers: on the chip, one for every quantity that a read yields.
        columns: quantities that a read of one array yields, if it has all its columns; full_arrays: with so many.
        columns_left: of the last array beside them; last_arrays: of these.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    products: np.ndarray
    driven: np.ndarray
    conversions: np.ndarray
    crossings: np.ndarray
    reads: np.ndarray
    arrays: np.ndarray
    devices: np.ndarray
    rows: np.ndarray
    row_converters: np.ndarray
    amplifiers: np.ndarray
    columns: np.ndarray
    full_arrays: np.ndarray
    columns_left: np.ndarray
    last_arrays: np.ndarray

    def like(self, values: Any) -> Counts:
        """As tensors where the values are one, of its type and on its device."""
        if isinstance(values, np.ndarray):
            return self
        return Counts(**{name: values.new_tensor(entries) for name, entries in vars(self).items()})


def count(network: Network, hardware: Hardware) -> Counts:
    """The counts of a network's layers on a hardware."""
    sides = 2 if hardware.read_out == "divider" else 1
    # inputs come once and outputs go once for all slices of a layer's weights
    later = {name for names, _ in network.weight_slices for name in names[1:]}
    rows = []
    layers = hardware.of_layers(network.layer_names)
    for node, arrays, own in zip(network.crossbars, layer_arrays(network, hardware), layers, strict=True):
        op = node.op
        assert isinstance(op, CrossbarOp)
        positions = arrays.copies * arrays.reads
        slices = 1 if own.input_slices is None else len(own.input_slices.weights)
        weights = op.n_rows * op.n_out // op.groups
        once = 0 if node.array_name in later else positions
        group_rows = op.n_rows // op.groups
        tiles = output_tiles(op.n_out // op.groups, hardware)
        most, left = (tile.stop - tile.start for tile in (tiles[0], tiles[-1]))
        stacks = op.groups * arrays.row_tiles * arrays.copies
        rows.append(
            {
                "inputs": op.n_rows * once,
                "outputs": op.n_out * once,
                "products": weights * once,
                "driven": arrays.driven,
                "conversions": arrays.conversions,
                "crossings": weights * hardware.devices_per_weight * positions * slices,
                "reads": arrays.reads * slices,
                "arrays": arrays.arrays,
                "devices": weights * hardware.devices_per_weight * arrays.copies,
                "rows": min(hardware.array_rows or group_rows, group_rows),
                "row_converters": op.n_rows * arrays.column_tiles * arrays.copies,
                "amplifiers": sides * op.n_out * arrays.row_tiles * arrays.copies,
                "columns": sides * most,
                "full_arrays": stacks * (len(tiles) - 1),
                "columns_left": sides * left,
                "last_arrays": stacks,
            }
        )
    return Counts(**{name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]})
