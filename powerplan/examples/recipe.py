"""How an example network is trained (no torch here: the names must load fast)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Structure and widths, passes over the data, batch, peak learning rate, decoupled weight decay.

    Attributes:
        structure: "mlp", or a convolutional structure of :mod:`powerplan.examples.convolutional`.
        widths: of an mlp the inputs and the outputs of every layer; of the others the outputs of every layer
            (cnn) or of the stem and every block (resnet), then the classes.
    """

    structure: str = "mlp"
    widths: tuple[int, ...]
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
