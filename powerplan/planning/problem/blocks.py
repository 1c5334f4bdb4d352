"""Blocks of free gains: which gains a run of entries of θ stands for, and their limits.

θ holds logarithms. A :class:`GainBlock` is one conductance or voltage gain shared by some layers, or one conductance
gain per column of a layer. A :class:`SignalBlock` frees the voltage of every row of a layer together with the
conductances that hold the inverse.

Why: docs/decisions/many-gains.md [0112].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from powerplan.hardware import Gains
from powerplan.hardware.gains import reference_voltage

#: gains of every layer as tensors, by quantity; an entry is () or one number per column (row)
LayerTensors = dict[str, list[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one entry of θ is.

    Attributes:
        quantity: "conductance" or "voltage": whose limit bounds it.
        layers: the layers it belongs to.
        column, row: of its layer; None if the whole layer shares it.
    """

    quantity: str
    layers: tuple[int, ...]
    column: int | None = None
    row: int | None = None

    def limit_name(self, *, upper: bool) -> str:
        """Name of the upper or lower limit in reports."""
        return f"{self.quantity}_max" if upper else f"{self.quantity}_gain_min"


class Block(Protocol):
    """A run of entries of θ."""

    @property
    def lower(self) -> np.ndarray:
        """Lower limits, (m,) logs."""

    @property
    def upper(self) -> np.ndarray:
        """Upper limits, (m,) logs."""

    @property
    def power_exponents(self) -> np.ndarray:
        """(m,) exponent t with which the power of an entry's devices changes: P ∝ exp(t θ)."""

    def put(self, theta: Tensor, gains: LayerTensors) -> None:
        """Set the gains of the block's layers from its entries (m,)."""

    def theta_of(self, gains: Gains) -> np.ndarray | None:
        """The entries (m,) at given gains; None if the block cannot represent them."""

    def entry(self, i: int) -> Entry:
        """What entry i is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GainBlock:
    """One gain shared by ``layers``, or (``by_column``) one per column of the only layer.

    Attributes:
        quantity: "conductance" or "voltage".
        lower, upper: (m,) logs.
    """

    quantity: str
    layers: tuple[int, ...]
    lower: np.ndarray
    upper: np.ndarray
    by_column: bool = False

    @property
    def power_exponents(self) -> np.ndarray:
        """1 for conductances, 2 for voltages."""
        return np.full(len(self.upper), 1.0 if self.quantity == "conductance" else 2.0)

    def put(self, theta: Tensor, gains: LayerTensors) -> None:
        """See :class:`Block`."""
        value = theta.exp() if self.by_column else theta[0].exp()
        for layer in self.layers:
            gains[self.quantity][layer] = value

    def theta_of(self, gains: Gains) -> np.ndarray | None:
        """See :class:`Block`."""
        logs = [np.log(getattr(gains, self.quantity)[layer]) for layer in self.layers]
        if any(g.ndim > self.by_column or (g != logs[0]).any() for g in logs):
            return None
        return np.asarray(np.broadcast_to(logs[0], self.upper.shape))

    def entry(self, i: int) -> Entry:
        """See :class:`Block`."""
        return Entry(quantity=self.quantity, layers=self.layers, column=i if self.by_column else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class SignalBlock:
    """The row voltages of one layer with the inverse in its stored weights.

    Entries: log of the decoding gain k = c v_ref [V·S per unit weight and activation], then of the row conductance
    gains a_j = c v_ref / v_j [S per unit weight]. So v_j = k / a_j, and c is the geometric mean of a. The limit
    k / a_j ≤ V_max / max|x_j| couples k to every a_j; it is kept by raising a_j to k max|x_j| / V_max where it is
    below, which the conductance limit allows for every k up to its own limit.

    Attributes:
        layer: index of the layer.
        smallest: lower limits of a relative to the upper ones.
        rows: (n_in,) largest a_j.
        voltages: (n_in,) largest v_j.
    """

    layer: int
    smallest: float
    rows: np.ndarray
    voltages: np.ndarray

    @property
    def upper(self) -> np.ndarray:
        """See :class:`Block`."""
        return np.asarray(np.log(np.append((self.rows * self.voltages).min(), self.rows)))

    @property
    def lower(self) -> np.ndarray:
        """See :class:`Block`."""
        return np.asarray(self.upper + np.log(self.smallest))

    @property
    def power_exponents(self) -> np.ndarray:
        """The power rises as k² and falls as the rows' conductances grow."""
        return np.append(2.0, np.full(len(self.rows), -1.0))

    def put(self, theta: Tensor, gains: LayerTensors) -> None:
        """See :class:`Block`."""
        least = theta[0] - theta.new_tensor(np.log(self.voltages))
        stored = theta[1:].maximum(least)
        gains["conductance"][self.layer] = stored.mean().exp()
        gains["voltage"][self.layer] = (theta[0] - stored).exp()

    def theta_of(self, gains: Gains) -> np.ndarray | None:
        """See :class:`Block`."""
        conductance, voltage = gains.conductance[self.layer], gains.voltage[self.layer]
        if np.ndim(conductance):
            return None
        decode = conductance * reference_voltage(voltage)
        stored = np.broadcast_to(decode / np.asarray(voltage), self.rows.shape)
        return np.asarray(np.log(np.append(decode, stored)))

    def entry(self, i: int) -> Entry:
        """See :class:`Block`."""
        if i == 0:
            return Entry(quantity="voltage", layers=(self.layer,))
        return Entry(quantity="conductance", layers=(self.layer,), row=i - 1)
