"""Resistive memory (ReRAM, RRAM). Coefficients in uS."""

from __future__ import annotations

import math

from powerplan.hardware.aging import LogTimeDrift, LowFrequencyNoise, Snapshot
from powerplan.hardware.curves import Logarithm, Polynomial
from powerplan.hardware.technologies.technology import Technology

_U = 1e-6
_DAY = 86400.0


def _micro(*values: float) -> tuple[float, ...]:
    return tuple(_U * value for value in values)


def _wan(time: float, *coefficients: float) -> Snapshot:
    return Snapshot(time=time, std=Polynomial(reference=40 * _U, coefficients=_micro(*coefficients)))


_WAN = "Wan et al., Nature 608 (2022), 10.1038/s41586-022-04992-8"
_WAN_A = Technology(
    name="reram_wan2022_fitA",
    kind="HfOx ReRAM of the NeuRRAM chip, relaxation over two days",
    fields={
        "conductance_max": 40 * _U,
        "programming_noise_std": 0,
        "measurements": (
            _wan(1.0, 0.348, 16.030, -43.853, 45.393, -16.815),
            _wan(_DAY, 0.701, 22.086, -50.773, 47.095, -16.458),
            _wan(2 * _DAY, 0.782, 20.274, -43.507, 37.062, -11.934),
        ),
        "clip_conductance": True,  # only the spread was measured, around targets as low as 0
        "time": 1.0,
    },
    citation=_WAN + ", values read from a figure",
    times=(1.0, 2 * _DAY),
    caveats=(
        "Measured at 1 s, 1 day and 2 days; between them interpolated in the logarithm of time.",
        "Disagrees with fit B of the same paper near 0: 0.35 against 1.05 uS.",
        "The coefficients are for a range of 40 uS; aihwkit uses them unscaled with 25 uS by default.",
    ),
)

_WAN_B = Technology(
    name="reram_wan2022_fitB",
    kind="HfOx ReRAM of the NeuRRAM chip, 1 s after programming",
    fields={
        "conductance_max": 39.26 * _U,
        "programming_noise_std": 0,
        "programming_noise_polynomial": _micro(1.053, 0.2374, -0.01167, 0.0001536),
        "programming_noise_reference": _U,
        "time": 1.0,
    },
    citation=_WAN + ", extended data figure 3",
    times=(1.0, 1.0),
    caveats=("Holds 1 s after programming.", "Disagrees with fit A of the same paper near 0: 1.05 against 0.35 uS."),
)


def _cmo(name: str, acceptance: str, offset: float, slope: float) -> Technology:
    return Technology(
        name=name,
        kind=f"CMO/HfOx ReRAM, programmed to within {acceptance} of the target",
        fields={
            "conductance_min": 9 * _U,
            "conductance_max": 88.2 * _U,
            "programming_noise_std": 0,
            "programming_noise_polynomial": _micro(offset, slope),
            "programming_noise_reference": _U,
            "drift": LogTimeDrift(
                shift_slope=-0.08900206 * _U, std_slope=0.04201137 * _U, std_offset=0.41183342 * _U, reference_time=1.0
            ),
            "low_frequency_noise": LowFrequencyNoise(
                relative=False,
                std=Logarithm(reference=_U, slope=0.0277316483 * _U / math.log(10), offset=0.0, low=0.0, high=0.1 * _U),
                read_time=1e-6,
            ),
            "time": 1.0,
        },
        citation=(
            "Falcone et al., arXiv:2502.04524 (2025); read noise: Lombardo et al., DRC 2024 "
            "(10.1109/DRC61706.2024.10643760)"
        ),
        times=(1.0, None),
        caveats=(
            "Meant for one device per weight with an offset; the range of conductance is also given as 8 to 90 uS.",
            "aihwkit's default acceptance range of 0.02 selects the 0.2 % fit, and it clips devices to the range; "
            "here they are clipped at 0 only.",
        ),
    )


_MILO = Technology(
    name="rram_milo2021",
    kind="RRAM, multilevel, programmed with verification",
    fields={
        "conductance_min": 50 * _U,
        "conductance_max": 225 * _U,
        "programming_noise_std": 0,
        "programming_noise_polynomial": _micro(4.782321, -0.009107),
        "programming_noise_reference": _U,
    },
    citation="Milo et al., IRPS 2021 (IEEE 9405119), figures 1 and 4, algorithm IGVVA-100",
    times=(0.0, 0.0),
    caveats=(
        "Measured just after programming; no drift and no read noise.",
        "Its current is not proportional to the voltage: hold voltages low. Only the linear part is modelled.",
    ),
)

TECHNOLOGIES = (
    _WAN_A,
    _WAN_B,
    _cmo("reram_cmo_hfox_02pct", "0.2 %", 0.00081107, 0.00106879),
    _cmo("reram_cmo_hfox_2pct", "2 %", 0.0112185391, 0.01129027418),
    _MILO,
)
