"""What independent errors of a crossbar's devices move its columns by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceErrors:
    """Independent errors of devices: that of (i, j) moves column i by e_ij (x_j − r_j Σ_k h_ik x_k), k in j's tile.

    Attributes:
        variance: of e, broadcasts to (n_out, n_in).
        node: h (n_out, n_in) of a divider's side; None = 0.
        relative: r (G, n_in).
        tiles: rows of every tile.
    """

    variance: Tensor
    node: Tensor | None = None
    relative: Tensor | None = None
    tiles: tuple[slice, ...] = ()

    def nodes(self, rows: Tensor) -> Iterator[tuple[Tensor, slice, Tensor]]:
        """Σ_k h_ik x_k (..., G, P, o) of every tile for values (..., G, P, n) at the rows; its rows; their r (G, m)."""
        if self.node is None or self.relative is None:
            return
        by_group = self.node.reshape(len(self.relative), -1, self.relative.shape[1])
        for tile in self.tiles:
            yield rows[..., tile] @ by_group[..., tile].mT, tile, self.relative[:, tile]

    def moved(self, rows: Tensor, drawn: Tensor) -> Tensor:
        """What errors e (B or 1, R or 1, G, o, n) move columns by, (B, R, G, P, o), for values (B, R or 1, G, P, n) at
        the rows."""
        if drawn.shape[:2] == (1, 1):
            columns = torch.einsum("brgpn,gon->brgpo", rows, drawn[0, 0])
        elif len(drawn) > 1:
            columns = rows @ drawn.mT
        elif rows.shape[1] > 1:  # one product for all inputs
            columns = torch.einsum("brgpn,rgon->brgpo", rows, drawn[0])
        else:
            columns = torch.einsum("bgpn,rgon->brgpo", rows[:, 0], drawn[0])
        for node, tile, r in self.nodes(rows):
            columns = columns - node * (drawn[..., tile] @ r.unsqueeze(-1)).mT
        return columns

    def square(self, rows: Tensor) -> Tensor:
        """Mean square of what errors move columns by, (B, R, G, P, o), for values (B, R, G, P, n) at the rows."""
        n = rows.shape[-1]
        variance = self.variance.expand(-1, n).reshape(rows.shape[-3], -1, n)
        total = torch.einsum("brgpn,gon->brgpo", rows.square(), variance)
        for node, tile, r in self.nodes(rows):
            some = variance[..., tile] * r.unsqueeze(1)
            crossed = torch.einsum("brgpn,gon->brgpo", rows[..., tile], some)
            total = total + node * ((some @ r.unsqueeze(-1)).mT * node - 2 * crossed)
        return total.clamp(min=0)

    def extended(self, adjoint: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Adjoints (B, K, G, P′, o) and rows (B, G, P′, n) with Σ_p A_pi x_pj = Σ_p A_pi (x_pj − r_j Σ_k h_ik x_pk).

        One position more for every tile, in which the rows hold −r.
        """
        for node, tile, r in list(self.nodes(rows)):
            moved = (adjoint[..., : node.shape[-2], :] * node.unsqueeze(1)).sum(3, keepdim=True)
            adjoint = torch.cat([adjoint, moved], 3)
            added = rows.new_zeros(len(rows), len(r), 1, rows.shape[-1])
            added[..., tile] = -r.unsqueeze(1)
            rows = torch.cat([rows, added], 2)
        return adjoint, rows
