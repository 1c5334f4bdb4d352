"""Chips described by the fields of costs are within a factor of two of what was published, or said to be ``far``.

The numbers are those of docs/costs.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.costs.breakdown import CostBreakdown
from powerplan.hardware.costs.converters import as_adc


class Expected(NamedTuple):
    """What is computed, in the unit of what was published."""

    value: float
    within: bool


def near(value: float) -> Expected:
    """Within a factor of two of what was published."""
    return Expected(value, within=True)


def far(value: float) -> Expected:
    """Not within a factor of two."""
    return Expected(value, within=False)


def check(computed: float, expected: Expected, published: float) -> None:
    assert computed == pytest.approx(expected.value, rel=0.01)
    assert (0.5 < computed / published < 2) == expected.within


def costs_of(fields: dict[str, Any], weights: np.ndarray, values: np.ndarray) -> CostBreakdown:
    """Of a layer.

    Args:
        fields: of the hardware.
        weights: (outputs, inputs).
        values: (samples, inputs).
    """
    layer = torch.nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
    network = pp.from_torch(layer, (weights.shape[1],))
    hardware = pp.Hardware.from_dict(fields)
    costs = pp.predict(network, hardware, pp.Gains.uniform(network, hardware, inputs=values), values).costs
    assert costs is not None
    return costs


# ---- NeuRRAM: Wan et al., Nature 608 (2022), 10.1038/s41586-022-04992-8, extended data figure 12 as CiMLoop (Andrulis
# et al., 10.1109/ISPASS61541.2024.00024) has read it

#: charged on a word line per device at every bit of an input [F]: 48 fF of its driver over 256 devices, 1.5 fF of an
#: access transistor and 0.6 fF of coupling; its swing is 1.3 V of a 2.2 V supply
WORD_LINE = (48 / 256 + 1.5 + 0.6) * 1e-15


@pytest.mark.parametrize(
    ("inputs", "outputs", "published", "capacitor", "survey"),
    # the survey's fit starts at 4 bits, where it is 2.5 times what this chip takes in all
    [
        (2, 4, 40.33, near(63.8), far(16.4)),
        (4, 6, 15.95, near(17.9), near(9.4)),
        (6, 8, 8.26, near(11.9), near(6.0)),
    ],
)
def test_neurram(inputs: int, outputs: int, published: float, capacitor: Expected, survey: Expected) -> None:
    layer = torch.nn.Linear(128, 256, bias=False)
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    magnitude = inputs - 1  # bits beside the sign; at most three of them in one phase
    pulses = sum(2**bits - 1 for bits in (min(magnitude, 3), max(magnitude - 3, 0)))
    chip = {
        "conductance_min": 1e-6,
        "conductance_max": 40e-6,
        "voltage_max": 0.5,
        "read_time": 10e-9 * pulses,
        "adc_bits": outputs,
    }
    lines = {"row_capacitance": WORD_LINE * magnitude, "row_voltage": (2.2 * 1.3) ** 0.5}
    values = np.random.default_rng(0).uniform(-1, 1, (16, 128))
    for adc, expected in (
        ({"type": "capacitor", "voltage": 1.8}, capacitor),
        ({"type": "survey", "node": 130e-9}, survey),
    ):
        computed = costs_of({**chip, "costs": {"adc": adc, **lines}}, layer.weight.detach().numpy(), values)
        check(computed.tops_per_watt, expected, published)


# ---- a perceptron of sign-weighted pairs in 130 nm: Liu et al., ISSCC 2020, 10.1109/ISSCC19947.2020.9062953

#: cells of 0.4 to 4 uA (table of figure 33.2.6) at reads of 0.2 V that take 51.1 ns from a supply of 4.2 V (33.2.5)
SIGN_WEIGHTED = {
    "conductance_min": 2e-6,
    "conductance_max": 20e-6,
    "voltage_max": 0.2,
    "read_time": 51.1e-9,
}
SIGN_WEIGHTED_PUBLISHED = 78.4
#: MNIST's test images in one bit: pixels from one half on
MNIST_ON = 0.134


@pytest.mark.parametrize(
    ("on", "capacitor", "survey"), [(MNIST_ON, near(101), near(63.1)), (1.0, far(16.9), far(15.4))]
)
def test_sign_weighted_pairs(on: float, capacitor: Expected, survey: Expected) -> None:
    generator = np.random.default_rng(0)
    weights = generator.integers(-1, 2, (100, 784)).astype(np.float32)  # ternary
    values = (generator.random((64, 784)) < on).astype(np.float64)
    # lines like NeuRRAM's, which only inputs of 1 drive
    lines = {"row_capacitance": on * WORD_LINE, "row_voltage": 4.2}
    for bits, adc, expected in (  # of one bit on the chip: the least that the models and the hardware have
        (2, {"type": "capacitor", "voltage": 4.2}, capacitor),
        (4, {"type": "survey", "node": 130e-9}, survey),
    ):
        fields = {**SIGN_WEIGHTED, "adc_bits": bits, "costs": {"adc": adc, **lines}}
        check(costs_of(fields, weights, values).tops_per_watt, expected, SIGN_WEIGHTED_PUBLISHED)


# ---- a core of 512 inputs and 64 channels in 28 nm: Yao et al., ESSERC 2024, 10.1109/ESSERC62670.2024.10719511;
# figures 7 and 9 as DRAD-GIT/sys_level_snn (literature_macros.py) has read them

#: of one calculation [s]; of the whole core with all 512 rows [W]
CALCULATION, CORE = 23.08e-9, 115.7e-3
#: shares of that power (figure 9)
BUFFERS, CONVERTERS, DACS, DIGITAL = 0.428, 0.318, 0.168, 0.086
#: of a pair of bit lines' two devices, the mean: a source line of 512 pairs is a load of 1.1 to 10 mS
CHANNELS = {
    "conductance_min": 1.1e-3 / 1024,
    "conductance_max": 10e-3 / 1024,
    "voltage_max": 0.15,
    "read_time": CALCULATION,
    "adc_bits": 8,
    "dac_bits": 4,
}


@pytest.mark.parametrize(
    ("rows", "power", "of_parts", "of_models"),
    [
        (128, 77.05e-3, near(8.99), far(140)),
        (256, 88.93e-3, near(15.4), far(216)),
        (384, 100.23e-3, near(20.3), far(270)),
        (512, 111.43e-3, near(24.1), far(306)),
    ],
)
def test_channels(rows: int, power: float, of_parts: Expected, of_models: Expected) -> None:
    """Powers measured with fewer rows, from the parts of the power with all."""
    generator = np.random.default_rng(0)
    weights = generator.integers(-7, 8, (64, rows)).astype(np.float32)
    values = generator.integers(-7, 8, (16, rows)) / 7
    published = 1e-12 * 2 * rows * 64 / (power * CALCULATION)
    energy = CORE * CALCULATION
    for costs, expected in (
        (
            {
                "adc": CONVERTERS * energy / 64,
                "dac": BUFFERS * energy / 512,
                "leakage_power": (DACS + DIGITAL) * CORE,
            },
            of_parts,
        ),
        (
            {"adc": {"type": "survey", "node": 28e-9}, "dac": {"type": "capacitor", "voltage": 0.9}},
            of_models,  # no bias of buffers and clamps
        ),
    ):
        check(costs_of({**CHANNELS, "costs": costs}, weights, values).tops_per_watt, expected, published)


# ---- an estimate of its authors: the core of Yao et al., Nature 577 (2020), 10.1038/s41586-020-1942-4, extended data
# tables 1 and 2, read at second hand

#: 128 × 128 devices, reads of 0.2 V and 50 ns, inputs bit by bit, 4 columns per ADC; cells as in Liu et al. above
CONVOLVER = {
    "conductance_min": 2e-6,
    "conductance_max": 20e-6,
    "voltage_max": 0.2,
    "read_time": 50e-9,
    "adc_bits": 8,
    "dac_bits": 9,
    "input_slice_bits": 1,
    "columns_per_adc": 4,
    "weight_mapping": "offset",
}
CONVOLVER_ADC, CONVOLVER_HELD, CONVOLVER_DRIVEN = 2.55e-12, 19.2e-12 / 128, 1.72e-12 / 128**2
CONVOLVER_PUBLISHED = 11.014


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adc", "expected"),
    [
        (CONVOLVER_ADC, near(7.7)),
        ({"type": "survey", "node": 32e-9}, near(9.7)),
        ({"type": "capacitor", "voltage": 0.9}, near(13.9)),
    ],
)
def test_convolver(adc: Any, expected: Expected) -> None:
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((128, 128)).astype(np.float32)
    values = generator.random((16, 128))
    parts = {"sample_hold_energy": CONVOLVER_HELD, "row_capacitance": CONVOLVER_DRIVEN, "row_voltage": 1.0}
    computed = costs_of({**CONVOLVER, "costs": {"adc": adc, **parts}}, weights, values)
    check(computed.tops_per_watt, expected, CONVOLVER_PUBLISHED)
    assert computed.energy_of["arrays"] == pytest.approx(8 * 182e-12, rel=0.01)


def test_parts_of_the_convolver_make_up_its_published_efficiency() -> None:
    """Without the additions that follow, 8 bits of 128 conversions, and 2 × 128 × 128 operations."""
    of_a_bit = 128 * CONVOLVER_ADC + 128 * CONVOLVER_HELD + 128**2 * CONVOLVER_DRIVEN
    assert 1e-12 * 2 * 128**2 / (8 * of_a_bit) == pytest.approx(CONVOLVER_PUBLISHED, rel=0.08)


# ---- converters alone: node [nm], bits, conversions per second, supply [V]; one conversion published and computed [pJ]


@pytest.mark.parametrize(
    ("node", "bits", "rate", "supply", "published", "survey", "capacitor"),
    [
        (65, 8, 1e7, 1.2, 3.56, near(6.49), far(1.25)),  # Jia et al., JSSC 55 (2020)
        (32, 8, 1.2e9, 0.9, 3.1 / 1.2, near(1.85), far(0.70)),  # Kull et al., JSSC 48 (2013)
        (28, 9, 1 / 22e-9, 0.9, 1.93, near(1.82), far(0.94)),  # Li et al., A-SSCC 2025, all beside the rows
        (28, 8, 1 / 23.08e-9, 0.9, 13.3, far(1.33), far(0.70)),  # Yao et al., ESSERC 2024, clamps of columns with it
        (28, 8, 1 / 24e-9, 0.75, 0.174, far(1.33), far(0.49)),  # Wei et al., SSC-L 8 (2025), of time instead of current
    ],
)
def test_converters(
    node: float, bits: float, rate: float, supply: float, published: float, survey: Expected, capacitor: Expected
) -> None:
    for adc, expected in (
        ({"type": "survey", "node": 1e-9 * node}, survey),
        ({"type": "capacitor", "voltage": supply}, capacitor),
    ):
        check(1e12 * as_adc(adc).energy(bits, rate), expected, published)
