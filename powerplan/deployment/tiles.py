"""Target conductances cut into physical arrays.

A tile is one physical crossbar with the differential pairs of some outputs and some rows of one group: 2 columns of
devices per output. With ``array_rows`` = r and ``array_columns`` = k it holds at most r rows and ⌊k/2⌋ outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from powerplan.checks import frozen_array
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """One physical array.

    Attributes:
        group: of the layer's convolution, 0 where there is one group.
        rows: (first, one past the last) row of the layer it holds; rows of all groups are numbered through.
        outputs: (first, one past the last) output (column) of the layer.
        positive, negative: target conductances [S] of the two devices of every pair, (rows, outputs).
    """

    group: int
    rows: tuple[int, int]
    outputs: tuple[int, int]
    positive: np.ndarray
    negative: np.ndarray


def cut(positive: np.ndarray, negative: np.ndarray, groups: int, hardware: Hardware) -> Iterator[Tile]:
    """The tiles of a layer, row by row within each group.

    Args:
        positive, negative: target conductances [S], (n_out, n_in), n_in the rows of one group.
        groups: each owns n_out/groups outputs and rows of its own.

    Raises:
        InvalidInput: arrays with a single column, which cannot hold a pair.
    """
    n_out, n_in = positive.shape
    own = n_out // groups
    height = hardware.array_rows or n_in
    width = own if hardware.array_columns is None else hardware.array_columns // 2
    if width < 1:
        raise InvalidInput.of(
            "hardware.array_columns",
            hardware.array_columns,
            "at least 2 columns: a differential pair takes two",
            "Give the columns of the physical array, or None.",
        )
    for group in range(groups):
        for row in range(0, n_in, height):
            rows = slice(row, min(row + height, n_in))
            for output in range(group * own, (group + 1) * own, width):
                outputs = slice(output, min(output + width, (group + 1) * own))
                yield Tile(
                    group=group,
                    rows=(group * n_in + rows.start, group * n_in + rows.stop),
                    outputs=(outputs.start, outputs.stop),
                    positive=frozen_array(positive[outputs, rows].T),
                    negative=frozen_array(negative[outputs, rows].T),
                )
