"""Target conductances cut into physical arrays.

A tile is one physical crossbar: the devices of some outputs and some rows of one group, two columns of devices per
output (one with an offset mapping), cut as :mod:`powerplan.hardware.tiling` says. With
``pair_layout="separate_arrays"`` its two sides are a crossbar each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.checks import frozen_array
from powerplan.hardware import Hardware
from powerplan.hardware.tiling import output_tiles, row_tiles


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """One physical array.

    Attributes:
        group: of the layer's convolution, 0 where there is one group.
        rows: (first, one past the last) row of the layer it holds; rows of all groups are numbered through.
        outputs: (first, one past the last) output (column) of the layer.
        positive, negative: target conductances [S] of the two devices of every pair, (rows, outputs); with an offset
            mapping there is no negative one.
    """

    group: int
    rows: tuple[int, int]
    outputs: tuple[int, int]
    positive: np.ndarray
    negative: np.ndarray | None = None

    @property
    def sides(self) -> tuple[np.ndarray, ...]:
        """Target conductances by side: positive and, if there is one, negative."""
        return (self.positive,) if self.negative is None else (self.positive, self.negative)


def cut(sides: Sequence[np.ndarray], groups: int, hardware: Hardware) -> Iterator[Tile]:
    """The tiles of a layer, row by row within each group.

    Args:
        sides: target conductances [S] of positive and, if there is one, negative devices, each (n_out, n_in), n_in the
            rows of one group.
        groups: each owns n_out/groups outputs and rows of its own.
    """
    n_out, n_in = sides[0].shape
    own = n_out // groups
    for group in range(groups):
        for rows in row_tiles(n_in, hardware.array_rows):
            for part in output_tiles(own, hardware):
                outputs = slice(group * own + part.start, group * own + part.stop)
                devices = [frozen_array(side[outputs, rows].T) for side in sides]
                yield Tile(
                    group=group,
                    rows=(group * n_in + rows.start, group * n_in + rows.stop),
                    outputs=(outputs.start, outputs.stop),
                    positive=devices[0],
                    negative=devices[1] if len(devices) == 2 else None,
                )
