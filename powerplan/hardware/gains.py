"""The gains that map a network onto crossbars.

Layer ℓ computes z = W x + b with row voltages V_j = v_j x_j and devices

    G±_ij = G_min + c_i max(±W_ij, 0) v_ref / v_j,        v_ref = (Π_j v_j)^(1/n_in),

(with an offset mapping one device of W_ij + w, see :mod:`powerplan.hardware.stored`) decoded by
1 / (c_i v_ref): c is the conductance gain [S per unit weight], v the voltage gain [V per unit activation].
A row that is driven harder holds its weights in smaller devices; with one v for the whole layer, v_ref / v_j = 1.
Limits: G_ij ≤ G_max for every device, that is G_min + c_i max_j |W_ij| v_ref / v_j ≤ G_max for pairs, and
v_j max|x_j| ≤ V_max.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from powerplan.checks import Checker, frozen_array, real_array, unknown_keys, without_zeros
from powerplan.errors import InvalidInput
from powerplan.hardware.describe import number_in_si
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.stored import stored
from powerplan.network import CrossbarOp, Network, Node

Gain = float | np.ndarray

_UNITS = {"conductance": "S", "voltage": "V", "column_scale": "", "row_scale": ""}
#: digital scales, and how many a layer has
_SCALES = {"column_scale": "n_out", "row_scale": "n_rows"}
#: those that every mapping has
_NEEDED = ("conductance", "voltage")

#: relative slack when a gain is compared with its limit
LIMIT_TOLERANCE = 1e-9


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

    Raises:
        InvalidInput: entries that are not positive and finite, or lists of different lengths.
    """

    conductance: tuple[Gain, ...]
    voltage: tuple[Gain, ...]
    column_scale: tuple[np.ndarray, ...] | None = None
    row_scale: tuple[np.ndarray, ...] | None = None

    def __post_init__(self) -> None:
        check = Checker("gains.")
        scales = {name: given for name in _SCALES if (given := getattr(self, name)) is not None}
        for field in ("conductance", "voltage", *scales):
            entries = getattr(self, field)
            if not (isinstance(entries, list | tuple) or getattr(entries, "ndim", 0) > 0):
                check.fail(field, entries, "a list with one entry per crossbar layer", "Give a list.")
        check.done()
        conductance = tuple(_gain(check, f"conductance[{i}]", g, "n_out") for i, g in enumerate(self.conductance))
        voltage = tuple(_gain(check, f"voltage[{i}]", g, "n_in") for i, g in enumerate(self.voltage))
        if len(conductance) != len(voltage):
            check.fail(
                "voltage", len(voltage), f"one entry per entry of conductance ({len(conductance)})", "Give both lists."
            )
        check.done()
        object.__setattr__(self, "conductance", conductance)
        object.__setattr__(self, "voltage", voltage)
        for name, given in scales.items():
            object.__setattr__(self, name, self._checked_scales(name, given, check))

    def _checked_scales(self, name: str, scales: Sequence[np.ndarray], check: Checker) -> tuple[np.ndarray, ...]:
        if len(scales) != len(self.conductance):
            allowed = f"one entry per entry of conductance ({len(self.conductance)}), or None"
            check.fail(name, len(scales), allowed, "Give those of a plan, or leave them out.")
            check.done()
        arrays = [np.atleast_1d(_gain(check, f"{name}[{i}]", s, _SCALES[name])) for i, s in enumerate(scales)]
        check.done()
        return tuple(frozen_array(array, np.float64) for array in arrays)

    @classmethod
    def uniform(
        cls,
        network: Network,
        hardware: Hardware,
        *,
        conductance: float | None = None,
        voltage: float | None = None,
        inputs: np.ndarray | None = None,
    ) -> Gains:
        """The same gain in every layer.

        Args:
            conductance: conductance gain [S per unit weight]; None = in each layer the largest the
                conductance range allows.
            voltage: voltage gain [V per unit activation]; None = in each layer V_max / max|x| over the
                ideal activations of ``inputs``, or V_max per unit activation if no inputs are given.

        Raises:
            InvalidInput: gains beyond the limits of the hardware.
        """
        count = len(network.crossbars)
        largest = conductance_limits(network, hardware)
        if voltage is not None:
            volts: Sequence[float] = [voltage] * count
        elif inputs is None:
            volts = [hardware.voltage_max] * count
        else:
            volts = voltage_limits(network, hardware, inputs)
        gains = cls(
            conductance=tuple(largest) if conductance is None else (conductance,) * count,
            voltage=tuple(volts),
        )
        gains.check(network, hardware)
        return gains

    @classmethod
    def full_range(
        cls, network: Network, hardware: Hardware, inputs: np.ndarray, *, conductance_max: float | None = None
    ) -> Gains:
        """Every layer on one conductance range: c = (g − G_min) / max|W| with g = ``conductance_max`` [S].

        This is the baseline of a plan. None = the hardware's whole range. The voltage gain of a layer is
        V_max / max|x| over the ideal activations of ``inputs``.
        """
        top = hardware.conductance_max if conductance_max is None else conductance_max
        check = Checker("")
        check.number("conductance_max", top, above=hardware.conductance_min, at_most=hardware.conductance_max, unit="S")
        check.done()
        fraction = (top - hardware.conductance_min) / (hardware.conductance_max - hardware.conductance_min)
        return cls(
            conductance=tuple(fraction * c for c in conductance_limits(network, hardware)),
            voltage=tuple(voltage_limits(network, hardware, inputs)),
        )

    def check(self, network: Network, hardware: Hardware) -> None:
        """Refuse gains that do not fit the network or that no device of the hardware can hold.

        Raises:
            InvalidInput: wrong number of layers, columns or rows, conductances beyond ``conductance_max``.
        """
        layers = network.crossbars
        check = Checker("gains.")
        if len(self.conductance) != len(layers):
            check.fail(
                "conductance",
                f"{len(self.conductance)} entries",
                f"one entry per crossbar layer, {len(layers)}: {', '.join(network.layer_labels)}",
                "Give one gain per layer.",
            )
            check.done()
        for i, (node, volts) in enumerate(zip(layers, self.voltage, strict=True)):
            if np.ndim(volts) and np.shape(volts) != (shape := (_op(node).n_rows,)):
                check.fail(f"voltage[{i}]", volts, f"a float or shape {shape} for {node.array_name}", "Fix it.")
        check.done()
        self._check_scales_of(network, hardware, check)
        limits = column_conductance_limits(network, hardware, self.voltage)
        for i, (node, gain, limit) in enumerate(zip(layers, self.conductance, limits, strict=True)):
            if np.ndim(gain) == 1 and np.shape(gain) != limit.shape:
                check.fail(
                    f"conductance[{i}]", gain, f"a float or shape {limit.shape} for {node.array_name}", "Fix it."
                )
            elif (gain > limit * (1 + LIMIT_TOLERANCE)).any():
                worst = float(np.max(np.asarray(gain) / limit))
                check.fail(
                    f"conductance[{i}]",
                    gain,
                    f"at most {float(limit.min()):.6g} S per unit weight for {node.array_name}: its largest weight "
                    f"must not exceed conductance_max = {hardware.conductance_max:g} S",
                    f"Divide it by {worst:.4g}, or raise hardware.conductance_max.",
                )
        check.done()

    def check_has_scales(self, hardware: Hardware) -> None:
        """Refuse gains that lack the scales that the hardware multiplies by.

        Raises:
            InvalidInput: no ``column_scale`` or ``row_scale`` where the hardware has a rule for it.
        """
        for name in _SCALES:
            rule = getattr(hardware, name)
            if rule != "none" and getattr(self, name) is None:
                allowed = f"the scales of every layer where hardware.{name} is {rule!r}"
                raise InvalidInput.of(f"gains.{name}", None, allowed, "Export a plan, whose gains have them.")

    def _check_scales_of(self, network: Network, hardware: Hardware, check: Checker) -> None:
        for name, length in _SCALES.items():
            scales = getattr(self, name)
            if scales is None:
                continue
            if getattr(hardware, name) == "none":
                allowed = f"None where hardware.{name} is 'none'"
                advice = f"Set hardware.{name}='least_bias', or give the gains without their scales."
                check.fail(name, f"{len(scales)} entries", allowed, advice)
            for i, (node, scale) in enumerate(zip(network.crossbars, scales, strict=True)):
                if scale.shape != (shape := (getattr(_op(node), length),)):
                    check.fail(f"{name}[{i}]", scale, f"shape {shape} for {node.array_name}", "Fix it.")
            check.done()

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON; digital scales only where there are any."""
        entries = {name: getattr(self, name) for name in _UNITS}
        return {
            name: [g.tolist() if isinstance(g, np.ndarray) else g for g in gains]
            for name, gains in entries.items()
            if gains is not None
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Gains:
        """Inverse of :meth:`to_dict`; numbers may be quantities with their unit, as in a file: "20uS", "200 mV".

        Raises:
            InvalidInput: unknown or missing keys, and all that the class refuses.
        """
        check = Checker("gains.")
        if not isinstance(values, Mapping):
            raise InvalidInput.of("gains", values, "a mapping with conductance and voltage", "Give a dict.")
        unknown_keys(check, values, _UNITS)
        for field in _UNITS:
            absent = field not in _NEEDED and values.get(field) is None
            if not absent and not isinstance(values.get(field), list | tuple):
                check.fail(field, values.get(field), "a list with one entry per crossbar layer", "Give a list.")
        numbers = {
            name: number_in_si(check, name, values[name], unit)
            for name, unit in _UNITS.items()
            if values.get(name) is not None
        }
        check.done()
        return cls(**{name: tuple(entries) for name, entries in numbers.items()})


def reference_voltage(voltage: Gain) -> float:
    """v_ref of a layer: its voltage gain, or the geometric mean of those of its rows [V per unit activation]."""
    return float(np.exp(np.log(voltage).mean())) if np.ndim(voltage) else float(voltage)


def driven(volts: Any, reference: Any, scale: Any) -> tuple[Any, Any]:
    """Voltage gains of rows (array or tensor) and v_ref as inputs with digital scales drive and decode: the row with
    the largest scale as before."""
    largest = scale.max()
    return volts * (scale / largest), reference / largest


def conductance_span(hardware: Hardware) -> float:
    """The largest conductance that can be wanted of a device above conductance_min [S]: conductance_max less that, or
    what it holds on average where targets are shifted."""
    top = hardware.conductance_max
    if hardware.predistort:
        from powerplan.hardware.predistortion import largest_wanted

        top = largest_wanted(hardware)
    return top - hardware.conductance_min


def column_conductance_limits(
    network: Network, hardware: Hardware, voltage: Sequence[Gain] | None = None
) -> list[np.ndarray]:
    """Largest conductance gain of every column of every layer, (n_out,) arrays [S per unit weight].

    A column of zero weights has no limit of its own: it gets that of a column whose largest weight is the
    layer's, or 1 if the whole layer is zero.

    Args:
        voltage: voltage gains, one per layer; those with one gain per row scale the stored weights by v_ref / v_j.
            None = one gain per layer.
    """
    span = conductance_span(hardware)
    limits = []
    for node, volts in zip(network.crossbars, voltage or [1.0] * len(network.crossbars), strict=True):
        op = _op(node)
        arrays = stored(op, hardware)
        if np.ndim(volts):
            relative = arrays.by_row(reference_voltage(volts) / np.asarray(volts), 1.0)[:, None]
            grouped = arrays.magnitude.reshape(arrays.groups, -1, arrays.rows)
            scales = without_zeros((grouped * relative).max(axis=2).reshape(-1))
        else:
            scales = arrays.column_scales
        limits.append(span / scales)
    return limits


def conductance_limits(network: Network, hardware: Hardware, voltage: Sequence[Gain] | None = None) -> list[float]:
    """Largest conductance gain of every layer [S per unit weight] that keeps all its devices in range.

    ``voltage``: as in :func:`column_conductance_limits`.
    """
    return [float(limit.min()) for limit in column_conductance_limits(network, hardware, voltage)]


def row_conductance_limits(network: Network, hardware: Hardware) -> list[np.ndarray]:
    """Largest conductance per unit weight that the devices of every row can hold, (n_in,) arrays [S per unit weight].

    It bounds a_j = c v_ref / v_j of a row whose layer has one conductance gain c: a_j max_i |W_ij| ≤ G_max − G_min.
    A row of zero weights gets the limit of the row with the largest weight, or 1 S if the whole layer is zero.
    Where biases are a row, all other rows are bounded by its limit as well: then c, their geometric mean, keeps it.
    """
    span = conductance_span(hardware)
    limits = []
    for node in network.crossbars:
        arrays = stored(_op(node), hardware)
        peaks = arrays.row_peaks
        if arrays.has_bias_row:
            peaks = np.maximum(peaks[:, :-1], peaks[:, -1].max())
        limits.append(span / without_zeros(peaks.reshape(-1)))
    return limits


def voltage_limits(network: Network, hardware: Hardware, inputs: np.ndarray) -> list[float]:
    """Largest voltage gain of every layer: V_max / max|x| over its ideal inputs [V per unit activation].

    A layer whose inputs are all zero gets V_max. The constant 1 that drives a row of biases is an input.
    """
    both = zip(row_voltage_limits(network, hardware, inputs), reference_voltage_limits(network, hardware), strict=True)
    return [min(float(limit.min()), most) for limit, most in both]


def reference_voltage_limits(network: Network, hardware: Hardware) -> list[float]:
    """Largest v_ref of every layer: V_max where the constant 1 drives a row of biases, else infinite."""
    return [hardware.voltage_max if stored(_op(node), hardware).has_bias_row else np.inf for node in network.crossbars]


def row_voltage_limits(network: Network, hardware: Hardware, inputs: np.ndarray) -> list[np.ndarray]:
    """Largest voltage gain of every row of every layer: V_max / max|x_j|, (n_rows,) arrays [V per unit activation].

    A row whose inputs are all zero gets the limit of the row with the largest input, or V_max if the whole
    layer's inputs are zero.
    """
    from powerplan.network.forward import ideal_pass

    peaks = ideal_pass(network, inputs).row_peaks
    return [hardware.voltage_max / peaks[name] for name in network.layer_names]


def _op(node: Node) -> CrossbarOp:
    assert isinstance(node.op, CrossbarOp)
    return node.op


def _gain(check: Checker, field: str, value: object, length: str) -> Gain:
    array = real_array(check, field, value)
    if array is None:
        return 1.0
    allowed = f"a finite number > 0, or an ({length},) array of them"
    if array.ndim > 1 or array.size == 0 or not (array > 0).all():
        check.fail(field, value, allowed, "Gains are positive; to switch a layer off remove it from the network.")
        return 1.0
    return frozen_array(array, np.float64) if array.ndim else float(array)
