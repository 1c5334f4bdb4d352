"""Power of the converters.

Each row of each array has a converter that drives it once per read, each quantity read from a column of an array is
converted once per read (:mod:`powerplan.hardware.costs.counts`):

    P = (n_DAC E_DAC + n_ADC E_ADC)/read_time
"""

from __future__ import annotations

import numpy as np

from powerplan.hardware.costs.counts import count
from powerplan.hardware.hardware import Hardware
from powerplan.network import Network


def converter_power(network: Network, hardware: Hardware) -> np.ndarray:
    """Power of the converters of every crossbar layer [W], (L,); whatever the gains."""
    if not (hardware.dac_energy or hardware.adc_energy):
        return np.zeros(len(network.crossbars))
    counts = count(network, hardware)
    energy = counts.driven * hardware.dac_energy + counts.conversions * hardware.adc_energy
    return np.asarray(energy / hardware.read_time)
