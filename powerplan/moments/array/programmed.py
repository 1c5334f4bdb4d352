"""One programmed array: effective weights, and the moments of what it adds to its outputs.

A crossbar operation reads its array at P positions, x_p the values at its rows (see
:mod:`powerplan.network.array_maps`). With the voltage gain v_j of row j, v̂ their geometric mean, r_j = v̂/v_j,
G±_ij = G_min + c_i r_j max(±W_ij, 0), device means g± and variances s±², row voltages v_j x_j + n_j:

    U_ij = α (g⁺_ij − g⁻_ij)/(c_i r_j)                                   mean of what the devices multiply by
    W̄_ij = U_ij − u_ij                                                   mean weight
    V_ij = α² (s⁺² + s⁻²)_ij/(c_i r_j)²                                  its variance
    q_pi = Σ_j V_ij (m_pj + σ_V²/v_j²)  +  T (α σ_I/(c_i v̂))²            programming noise, read noise of T row tiles
         + α² σ_g² Σ_t (E[Y⁺_pti²] + E[Y⁻_pti²])                         gain error of every physical column
    array power = Σ_pij v_j² (g⁺ + g⁻)_ij (m_pj + σ_V²/v_j²),            m_pj = E[x_pj²]
    TIA power   = (1 + σ_g²) R_f v̂² Σ_pti c_i² (E[Y⁺_pti²] + E[Y⁻_pti²])

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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from powerplan.hardware.full_scale import FullScale, feedback_resistances
from powerplan.hardware.gains import driven
from powerplan.hardware.hardware import LayerHardware
from powerplan.hardware.tiling import row_tiles
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.held import Held
from powerplan.moments.array.read_out import Channel, ReadOut
from powerplan.network.array_maps import ArrayMap


@dataclass(frozen=True, kw_only=True, eq=False)
class ProgrammedArray:
    """One array at given gains; :func:`powerplan.moments.array.program.program` makes it.

    Attributes:
        c: conductance gain, () or (n_out, 1) [S per unit weight].
        v: voltage gain, () or (G, n_in) [V per unit activation].
        decode_v: v̂ () [V per unit activation].
        held: the moments of what its devices hold.
        subtracted: u, broadcasts to (n_out, n_in): what is subtracted digitally from what the devices multiply by.
        read_out: amplifiers, or passive loads.
        column_scale: what outputs are multiplied by digitally, (n_out, 1); all that is in units of the output has it.
        row_scale: what inputs are multiplied by digitally, (G, n_in); c r of programming is the gain times this.
        scale: of the columns, where the read-out depends on it.
        averaged: the converters ("rows", "noisy rows", those whose inputs carry noise, "columns") whose rounding is its
            average over a band of gains, not that at these very ones.
        slice_weights: a_s of the reads that inputs in slices take.
    """

    constants: ArrayConstants
    hardware: LayerHardware
    c: Tensor
    v: Tensor
    decode_v: Tensor
    held: Held
    read_out: ReadOut
    subtracted: Tensor | float = 0.0
    scale: FullScale | None = None
    averaged: frozenset[str] = frozenset()
    column_scale: Tensor | float = 1.0
    row_scale: Tensor | float = 1.0
    slice_weights: tuple[float, ...] = (1.0,)

    @property
    def mean_weight(self) -> Tensor:
        """W̄ (n_out, n_in)."""
        return self.held.moments.mean

    @property
    def mean_square(self) -> Tensor:
        """W̄² (n_out, n_in)."""
        return self.held.mean_square

    @property
    def weight_variance(self) -> Tensor:
        """V, broadcasts to (n_out, n_in)."""
        return self.held.moments.variance

    @property
    def row_conductance(self) -> Tensor:
        """Σ_i (g⁺ + g⁻)_ij (G, n_in) [S]."""
        return self.held.moments.row_conductance

    @property
    def compensation(self) -> Tensor | float:
        """α (), times the scale of the column (n_out, 1) where there is one."""
        return self.held.moments.compensation

    @property
    def column_compensation(self) -> Tensor | float:
        """The same for values by column: broadcasts to (B, *columns)."""
        whole = self.compensation
        return self.map.columns_view(self.per_column(whole)) if isinstance(whole, Tensor) and whole.dim() else whole

    @property
    def holds_targets(self) -> bool:
        """True if every device holds its target on average: W̄ = W."""
        hardware = self.hardware
        exact = hardware.has_constant_programming_noise and not hardware.shifts_mean and not hardware.has_wires
        return exact and hardware.read_out == "tia" and not (hardware.scales_columns or hardware.scales_rows)

    @property
    def map(self) -> ArrayMap:
        """The linear maps of the operation, of errors and variances."""
        return self.constants.map

    @property
    def affine(self) -> ArrayMap:
        """The maps of values."""
        return self.constants.affine

    @property
    def is_shared(self) -> bool:
        """True if one array serves several positions, of one read or several: their errors come from the same
        devices."""
        return self.constants.positions > 1 and self.hardware.mapping == "shared"

    @property
    def is_read_again(self) -> bool:
        """True if several nodes read the same devices."""
        return len(self.constants.reads) > 1 and self.hardware.mapping == "shared"

    def scaled(self, scale: Tensor) -> ProgrammedArray:
        """The array with outputs times a digital scale (n_out, 1)."""
        return replace(
            self,
            held=self.held.changed(lambda moments: moments.scaled(scale)),
            read_out=self.read_out.scaled(scale),
            subtracted=self.subtracted if isinstance(self.subtracted, float) else scale * self.subtracted,
            column_scale=scale,
        )

    def driven(self, scale: Tensor) -> ProgrammedArray:
        """The array with inputs times a digital scale (G, n_in): the same devices, driven by other voltages than they
        were programmed for, the row with the largest scale as before."""
        v, decode_v = driven(self.v, self.decode_v, scale)
        by_device = scale.repeat_interleave(self.map.n_out // self.map.groups, 0)
        return replace(
            self,
            v=v,
            decode_v=decode_v,
            held=self.held.changed(lambda moments: moments.driven(by_device)),
            read_out=self.read_out.driven(scale),
            subtracted=self.subtracted if isinstance(self.subtracted, float) else by_device * self.subtracted,
            row_scale=scale,
        )

    @cached_property
    def views(self) -> Mapping[str, ProgrammedArray]:
        """The array as each of several nodes reads it."""
        return {
            name: replace(self, constants=replace(self.constants, map=map, affine=affine))
            for name, (map, affine) in self.constants.reads.items()
        }

    @property
    def by_read(self) -> Mapping[str, ProgrammedArray]:
        """The array as every node reads it, itself where there is one."""
        return self.views if len(self.constants.reads) > 1 else dict.fromkeys(self.constants.reads, self)

    @cached_property
    def tiles(self) -> tuple[slice, ...]:
        """The rows of every row tile."""
        return tuple(row_tiles(self.map.n_in, self.hardware.array_rows))

    @cached_property
    def whole(self) -> Channel:
        """All tiles and sides."""
        return Channel(tuple(range(len(self.tiles))), tuple(range(self.hardware.devices_per_weight)))

    def within(self, channel: Channel, value: Tensor) -> Tensor:
        """A quantity of devices that broadcasts to (n_out, n_in), 0 outside the rows of a channel."""
        if len(channel.tiles) == len(self.tiles):
            return value
        inside = torch.zeros_like(self.constants.weight[0])
        for tile in channel.tiles:
            inside[self.tiles[tile]] = 1
        return value * inside

    @property
    def sides(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Mean g/(c r) and variance s²/(c r)² of the devices on each side, in units of the weight, (n_out, n_in)."""
        return self.held.kept("sides", lambda: self.read_out.sides(self))

    @property
    def conductance(self) -> Tensor:
        """g/(c r) of the devices on all sides, added up, in units of the weight, (n_out, n_in)."""
        return torch.stack([mean for mean, _ in self.sides]).sum(0)

    @property
    def relative(self) -> Tensor:
        """r, () or (G, n_in): relative gain of the rows."""
        return self.decode_v / self.v

    @property
    def gain(self) -> Tensor:
        """γ = c r, () or (n_out, 1) or (n_out, n_in) [S per unit weight]."""
        if not self.v.dim():
            return self.c
        return self.c * self.relative.repeat_interleave(self.map.n_out // self.map.groups, 0)

    @cached_property
    def one_read(self) -> ProgrammedArray:
        """The array in one of the reads of inputs in slices."""
        return replace(self, slice_weights=(1.0,))

    @property
    def fresh_share(self) -> float:
        """Σ a_s²: what is left of the variance of noise that is fresh in every read."""
        return sum(weight**2 for weight in self.slice_weights)

    @property
    def programmed_gain(self) -> Tensor:
        """c r [S per unit weight] that the targets are made with, as ``gain`` or (n_out, n_in)."""
        if isinstance(self.row_scale, float):
            return self.gain
        return self.gain * self.row_scale.repeat_interleave(self.map.n_out // self.map.groups, 0)

    @property
    def row_noise(self) -> Tensor:
        """σ_V²/v_j² (G, n_in): variance of the row noise in units of the activation."""
        noise = (self.hardware.input_noise_std / self.v) ** 2
        return (self.fresh_share * noise).expand(self.map.groups, self.map.n_in)

    def with_row_noise(self, squares: Tensor) -> Tensor:
        """Σ_p E[x_pj²] (G, n_in) over the positions, with the noise of the rows."""
        if not self.hardware.input_noise_std:
            return squares
        return squares + self.map.positions * self.row_noise

    def row_noise_through(self, weight: Tensor) -> Tensor:
        """Σ_j weight_ij σ_V²/v_j² (*columns); weight broadcasts to (n_out, n_in)."""
        if not self.hardware.input_noise_std:
            return self.map.columns_view(weight.new_zeros(self.map.n_out))
        full = self.map.matrices(weight.expand(self.map.n_out, self.map.n_in))
        return self.map.columns_view((full * self.row_noise.unsqueeze(1)).sum(-1).reshape(-1))

    @property
    def analog_weight(self) -> Tensor:
        """U (n_out, n_in): what the devices multiply by on average, and so what passes on row noise."""
        return self.mean_weight if isinstance(self.subtracted, float) else self.mean_weight + self.subtracted

    def mean(self, x: Tensor) -> Tensor:
        """Mean output (B, *shape) for mean inputs x (B, *input_shape)."""
        return self.map.add_bias(self.affine.apply(x, self.mean_weight), self.constants.bias)

    def unshifted(self, x: Tensor) -> Tensor:
        """The output for mean inputs x if every device held its target on average."""
        return self.map.add_bias(self.affine.apply(x, self.constants.weight), self.constants.bias)

    def passed(self, variance: Tensor) -> Tensor:
        """Variance (B, *shape) that independent inputs of this variance (B, *input_shape) cause at the output."""
        return self.map.apply(variance, self.mean_square)

    def weighted(self, m: Tensor, weight: Tensor, map: ArrayMap) -> Tensor:
        """Σ_j weight_ij m_pj (B, *columns) for m (B, *input_shape) and a weight that broadcasts to (n_out, n_in):
        squares with the affine map, variances with the linear."""
        if weight.shape[-1:] == (map.n_in,):
            return map.apply_columns(m, weight.expand(map.n_out, -1))
        return map.apply_uniform(m, weight.reshape(-1).expand(self.map.n_out))

    def per_column(self, quantity: Tensor) -> Tensor:
        """A quantity of the layer () or of its columns (n_out, 1) as (n_out,)."""
        return quantity.reshape(-1).expand(self.map.n_out)

    @cached_property
    def decode(self) -> Tensor:
        """c_i v̂ of every column (n_out,) [S V per unit output]."""
        return self.per_column(self.c * self.decode_v)

    @cached_property
    def feedback_resistance(self) -> Tensor | None:
        """R_f,i of the amplifiers of every column (n_out,) [ohm]; None where it is not known."""
        return feedback_resistances(self.hardware, self.scale, self.per_column(self.c), self.decode)
