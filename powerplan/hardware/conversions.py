"""Power of the converters.

Each row of each array has a converter that drives it once per read, each quantity read from a column of an array is
converted once per read:

    P = (n_DAC E_DAC + n_ADC E_ADC)/read_time,    n_DAC = rows × column tiles × positions,
                                                  n_ADC = quantities × row tiles × positions.

An output is one quantity per row tile, or two with dividers, whose two columns are converted separately.
"""

from __future__ import annotations

import numpy as np

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.tiling import layer_arrays
from powerplan.network import CrossbarOp, Network


def converter_power(network: Network, hardware: Hardware) -> np.ndarray:
    """Power of the converters of every crossbar layer [W], (L,); whatever the gains."""
    if not (hardware.dac_energy or hardware.adc_energy):
        return np.zeros(len(network.crossbars))
    sides = 2 if hardware.read_out == "divider" else 1
    power = []
    for node, arrays in zip(network.crossbars, layer_arrays(network, hardware), strict=True):
        assert isinstance(node.op, CrossbarOp)
        positions = arrays.copies * arrays.reads
        driven = node.op.n_rows * arrays.column_tiles * positions
        read = sides * node.op.n_out * arrays.row_tiles * positions
        power.append((driven * hardware.dac_energy + read * hardware.adc_energy) / hardware.read_time)
    return np.array(power)
