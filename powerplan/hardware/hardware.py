"""What the crossbar technology is: conductance range, noise, voltage limit, read-out.

A device programmed to a target conductance G holds a random conductance. Its programming noise has variance

    s²(G) = programming_noise_std² + (programming_noise_proportional · G)² + max(0, Σ_k a_k (G/reference)^k)²

and, if ``clip_conductance``, the device holds max(0, N(G, s²)): its mean and variance are those of the
clipped Gaussian. Devices are independent and are programmed once, then read many times. Measured curves, drift,
low-frequency noise, gain errors and stuck devices add to this: see :mod:`powerplan.hardware.devices`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from powerplan.checks import Checker, choice, unknown_keys
from powerplan.errors import InvalidInput, RangeWarning, Violation
from powerplan.hardware.aging import Drift, LowFrequencyNoise, Snapshot, as_drift, as_low_frequency_noise
from powerplan.hardware.by_layer import OneOrByLayer, differs, for_layers, is_by_layer
from powerplan.hardware.compensation_checks import check_compensation
from powerplan.hardware.costs.values import Costs, as_costs
from powerplan.hardware.curves import Curve, as_curve
from powerplan.hardware.describe import in_si
from powerplan.hardware.device_checks import check_device_models
from powerplan.hardware.fields import ByMeasurements, Numbers, Part, check_fields, takes
from powerplan.hardware.input_slices import MOST_BITS, InputSlices
from powerplan.hardware.plain import to_plain
from powerplan.hardware.read_out_checks import check_read_out
from powerplan.hardware.technologies import TECHNOLOGIES
from powerplan.hardware.toml import hardware_toml, read_hardware
from powerplan.hardware.wire_checks import check_wires
from powerplan.hardware.wires.circuit import Wires
from powerplan.settings import Choice, Flag, Number, Whole
from powerplan.shown import Shown

#: how the positions of a convolution, or the tokens of a sequence, meet the arrays
MAPPINGS = ("shared", "unrolled")

#: how a weight is held: in the difference of two devices, or in one device above an offset
WEIGHT_MAPPINGS = ("differential", "offset")
#: where biases are added
BIAS_MAPPINGS = ("digital", "row")
#: what a column ends in: a transimpedance amplifier, or a passive load
READ_OUTS = ("tia", "divider")
#: where rows are driven, and which arrays the sides of a pair are in
ROW_DRIVES, PAIR_LAYOUTS = ("one_end", "both_ends"), ("interleaved", "separate_arrays")
#: digital scales of columns, and of rows
COLUMN_SCALES, ROW_SCALES = ("none", "least_bias", "least_error"), ("none", "least_bias")
#: resistances of the wires of an array
WIRE_RESISTANCES = ("wire_resistance_row", "wire_resistance_column", "driver_resistance", "sense_resistance")
#: what drift compensation goes by
COMPENSATIONS = ("conductance", "weight", "column")

_CONDUCTANCE, _NOISE = Number(above=0, unit="S"), Number(at_least=0, unit="S")
_FRACTION, _SHARE = Number(at_least=0), Number(at_least=0, at_most=1)
_ENERGY = Number(at_least=0, unit="J")
_RESISTANCE = Number(at_least=0, unit="ohm")
_BITS = Whole(at_least=2, at_most=32, advice="Give the number of bits.")
_SLICE_BITS = Whole(at_least=1, at_most=MOST_BITS - 1, advice="Give the bits of one read.")
_SHARED = Whole(at_least=1, at_most=2**20, advice="Give the number of columns.")
_COEFFICIENTS = Numbers(
    most=16,
    each=Number(unit="S"),
    advice="List the coefficients a0, a1, ... [S] of the published standard deviation.",
)
_MOST = 2**31 - 1  # rows or columns of a crossbar


#: standard deviations that no device is off: the chance is below the rounding of float64
_FAR_STDS = 9.0


@dataclass(frozen=True, kw_only=True)
class Hardware(Shown):
    """A crossbar technology, in SI units. Immutable; refuses nonsense when built.

    Attributes:
        conductance_min: smallest conductance of a device [S], >= 0 and < conductance_max.
        conductance_max: largest conductance of a device [S], > 0.
        programming_noise_std: constant part of the programming noise, standard deviation [S], >= 0. Defaults to
            0 with measurements, whose spread is the total spread; if given as well, it is added.
        programming_noise_proportional: part proportional to the target conductance, as a fraction, >= 0.
        programming_noise_polynomial: coefficients (a0, a1, ...) [S] of a standard deviation
            Σ a_k (G/reference)^k, not below 0. The variances of the three parts add.
        programming_noise_reference: reference conductance of the polynomial [S]; None = conductance_max.
        clip_conductance: a device cannot go below 0 S; its moments are those of the clipped Gaussian. Defaults to
            False with measurements: measured devices are not clipped again.
        read_noise_std: noise of each column current, fresh in every read, standard deviation [A], >= 0.
        input_noise_std: noise of each row voltage, fresh in every read, standard deviation [V], >= 0.
        voltage_max: largest magnitude of a row voltage [V], > 0.
        feedback_resistance: feedback of the transimpedance amplifiers (TIA) [ohm], > 0;
            None = TIA power not counted.
        read_time: duration of one read [s], > 0, turns power into energy.
        array_rows: rows of one physical crossbar, in devices, >= 1; None = as many as a layer needs.
        array_columns: columns of one physical crossbar, in devices, >= 2 (a differential pair takes two); None = as
            many as a layer needs.
        mapping: "shared": one array serves every position of a convolution, or every token, in turn;
            "unrolled": one array per position.
        column_gain_std: relative gain error common to all devices of one physical column of an array,
            standard deviation, a fraction >= 0; drawn once, static over reads. The two columns of a
            differential pair are independent.
        time: time between programming and inference [s], >= 0.
        programming_noise_curve: further programming noise, standard deviation [S] as a curve of the target
            (negative values count as 0); its variance is added to those of the other parts.
        measurements: snapshots of mean and standard deviation as functions of the target, measured at increasing
            times after programming; between two times both are interpolated, on a logarithmic scale of time
            unless the first is 0. One snapshot holds at every time.
        drift: drift of a device with time: a power law with an exponent for each device, or with the logarithm of time.
        drift_compensation: multiply each layer's output by the ratio of a calibration read-out of its devices just
            after programming to the same at the time of inference.
        drift_compensation_by: the read-out: "conductance": the total conductance of the layer; "weight": its mean
            absolute weight, read one row at a time; "column": the same for every column separately (simulations only).
        low_frequency_noise: slow (1/f) noise of a device, static over one inference.
        device_gain_std: relative gain error of each device, independent, standard deviation, a fraction >= 0;
            multiplies the conductance held.
        stuck_on_fraction: fraction of devices that hold conductance_max whatever their target, 0 to 1.
        stuck_off_fraction: fraction of devices that hold conductance_min whatever their target, 0 to 1.
        weight_mapping: "differential": a weight is the difference of two devices; "offset": it is one device that
            holds conductance_min + c (W + w), w = max(−W, 0) over the layer, and the offset is subtracted digitally.
        bias_mapping: "digital": biases are added without error; "row": they are weights of one more row of the
            crossbar, driven by the constant 1.
        read_out: "tia": a transimpedance amplifier holds each column at 0 V and gives its current; "divider": a
            passive load on each column divides the row voltages, and its voltage is read.
        load_conductance: load of each column of a divider [S], > 0.
        feedback_tracking: the feedback resistance of every TIA is chosen so that its full-scale current gives
            adc_range; instead of feedback_resistance.
        dac_bits: resolution of the converters that drive the rows, 2 to 32: 2^bits − 1 levels from -voltage_max to
            voltage_max, beyond which they saturate; None = exact. One value, one per layer, or by layer name.
        adc_bits: resolution of the converters that read the columns of every array, 2 to 32: 2^bits − 1 levels,
            symmetric about 0; None = exact. One value, one per layer, or by layer name.
        input_slice_bits: bits of an input applied to the rows in one read, 1 to 15; the dac_bits without the sign are
            applied in several reads. 1 = bit by bit; None = at once. One value, one per layer, or by layer name.
        adc_range: largest magnitude of the read-out voltage [V], > 0, beyond which it saturates: of the output of a
            TIA with feedback_resistance, or of the voltage of a divider. None = with adc_bits, the
            range is the full scale; without, nothing saturates.
        adc_headroom: full scale as a multiple of the largest ideal value of a layer's columns over the inputs, > 0.
            One value, one per layer, or by layer name.
        thermal_noise: include the thermal noise of devices and feedback resistors in every read.
        shot_noise: include the shot noise of the device currents in every read.
        temperature: temperature of the devices and resistors [K], > 0.
        bandwidth: noise bandwidth of a read [Hz], > 0; needed by thermal_noise and shot_noise.
        dac_energy: energy of one conversion of a row voltage [J], >= 0; one converter for every row of every array.
        adc_energy: energy of one conversion of a column [J], >= 0.
        wire_resistance_row: wire of a row, between neighbouring devices [ohm], >= 0; needs array_rows, array_columns.
        wire_resistance_column: wire of a column, between neighbouring devices [ohm], >= 0; needs the array size.
        driver_resistance: output resistance of the driver of a row [ohm], >= 0; needs the array size.
        sense_resistance: resistance between the end of a column and its amplifier [ohm], >= 0; needs the array size.
        row_drive: "one_end": rows are driven from one end; "both_ends": from both ends, by two drivers.
        pair_layout: "interleaved": the two columns of a pair lie side by side; "separate_arrays": the two sides of
            pairs are in separate arrays.
        columns_per_adc: columns of an array that share one ADC in turn, >= 1; affects ``costs`` only. One
            value, one per layer, or by layer name.
        costs: energy, time and area of the components around the arrays: Costs, a mapping of their fields, or the name
            of published ones; None = not counted.
        column_scale: every output is multiplied digitally by a constant. "least_bias": minimises its mean squared bias
            for ideal inputs; "least_error": minimises the mean squared error of its array; "none": no scale.
        row_scale: every input is multiplied digitally, before it is converted, by a constant. "least_bias": brings
            the mean weights of its row closest to the ideal ones; "none": no scale.
        predistort: devices are programmed to shifted targets, so that their mean conductance is the one wanted.

    Raises:
        InvalidInput: listing every violated field.
    """

    conductance_min: float = takes(_NOISE, 0.0)
    conductance_max: float = takes(_CONDUCTANCE, 100e-6)
    programming_noise_std: float = takes(_NOISE, ByMeasurements(2e-6, 0.0), "constant programming noise")
    programming_noise_proportional: float = takes(_FRACTION, 0.0, "proportional programming noise")
    programming_noise_polynomial: tuple[float, ...] | None = takes(_COEFFICIENTS, None, "programming noise")
    programming_noise_reference: float | None = takes(_CONDUCTANCE)
    clip_conductance: bool = takes(Flag(), ByMeasurements(True, False), "clipping to the range")
    read_noise_std: float = takes(Number(at_least=0, unit="A"), 0.0, "read noise")
    input_noise_std: float = takes(Number(at_least=0, unit="V"), 0.0, "input noise")
    voltage_max: float = takes(Number(above=0, unit="V"), 0.2)
    feedback_resistance: float | None = takes(Number(above=0, unit="ohm"))
    read_time: float = takes(Number(above=0, unit="s"), 100e-9)
    array_rows: int | None = takes(Whole(at_least=1, at_most=_MOST, advice="Give the size in devices."))
    array_columns: int | None = takes(
        Whole(at_least=2, at_most=_MOST, advice="Give the size in devices; a differential pair takes two columns.")
    )
    mapping: str = takes(Choice(MAPPINGS), "shared")
    column_gain_std: float = takes(_FRACTION, 0.0, "gain errors of columns")
    time: float = takes(Number(at_least=0, at_most=1e12, unit="s"), 0.0)
    programming_noise_curve: Curve | None = takes(Part(as_curve), None, "programming noise")
    measurements: tuple[Snapshot, ...] | None = None
    drift: Drift | None = takes(Part(as_drift), None, "drift")
    drift_compensation: bool = takes(Flag(), False)
    drift_compensation_by: str = takes(Choice(COMPENSATIONS), "conductance")
    low_frequency_noise: LowFrequencyNoise | None = takes(Part(as_low_frequency_noise), None, "low-frequency noise")
    device_gain_std: float = takes(_FRACTION, 0.0, "gain errors of devices")
    stuck_on_fraction: float = takes(_SHARE, 0.0, "devices stuck on")
    stuck_off_fraction: float = takes(_SHARE, 0.0, "devices stuck off")
    weight_mapping: str = takes(Choice(WEIGHT_MAPPINGS), "differential")
    bias_mapping: str = takes(Choice(BIAS_MAPPINGS), "digital")
    read_out: str = takes(Choice(READ_OUTS), "tia")
    load_conductance: float | None = takes(_CONDUCTANCE)
    feedback_tracking: bool = takes(Flag(), False)
    dac_bits: int | Sequence[int | None] | Mapping[str, int | None] | None = takes(
        OneOrByLayer(_BITS, or_none=True), None, "converters of rows"
    )
    adc_bits: int | Sequence[int | None] | Mapping[str, int | None] | None = takes(
        OneOrByLayer(_BITS, or_none=True), None, "converters of columns"
    )
    input_slice_bits: int | Sequence[int | None] | Mapping[str, int | None] | None = takes(
        OneOrByLayer(_SLICE_BITS, or_none=True)
    )
    adc_range: float | None = takes(Number(above=0, unit="V"))
    adc_headroom: float | Sequence[float] | Mapping[str, float] = takes(OneOrByLayer(Number(above=0)), 1.0)
    thermal_noise: bool = takes(Flag(), False, "thermal noise")
    shot_noise: bool = takes(Flag(), False, "shot noise")
    temperature: float = takes(Number(above=0, at_most=1e4, unit="K"), 300.0)
    bandwidth: float | None = takes(Number(above=0, unit="Hz"))
    dac_energy: float = takes(_ENERGY, 0.0)
    adc_energy: float = takes(_ENERGY, 0.0)
    wire_resistance_row: float = takes(_RESISTANCE, 0.0, "wires of rows")
    wire_resistance_column: float = takes(_RESISTANCE, 0.0, "wires of columns")
    driver_resistance: float = takes(_RESISTANCE, 0.0, "drivers of rows")
    sense_resistance: float = takes(_RESISTANCE, 0.0, "resistance before amplifiers")
    row_drive: str = takes(Choice(ROW_DRIVES), "one_end")
    pair_layout: str = takes(Choice(PAIR_LAYOUTS), "interleaved")
    columns_per_adc: int | Sequence[int] | Mapping[str, int] = takes(OneOrByLayer(_SHARED), 1)
    costs: Costs | None = takes(Part(as_costs))
    column_scale: str = takes(Choice(COLUMN_SCALES), "none")
    row_scale: str = takes(Choice(ROW_SCALES), "none")
    predistort: bool = takes(Flag(), False)

    #: fields that were left out and follow the measurements, also in a copy
    _left_out: ClassVar[frozenset[str]] = frozenset()
    #: the hardware whose shifted targets devices have, where it is not this one
    _programmed_as: ClassVar[Hardware | None] = None

    def __post_init__(self) -> None:
        defaults = {f.name: getattr(self, f.name) for f in fields(self)}
        defaults = {name: value for name, value in defaults.items() if isinstance(value, ByMeasurements)}
        object.__setattr__(self, "_left_out", frozenset(defaults))
        for name, default in defaults.items():
            object.__setattr__(self, name, default.of(self.measurements))
        check = Checker("hardware.")
        check_fields(self, check)
        if not check.refused("conductance_min", "conductance_max") and not self.conductance_min < self.conductance_max:
            check.fail(
                "conductance_min",
                self.conductance_min,
                f"less than conductance_max = {self.conductance_max:g} S",
                "Lower conductance_min or raise conductance_max.",
            )
        check_device_models(self, check)
        if not check.violations:
            check_read_out(self, check)
            check_wires(self, check)
            check_compensation(self, check)
        check.done()

    @property
    def polynomial_reference(self) -> float:
        """Reference conductance of the noise polynomial [S]."""
        return self.programming_noise_reference or self.conductance_max

    @property
    def devices_per_weight(self) -> int:
        """2 for a differential pair, 1 for an offset mapping."""
        return 2 if self.weight_mapping == "differential" else 1

    @property
    def columns_per_output(self) -> int:
        """Columns of one array that an output takes: 2 for a differential pair in one array, else 1."""
        return 1 if self.pair_layout == "separate_arrays" else self.devices_per_weight

    @property
    def has_wires(self) -> bool:
        """True if a wire, a driver or a column's end has a resistance."""
        return any(getattr(self, name) for name in WIRE_RESISTANCES)

    @property
    def wires(self) -> Wires:
        """The resistances around the devices of an array."""
        return Wires(
            row=self.wire_resistance_row,
            column=self.wire_resistance_column,
            driver=self.driver_resistance,
            sense=self.sense_resistance,
            both_ends=self.row_drive == "both_ends",
        )

    @property
    def drifts(self) -> bool:
        """True if devices have moved since they were programmed."""
        return self.time > 0 and (self.drift is not None or len(self.measurements or ()) > 1)

    @property
    def compensates_drift(self) -> bool:
        """True if the outputs are multiplied by a gain that makes up for drift."""
        return self.drift_compensation and self.drifts

    @property
    def low_frequency_growth(self) -> float:
        """Factor k of the low-frequency noise at the time of inference; 0 without such noise."""
        return 0.0 if self.low_frequency_noise is None else self.low_frequency_noise.growth(self.time)

    @property
    def noise_follows_programming(self) -> bool:
        """True if the strength of the low-frequency noise depends on the conductance that was reached."""
        noise = self.low_frequency_noise
        return noise is not None and noise.std_of == "programmed" and self.low_frequency_growth > 0

    @property
    def stuck_fraction(self) -> float:
        """Share of devices that do not follow their target."""
        return self.stuck_on_fraction + self.stuck_off_fraction

    @property
    def stuck_shares(self) -> tuple[tuple[float, float], ...]:
        """Share of devices that are stuck at either end, and the conductance [S] that they hold; ends that have any."""
        ends = ((self.stuck_on_fraction, self.conductance_max), (self.stuck_off_fraction, self.conductance_min))
        return tuple((share, value) for share, value in ends if share)

    @property
    def has_constant_programming_noise(self) -> bool:
        """True if devices differ from their targets by N(0, programming_noise_std²), clipped or not, and no more."""
        return not (
            self.programming_noise_proportional
            or any(self.programming_noise_polynomial or ())
            or self.programming_noise_curve is not None
            or self.measurements is not None
            or self.drifts
            or self.low_frequency_growth
            or self.device_gain_std
            or self.stuck_fraction
        )

    @property
    def has_programming_noise(self) -> bool:
        """True if devices differ from their targets, for whatever reason."""
        return bool(self.programming_noise_std) or not self.has_constant_programming_noise

    @property
    def never_clips(self) -> bool:
        """True if devices are not held at 0 S, or do not get there: the least conductance is far above the noise."""
        far = self.has_constant_programming_noise and self.conductance_min >= _FAR_STDS * self.programming_noise_std
        return far or not self.clip_conductance

    @property
    def shifts_mean(self) -> bool:
        """True if a device holds another conductance on average than its target."""
        return bool(
            (self.has_programming_noise and not self.never_clips)
            or any(snapshot.mean is not None for snapshot in self.measurements or ())
            or (self.drift is not None and self.drifts)
            or self.stuck_fraction
        )

    @property
    def input_slices(self) -> InputSlices | None:
        """How inputs are cut, of the hardware of one layer; None where they drive their rows at once."""
        bits, part = self.dac_bits, self.input_slice_bits
        if not isinstance(bits, int) or not isinstance(part, int) or part >= bits - 1:
            return None
        return InputSlices(bits, part)

    @property
    def converts_columns(self) -> bool:
        """True if what is read from a column is quantised or saturates."""
        return self.adc_bits is not None or self.adc_range is not None

    @property
    def scales_columns(self) -> bool:
        """True if outputs are multiplied by numbers of their own."""
        return self.column_scale != "none"

    @property
    def scales_rows(self) -> bool:
        """True if inputs are multiplied by numbers of their own."""
        return self.row_scale != "none"

    @property
    def compensation(self) -> str:
        """How known errors are taken out, by the names of the fields; "" where they are not."""
        named = [f"{name} {value}" for name in SCALES if (value := getattr(self, name)) != "none"]
        return ", ".join(named + ["predistort"] * self.predistort)

    @property
    def needs_full_scale(self) -> bool:
        """True if the read-out depends on the ideal values of a network: see :mod:`powerplan.hardware.full_scale`."""
        ranged = self.adc_bits is not None and self.adc_range is None
        return self.feedback_tracking or ranged or self.shot_noise

    @property
    def has_read_noise(self) -> bool:
        """True if the columns have noise that is fresh in every read."""
        return bool(self.read_noise_std) or self.thermal_noise or self.shot_noise

    @property
    def holds_up_voltages(self) -> bool:
        """True if a lower voltage costs accuracy: noise or steps that do not shrink with the signal."""
        fixed_range = self.adc_range is not None and not self.feedback_tracking and self.adc_bits is not None
        return self.has_read_noise or bool(self.input_noise_std) or self.dac_bits is not None or fixed_range

    @property
    def is_noiseless(self) -> bool:
        """True if no noise of any kind is described, nothing is quantised or saturates, and wires are ideal."""
        return not (
            self.has_programming_noise
            or self.has_read_noise
            or self.input_noise_std
            or self.column_gain_std
            or self.dac_bits is not None
            or self.converts_columns
            or self.has_wires
        )

    @property
    def fields_by_layer(self) -> tuple[str, ...]:
        """The fields whose values differ from layer to layer."""
        return tuple(name for name in _BY_LAYER if differs(getattr(self, name)))

    def of_layers(self, names: Sequence[str]) -> tuple[LayerHardware, ...]:
        """The hardware of every crossbar layer of a network, with one value in every field.

        Args:
            names: of the layers, in order.

        Raises:
            InvalidInput: values by layer that are not for these layers.
        """
        by_layer = self.fields_by_layer
        if not by_layer:
            return (LayerHardware._like(self),) * len(names)
        check = Checker("hardware.")
        values = [for_layers(check, name, getattr(self, name), names) for name in by_layer]
        check.done()
        own: dict[tuple[Any, ...], LayerHardware] = {}
        for key in zip(*values, strict=True):
            if key not in own:
                own[key] = LayerHardware._like(self.replace(**dict(zip(by_layer, key, strict=True))))
        return tuple(own[key] for key in zip(*values, strict=True))

    def replace(self, **changes: Any) -> Hardware:
        """A copy with some fields changed, validated again; quantities as in :meth:`from_dict`."""
        check = Checker("hardware.")
        unknown_keys(check, changes, [f.name for f in fields(self)])
        changes = in_si(check, changes, type(self))
        check.done()
        left_out = {name: getattr(type(self), name) for name in self._left_out}
        changed = replace(self, **{**left_out, **changes})
        return changed if self._programmed_as is None else changed.programmed_as(self._programmed_as)

    def programmed_as(self, other: Hardware) -> Hardware:
        """A copy whose devices are programmed to the shifted targets (``predistort``) of other hardware: a corner's, as
        plans take those of the nominal one. It is not in :meth:`to_dict`."""
        programmed = copy(self)
        object.__setattr__(programmed, "_programmed_as", other)
        return programmed

    @property
    def targets_of(self) -> Hardware:
        """The hardware whose targets devices are programmed to: this one, unless told by :meth:`programmed_as`."""
        return self._programmed_as or self

    def doubts(self) -> tuple[Violation, ...]:
        """Numbers that are most likely in another unit, with what is plausible; calculations warn of them."""
        from powerplan.hardware.plausible import hardware_doubts

        return hardware_doubts(self)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values (for JSON and TOML)."""
        return {f.name: to_plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Hardware:
        """Build from plain values; unknown keys are refused with the nearest valid name.

        Numbers may be quantities with their unit, as in a file: "50uS", "200 mV", "1h".

        Raises:
            InvalidInput: unknown keys, or values out of range.
        """
        check = Checker("hardware.")
        if not isinstance(values, Mapping):
            raise InvalidInput.of("hardware", values, "a mapping of field names to values", "Give a dict.")
        unknown_keys(check, values, [f.name for f in fields(cls)])
        numbers = in_si(check, values, cls)
        check.done()
        return cls(**numbers)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Hardware:
        """A published technology (see :func:`powerplan.presets`), with some fields changed.

        Raises:
            InvalidInput: unknown name (with the nearest one), unknown fields, values out of range.

        Warns:
            RangeWarning: the conductance range or the time leaves what was measured.
        """
        technology = TECHNOLOGIES[choice("preset", name, TECHNOLOGIES)]
        published = cls(**technology.fields)
        hardware = published.replace(**changes) if changes else published
        outside = technology.outside(hardware)
        if outside:
            warnings.warn(f"{name} is outside its measured range: {'; '.join(outside)}", RangeWarning, stacklevel=2)
        return hardware

    @classmethod
    def from_toml(cls, path: str | Path, **changes: Any) -> Hardware:
        """Read a TOML file: the fields at top level, or in a table ``[hardware]``; ``changes`` win over the file.

        Raises:
            InvalidInput: the file cannot be read or parsed, unknown keys, values out of range.
        """
        return cls.from_dict({**read_hardware(path), **changes})

    def to_toml(self) -> str:
        """The text of a TOML file that :meth:`from_toml` reads back: the fields that differ from their defaults."""
        return hardware_toml(self)

    @classmethod
    def from_measurements(
        cls,
        path: str | Path,
        *,
        columns: str | Sequence[str] | None = None,
        degree: int | None = None,
        least_readings: int = 3,
        **changes: Any,
    ) -> Hardware:
        """Hardware of devices that were measured: the range in a table of theirs, at the last time of reading.

        :func:`powerplan.read_measurements` says what tables are read, tells what is in this one, and draws it.

        Args:
            path, columns, degree, least_readings: as there.
            changes: fields that win, as in :meth:`from_dict`.

        Raises:
            InvalidInput, CorruptFile: as there; or a range beyond what was measured.
        """
        from powerplan.hardware.measured.measured import Measured

        measured = Measured.read(path, columns=columns, degree=degree, least_readings=least_readings)
        return cls.from_dict({**measured.fields, **changes})


#: fields with the rules of digital scales, which gains have the numbers of under the same names
SCALES = ("column_scale", "row_scale")

#: the fields that may differ from layer to layer
_BY_LAYER = tuple(f.name for f in fields(Hardware) if is_by_layer(f))


class LayerHardware(Hardware):
    """The hardware of one layer: what may differ from layer to layer has one value."""

    dac_bits: int | None
    adc_bits: int | None
    adc_headroom: float
    columns_per_adc: int
    input_slice_bits: int | None

    @classmethod
    def _like(cls, hardware: Hardware) -> LayerHardware:
        """A hardware without values by layer, checked already."""
        layer = object.__new__(cls)
        layer.__dict__.update(hardware.__dict__)
        return layer


def defaults_by_measurements(measurements: object) -> dict[str, Any]:
    """The defaults of a hardware with these measurements, or None, of the fields where they depend on them."""
    return {f.name: f.default.of(measurements) for f in fields(Hardware) if isinstance(f.default, ByMeasurements)}


#: the fields that cause errors, in words
ERROR_SOURCES: dict[str, str] = {f.name: f.metadata["errors"] for f in fields(Hardware) if "errors" in f.metadata}


def ideal_wires(hardware: Hardware) -> Hardware:
    """The hardware with wires, drivers and ends of columns of no resistance, and targets shifted for such."""
    if not hardware.has_wires:
        return hardware
    ideal, programmed = hardware.replace(**dict.fromkeys(WIRE_RESISTANCES, 0.0)), hardware.targets_of
    return ideal if programmed is hardware else ideal.programmed_as(ideal_wires(programmed))
