"""The range of what is read from a column: how far it reaches without noise, and where its converter saturates.

In units of the output, a column of a row tile carries without noise

    y_i = Σ_{j in tile} (W_ij + w + G_min/(c_i r_j)) x_j                 w = 0 and no G_min for differential pairs.

The *full scale* of an array is the largest |y_i| over inputs, reads, positions, tiles and columns; for an offset
mapping its bound max |Σ (W_ij + w) x_j| + (G_min/c_i) max |Σ x_j|, which needs no further pass when gains change. Of
inputs in slices (:mod:`powerplan.hardware.input_slices`) it is that of every read, for inputs cut at the largest one of
the layer, x̂; and as rows are driven up to V_max whatever the gains, it is in proportion to V_max/(v̂ x̂). A read-out
saturates at ± a limit L_i:

    fixed feedback R_f:             L_i = (adc_range/R_f)/(c_i v̂)
    feedback tracking, no range:    L_i = adc_headroom · full scale,      R_f,i = adc_range/(c_i v̂ L_i).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.converters import quantised
from powerplan.hardware.hardware import Hardware, LayerHardware
from powerplan.hardware.stored import stored
from powerplan.hardware.tiling import row_tiles
from powerplan.network.array_maps import ArrayMap, ConstantRowMap
from powerplan.network.forward import ideal_pass, ideal_values, node_map
from powerplan.network.graph import Network
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp


@dataclass(frozen=True, kw_only=True)
class FullScale:
    """What the ideal pass of a batch says of one layer.

    Attributes:
        column: largest |Σ_j (W_ij + w) x_j| of a row tile, in units of the output.
        row_sum: largest |Σ_j x_j| of a row tile, in units of the input.
        non_negative: no input of the layer is below 0.
        peak: x̂, the largest |x_j| of a layer whose inputs come in slices; None = they do not.
    """

    column: float
    row_sum: float
    non_negative: bool
    peak: float | None = None


def full_scales(network: Network, hardware: Hardware, inputs: np.ndarray) -> tuple[FullScale | None, ...]:
    """Full scale of every crossbar layer over inputs (B, *input_shape); None where the read-out asks for none.

    Kept for the last inputs of a network.
    """
    if not hardware.needs_full_scale:
        return (None,) * len(network.crossbars)
    key = (
        hashlib.sha256(repr(inputs.dtype).encode() + np.ascontiguousarray(inputs).tobytes()).hexdigest(),
        (hardware.array_rows, hardware.weight_mapping, hardware.bias_mapping),
        hardware.input_slice_bits is not None and (hardware.input_slice_bits, hardware.dac_bits),
    )
    entry = _KEPT.get(network)
    if entry is None or entry[0] != key:
        entry = _KEPT[network] = (key, _measured(network, hardware, inputs))
    return entry[1]


_KEPT: WeakKeyDictionary[Network, tuple[object, tuple[FullScale | None, ...]]] = WeakKeyDictionary()


#: values at the rows of a layer that are worked on at a time
_ENTRIES = 1 << 22


@torch.no_grad()
def _measured(network: Network, hardware: Hardware, inputs: np.ndarray) -> tuple[FullScale, ...]:
    scales: dict[str, FullScale] = {}
    cuts = dict(
        zip(network.layer_names, (own.input_slices for own in hardware.of_layers(network.layer_names)), strict=True)
    )
    peaks = ideal_pass(network, inputs).row_peaks if any(cuts.values()) else {}

    def observe(node: Node, x: Tensor) -> None:
        assert isinstance(node.op, CrossbarOp)
        arrays = stored(node.op, hardware)
        map: ArrayMap = node_map(network, node)
        map = ConstantRowMap(map, 1.0) if arrays.has_bias_row else map
        weight = torch.as_tensor(np.array(arrays.weight, dtype=np.float64)) + (arrays.offset or 0.0)
        by_group = weight.reshape(arrays.groups, -1, arrays.rows)
        reads, cut, peak = [map.patches(x)], cuts[node.array_name], None
        if cut is not None:
            peak = float(peaks[node.array_name].max())
            limit = torch.full((), peak, dtype=x.dtype)
            levels = quantised(reads[0], limit, cut.bits)
            reads = cut.cut_rows(levels, limit, constant=arrays.has_bias_row)
        before = scales.get(node.array_name)
        column, row_sum = (0.0, 0.0) if before is None else (before.column, before.row_sum)
        for tile in row_tiles(arrays.rows, hardware.array_rows):
            for rows in reads:
                part = rows[..., tile]
                column = max(column, float((part @ by_group[..., tile].mT).abs().max()))
                row_sum = max(row_sum, float(part.sum(-1).abs().max()))
        non_negative = bool((x >= 0).all()) and (before is None or before.non_negative)
        scales[node.array_name] = FullScale(column=column, row_sum=row_sum, non_negative=non_negative, peak=peak)

    maps = [node_map(network, node) for nodes in network.reads.values() for node in nodes]
    step = max(1, _ENTRIES // max(m.groups * m.n_in * m.positions for m in maps))
    for low in range(0, len(inputs), step):
        ideal_values(network, inputs[low : low + step], keep=(), observe=observe)
    return tuple(scales[name] for name in network.layer_names)


def column_limits(hardware: LayerHardware, scale: FullScale | None, c: Tensor, decode: Tensor) -> Tensor:
    """L_i of every column, in units of the output; differentiable in the gains.

    Args:
        c: conductance gains [S per unit weight], of any shape.
        decode: c v̂ [S V per unit output], of the same shape.
    """
    if hardware.feedback_resistance is not None and hardware.adc_range is not None:
        return hardware.adc_range / hardware.feedback_resistance / decode
    assert scale is not None
    full = torch.full_like(c, scale.column)
    if hardware.devices_per_weight == 1:
        full = full + hardware.conductance_min / c * scale.row_sum
    if scale.peak is not None:
        full = full * (hardware.voltage_max / scale.peak) * c / decode
    # a layer whose columns carry nothing has any limit
    return hardware.adc_headroom * torch.where(full > 0, full, torch.ones_like(full))


def feedback_resistances(hardware: LayerHardware, scale: FullScale | None, c: Tensor, decode: Tensor) -> Tensor | None:
    """R_f,i of every column [ohm], or None where it is not known; arguments as for :func:`column_limits`."""
    if hardware.feedback_tracking:
        assert hardware.adc_range is not None
        return hardware.adc_range / (decode * column_limits(hardware, scale, c, decode))
    return None if hardware.feedback_resistance is None else torch.full_like(c, hardware.feedback_resistance)
