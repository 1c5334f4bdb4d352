"""Values that client and engine share, from hardware to plans. Written by scripts/generate_client.py. Do not edit."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Union

import numpy as np

from powerplan_client.call_info import CallInfo
from powerplan_client.compat import dataclass
from powerplan_client.cost_breakdown import CostBreakdown
from powerplan_client.per_input import Inputs
from powerplan_client.spread import Chips

Gain = Union[float, np.ndarray]


class Outcome(enum.Enum):
    """How planning ended."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    ITERATION_LIMIT = "iteration_limit"
    DEADLINE = "deadline"
    WITHIN_GAP = "within_gap"
    STALLED = "stalled"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A crossbar technology in SI units; None = the server's default for that field.

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
        preset: name of a published technology whose values stand in for every field that is None; without one those are
            at the server's default.

    A curve is a number (a constant) or a mapping: {"type": "polynomial", "coefficients": [...], "reference": siemens};
    drift is {"type": "power_law", "exponent_mean": curve, ...} or {"type": "log_time", ...}; a snapshot is {"time",
    "mean": curve, "std": curve}, or {"time", "target", "mean", "std"} with lists of measured conductances [S]. The
    server's documentation lists the types.
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
    dac_bits: int | Sequence[int | None] | Mapping[str, int | None] | None = None
    adc_bits: int | Sequence[int | None] | Mapping[str, int | None] | None = None
    input_slice_bits: int | Sequence[int | None] | Mapping[str, int | None] | None = None
    adc_range: float | None = None
    adc_headroom: float | Sequence[float] | Mapping[str, float] | None = None
    thermal_noise: bool | None = None
    shot_noise: bool | None = None
    temperature: float | None = None
    bandwidth: float | None = None
    dac_energy: float | None = None
    adc_energy: float | None = None
    wire_resistance_row: float | None = None
    wire_resistance_column: float | None = None
    driver_resistance: float | None = None
    sense_resistance: float | None = None
    row_drive: str | None = None
    pair_layout: str | None = None
    columns_per_adc: int | Sequence[int] | Mapping[str, int] | None = None
    costs: str | Mapping[str, Any] | None = None
    column_scale: str | None = None
    row_scale: str | None = None
    predistort: bool | None = None
    preset: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Gains:
    """Conductance and voltage gains of every crossbar layer.

    Attributes:
        conductance: one entry per crossbar layer: a float, or an (n_out,) array with one gain per
            column (output), in S per unit weight, > 0.
        voltage: one entry per crossbar layer: a float, or an (n_in,) array with one gain per row (input),
            in V per unit activation, > 0.
        column_scale: one (n_out,) array of numbers > 0 per crossbar layer: what its outputs are multiplied by
            digitally, on hardware that does (``hardware.column_scale``); None = what the hardware's rule makes of the
            gains and the inputs of a calculation. Those of a plan are of its inputs.
        row_scale: the same of inputs (``hardware.row_scale``), (n_in,) arrays: what each is multiplied by before its
            converter, divided by the largest of the layer, which is multiplied back behind the columns.
    """

    conductance: tuple[Gain, ...]
    voltage: tuple[Gain, ...]
    column_scale: tuple[np.ndarray, ...] | None = None
    row_scale: tuple[np.ndarray, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Steps:
    """The values a gain can take.

    Attributes:
        values: increasing values > 0, (n,): gains [S per unit weight or V per unit activation], or fractions of
            each gain's own largest value if ``relative``.
        relative: the values are fractions in (0, 1] of the largest gain that the hardware's limits allow.
    """

    values: Sequence[float] | np.ndarray
    relative: bool = False


@dataclass(frozen=True)
class MaxMSE:
    """Least power such that the mean squared error of the outputs is at most ``value`` (> 0).

    Attributes:
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
        inputs: the part of the inputs whose mean over chips must meet the bound, likewise; None = the mean over inputs
            must. Not with ``chips``.
    """

    value: float
    chips: float | None = None
    inputs: float | None = None


@dataclass(frozen=True)
class MaxNMSE:
    """Least power such that MSE / mean y*² is at most ``value`` (> 0; 0.01 is 1 %).

    Attributes:
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
        inputs: the part of the inputs whose mean over chips must meet the bound, likewise; None = the mean over inputs
            must. Not with ``chips``.
    """

    value: float
    chips: float | None = None
    inputs: float | None = None


@dataclass(frozen=True)
class MaxOutputMSE:
    """Least power such that the mean squared error of every single output is at most ``value`` (> 0).

    Attributes:
        chips: the part of the chips whose every output must meet the bound, between 0 and 1; None = the mean over chips
            must.
    """

    value: float
    chips: float | None = None


@dataclass(frozen=True)
class MaxAccuracyDrop:
    """Least power such that the expected accuracy on the calibration inputs falls by at most ``fraction``.

    The drop is absolute (0.01 is one percentage point), from the accuracy of the ideal network on the same inputs.

    Attributes:
        fraction: 0 to 1, below the ideal accuracy.
        labels: one class per calibration input, from 0.
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
    """

    fraction: float
    labels: Sequence[int] | np.ndarray
    chips: float | None = None


@dataclass(frozen=True)
class MaxFlipRate:
    """Least power such that at most ``fraction`` (0 to 1) of the outputs change class: no labels needed.

    The class is the largest output (with one output: its sign), expected over devices and inputs.

    Attributes:
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
    """

    fraction: float
    chips: float | None = None


@dataclass(frozen=True)
class MaxPower:
    """Least mean squared error such that the power of one inference is at most ``value`` [W] (> 0).

    Attributes:
        chips: the part of the chips, between 0 and 1, whose error is least: what that part keeps within; None = the
            mean over chips is.
    """

    value: float
    chips: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMoments:
    """Moments of the decoded output z = W x + b of one crossbar layer, for every input.

    Attributes:
        name: name of the layer.
        mean: shape (B, n).
        variance: shape (B, n).
        covariance: shape (B, n, n); None unless the method carries covariances.
    """

    name: str
    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class ArrayDrop:
    """What wires take off one array.

    Attributes:
        layer: name.
        group, row_tile, column_tile: of the layer's arrays, from 0.
        side: 0, or 1 of the negative weights where these have arrays of their own.
        mean: share of the column currents where all rows are driven alike, mean over the columns.
        largest: largest share of what one device adds to its column.
    """

    layer: str
    group: int
    row_tile: int
    column_tile: int
    side: int
    mean: float
    largest: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Error and power of a network on crossbars, from second-order moments.

    B inputs, K outputs, L crossbar layers. ``mse`` is the mean over inputs and outputs of E[(y − y*)²],
    y* the ideal output; ``nmse`` = mse / mean y*². ``mse_by_layer`` sums to ``mse``.

    Attributes:
        method: "linearized", "covariance" or "diagonal".
        mse: mean squared error of the outputs.
        mse_standard_error: its own standard error, of error samples and of random combinations of the outputs; 0 where
            neither was used, NaN where too few samples were asked for to tell.
        marginal_fields: error samples that correct variances, means and power; with any of them there is chance in the
            result, another seed gives another; 0 = none.
        sampling_limited: the standard error that samples leave is larger than ``sampling_error`` asks for: the limit of
            work or time, or ``marginal_fields``, came first.
        nmse_standard_error: mse_standard_error / signal_power.
        nmse: mse / signal_power (NaN if the ideal outputs are all zero).
        signal_power: mean over inputs and outputs of y*².
        mse_bias: part of mse that is squared bias; the rest is variance.
        mse_by_layer: (L,) share of mse caused by the noise of each layer.
        mse_by_output: (K,) mean over inputs of each output's squared error; with random combinations the variance in
            it is shared out among the outputs as if the activations were independent.
        mse_by_output_standard_error: (K,) what the chance of error samples leaves in it.
        wire_bias_by_layer: (L,) squared output bias that the resistance of each layer's wires causes alone: that of the
            mean weights less what the same gains give with ideal wires, digital scales and shifted targets being made
            for the wires in either case; 0 with ideal wires.
        wire_drop_by_layer: (L,) share of the column currents that wires take off where all rows are driven alike, mean
            over the columns of all arrays.
        largest_wire_drop_by_layer: (L,) largest share that wires take off what one device adds to its column.
        array_drops: what they take off every array; empty with ideal wires, and in a prediction read back from a plan
            file.
        power: power of one inference [W], summed over the layers.
        power_standard_error: what the chance of error samples leaves in it [W].
        power_by_layer: (L,) [W].
        array_power_by_layer: (L,) [W], dissipated in the devices.
        tia_power_by_layer: (L,) [W], dissipated in the TIA feedback; zero if not counted.
        converter_power_by_layer: (L,) [W], of the converters of rows and columns; zero if they have no energy.
        energy: energy of one inference [J] = power × read time.
        layer_names: (L,) names of the crossbar layers.
        layer_kinds: (L,) their kinds, such as "Linear" and "Conv2d"; empty where they are not known.
        ideal_output: (B, K) y*; None in a prediction read back from a plan file.
        output_mean: (B, K); None in a prediction read back from a plan file.
        output_covariance: (B, K, K); None in a prediction read back from a plan file, or with random combinations.
            Where rare errors saturate converters the mean over inputs is right to a few percent, that of a single
            input may be off by half.
        layers: moments of each crossbar layer; empty in a prediction read back from a plan file, and where they would
            take more than the memory limit.
            With ``diagonal``, and with ``linearized`` where no error samples correct them, the variances of inner
            layers assume independent activations and are approximate (10-20 % low is usual); ``covariance``
            gives the accurate ones.
        first_order: names of nodes without a Gaussian formula, taken at the mean (first order).
        chips: how the error is spread over chips, if asked for.
        inputs: the errors of single inputs, and what they say of inputs beside the calibration batch; None in plan
            files written before they were kept.
        costs: energy, latency and area by layer and component; None where the hardware has no costs.
        accuracy: expected classification accuracy, if labels were given and the outputs' covariance is known.
        accuracy_standard_error: of it.
        accuracy_input_standard_error: of it over inputs: as one of all inputs that there may be.
        ideal_accuracy: of the ideal network on the same inputs, if labels were given.
        gains: of every crossbar layer, in the answer to a call.
        info: of the call, in the answer to one.

    Moments of outputs and layers, and what is said of every draw, are there only if they were asked for.
    """

    method: str
    mse: float
    nmse: float
    signal_power: float
    mse_bias: float
    mse_by_layer: np.ndarray
    mse_by_output: np.ndarray
    power: float
    power_by_layer: np.ndarray
    array_power_by_layer: np.ndarray
    tia_power_by_layer: np.ndarray
    converter_power_by_layer: np.ndarray
    energy: float
    layer_names: tuple[str, ...]
    ideal_output: np.ndarray | None = None
    output_mean: np.ndarray | None = None
    output_covariance: np.ndarray | None = None
    layers: tuple[LayerMoments, ...] = ()
    first_order: tuple[str, ...] = ()
    chips: Chips | None = None
    mse_standard_error: float = 0.0
    mse_by_output_standard_error: np.ndarray | None = None
    wire_bias_by_layer: np.ndarray | None = None
    wire_drop_by_layer: np.ndarray | None = None
    largest_wire_drop_by_layer: np.ndarray | None = None
    array_drops: tuple[ArrayDrop, ...] = ()
    power_standard_error: float = 0.0
    marginal_fields: int = 0
    sampling_limited: bool = False
    inputs: Inputs | None = None
    costs: CostBreakdown | None = None
    layer_kinds: tuple[str, ...] = ()
    nmse_standard_error: float = 0.0
    accuracy: float | None = None
    accuracy_standard_error: float | None = None
    accuracy_input_standard_error: float | None = None
    ideal_accuracy: float | None = None
    gains: Gains | None = None
    info: CallInfo | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """Monte Carlo estimates of error and power. One draw programs every array once and passes all inputs.

    B inputs, K outputs, L crossbar layers, D draws. Standard errors are over draws; a 95 % confidence
    interval is mean ± 1.96 standard errors; after a single draw they are NaN.

    Attributes:
        draws: number of draws made.
        seed: of the random numbers; equal seeds give equal results whatever the batching.
        mse, mse_standard_error: mean over draws, inputs and outputs of (y − y*)².
        nmse, nmse_standard_error: the same divided by signal_power; NaN if the ideal outputs are all zero.
        signal_power: mean over inputs and outputs of y*².
        mse_by_output, mse_by_output_standard_error: (K,).
        mse_by_draw: (D,) mean over inputs and outputs in each draw.
        worst_mse_by_draw: (D,) mean over inputs of the worst output in each draw.
        power, power_standard_error: power of one inference [W].
        power_by_layer, power_by_layer_standard_error: (L,) [W].
        converter_power_by_layer: (L,) [W], part of ``power_by_layer`` that the converters of rows and columns take, the
            same in every draw; zero if they have no energy.
        energy: energy of one inference [J].
        layer_names: (L,).
        layer_kinds: (L,) their kinds, such as "Linear" and "Conv2d"; empty where they are not known.
        ideal_output: (B, K) y*.
        output_mean: (B, K) mean over draws.
        output_covariance: (B, K, K) over draws; None if K > 64 and it takes more than 1/16 of the memory limit.
        classes: (D, B) class of each output (largest entry; with one output 1 if positive, else 0).
        layers: moments of each crossbar layer's decoded output, if asked for; of every read of its array, by node.
        inputs: the errors of single inputs, means over draws, and what they say of other inputs; None from a server
            that does not tell it.
        power_by_draw: (D,) power of one inference in each draw [W].
        costs: energy, latency and area by layer and component, means over draws; None where the hardware has no costs.
        chips: errors of single chips: every draw is one.
        accuracy: expected classification accuracy, if labels were given and the outputs' covariance is known.
        accuracy_standard_error: of it.
        accuracy_input_standard_error: of it over inputs: as one of all inputs that there may be.
        ideal_accuracy: of the ideal network on the same inputs, if labels were given.
        gains: of every crossbar layer, in the answer to a call.
        info: of the call, in the answer to one.

    Moments of outputs and layers, and what is said of every draw, are there only if they were asked for.
    """

    draws: int
    seed: int
    mse: float
    mse_standard_error: float
    nmse: float
    nmse_standard_error: float
    signal_power: float
    mse_by_output: np.ndarray
    mse_by_output_standard_error: np.ndarray
    mse_by_draw: np.ndarray | None = None
    worst_mse_by_draw: np.ndarray | None = None
    power: float
    power_standard_error: float
    power_by_layer: np.ndarray
    power_by_layer_standard_error: np.ndarray
    converter_power_by_layer: np.ndarray
    energy: float
    layer_names: tuple[str, ...]
    ideal_output: np.ndarray | None = None
    output_mean: np.ndarray | None = None
    output_covariance: np.ndarray | None = None
    classes: np.ndarray | None = None
    layers: tuple[LayerMoments, ...] = ()
    inputs: Inputs | None = None
    power_by_draw: np.ndarray | None = None
    costs: CostBreakdown | None = None
    layer_kinds: tuple[str, ...] = ()
    chips: Chips | None = None
    accuracy: float | None = None
    accuracy_standard_error: float | None = None
    accuracy_input_standard_error: float | None = None
    ideal_accuracy: float | None = None
    gains: Gains | None = None
    info: CallInfo | None = None

    @property
    def mse_confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of mse."""
        return _interval(self.mse, self.mse_standard_error)

    @property
    def nmse_confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of nmse."""
        return _interval(self.nmse, self.nmse_standard_error)

    @property
    def power_confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of power [W]."""
        return _interval(self.power, self.power_standard_error)


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A change of the hardware that lowers what an infeasible target bounds, predicted at the best gains there.

    Attributes:
        parameter: the field of the hardware, or "together" for several.
        change: what to do, in words.
        reached: the bounded quantity with it (MSE, NMSE, fraction or W).
        meets_target: whether that is enough.
    """

    parameter: str
    change: str
    reached: float
    meets_target: bool


@dataclass(frozen=True, kw_only=True)
class FloorPart:
    """What one source adds to the error that is left however large the conductances are.

    Attributes:
        parameter: the field of the hardware that describes the source.
        amount: by how much the bounded quantity falls there without this source alone (MSE, NMSE or fraction).
    """

    parameter: str
    amount: float


@dataclass(frozen=True, kw_only=True)
class Termination:
    """Why planning stopped.

    Attributes:
        outcome: how it ended.
        message: one sentence for a person; for an infeasible target the lowest reachable value and the
            limits to relax.
        solver_status: the last solver's own words.
        iterations: quasi-Newton steps made.
        predictions: evaluations of the predictor.
        seconds: wall time of the optimisation.
        best_reachable: the lowest reachable value of the bounded quantity (MSE, NMSE or W) when
            infeasible; None otherwise.
        binding_limits: the limits that bind when infeasible, as "layer: limit".
        remedies: what helps when infeasible: changes that reach the target, the smallest first, then those that lower
            its quantity without reaching it, most first.
        floor: the bounded quantity at 1000 times conductance_max, if that was predicted and is not enough.
        floor_parts: where the floor comes from, or, without one (devices that are known in their measured range only),
            the lowest reachable value: what it falls by without each source alone, most first. Parts below 1 % are left
            out. Those of errors that add up sum to it; where errors bend each other's effect they do not. Empty under a
            power budget.
        advice: what the outcome means and what to do next.
    """

    outcome: Outcome
    message: str
    solver_status: str
    iterations: int
    predictions: int
    seconds: float
    best_reachable: float | None = None
    binding_limits: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    floor: float | None = None
    floor_parts: tuple[FloorPart, ...] = ()
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Proof of optimality, recomputed from the returned gains. All entries are relative (0 is perfect).

    Attributes:
        kkt_residual: sum of the absolute entries of the gradient of log objective + λ log constraint + limit
            multipliers with respect to the log gains: what changing every gain by up to a factor e could save, as a
            fraction and to first order.
        duality_gap: upper bound on (objective − optimum)/objective of the local geometric program at the
            returned point.
        constraint_violation: how far the bounded quantity exceeds its bound, as a fraction of the bound.
        scanned: gains all over the limits that were predicted to look for better ones, where the resistance of wires
            makes errors rise again with the gains, and all else here is proven of the gains near the plan's only; else
            0.
        scan_gap: what the best gains could save as far as those tell, as a fraction: the fall of the log Lagrangian,
            which weak duality bounds the objective by, from the plan to the lowest of them.
    """

    kkt_residual: float
    duality_gap: float
    constraint_violation: float
    scanned: int = 0
    scan_gap: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DiscreteGap:
    """How far a plan on steps can be from the best choice of steps.

    Attributes:
        gap: (objective − bound) / bound, >= 0; NaN if no choice of steps meets the target.
        bound: no choice of steps has a lower objective [W; the error under a power budget]. Proven where power and
            error are convex functions of the log gains (a geometric program); see ``convexity_violation``.
        continuous: objective of the plan without steps, same unit.
        method: "branch_and_bound" (outer approximation) or "rounding" (then ``bound`` is the continuous plan's).
        nodes: nodes of the branch and bound trees.
        visited: choices of steps evaluated by the full predictor.
        convexity_violation: largest amount, as a fraction of objective or bound, by which the predictor lay below a
            supporting plane at a visited point; the bound holds after lowering the planes by it. 0: convex as far as
            was seen.
    """

    gap: float
    bound: float
    continuous: float
    method: str
    nodes: int
    visited: int
    convexity_violation: float


@dataclass(frozen=True, kw_only=True)
class BitGap:
    """How far bits that a plan chose can be from the best choice.

    Attributes:
        gap: (value of the plan − least value) / least value, >= 0, of what is minimised: energy, or another objective,
            whose least value goes with ``bound`` and the least latency or area that any choice has.
        bound: no other choice of bits, with the gains that are best for it, takes less energy [J]. Proven of a model
            of power and error near the plan's gains; lowered by as much as the prediction was seen to be below it.
        relaxed: that of the model [J], before it was lowered.
        nodes: choices of bits that were looked at in the model, with gains of their own.
        visited: predictions that the models were made from.
        convexity_violation: by how much, as a part of the energy, what single layers save was seen to be less than what
            they save together; the bound is lowered by it.
    """

    gap: float
    bound: float
    relaxed: float
    nodes: int
    visited: int
    convexity_violation: float


@dataclass(frozen=True, kw_only=True)
class LimitPrice:
    """Price of one active limit: d log objective / d log limit of the gain of ``layer``.

    Attributes:
        layer: the layer's name, or "network" for a gain shared by all layers.
        limit: "conductance_max", "conductance_gain_min", "voltage_max" or "voltage_gain_min".
        price: relative change of the objective per relative change of the gain's limit (<= 0 for upper limits).
        column: the column (output) of the gain; None if the whole layer shares it.
        row: the row (input) of the gain; likewise.
    """

    layer: str
    limit: str
    price: float
    column: int | None = None
    row: int | None = None


@dataclass(frozen=True, kw_only=True)
class ConstraintPrice:
    """Price of one binding constraint: d log objective / d log bound of it alone (negative).

    Attributes:
        corner: the hardware it binds in; 0 is the nominal one.
        output: the output it is about; None if it is about all of them.
        price: relative change of the objective per relative change of the bound.
    """

    corner: int
    output: int | None
    price: float


@dataclass(frozen=True, kw_only=True)
class ShadowPrices:
    """What the constraints cost.

    Attributes:
        target: d log objective / d log target (negative: a looser target is cheaper). The objective is
            the power, or the MSE under a power budget.
        limits: the price of every active limit.
        constraints: the price of every binding constraint (one per corner and output that binds); they sum to
            ``target``.
    """

    target: float
    limits: tuple[LimitPrice, ...] = ()
    constraints: tuple[ConstraintPrice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Monte Carlo check of a plan.

    Attributes:
        draws, seed: of the simulation.
        mse, mse_standard_error, nmse, nmse_standard_error: simulated error.
        power, power_standard_error: simulated power [W].
        ratio: simulated / bound of the target's quantity (MSE, NMSE, fraction or power), the worst output's if
            the target is about single outputs.
        ratio_standard_error: of it (an upper estimate where output weights sum dependent errors).
        calibrated: the plan was made for another bound so that the simulation, not the prediction, meets the target.
        chip_yield: the part of the simulated chips that meet the bound, each by itself; None where draws do not tell
            it (weights of outputs, power, a part of the inputs).
        ratio_input_standard_error: of ratio over inputs, as one of all inputs of which the calibration inputs are a
            random sample; None where the target is not on a mean over inputs.
        chip_yield_low, chip_yield_high: 95 % confidence interval of chip_yield (Clopper and Pearson); None with it.
        chip_mse: the MSE that the target's part of the simulated chips keeps within, least under a power budget; None
            where the target is on the mean over chips, on classes or on single outputs.
        chip_mse_low, chip_mse_high: its 95 % confidence interval (order statistics); None with it, the upper end also
            where too few chips were drawn to tell it.
    """

    draws: int
    seed: int
    mse: float
    mse_standard_error: float
    nmse: float
    nmse_standard_error: float
    power: float
    power_standard_error: float
    ratio: float
    ratio_standard_error: float = 0.0
    calibrated: bool = False
    chip_yield: float | None = None
    ratio_input_standard_error: float | None = None
    chip_yield_low: float | None = None
    chip_yield_high: float | None = None
    chip_mse: float | None = None
    chip_mse_low: float | None = None
    chip_mse_high: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Corner:
    """A further hardware in which a plan meets its target with the same gains.

    Attributes:
        hardware: the corner's hardware.
        prediction: error and power at the plan's gains there.
        verification: Monte Carlo check there, if asked for.
    """

    hardware: Hardware
    prediction: Prediction
    verification: Verification | None = None


@dataclass(frozen=True, kw_only=True)
class LayerArrays:
    """The arrays of one crossbar layer.

    Attributes:
        name: of the layer.
        groups: of a grouped convolution, each with arrays of its own.
        row_tiles, column_tiles: arrays along rows and columns of one group's matrix, those of both sides.
        copies: arrays of the same content: positions of all its reads if every position has its own, else 1.
        reads: reads of each of these arrays in one inference.
        conversions: values that are read from columns and converted in one inference, by all arrays; driven: row
            voltages that are converted. None in plan files written before they were counted.
    """

    name: str
    groups: int
    row_tiles: int
    column_tiles: int
    copies: int
    reads: int
    conversions: int | None = None
    driven: int | None = None

    @property
    def arrays(self) -> int:
        """Number of arrays."""
        return self.groups * self.row_tiles * self.column_tiles * self.copies


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Gains that meet a target at least power, with what proves and explains them.

    Attributes:
        gains: the gains of every crossbar layer.
        prediction: the predicted error and power at these gains.
        target: what was asked.
        reached: the target's quantity (MSE, NMSE, W or fraction) as predicted, the worst over outputs and corners.
        granularity: "network", "layer", "column" or "signal".
        optimize: what was free ("conductance", "voltage", "adc_bits", "dac_bits"); the others were held.
        hardware: the hardware planned for.
        termination: why planning stopped.
        certificate: proof of optimality; None if the target is infeasible, or time ran out before there was one.
        shadow_prices: what the constraints cost; None likewise.
        baseline_gains: one conductance range for every layer, scaled to the same target; None if it
            cannot meet it.
        baseline_power: predicted power of the baseline [W]; None likewise.
        baseline_mse: predicted error of the baseline (weighted if there are output weights); None likewise.
        verification: Monte Carlo check, if asked for.
        output_weights: (K,) weights of the outputs in the error, with mean 1; None = all alike.
        corners: further hardware in which the plan meets the target too; ``hardware``, ``prediction`` and
            ``verification`` are the nominal ones.
        bits: where bits of converters were free: how far they can be from the best choice; the hardware has them.
        discrete: with steps: how far the plan can be from the best choice of steps; certificate and shadow prices
            are then those of the plan without steps. None without.
        arrays: the physical arrays of every crossbar layer on ``hardware``; None in plan files written before they were
            counted.
        calibration: the inputs that it is for: "mean", those of calibration; "upper", others of which these are a
            random sample (``reached`` is then at the upper end of the 95 % confidence interval).
        ideal_accuracy: of the ideal network on the calibration inputs, for a target with labels; None without, and in
            plan files written before it was kept.
        provenance: versions, network digest, seeds, settings and times.
        saving: 1 − power / baseline_power (with a power budget: 1 − error / baseline_mse).
        info: of the call, in the answer to one.
    """

    gains: Gains
    prediction: Prediction
    target: Target
    reached: float
    granularity: str
    optimize: tuple[str, ...]
    hardware: Hardware
    termination: Termination
    certificate: Certificate | None
    shadow_prices: ShadowPrices | None
    baseline_gains: Gains | None
    baseline_power: float | None
    baseline_mse: float | None
    verification: Verification | None = None
    output_weights: tuple[float, ...] | None = None
    corners: tuple[Corner, ...] = ()
    discrete: DiscreteGap | None = None
    bits: BitGap | None = None
    arrays: tuple[LayerArrays, ...] | None = None
    calibration: str = "mean"
    ideal_accuracy: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    saving: float | None
    info: CallInfo | None = None

    @property
    def array_count(self) -> int | None:
        """Number of physical arrays of all layers; None if it is not known."""
        return None if self.arrays is None else sum(layer.arrays for layer in self.arrays)

    @property
    def conversions(self) -> int | None:
        """Values that are read from columns and converted in one inference, all layers; None if it is not known."""
        by_layer = [layer.conversions for layer in self.arrays or () if layer.conversions is not None]
        return sum(by_layer) if self.arrays and len(by_layer) == len(self.arrays) else None

    @property
    def power(self) -> float:
        """Predicted power of one inference [W]."""
        return self.prediction.power

    @property
    def energy(self) -> float:
        """Predicted energy of one inference [J]."""
        return self.prediction.energy

    @property
    def costs(self) -> CostBreakdown | None:
        """Predicted energy, latency and area by layer and component; None where the hardware has no costs."""
        return self.prediction.costs

    @property
    def mse(self) -> float:
        """Predicted MSE."""
        return self.prediction.mse

    @property
    def nmse(self) -> float:
        """Predicted NMSE."""
        return self.prediction.nmse


def _interval(mean: float, standard_error: float) -> tuple[float, float]:
    return mean - 1.96 * standard_error, mean + 1.96 * standard_error


Target = Union[MaxMSE, MaxNMSE, MaxOutputMSE, MaxAccuracyDrop, MaxFlipRate, MaxPower]
