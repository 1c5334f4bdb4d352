"""How an example network is trained (no torch here: the names must load fast)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Layer widths, passes over the data, batch, peak learning rate, decoupled weight decay."""

    widths: tuple[int, ...]
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
