"""First two moments of a programmed crossbar: effective weights, injected error, power.

With G±_ij = G_min + c_i max(±W_ij, 0), device means g± and variances s±², row voltages v x_j + n_j:

    W̄_ij = (g⁺_ij − g⁻_ij)/c_i                                          mean weight
    q_i  = Σ_j (s⁺² + s⁻²)_ij/c_i² (m_j + σ_V²/v²)  +  σ_I²/(c_i v)²     programming noise, read noise
    array power = v² Σ_ij (g⁺ + g⁻)_ij (m_j + σ_V²/v²),                   m_j = E[x_j²]
    TIA power   = R_f Σ_i (E[I⁺_i²] + E[I⁻_i²])

Row noise is shared by all columns: it is an independent error of variance σ_V²/v² on each input x_j, passed on
by W̄. One device of each pair holds |W|, the other sits at G_min: statistics are computed once per weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from powerplan.hardware.devices import idle_device_moments
from powerplan.hardware.hardware import Hardware
from powerplan.moments.weights import weight_moments
from powerplan.network.forward import crossbar_tensors
from powerplan.network.graph import Network


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossbar:
    """The constants of one crossbar layer as tensors: W (n_out, n_in), |W|, sign W, the bias."""

    name: str
    weight: Tensor
    magnitude: Tensor
    sign: Tensor
    bias: Tensor | None

    @classmethod
    def all_of(cls, network: Network, dtype: torch.dtype, device: str = "cpu") -> tuple[Crossbar, ...]:
        """The crossbar layers of a network, in order; kept as long as the network, which never changes."""
        kept = _CONSTANTS.setdefault(network, {})
        key = (dtype, device)
        if key not in kept:
            made = []
            for node in network.crossbars:
                weight, bias = crossbar_tensors(node.op, dtype, device)
                made.append(cls(name=node.name, weight=weight, magnitude=weight.abs(), sign=weight.sign(), bias=bias))
            kept[key] = tuple(made)
        return kept[key]


_CONSTANTS: WeakKeyDictionary[Network, dict[tuple[torch.dtype, str], tuple[Crossbar, ...]]] = WeakKeyDictionary()


class Injected(NamedTuple):
    """Error variance injected at the decoded outputs, independent between them: (B, n_out) and (n_out,) or None."""

    programming: Tensor
    read: Tensor | None

    @property
    def total(self) -> Tensor:
        """Their sum, (B, n_out)."""
        return self.programming if self.read is None else self.programming + self.read


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossbarMoments:
    """One crossbar at given gains.

    Attributes:
        c: conductance gain, () or (n_out, 1) [S per unit weight].
        v: voltage gain () [V per unit activation].
        mean_weight: W̄ (n_out, n_in).
        weight_variance: (s⁺² + s⁻²)/c², broadcasts to (n_out, n_in).
        row_conductance: Σ_i (g⁺ + g⁻)_ij (n_in,) [S].
    """

    crossbar: Crossbar
    hardware: Hardware
    c: Tensor
    v: Tensor
    mean_weight: Tensor
    weight_variance: Tensor
    row_conductance: Tensor

    @classmethod
    def at(cls, crossbar: Crossbar, hardware: Hardware, conductance: Tensor, voltage: Tensor) -> CrossbarMoments:
        """The crossbar at conductance gain () or (n_out,) and voltage gain ()."""
        c = conductance.unsqueeze(-1) if conductance.dim() else conductance
        if hardware.shifts_mean or not hardware.has_constant_programming_noise:
            mean_weight, variance, held = weight_moments(crossbar.weight, crossbar.sign, c, hardware)
        else:  # W̄ = W exactly, and every device has the same variance
            mean_weight = crossbar.weight
            variance = 2 * hardware.programming_noise_std**2 / c**2
            n_out = mean_weight.shape[0]
            held = c.reshape(-1).expand(n_out) @ crossbar.magnitude + n_out * hardware.conductance_min
        return cls(
            crossbar=crossbar,
            hardware=hardware,
            c=c,
            v=voltage,
            mean_weight=mean_weight,
            weight_variance=variance,
            row_conductance=held + mean_weight.shape[0] * idle_device_moments(hardware)[0],
        )

    @property
    def has_row_noise(self) -> bool:
        """True if the row voltages are noisy."""
        return self.hardware.input_noise_std > 0

    @property
    def row_noise(self) -> Tensor | float:
        """σ_V²/v²: variance of the row noise in units of the activation."""
        return (self.hardware.input_noise_std / self.v) ** 2 if self.has_row_noise else 0.0

    def mean(self, x: Tensor) -> Tensor:
        """Mean output (B, n_out) for mean inputs x (B, n_in)."""
        z = x @ self.mean_weight.T
        return z if self.crossbar.bias is None else z + self.crossbar.bias

    def unshifted(self, x: Tensor) -> Tensor:
        """The output for mean inputs x if every device held its target on average."""
        return torch.nn.functional.linear(x, self.crossbar.weight, self.crossbar.bias)

    def injected(self, square: Tensor) -> Injected:
        """Error variance injected for inputs of second moment m = ``square`` (B, n_in)."""
        m = square + self.row_noise if self.has_row_noise else square
        n_out = self.mean_weight.shape[0]
        if self.weight_variance.shape[-1:] == m.shape[-1:]:
            programming = m @ self.weight_variance.T
        else:  # the same for every device of a column
            programming = (m.sum(-1, keepdim=True) * self.weight_variance.reshape(1, -1)).expand(-1, n_out)
        if not self.hardware.read_noise_std:
            return Injected(programming=programming, read=None)
        read = (self.hardware.read_noise_std / (self.c * self.v)) ** 2
        return Injected(programming=programming, read=read.reshape(-1).expand(n_out))

    def array_power(self, square: Tensor) -> Tensor:
        """Power dissipated in the devices [W], mean over the batch."""
        drive = square.mean(0) + self.row_noise if self.has_row_noise else square.mean(0)
        return self.v * self.v * (drive @ self.row_conductance)

    def tia_power(self, mean: Tensor, variance: Tensor, covariance: Tensor | None = None) -> Tensor:
        """Power dissipated in the TIA feedback [W], mean over the batch.

        Args:
            mean: (B, n_in) of the inputs.
            variance: (B, n_in).
            covariance: (B, n_in, n_in); None = independent inputs.
        """
        resistance = self.hardware.feedback_resistance
        if resistance is None:
            return torch.zeros((), dtype=mean.dtype, device=mean.device)
        idle, idle_variance = idle_device_moments(self.hardware)
        # variance of the device that holds |W|, beyond that of an idle one
        spread = self.weight_variance * self.c**2 - 2 * idle_variance
        second = mean * mean + variance + self.row_noise
        total = torch.zeros((), dtype=mean.dtype, device=mean.device)
        for side in (1, -1):
            g = idle + self.c * (side * self.mean_weight).clamp(min=0)
            s = idle_variance + spread * (side * self.crossbar.sign).clamp(min=0)
            total = total + ((mean @ g.T) ** 2).sum() + (second @ s.T).sum()
            if self.has_row_noise:
                total = total + self.row_noise * (g * g).sum() * mean.shape[0]
            total = total + ((variance @ (g**2).T).sum() if covariance is None else ((g @ covariance) * g).sum())
        return resistance * self.v**2 * total / mean.shape[0]
