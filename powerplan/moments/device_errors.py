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

    def nodes(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Σ_k h_ik x_k (..., G, P, o) of every tile for values (..., G, P, n) at the rows; r there, else 0, (G, n)."""
        if self.node is None or self.relative is None:
            return
        by_group = self.node.reshape(len(self.relative), -1, self.relative.shape[1])
        for tile in self.tiles:
            inside = torch.zeros_like(self.relative)
            inside[:, tile] = self.relative[:, tile]
            yield rows[..., tile] @ by_group[..., tile].mT, inside

    def moved(self, rows: Tensor, drawn: Tensor) -> Tensor:
        """What errors e (B or 1, R, G, o, n) move columns by, (B, R, G, P, o), for values (B, R or 1, G, P, n) at the
        rows."""
        if len(drawn) > 1:
            columns = rows @ drawn.mT
        elif rows.shape[1] > 1:  # one product for all inputs
            columns = torch.einsum("brgpn,rgon->brgpo", rows, drawn[0])
        else:
            columns = torch.einsum("bgpn,rgon->brgpo", rows[:, 0], drawn[0])
        for node, inside in self.nodes(rows):
            columns = columns - node * (drawn * inside.unsqueeze(1)).sum(-1).unsqueeze(-2)
        return columns

    def extended(self, adjoint: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Adjoints (B, K, G, P′, o) and rows (B, G, P′, n) with Σ_p A_pi x_pj = Σ_p A_pi (x_pj − r_j Σ_k h_ik x_pk).

        One position more for every tile, in which the rows hold −r.
        """
        for node, inside in list(self.nodes(rows)):
            moved = (adjoint[..., : node.shape[-2], :] * node.unsqueeze(1)).sum(3, keepdim=True)
            adjoint = torch.cat([adjoint, moved], 3)
            rows = torch.cat([rows, -inside.unsqueeze(1).expand(len(rows), -1, 1, -1)], 2)
        return adjoint, rows
