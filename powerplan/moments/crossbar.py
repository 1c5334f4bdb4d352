"""First two moments of a programmed crossbar: effective weights, injected error, power.

A crossbar operation reads its array at P positions, x_p the values at its rows (see
:mod:`powerplan.network.array_maps`). With the voltage gain v_j of row j, v̂ their geometric mean, r_j = v̂/v_j,
G±_ij = G_min + c_i r_j max(±W_ij, 0), device means g± and variances s±², row voltages v_j x_j + n_j:

    W̄_ij = α (g⁺_ij − g⁻_ij)/(c_i r_j)                                   mean weight
    V_ij = α² (s⁺² + s⁻²)_ij/(c_i r_j)²                                  its variance
    q_pi = Σ_j V_ij (m_pj + σ_V²/v_j²)  +  T (α σ_I/(c_i v̂))²            programming noise, read noise of T row tiles
         + σ_g² Σ_t (E[Y⁺_pti²] + E[Y⁻_pti²])                            gain error of every physical column
    array power = Σ_pij v_j² (g⁺ + g⁻)_ij (m_pj + σ_V²/v_j²),            m_pj = E[x_pj²]
    TIA power   = R_f v̂² Σ_pti c_i² (E[Y⁺_pti²] + E[Y⁻_pti²])

where Y±_pti = Σ_j g±_ij/(c_i r_j) x_pj, j in tile t, is a column's current in units of the output. α is the gain of
drift compensation, the layer's total conductance just after programming over that now; 1 without it.

Row noise is shared by all columns: it is an independent error of variance σ_V²/v_j² on each input x_pj, passed on
by W̄. One device of each pair holds |W|, the other sits at G_min: statistics are computed once per weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from powerplan.hardware.devices import idle_device_moments, start_idle_mean
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.tiling import row_tiles
from powerplan.moments.weights import weight_moments
from powerplan.network.array_maps import ArrayMap
from powerplan.network.forward import crossbar_tensors, node_map
from powerplan.network.graph import Network
from powerplan.network.ops import CrossbarOp


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossbar:
    """The constants of one crossbar layer as tensors: W (n_out, n_in), |W|, sign W, the bias, the maps."""

    name: str
    map: ArrayMap
    weight: Tensor
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
                assert isinstance(node.op, CrossbarOp)
                weight, bias = crossbar_tensors(node.op, dtype, device)
                made.append(
                    cls(name=node.name, map=node_map(network, node), weight=weight, sign=weight.sign(), bias=bias)
                )
            kept[key] = tuple(made)
        return kept[key]

    @cached_property
    def magnitude_sums(self) -> Tensor:
        """Σ_i |W_ij| over the columns of each group, weighted by nothing: (G, n_in)."""
        return self.map.matrices(self.weight).abs().sum(1)


_CONSTANTS: WeakKeyDictionary[Network, dict[tuple[torch.dtype, str], tuple[Crossbar, ...]]] = WeakKeyDictionary()


class Injected(NamedTuple):
    """Error variance injected at the decoded outputs, each (B or 1, *shape) or None."""

    programming: Tensor
    read: Tensor | None
    column_gain: Tensor | None

    @property
    def total(self) -> Tensor:
        """Their sum, (B, *shape)."""
        parts = [part for part in (self.read, self.column_gain) if part is not None]
        return sum(parts, self.programming)


class Currents(NamedTuple):
    """Current of one side of one row tile's columns in units of the output: weights, mean and E[Y²], (B, *columns)."""

    weight: Tensor
    mean: Tensor
    square: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossbarMoments:
    """One crossbar at given gains.

    Attributes:
        c: conductance gain, () or (n_out, 1) [S per unit weight].
        v: voltage gain, () or (G, n_in) [V per unit activation].
        decode_v: v̂ () [V per unit activation].
        mean_weight: W̄ (n_out, n_in).
        weight_variance: V, broadcasts to (n_out, n_in).
        row_conductance: Σ_i (g⁺ + g⁻)_ij (G, n_in) [S].
        compensation: α ().
    """

    crossbar: Crossbar
    hardware: Hardware
    c: Tensor
    v: Tensor
    decode_v: Tensor
    mean_weight: Tensor
    weight_variance: Tensor
    row_conductance: Tensor
    compensation: Tensor | float = 1.0

    @classmethod
    def at(cls, crossbar: Crossbar, hardware: Hardware, conductance: Tensor, voltage: Tensor) -> CrossbarMoments:
        """The crossbar at conductance gain () or (n_out,) and voltage gain () or (G·n_in,)."""
        groups, n_in = crossbar.map.groups, crossbar.map.n_in
        c = conductance.unsqueeze(-1) if conductance.dim() else conductance
        v = voltage.reshape(groups, n_in) if voltage.dim() else voltage
        decode_v = voltage.log().mean().exp() if voltage.dim() else voltage
        r = decode_v / v if voltage.dim() else None
        size = crossbar.weight.shape[0] // groups
        idle = size * idle_device_moments(hardware)[0]
        compensation: Tensor | float = 1.0
        if hardware.shifts_mean or not hardware.has_constant_programming_noise:
            mean_weight, variance, held, start = weight_moments(crossbar.weight, crossbar.sign, c, r, hardware, groups)
            if hardware.drift_compensation:
                pairs = groups * n_in
                compensation = (start.sum() + pairs * size * start_idle_mean(hardware)) / (held.sum() + pairs * idle)
                mean_weight, variance = mean_weight * compensation, variance * compensation**2
        else:  # W̄ = W exactly, and every device has the same variance
            mean_weight = crossbar.weight
            variance = 2 * hardware.programming_noise_std**2 / c**2
            held = (
                c * crossbar.magnitude_sums
                if not c.dim()
                else (crossbar.map.matrices(crossbar.weight).abs() * c.view(groups, -1, 1)).sum(1)
            )
            if r is not None:
                held = held * r
                variance = variance / r.repeat_interleave(size, 0) ** 2
            held = held + size * hardware.conductance_min
        return cls(
            crossbar=crossbar,
            hardware=hardware,
            c=c,
            v=v,
            decode_v=decode_v,
            mean_weight=mean_weight,
            weight_variance=variance,
            row_conductance=held + idle,
            compensation=compensation,
        )

    @property
    def map(self) -> ArrayMap:
        """The linear maps of the operation."""
        return self.crossbar.map

    @property
    def is_shared(self) -> bool:
        """True if one array serves several positions: their errors come from the same devices."""
        return self.map.positions > 1 and self.hardware.mapping == "shared"

    @property
    def has_row_noise(self) -> bool:
        """True if the row voltages are noisy."""
        return self.hardware.input_noise_std > 0

    @property
    def row_noise(self) -> Tensor | float:
        """σ_V²/v², () or (G, n_in): variance of the row noise in units of the activation."""
        return (self.hardware.input_noise_std / self.v) ** 2 if self.has_row_noise else 0.0

    def mean(self, x: Tensor) -> Tensor:
        """Mean output (B, *shape) for mean inputs x (B, *input_shape)."""
        return self.map.add_bias(self.map.apply(x, self.mean_weight), self.crossbar.bias)

    def unshifted(self, x: Tensor) -> Tensor:
        """The output for mean inputs x if every device held its target on average."""
        return self.map.add_bias(self.map.apply(x, self.crossbar.weight), self.crossbar.bias)

    def by_variance(self, m: Tensor) -> Tensor:
        """Σ_j V_ij m_pj (B, *shape) for m (B, *input_shape)."""
        if self.weight_variance.shape[-1:] == (self.map.n_in,):
            return self.map.apply(m, self.weight_variance.expand(self.map.n_out, -1))
        return self.map.apply_uniform(m, self.weight_variance.reshape(-1).expand(self.map.n_out))

    def row_noise_through(self, weight: Tensor) -> Tensor:
        """Σ_j weight_ij σ_V²/v_j² of every column, (1, *shape); weight broadcasts to (n_out, n_in)."""
        full = self.map.matrices(weight.expand(self.map.n_out, self.map.n_in))
        noise = self.row_noise if isinstance(self.row_noise, float) or not self.v.dim() else self.row_noise.unsqueeze(1)
        return self._everywhere((full * noise).sum(-1).reshape(-1))

    def _everywhere(self, per_column: Tensor) -> Tensor:
        """The value (1, *shape) whose columns hold a quantity (n_out,) at every position."""
        columns = self.map.per_column(per_column).expand(-1, self.map.positions, -1)
        return self.map.gather(columns.unsqueeze(0))

    def injected(self, mean: Tensor, variance: Tensor) -> Injected:
        """Error variance injected for inputs of these moments, each (B, *input_shape)."""
        programming = self.by_variance(mean * mean + variance)
        if self.has_row_noise:
            programming = programming + self.row_noise_through(self.weight_variance)
        read = column_gain = None
        if self.hardware.read_noise_std:
            tiles = len(row_tiles(self.map.n_in, self.hardware.array_rows))
            read = self._everywhere(
                tiles
                * ((self.hardware.read_noise_std / (self.c * self.decode_v)) ** 2).reshape(-1).expand(self.map.n_out)
            )
        if self.hardware.column_gain_std:
            squares = [currents.square for currents in self.currents(mean, variance)]
            total = torch.stack(squares).sum(0)
            column_gain = (self.compensation * self.hardware.column_gain_std) ** 2 * self.map.gather_columns(total)
        return Injected(programming=programming, read=read, column_gain=column_gain)

    def currents(self, mean: Tensor, variance: Tensor, covariance: Tensor | None = None) -> Iterator[Currents]:
        """Currents of every physical column, tile by tile and side by side of the differential pair.

        Args:
            mean, variance: (B, *input_shape) of the inputs.
            covariance: (B, n, n) of the inputs of a single position; None = independent inputs.
        """
        idle, idle_variance = idle_device_moments(self.hardware)
        gain = (
            self.c
            if not self.v.dim()
            else self.c * (self.decode_v / self.v).repeat_interleave(self.map.n_out // self.map.groups, 0)
        )
        # variance of the device that holds |W|, beyond that of an idle one
        spread = self.weight_variance * (gain / self.compensation) ** 2 - 2 * idle_variance
        stored = self.mean_weight / self.compensation
        for tile in row_tiles(self.map.n_in, self.hardware.array_rows):
            inside = torch.zeros_like(self.mean_weight[0])
            inside[tile] = 1
            for side in (1, -1):
                g = (idle / gain + (side * stored).clamp(min=0)) * inside
                s = (idle_variance + spread * (side * self.crossbar.sign).clamp(min=0)) / gain**2 * inside
                first = self.map.apply_columns(mean, g)
                # E[Y²] = (g x̄)² + g² Var x + s² E[x²], the noise of the rows counted with Var x
                square = first * first + self.map.apply_columns(mean * mean + variance, s)
                if covariance is None:
                    square = square + self.map.apply_columns(variance, g * g)
                else:
                    square = square + ((g @ covariance) * g).sum(-1).reshape(square.shape)
                if self.has_row_noise:
                    full = self.map.matrices(g * g + s)
                    noise = self.row_noise if not self.v.dim() else self.row_noise.unsqueeze(1)  # type: ignore[union-attr]
                    square = square + self.map.columns_view((full * noise).sum(-1).reshape(-1))
                yield Currents(g, first, square)

    def array_power(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Power dissipated in the devices [W], mean over the batch, for inputs of these moments (B, *input_shape)."""
        drive = self.map.row_sums((mean * mean + variance).mean(0, keepdim=True))
        if self.has_row_noise:
            drive = drive + self.map.positions * self.row_noise
        return (self.v * self.v * drive * self.row_conductance).sum()

    def tia_power(self, mean: Tensor, variance: Tensor, covariance: Tensor | None = None) -> Tensor:
        """Power dissipated in the TIA feedback [W], mean over the batch; arguments as for :meth:`currents`."""
        resistance = self.hardware.feedback_resistance
        total = torch.zeros((), dtype=mean.dtype, device=mean.device)
        if resistance is None:
            return total
        scale = self.map.columns_view((self.c * self.decode_v).reshape(-1).expand(self.map.n_out)) ** 2
        for currents in self.currents(mean, variance, covariance):
            total = total + (scale * currents.square).sum()
        return resistance * (1 + self.hardware.column_gain_std**2) * total / mean.shape[0]
