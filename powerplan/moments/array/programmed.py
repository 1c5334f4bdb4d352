"""First two moments of a programmed crossbar: effective weights, injected error, power.

A crossbar operation reads its array at P positions, x_p the values at its rows (see
:mod:`powerplan.network.array_maps`). With the voltage gain v_j of row j, v̂ their geometric mean, r_j = v̂/v_j,
G±_ij = G_min + c_i r_j max(±W_ij, 0), device means g± and variances s±², row voltages v_j x_j + n_j:

    U_ij = α (g⁺_ij − g⁻_ij)/(c_i r_j)                                   mean of what the devices multiply by
    W̄_ij = U_ij − u_ij                                                   mean weight
    V_ij = α² (s⁺² + s⁻²)_ij/(c_i r_j)²                                  its variance
    q_pi = Σ_j V_ij (m_pj + σ_V²/v_j²)  +  T (α σ_I/(c_i v̂))²            programming noise, read noise of T row tiles
         + σ_g² Σ_t (E[Y⁺_pti²] + E[Y⁻_pti²])                            gain error of every physical column
    array power = Σ_pij v_j² (g⁺ + g⁻)_ij (m_pj + σ_V²/v_j²),            m_pj = E[x_pj²]
    TIA power   = R_f v̂² Σ_pti c_i² (E[Y⁺_pti²] + E[Y⁻_pti²])

where Y±_pti = Σ_j g±_ij/(c_i r_j) x_pj, j in tile t, is a column's current in units of the output. α is the gain of
drift compensation, the layer's total conductance just after programming over that now; 1 without it.

Row noise is shared by all columns: it is an independent error of variance σ_V²/v_j² on each input x_pj, passed on
by U. One device of each pair holds |W|, the other sits at G_min: statistics are computed once per weight.

With an offset mapping there is one device, G_ij = G_min + c_i r_j (W_ij + w), no minus side, and
u_ij = w + G_min/(c_i r_j) is subtracted digitally, after α, with the digital inputs: it meets no row noise. For pairs
u = 0.

Columns that end in a passive load have moments of their own, :mod:`powerplan.moments.array.divider`: W̄ and V are then
the ĝ and F of both sides, and V goes with variances of inputs only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.devices import idle_device_moments, just_programmed
from powerplan.hardware.full_scale import FullScale
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.tiling import row_tiles
from powerplan.moments.array.columns import device_sides, gain_errors
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.device_errors import DeviceErrors
from powerplan.moments.array.divider import Divider
from powerplan.moments.array.weights import read_for_drift, weight_moments
from powerplan.moments.conversion.channels import fluctuation
from powerplan.network.array_maps import ArrayMap


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


@dataclass(frozen=True, kw_only=True, eq=False)
class ProgrammedArray:
    """One crossbar at given gains.

    Attributes:
        c: conductance gain, () or (n_out, 1) [S per unit weight].
        v: voltage gain, () or (G, n_in) [V per unit activation].
        decode_v: v̂ () [V per unit activation].
        mean_weight: W̄ (n_out, n_in).
        subtracted: u, broadcasts to (n_out, n_in): what is subtracted digitally from what the devices multiply by.
        weight_variance: V, broadcasts to (n_out, n_in).
        row_conductance: Σ_i (g⁺ + g⁻)_ij (G, n_in) [S].
        compensation: α ().
        scale: of the columns, where the read-out depends on it.
        divider: of passive columns; None with amplifiers.
        averaged: the converters ("rows", "noisy rows", those whose inputs carry noise, "columns") whose rounding is its
            average over a band of gains, not that at these very ones.
    """

    crossbar: ArrayConstants
    hardware: Hardware
    c: Tensor
    v: Tensor
    decode_v: Tensor
    mean_weight: Tensor
    weight_variance: Tensor
    row_conductance: Tensor
    compensation: Tensor | float = 1.0
    subtracted: Tensor | float = 0.0
    divider: Divider | None = None
    scale: FullScale | None = None
    averaged: frozenset[str] = frozenset()

    @classmethod
    def at(
        cls,
        crossbar: ArrayConstants,
        hardware: Hardware,
        conductance: Tensor,
        voltage: Tensor,
        scale: FullScale | None = None,
        *,
        averaged: frozenset[str] = frozenset(),
    ) -> ProgrammedArray:
        """The crossbar at conductance gain () or (n_out,) and voltage gain () or (G·n_in,)."""
        groups, n_in = crossbar.map.groups, crossbar.map.n_in
        c = conductance.unsqueeze(-1) if conductance.dim() else conductance
        decode_v = voltage.log().mean().exp() if voltage.dim() else voltage
        v = voltage.reshape(groups, -1) if voltage.dim() else voltage
        if v.dim() and v.shape[1] < n_in:  # the constant that drives the biases
            v = torch.cat([v, decode_v.expand(groups, 1)], 1)
        r = decode_v / v if voltage.dim() else None
        size = crossbar.weight.shape[0] // groups
        partners = (hardware.devices_per_weight - 1) * size  # idle devices of the pairs on one row of a group
        idle = partners * idle_device_moments(hardware)[0]
        compensation: Tensor | float = 1.0
        subtracted: Tensor | float = 0.0
        if hardware.devices_per_weight == 1:
            gain = c if r is None else c * r.repeat_interleave(size, 0)
            subtracted = crossbar.offset + hardware.conductance_min / gain
        if hardware.shifts_mean or not hardware.has_constant_programming_noise:
            now = weight_moments(crossbar.weight, crossbar.sign, c, r, hardware, groups, crossbar.offset)
            mean_weight, variance, held = now
            if hardware.drift_compensation:
                first = just_programmed(hardware)
                start = weight_moments(crossbar.weight, crossbar.sign, c, r, first, groups, crossbar.offset)
                compensation = read_for_drift(start, first, partners, subtracted - crossbar.offset)
                compensation = compensation / read_for_drift(now, hardware, partners, subtracted - crossbar.offset)
                # α (W̄ + u) − u, with W̄ + w in mean_weight
                mean_weight = mean_weight * compensation + (compensation - 1) * (subtracted - crossbar.offset)
                variance = variance * compensation**2
            if crossbar.offset:
                mean_weight = mean_weight - crossbar.offset
        else:  # W̄ = W exactly, and every device has the same variance
            mean_weight = crossbar.weight
            variance = hardware.devices_per_weight * hardware.programming_noise_std**2 / c**2
            held = c * crossbar.magnitude_sums if not c.dim() else (crossbar.magnitudes * c.view(groups, -1, 1)).sum(1)
            if r is not None:
                held = held * r
                variance = variance / r.repeat_interleave(size, 0) ** 2
            held = held + size * hardware.conductance_min
        made = cls(
            crossbar=crossbar,
            hardware=hardware,
            c=c,
            v=v,
            decode_v=decode_v,
            mean_weight=mean_weight,
            weight_variance=variance,
            row_conductance=held + idle,
            compensation=compensation,
            subtracted=subtracted,
            scale=scale,
            averaged=averaged,
        )
        return made if hardware.read_out == "tia" else made._divided()

    def _divided(self) -> ProgrammedArray:
        """The same devices in columns that end in a passive load."""
        idle = self.hardware.conductance_min / self.gain
        divider = Divider.of(
            self.hardware,
            (self.map, self.affine),
            row_tiles(self.map.n_in, self.hardware.array_rows),
            device_sides(self),
            tuple(idle + (sign * self.crossbar.weight).clamp(min=0) for sign in (1, -1)),
            self.c,
            self.decode_v / self.v,
            self.row_noise if self.has_row_noise else None,
        )
        return replace(self, mean_weight=divider.mean_weight, weight_variance=divider.through, divider=divider)

    @property
    def map(self) -> ArrayMap:
        """The linear maps of the operation."""
        return self.crossbar.map

    @property
    def is_shared(self) -> bool:
        """True if one array serves several positions: their errors come from the same devices."""
        return self.map.positions > 1 and self.hardware.mapping == "shared"

    @property
    def device_errors(self) -> tuple[DeviceErrors, ...]:
        """The errors of the devices, in parts that are independent."""
        if self.divider is None:
            return (DeviceErrors(variance=self.weight_variance),)
        relative = self.divider.relative.expand(self.map.groups, self.map.n_in)
        return tuple(
            DeviceErrors(variance=side.variance, node=side.node, relative=relative, tiles=self.divider.tiles)
            for side in self.divider.sides
        )

    @property
    def gain(self) -> Tensor:
        """γ = c r, () or (n_out, 1) or (n_out, n_in) [S per unit weight]."""
        if not self.v.dim():
            return self.c
        return self.c * (self.decode_v / self.v).repeat_interleave(self.map.n_out // self.map.groups, 0)

    @property
    def has_row_noise(self) -> bool:
        """True if the row voltages are noisy."""
        return self.hardware.input_noise_std > 0

    @property
    def row_noise(self) -> Tensor:
        """σ_V²/v_j² (G, n_in): variance of the row noise in units of the activation."""
        return ((self.hardware.input_noise_std / self.v) ** 2).expand(self.map.groups, self.map.n_in)

    @property
    def analog_weight(self) -> Tensor:
        """U (n_out, n_in): what the devices multiply by on average, and so what passes on row noise."""
        return self.mean_weight if isinstance(self.subtracted, float) else self.mean_weight + self.subtracted

    @property
    def affine(self) -> ArrayMap:
        """The maps of values."""
        return self.crossbar.affine

    def mean(self, x: Tensor) -> Tensor:
        """Mean output (B, *shape) for mean inputs x (B, *input_shape)."""
        return self.map.add_bias(self.affine.apply(x, self.mean_weight), self.crossbar.bias)

    def unshifted(self, x: Tensor) -> Tensor:
        """The output for mean inputs x if every device held its target on average."""
        return self.map.add_bias(self.affine.apply(x, self.crossbar.weight), self.crossbar.bias)

    def by_variance(self, m: Tensor, map: ArrayMap) -> Tensor:
        """Σ_j V_ij m_pj (B, *shape) for m (B, *input_shape): squares with the affine map, variances with the linear."""
        if self.weight_variance.shape[-1:] == (map.n_in,):
            return map.apply(m, self.weight_variance.expand(map.n_out, -1))
        return map.apply_uniform(m, self.weight_variance.reshape(-1).expand(self.map.n_out))

    def row_noise_through(self, weight: Tensor) -> Tensor:
        """Σ_j weight_ij σ_V²/v_j² of every column, (1, *shape); weight broadcasts to (n_out, n_in)."""
        full = self.map.matrices(weight.expand(self.map.n_out, self.map.n_in))
        return self._everywhere((full * self.row_noise.unsqueeze(1)).sum(-1).reshape(-1))

    def per_column(self, quantity: Tensor) -> Tensor:
        """A quantity of the layer () or of its columns (n_out, 1) as (n_out,)."""
        return quantity.reshape(-1).expand(self.map.n_out)

    @property
    def decode(self) -> Tensor:
        """c_i v̂ of every column (n_out,) [S V per unit output]."""
        return self.per_column(self.c * self.decode_v)

    def _everywhere(self, per_column: Tensor) -> Tensor:
        """The value (1, *shape) whose columns hold a quantity (n_out,) at every position."""
        columns = self.map.per_column(per_column).expand(-1, self.map.positions, -1)
        return self.map.gather(columns.unsqueeze(0))

    def injected(self, mean: Tensor, variance: Tensor) -> Injected:
        """Error variance injected for inputs of these moments, each (B, *input_shape)."""
        if self.divider is not None:
            nodes = torch.stack([node.devices for node in self.divider.nodes(mean, variance)])
            programming = self.map.gather_columns(nodes.sum(0))
        else:
            programming = self.by_variance(mean * mean + variance, self.affine)
            if self.has_row_noise:
                programming = programming + self.row_noise_through(self.weight_variance)
        read = column_gain = None
        if self.hardware.read_noise_std:
            tiles = len(row_tiles(self.map.n_in, self.hardware.array_rows))
            constant = tiles * (self.compensation * self.hardware.read_noise_std / (self.c * self.decode_v)) ** 2
            read = self._everywhere(self.per_column(constant))
        fluctuating = fluctuation(self, mean, variance)
        if fluctuating is not None:
            fluctuating = self.map.gather_columns(fluctuating)
            read = fluctuating if read is None else read + fluctuating
        if self.hardware.column_gain_std:
            squares = [currents.square for currents in gain_errors(self, mean, variance)]
            total = torch.stack(squares).sum(0)
            column_gain = (self.compensation * self.hardware.column_gain_std) ** 2 * self.map.gather_columns(total)
        return Injected(programming=programming, read=read, column_gain=column_gain)
