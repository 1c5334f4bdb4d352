"""Chips described by the fields of costs take what was published, within a factor of two."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import powerplan as pp

#: bits of inputs and outputs, TOPS/W: NeuRRAM, extended data figure 12 of Wan et al., Nature 608 (2022),
#: 10.1038/s41586-022-04992-8, as CiMLoop (Andrulis et al., 10.1109/ISPASS61541.2024.00024) has read it
NEURRAM = [(2, 4, 40.33), (4, 6, 15.95), (6, 8, 8.26)]
#: charged on a word line per device at every bit of an input [F]: 48 fF of its driver over 256 devices, 1.5 fF of an
#: access transistor and 0.6 fF of coupling; its swing is 1.3 V of a 2.2 V supply
WORD_LINE = (48 / 256 + 1.5 + 0.6) * 1e-15


SURVEY, CAPACITOR = {"type": "survey", "node": 130e-9}, {"type": "capacitor", "voltage": 1.8}


# the survey's fit starts at 4 bits, where it is 2.5 times what this chip takes in all
@pytest.mark.parametrize(
    ("adc", "inputs", "outputs", "published"),
    [(CAPACITOR, *row) for row in NEURRAM] + [(SURVEY, *row) for row in NEURRAM[1:]],
)
def test_neurram(adc: dict[str, object], inputs: int, outputs: int, published: float) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(128, 256, bias=False)
    torch.nn.init.normal_(layer.weight, generator=generator)
    network = pp.from_torch(layer, (128,))
    magnitude = inputs - 1  # bits beside the sign; at most three of them in one phase
    pulses = sum(2**bits - 1 for bits in (min(magnitude, 3), max(magnitude - 3, 0)))
    hardware = pp.Hardware.from_dict(
        {
            "conductance_min": 1e-6,
            "conductance_max": 40e-6,
            "voltage_max": 0.5,
            "read_time": 10e-9 * pulses,
            "adc_bits": outputs,
            "costs": {
                "adc": adc,
                "row_capacitance": WORD_LINE * magnitude,
                "row_voltage": (2.2 * 1.3) ** 0.5,
            },
        }
    )
    values = np.random.default_rng(0).uniform(-1, 1, (16, 128))
    gains = pp.Gains.uniform(network, hardware, inputs=values)
    costs = pp.predict(network, hardware, gains, values).costs
    assert costs is not None
    assert 0.5 < costs.tops_per_watt / published < 2
