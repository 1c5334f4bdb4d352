"""Phase-change memory (PCM). Curves are in units of the largest conductance measured; coefficients in uS."""

from __future__ import annotations

from typing import Any

from powerplan.hardware.aging import LowFrequencyNoise, PowerLawDrift
from powerplan.hardware.curves import Curve, Logarithm, Piecewise, Polynomial, Power
from powerplan.hardware.technologies.technology import Technology

_U = 1e-6

_SAME_DEVICES = (
    "With a smaller conductance_max the same devices are used over less of their range; aihwkit scales the "
    "noise with conductance_max instead."
)


def _micro(*values: float) -> tuple[float, ...]:
    return tuple(_U * value for value in values)


def _branch(at: float, below: Logarithm, above: tuple[float, ...], reference: float) -> Curve:
    return Piecewise(reference=reference, breaks=(at,), pieces=(below, Polynomial(coefficients=above)))


_NANDAKUMAR = 25 * _U
_NANDAKUMAR_PRESET = Technology(
    name="pcm_nandakumar2019",
    kind="PCM, doped GST mushroom cell",
    fields={
        "conductance_max": _NANDAKUMAR,
        "programming_noise_std": 0,
        "programming_noise_polynomial": _micro(0.26348, 1.9650, -1.1731),
        "programming_noise_reference": _NANDAKUMAR,
        "drift": PowerLawDrift(
            exponent_mean=Logarithm(reference=_NANDAKUMAR, slope=-0.0155, offset=0.0244, low=0.049, high=0.1),
            exponent_std=Logarithm(reference=_NANDAKUMAR, slope=-0.0125, offset=-0.0059, low=0.008, high=0.045),
            reference_time=20.0,
        ),
        "low_frequency_noise": LowFrequencyNoise(
            std=Power(reference=_NANDAKUMAR, coefficient=0.0088, exponent=-0.65, high=0.2),
            std_of="programmed",
            read_time=250e-9,
            time_offset=20.0,
        ),
    },
    citation="Nandakumar et al., ICECS 2019 (IEEE 8964852); Joshi et al., Nature Communications 11, 2473 (2020)",
    caveats=(
        "Time 0 is 20 s after programming, the first reading.",
        _SAME_DEVICES,
    ),
)

_HERMES_MEAN = Logarithm(slope=-0.0387, offset=-0.0182, low=0.0720, high=0.13), (0.0736, -0.0126, -0.0436)
_HERMES_SOURCE = (
    "Le Gallo et al., Nature Electronics (2023), 10.1038/s41928-023-01010-1; "
    "Khaddam-Aljameh et al., JSSC 2022 (IEEE 9696185)"
)


def _hermes(
    top: float,
    programming: tuple[float, ...],
    exponent_std: tuple[float, Logarithm, tuple[float, ...]],
    noise: tuple[float, Logarithm, tuple[float, ...]],
    reference_time: float,
) -> dict[str, Any]:
    top *= _U
    return {
        "conductance_max": top,
        "programming_noise_std": 0,
        "programming_noise_polynomial": _micro(*programming),
        "programming_noise_reference": top,
        "drift": PowerLawDrift(
            exponent_mean=_branch(0.0945, *_HERMES_MEAN, top),
            exponent_std=_branch(*exponent_std, top),
            reference_time=reference_time,
        ),
        "low_frequency_noise": LowFrequencyNoise(
            std=_branch(*noise, top), std_of="programmed", read_time=512e-9, time_offset=reference_time
        ),
    }


_HERMES_1 = Technology(
    name="pcm_hermes_1dev",
    kind="PCM of the HERMES chip, one device per conductance",
    fields=_hermes(
        10.35,
        (0.15781817, 2.32443916, -2.16310839, 0.68841818),
        (0.3039, Logarithm(slope=-0.0120, offset=-0.0023, low=0.0124, high=0.04), (0.0104, 0.0116, -0.0165)),
        (0.1591, Logarithm(slope=-0.0078, offset=0.0038, low=0.0179, high=0.04), (0.0088, 0.0768, -0.1352, 0.0664)),
        200.0,
    ),
    citation=_HERMES_SOURCE,
    caveats=("Time 0 is 200 s after programming, the first reading.", _SAME_DEVICES),
)

_HERMES_2 = Technology(
    name="pcm_hermes_2dev",
    kind="PCM of the HERMES chip, two devices per conductance",
    fields=_hermes(
        20.7,
        (0.16603222, 4.71806468, -8.48101252, 4.68961419),
        (0.3055, Logarithm(slope=-0.0117, offset=-0.0057, low=0.0091, high=0.04), (0.0073, 0.0093, -0.0118)),
        (0.16, Logarithm(slope=-0.0117, offset=-0.0069, low=0.015, high=0.04), (0.0123, 0.0211, -0.0280, 0.0069)),
        300.0,
    ),
    citation=_HERMES_SOURCE + "; programming of two devices: Vasilopoulos et al., TED 2023 (IEEE 10281389)",
    caveats=(
        "Time 0 is 300 s after programming, the first reading.",
        "Drift as if both devices held the same conductance; the chip's own programming drifts less.",
        _SAME_DEVICES,
    ),
)

_JOSHI = Technology(
    name="pcm_joshi2020_fit",
    kind="PCM, programming noise only",
    fields={
        "conductance_min": 0.25 * _U,
        "conductance_max": 25 * _U,
        "programming_noise_std": 0,
        "programming_noise_polynomial": _micro(0.28638599, 0.07585724, -0.00178767),
        "programming_noise_reference": _U,
        "time": 27.36,
    },
    citation="Joshi et al., Nature Communications 11, 2473 (2020), figure 3b",
    times=(27.36, 27.36),
    caveats=("Measured 27.36 s after programming; no drift and no read noise.", "The on/off ratio is 100."),
)

TECHNOLOGIES = (_NANDAKUMAR_PRESET, _HERMES_1, _HERMES_2, _JOSHI)
