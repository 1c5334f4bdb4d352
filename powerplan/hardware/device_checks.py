"""Checks of the parts of a hardware description that say how a device behaves."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from powerplan.checks import Checker
from powerplan.hardware.aging import LogTimeDrift, PowerLawDrift, as_snapshot
from powerplan.hardware.curves import Curve, check_domain
from powerplan.hardware.plain import part_of

if TYPE_CHECKING:
    from powerplan.hardware.hardware import Hardware

_MAX_SNAPSHOTS = 64


def check_device_models(hardware: Hardware, check: Checker) -> None:
    """Note every violation in the device models; mappings among them become the values they describe."""
    if not check.refused("stuck_on_fraction", "stuck_off_fraction") and hardware.stuck_fraction > 1:
        allowed = "at most 1 together with stuck_off_fraction"
        check.fail("stuck_on_fraction", hardware.stuck_fraction, allowed, "Lower one of them.")
    if hardware.measurements is not None:
        _check_measurements(hardware, check)
    if check.refused("programming_noise_curve", "measurements", "drift", "low_frequency_noise"):
        return
    drift, noise = hardware.drift, hardware.low_frequency_noise
    if hardware.clip_conductance is True and isinstance(drift, PowerLawDrift) and noise and not noise.relative:
        check.fail(
            "low_frequency_noise.relative",
            False,
            "True where the drift is a power law and devices are clipped at 0",
            "Describe the noise relative to the conductance held.",
        )
    if not check.refused("conductance_min", "conductance_max"):
        for name, curve in _curves(hardware):
            check_domain(check, name, curve, hardware.conductance_min, hardware.conductance_max)


def _check_measurements(hardware: Hardware, check: Checker) -> None:
    measurements = hardware.measurements
    entries = list(islice(measurements, _MAX_SNAPSHOTS + 1)) if isinstance(measurements, Iterable) else []
    if not 1 <= len(entries) <= _MAX_SNAPSHOTS or isinstance(measurements, str):
        check.fail(
            "measurements", measurements, f"1 to {_MAX_SNAPSHOTS} snapshots, or None", "Give a list of snapshots."
        )
        return
    snapshots = []
    for k, entry in enumerate(entries):
        with part_of(check, f"measurements[{k}]"):
            snapshots.append(as_snapshot(entry))
    if len(snapshots) < len(entries):
        return
    object.__setattr__(hardware, "measurements", tuple(snapshots))
    if len(snapshots) == 1:
        return
    if any(a.time >= b.time for a, b in pairwise(snapshots)):
        times = [snapshot.time for snapshot in snapshots]
        check.fail("measurements", times, "snapshots at increasing times", "Sort them by time.")
    elif not check.refused("time") and not snapshots[0].time <= hardware.time <= snapshots[-1].time:
        check.fail(
            "time",
            hardware.time,
            f"within the measured times, {snapshots[0].time:g} to {snapshots[-1].time:g} s",
            "Give a time within them, or measure at that time too: nothing is extrapolated."
            + (" Without a time it is 0." if hardware.time == 0 else ""),
        )
    if hardware.drift is not None:
        check.fail(
            "drift",
            hardware.drift,
            "None where measurements at several times are given",
            "They already contain the drift.",
        )


def _curves(hardware: Hardware) -> Iterable[tuple[str, Curve]]:
    """Every curve of the description, with its field."""
    curves: list[tuple[str, Curve | None]] = [("programming_noise_curve", hardware.programming_noise_curve)]
    for k, snapshot in enumerate(hardware.measurements or ()):
        curves += [(f"measurements[{k}].mean", snapshot.mean), (f"measurements[{k}].std", snapshot.std)]
    match hardware.drift:
        case PowerLawDrift(exponent_mean=mean, exponent_std=std):
            curves += [("drift.exponent_mean", mean), ("drift.exponent_std", std)]
        case LogTimeDrift() | None:
            pass
    if hardware.low_frequency_noise is not None:
        curves.append(("low_frequency_noise.std", hardware.low_frequency_noise.std))
    return [(name, curve) for name, curve in curves if curve is not None]
