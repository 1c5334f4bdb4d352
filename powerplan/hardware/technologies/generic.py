"""Devices of no technology in particular."""

from __future__ import annotations

from powerplan.hardware.aging import LowFrequencyNoise, PowerLawDrift
from powerplan.hardware.curves import Polynomial
from powerplan.hardware.technologies.technology import Technology

_STATE_INDEPENDENT = Technology(
    name="state_independent",
    kind="generic: constant programming noise, drift and read noise alike for all states",
    fields={
        "conductance_max": 25e-6,
        "programming_noise_std": 0.2e-6,
        "drift": PowerLawDrift(
            exponent_mean=Polynomial(coefficients=(0.1,)),
            exponent_std=Polynomial(coefficients=(0.05,)),
            reference_time=20.0,
        ),
        "low_frequency_noise": LowFrequencyNoise(
            std=Polynomial(coefficients=(1 / 25,)), read_time=250e-9, time_offset=20.0
        ),
    },
    citation="none: the defaults of aihwkit's state-independent noise model",
    caveats=("Not a measured device.", "Time 0 is 20 s after programming."),
)

TECHNOLOGIES = (_STATE_INDEPENDENT,)
