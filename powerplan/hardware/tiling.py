"""How a large matrix is divided over arrays of a limited size.

An array has at most R rows and C columns of devices. A weight is a differential pair in one row and two columns, so
an array computes at most R inputs of C/2 outputs (C with one device per weight, or with the two sides in arrays of
their own); partial sums of row tiles are added digitally.
"""

from __future__ import annotations

from dataclasses import dataclass

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.stored import stored
from powerplan.network import CrossbarOp, Network, Node


def row_tiles(rows: int, array_rows: int | None) -> list[slice]:
    """The rows of every row tile: full arrays first, the rest in the last."""
    return _cut(rows, array_rows or rows)


def output_tiles(outputs: int, hardware: Hardware) -> list[slice]:
    """The outputs of every column tile: full arrays first, the rest in the last."""
    columns = hardware.array_columns
    return _cut(outputs, columns // hardware.columns_per_output if columns else outputs)


def _cut(total: int, size: int) -> list[slice]:
    return [slice(low, min(low + size, total)) for low in range(0, total, size)]


@dataclass(frozen=True, kw_only=True)
class LayerArrays:
    """The arrays of one crossbar layer.

    Attributes:
        name: of the layer.
        groups: of a grouped convolution, each with arrays of its own.
        row_tiles, column_tiles: arrays along rows and columns of one group's matrix, those of both sides.
        copies: arrays of the same content: positions of all its reads if every position has its own, else 1.
        reads: reads of each of these arrays in one inference.
        conversions: values that are read from columns and converted in one inference, by all arrays; driven: row
            voltages that are converted. None in plan files written before they were counted.
    """

    name: str
    groups: int
    row_tiles: int
    column_tiles: int
    copies: int
    reads: int
    conversions: int | None = None
    driven: int | None = None

    @property
    def arrays(self) -> int:
        """Number of arrays."""
        return self.groups * self.row_tiles * self.column_tiles * self.copies


def layer_arrays(network: Network, hardware: Hardware) -> tuple[LayerArrays, ...]:
    """The arrays of every crossbar layer."""
    layers = hardware.of_layers(network.layer_names)
    return tuple(
        _arrays(network, hardware, name, nodes, 1 if own.input_slices is None else len(own.input_slices.weights))
        for (name, nodes), own in zip(network.reads.items(), layers, strict=True)
    )


def read_positions(network: Network, nodes: tuple[Node, ...]) -> int:
    """Positions at which an array is read in one inference, by all the nodes that read it."""
    return sum(node.op.reads(network.shapes[node.inputs[0]]) for node in nodes if isinstance(node.op, CrossbarOp))


def _arrays(network: Network, hardware: Hardware, name: str, nodes: tuple[Node, ...], slices: int) -> LayerArrays:
    op = nodes[0].op
    assert isinstance(op, CrossbarOp)
    positions = read_positions(network, nodes)
    unrolled = hardware.mapping == "unrolled"
    sides_apart = hardware.devices_per_weight // hardware.columns_per_output
    along_rows = len(row_tiles(stored(op, hardware).rows, hardware.array_rows))
    along_columns = sides_apart * len(output_tiles(op.n_out // op.groups, hardware))
    return LayerArrays(
        name=name,
        groups=op.groups,
        row_tiles=along_rows,
        column_tiles=along_columns,
        copies=positions if unrolled else 1,
        reads=1 if unrolled else positions,
        conversions=(2 if hardware.read_out == "divider" else 1) * op.n_out * along_rows * positions * slices,
        driven=op.n_rows * along_columns * positions * slices,
    )
