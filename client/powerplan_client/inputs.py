"""What a caller gives: hardware, gains, targets, profiles. The engine's values of the same names are taken as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from powerplan_client._generated import v1 as pb
from powerplan_client.devices import DEVICE_PARTS, device_part
from powerplan_client.errors import invalid
from powerplan_client.plain_names import plain_name
from powerplan_client.values import classes, numbers_of

Gain = float | np.ndarray


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A crossbar technology in SI units; None = the server's default for that field.

    Attributes:
        conductance_min, conductance_max: range of a device [S].
        programming_noise_std: constant part of the programming noise [S].
        programming_noise_proportional: part proportional to the target conductance, a fraction.
        programming_noise_polynomial: coefficients (a0, a1, ...) [S] of Σ a_k (G/reference)^k.
        programming_noise_reference: reference conductance of the polynomial [S].
        clip_conductance: a device cannot go below 0 S.
        read_noise_std: noise of each column current [A].
        input_noise_std: noise of each row voltage [V].
        voltage_max: largest magnitude of a row voltage [V].
        feedback_resistance: of the transimpedance amplifiers (TIA) [ohm]; None = their power is not counted.
        read_time: duration of one read [s].
        array_rows, array_columns: size of one physical crossbar, in devices; None = as large as needed.
        mapping: "shared": one array serves every position of a convolution or token;
            "unrolled": one array per position.
        column_gain_std: relative gain error common to all devices of one physical column, a fraction.
        time: between programming and inference [s].
        programming_noise_curve: further programming noise [S], a curve.
        measurements: snapshots, {"time", "mean": curve, "std": curve}, or {"time", "target", "mean", "std"} with
            lists of measured conductances [S].
        drift: {"type": "power_law", "exponent_mean": curve, ...} or {"type": "log_time", ...}.
        drift_compensation: multiply the outputs by a gain that makes up for drift.
        drift_compensation_by: what gives the gain: "conductance" (the total), "weight" (mean |w|) or "column".
        low_frequency_noise: {"std": curve, "relative": ..., "read_time": ..., "time_offset": ...}.
        device_gain_std: relative gain error of each device, a fraction.
        stuck_on_fraction, stuck_off_fraction: share of devices stuck at conductance_max and conductance_min.
        weight_mapping: "differential": a weight is the difference of two devices; "offset": one device above an offset.
        bias_mapping: "digital": biases are added without error; "row": one more row of the crossbar.
        read_out: "tia": each column ends in a transimpedance amplifier; "divider": in a passive load.
        load_conductance: load of each column of a divider [S].
        feedback_tracking: feedback resistances follow the full-scale currents, which then give adc_range.
        dac_bits, adc_bits: resolution of the converters of rows and columns; None = exact.
        adc_range: largest magnitude of the voltage that a read-out passes on [V].
        adc_headroom: full scale as a multiple of the largest ideal value of a layer's columns.
        thermal_noise, shot_noise: count these in every read.
        temperature: of devices and resistors [K].
        bandwidth: noise bandwidth of a read [Hz].
        dac_energy, adc_energy: energy of one conversion [J].
        preset: name of a published technology whose values stand in for every field that is None.

    A curve is a number (a constant) or a mapping: {"type": "polynomial", "coefficients": [...], "reference": siemens};
    the server's documentation lists the types.
    """

    conductance_min: float | None = None
    conductance_max: float | None = None
    programming_noise_std: float | None = None
    programming_noise_proportional: float | None = None
    programming_noise_polynomial: tuple[float, ...] | None = None
    programming_noise_reference: float | None = None
    clip_conductance: bool | None = None
    read_noise_std: float | None = None
    input_noise_std: float | None = None
    voltage_max: float | None = None
    feedback_resistance: float | None = None
    read_time: float | None = None
    array_rows: int | None = None
    array_columns: int | None = None
    mapping: str | None = None
    column_gain_std: float | None = None
    time: float | None = None
    programming_noise_curve: float | Mapping[str, Any] | None = None
    measurements: Sequence[Mapping[str, Any]] | None = None
    drift: Mapping[str, Any] | None = None
    drift_compensation: bool | None = None
    drift_compensation_by: str | None = None
    low_frequency_noise: Mapping[str, Any] | None = None
    device_gain_std: float | None = None
    stuck_on_fraction: float | None = None
    stuck_off_fraction: float | None = None
    weight_mapping: str | None = None
    bias_mapping: str | None = None
    read_out: str | None = None
    load_conductance: float | None = None
    feedback_tracking: bool | None = None
    dac_bits: int | None = None
    adc_bits: int | None = None
    adc_range: float | None = None
    adc_headroom: float | None = None
    thermal_noise: bool | None = None
    shot_noise: bool | None = None
    temperature: float | None = None
    bandwidth: float | None = None
    dac_energy: float | None = None
    adc_energy: float | None = None
    preset: str | None = None


#: field of the message by field of Hardware
HARDWARE_FIELDS = {plain_name(field): field.name for field in pb.Hardware.DESCRIPTOR.fields}


