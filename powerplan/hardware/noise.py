"""Noise of conductors that carry a current, fresh in every read: variances of a current within a bandwidth Δf.

thermal (Johnson-Nyquist):  4 k_B T Δf G          shot:  2 q Δf |I|
"""

from __future__ import annotations

from powerplan.hardware.hardware import Hardware

#: exact since 2019
BOLTZMANN = 1.380649e-23
ELEMENTARY_CHARGE = 1.602176634e-19


def thermal_noise(hardware: Hardware) -> float:
    """4 k_B T Δf: variance of a current per conductance [A²/S]; 0 if it is not counted."""
    if not hardware.thermal_noise:
        return 0.0
    assert hardware.bandwidth is not None
    return 4 * BOLTZMANN * hardware.temperature * hardware.bandwidth


def shot_noise(hardware: Hardware) -> float:
    """2 q Δf: variance of a current per mean current [A²/A]; 0 if it is not counted."""
    if not hardware.shot_noise:
        return 0.0
    assert hardware.bandwidth is not None
    return 2 * ELEMENTARY_CHARGE * hardware.bandwidth
