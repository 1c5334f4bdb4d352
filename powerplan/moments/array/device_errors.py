"""What independent errors of a crossbar's devices move its columns by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TileNodes:
    """Nodes of the columns of one tile, whose voltage Σ_k h_ik x_k takes off that of the rows, k in the tile.

    Attributes:
        rows: of the tile.
        weight: h (G, o, m).
        relative: r (G, m), with which the voltage counts at a row.
    """

    rows: slice
    weight: Tensor
    relative: Tensor

    def at(self, rows: Tensor) -> Tensor:
        """The voltages (..., G, P, o) for values (..., G, P, n) at the rows."""
        return rows[..., self.rows] @ self.weight.mT


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceErrors:
    """Independent errors of devices: that of (i, j) moves column i by e_ij (x_j − r_j Σ_k h_ik x_k), k in j's tile.

    Attributes:
        variance: of e, broadcasts to (n_out, n_in).
        nodes: h and r of every tile; none where columns are held at 0 V.
    """

    variance: Tensor
    nodes: tuple[TileNodes, ...] = ()

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
        for node in self.nodes:
            columns = columns - node.at(rows) * (drawn[..., node.rows] @ node.relative.unsqueeze(-1)).mT
        return columns

    def extended(self, adjoint: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Adjoints (B, K, G, P′, o) and rows (B, G, P′, n) with Σ_p A_pi x_pj = Σ_p A_pi (x_pj − r_j Σ_k h_ik x_pk).

        One position more for every tile, in which the rows hold −r.
        """
        adjoints, values = [adjoint], [rows]
        for node in self.nodes:
            adjoints.append((adjoint * node.at(rows).unsqueeze(1)).sum(3, keepdim=True))
            off = rows.new_zeros(len(rows), rows.shape[1], 1, rows.shape[-1])
            off[..., node.rows] = -node.relative.unsqueeze(1)
            values.append(off)
        return (torch.cat(adjoints, 3), torch.cat(values, 2)) if self.nodes else (adjoint, rows)