@dataclass(frozen=True, kw_only=True, eq=False)
class Gains:
    """Conductance and voltage gains of every crossbar layer.

    Attributes:
        conductance: one entry per layer: a float, or an (n_out,) array, in S per unit weight.
        voltage: one entry per layer: a float, or an (n_in,) array with one gain per row, in V per unit activation.
    """

    conductance: tuple[Gain, ...]
    voltage: tuple[Gain, ...]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The values that a gain can be set to.

    Attributes:
        values: gains > 0, in S per unit weight or V per unit activation; fractions of the largest if ``relative``.
        relative: the values are fractions in (0, 1] of the largest gain that the limits allow.
    """

    values: Sequence[float] | np.ndarray
    relative: bool = False


@dataclass(frozen=True)
class MaxMSE:
    """Least power such that the mean squared error of the outputs is at most ``value`` (> 0)."""

    value: float


@dataclass(frozen=True)
class MaxNMSE:
    """Least power such that MSE / mean y*² is at most ``value`` (> 0; 0.01 is 1 %)."""

    value: float


@dataclass(frozen=True)
class MaxPower:
    """Least mean squared error such that the power of one inference is at most ``value`` [W] (> 0)."""

    value: float


@dataclass(frozen=True)
class MaxOutputMSE:
    """Least power such that the mean squared error of every single output is at most ``value`` (> 0)."""

    value: float


@dataclass(frozen=True)
class MaxFlipRate:
    """Least power such that at most ``fraction`` (0 to 1) of the outputs change class; needs no labels."""

    fraction: float


@dataclass(frozen=True)
class MaxAccuracyDrop:
    """Least power such that the expected accuracy on the calibration inputs falls by at most ``fraction`` (absolute).

    ``labels``: one class per calibration input, from 0.
    """

    fraction: float
    labels: Sequence[int] | np.ndarray


Target = MaxMSE | MaxNMSE | MaxPower | MaxOutputMSE | MaxFlipRate | MaxAccuracyDrop
TARGET_FIELDS = {
    "MaxMSE": "max_mse",
    "MaxNMSE": "max_nmse",
    "MaxPower": "max_power_watts",
    "MaxOutputMSE": "max_output_mse",
    "MaxFlipRate": "max_flip_rate",
    "MaxAccuracyDrop": "max_accuracy_drop",
}
#: targets of one number, by field of the message
TARGETS: dict[str, type[MaxMSE | MaxNMSE | MaxPower | MaxOutputMSE | MaxFlipRate]] = {
    "max_mse": MaxMSE,
    "max_nmse": MaxNMSE,
    "max_power_watts": MaxPower,
    "max_output_mse": MaxOutputMSE,
    "max_flip_rate": MaxFlipRate,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Power and error of n gains as sums of monomials, instead of a network: the weights stay with the caller.

        power(g) = constant_power + Σ_i Σ_t power_coefficients[i, t] g_i^power_exponents[t]
        mse(g)   = constant_mse + Σ_i Σ_s mse_coefficients[i, s] g_i^(−mse_exponents[s])

    Attributes:
        power_coefficients: (n, T) [W per unit gain^exponent], >= 0; power_exponents: (T,) > 0.
        mse_coefficients: (n, S), >= 0; mse_exponents: (S,) > 0.
        lower, upper: (n,) limits of the gains; None = none.
        constant_power [W], constant_mse: parts that no gain changes.
        signal_power: mean y*², needed with MaxNMSE.
        names: (n,) of the gains; () = gain1, gain2, ...
        solver: "auto", "closed_form", "kkt" or "cvxpy".
    """

    power_coefficients: npt.ArrayLike
    power_exponents: Sequence[float]
    mse_coefficients: npt.ArrayLike
    mse_exponents: Sequence[float]
    lower: npt.ArrayLike | None = None
    upper: npt.ArrayLike | None = None
    constant_power: float = 0.0
    constant_mse: float = 0.0
    signal_power: float | None = None
    names: Sequence[str] = ()
    solver: str = "auto"


def hardware_fields(value: Any, path: str = "hardware") -> dict[str, Any]:
    """Fields of the message for hardware given as Hardware, as the engine's Hardware, or as a mapping."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        unknown = sorted(map(str, set(value) - set(HARDWARE_FIELDS)))
        if unknown:
            raise invalid(f"{path}.{unknown[0]}", f"unknown; allowed: {', '.join(HARDWARE_FIELDS)}")
        entries = dict(value)
    else:
        names = [f.name for f in fields(value)] if hasattr(value, "__dataclass_fields__") else []
        unknown = sorted(set(names) - set(HARDWARE_FIELDS))
        if not names or unknown:
            what = f"its field {unknown[0]} is not in this client's contract" if unknown else "not a hardware"
            raise invalid(path, f"got {type(value).__name__}: {what}; allowed: Hardware, a mapping or None")
        entries = {name: getattr(value, name) for name in names}
        if hasattr(value, "to_dict"):  # the engine's: curves and the like as mappings
            entries = value.to_dict()
    polynomial = entries.get("programming_noise_polynomial")
    if polynomial is not None:
        coefficients = numbers_of(f"{path}.programming_noise_polynomial", polynomial, axes=(1,))
        entries["programming_noise_polynomial"] = coefficients.astype(float).tolist()
    return {
        HARDWARE_FIELDS[name]: device_part(name, entry) if name in DEVICE_PARTS else entry
        for name, entry in entries.items()
        if entry is not None
    }


def target_fields(value: Any) -> dict[str, Any]:
    """Field of the message for a target, given as the client's or the engine's class of that name."""
    name = TARGET_FIELDS.get(type(value).__name__)
    if name is None:
        raise invalid("target", f"got {value!r}; allowed: {', '.join(TARGET_FIELDS)}")
    number = float(value.fraction if hasattr(value, "fraction") else value.value)
    if name != "max_accuracy_drop":
        return {name: number}
    return {name: pb.AccuracyDrop(fraction=number, labels=classes("target.labels", value.labels))}
