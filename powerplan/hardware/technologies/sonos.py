"""SONOS charge-trap memory. It was measured as cell currents in nA; a read voltage makes them conductances."""

from __future__ import annotations

from powerplan.hardware.aging import LowFrequencyNoise, Snapshot
from powerplan.hardware.curves import Curve, Polynomial, Saturating
from powerplan.hardware.technologies.technology import Technology

_DAY = 86400.0
#: V; 1600 nA are then 16 uS
_READ_VOLTAGE = 0.1
#: S for a current of 1 nA
_NANO = 1e-9 / _READ_VOLTAGE
#: nA: the drift was measured up to this current
_TOP = 1800.0

#: amplitude [nA] and scale [nA] of the spread A (1 − exp(−I/B)), day 0 to 5
_SPREAD = (
    (19.88665, 176.3115),
    (25.59102, 186.85544),
    (28.72753, 193.56834),
    (31.04318, 198.90332),
    (33.76214, 204.77023),
    (34.57909, 207.34309),
)
#: mean change [nA] as a polynomial of the current [nA], day 1 to 5
_CHANGE = (
    (
        0.172684,
        0.0572552,
        -0.000685715,
        3.50271e-06,
        -9.37682e-09,
        1.40575e-11,
        -1.19803e-14,
        5.41293e-18,
        -8.85448e-22,
        -1.66869e-25,
        5.9518e-29,
    ),
    (
        0.250712,
        0.0662195,
        -0.000683218,
        2.99442e-06,
        -6.78255e-09,
        7.70482e-12,
        -3.04983e-15,
        -2.15919e-18,
        2.94617e-21,
        -1.23359e-24,
        1.85329e-28,
    ),
    (
        -0.01753,
        0.0976883,
        -0.000963791,
        4.55551e-06,
        -1.22391e-08,
        1.93786e-11,
        -1.85899e-14,
        1.07659e-17,
        -3.58211e-21,
        5.96785e-25,
        -3.3041e-29,
    ),
    (
        0.0403338,
        0.103111,
        -0.0010474,
        4.83961e-06,
        -1.28132e-08,
        1.99484e-11,
        -1.85139e-14,
        1.00008e-17,
        -2.84944e-21,
        3.01008e-25,
        1.18747e-29,
    ),
    (
        0.319927,
        0.106596,
        -0.00104054,
        4.5029e-06,
        -1.10352e-08,
        1.56477e-11,
        -1.27592e-14,
        5.45513e-18,
        -7.26841e-22,
        -2.43893e-25,
        7.14608e-29,
    ),
)


def _saturating(amplitude: float, scale: float) -> Curve:
    return Saturating(reference=_NANO, amplitude=amplitude * _NANO, scale=scale)


def _mean(change: tuple[float, ...]) -> Curve:
    """The current and its change, in units of the largest current: large powers of nA would lose digits."""
    current = [coefficient * _TOP**k * _NANO for k, coefficient in enumerate(change)]
    current[1] += _TOP * _NANO
    return Polynomial(reference=_TOP * _NANO, coefficients=tuple(current))


_SONOS = Technology(
    name="sonos_agrawal2022",
    kind="40 nm SONOS charge trap, read at 0.1 V",
    fields={
        "conductance_min": _TOP * _NANO * 1e-7,
        "conductance_max": _TOP * _NANO,
        "programming_noise_std": 0,
        "measurements": tuple(
            Snapshot(
                time=day * _DAY,
                mean=None if day == 0 else _mean(_CHANGE[day - 1]),
                std=_saturating(*spread),
                std_of="mean",
            )
            for day, spread in enumerate(_SPREAD)
        ),
        "low_frequency_noise": LowFrequencyNoise(relative=False, std=_saturating(12.58037, 215.36557)),
    },
    citation="Agrawal et al., IEDM 2022, 21.7 (IEEE 10019564), figures 10 and 11",
    times=(0.0, 5 * _DAY),
    caveats=(
        "Measured as currents; conductances assume a read voltage of 0.1 V (1 nA = 10 nS).",
        "Measured at day 0 to 5; between day 0 and day 1 interpolated in time, later in its logarithm.",
        "The read noise, fresh in every read of the cell, is taken as static over one inference; "
        "low_frequency_noise=None leaves it out.",
        "Programming without drift was measured up to 3200 nA (32 uS).",
        "The noise of the read-out was not measured; state read_noise_std, or plans for loose targets are refused: "
        "all errors scale with the conductance, and power has no lower bound.",
    ),
)

TECHNOLOGIES = (_SONOS,)
