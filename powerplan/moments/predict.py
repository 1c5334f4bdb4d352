"""predict: error and power at given gains, without simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from powerplan.checks import Checker, check_inputs, choice
from powerplan.errors import InvalidInput
from powerplan.hardware.gains import Gains, warn_beyond_voltage
from powerplan.hardware.hardware import Hardware
from powerplan.moments.attribution import error_amounts
from powerplan.moments.prediction import LayerMoments, Prediction
from powerplan.moments.predictor import MEMORY_LIMIT, METHODS, Moments, Predictor
from powerplan.moments.samples.count import MOST_FIELDS, SAMPLING_ERROR
from powerplan.moments.sampling import corrected
from powerplan.moments.slopes import beyond_first_order, warn_beyond_first_order
from powerplan.network.forward import torch_device
from powerplan.network.graph import Network
from powerplan.plausibility import question

#: more combinations would take longer than every output by itself
MOST_COMBINATIONS = 4096


def predict(
    network: Network,
    hardware: Hardware,
    gains: Gains,
    inputs: np.ndarray,
    *,
    method: str = "linearized",
    dtype: str = "float64",
    device: str = "cpu",
    output_combinations: int | None = None,
    marginal_fields: int | None = None,
    sampling_error: float = SAMPLING_ERROR,
    seed: int = 0,
    memory_limit: int = MEMORY_LIMIT,
    progress: Callable[[float], None] | None = None,
) -> Prediction:
    """Predict output error and power from second-order moments.

    Args:
        inputs: calibration batch (B, *input_shape).
        method: "linearized" (statistical linearisation and adjoints; keeps all correlations, cost of about
            one forward pass and K backward passes), "covariance" (carries the full covariance of every
            layer, O(n²) to O(n³), the reference for small layers) or "diagonal" (independence assumed:
            cheap, 10-20 % low).
        dtype: "float64" or "float32" (see docs/benchmarks.md for what it loses).
        device: "cpu", or "cuda" where there is one.
        output_combinations: random ±1 combinations of the outputs whose adjoints are pulled back, >= 2; 0 = every
            output by itself; None = every output of up to 64, else 16 combinations. With combinations ``mse`` is
            unbiased with a standard error of its own, and there is no output covariance.
        marginal_fields: error samples (joint samples of all errors, a forward pass each) that correct variances,
            means, power and how errors add up where errors of one origin meet (devices that serve several positions,
            residual joins) or are rare and large (stuck devices), 0 = none; None = 32 to 256 where there are any,
            up to 2048 for the latter, then as many as ``sampling_error`` needs. Large networks take fewer than asked
            for; the prediction says how many, and what chance is left.
        sampling_error: standard error of the MSE, as a part of it, until which error samples are added, > 0, unless
            ``marginal_fields`` says how many; the limit of work is met earlier in large networks, see
            ``Prediction.sampling_limited``.
        seed: of combinations and fields, >= 0.
        memory_limit: bytes that the inputs worked on at a time may take, roughly; at least one input is.
        progress: called with the fraction done.

    Raises:
        InvalidInput: inputs, gains or options that do not fit, naming the field.

    Warns:
        PlausibilityWarning: a number of the hardware or of the answer is most likely in another unit.
        LimitWarning: the inputs drive rows beyond ``hardware.voltage_max``.
    """
    choice("method", method, METHODS)
    options = PredictionOptions(
        dtype=dtype,
        device=device,
        output_combinations=output_combinations,
        marginal_fields=marginal_fields,
        sampling_error=sampling_error,
        seed=seed,
        memory_limit=memory_limit,
    )
    inputs = check_inputs(inputs, network.input_shape)
    gains.check(network, hardware)
    question(hardware)
    with torch.no_grad():
        predictor = options.predictor(network, hardware, inputs, method)
        warn_beyond_voltage(network, hardware, gains, inputs)
        prediction = report(predictor, gains, progress)
    question(prediction)
    return prediction


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """How predictions are made; see :func:`predict` for the fields.

    Raises:
        InvalidInput: options out of range, naming the field.
    """

    dtype: str = "float64"
    device: str = "cpu"
    output_combinations: int | None = None
    marginal_fields: int | None = None
    sampling_error: float = SAMPLING_ERROR
    seed: int = 0
    memory_limit: int = MEMORY_LIMIT

    def __post_init__(self) -> None:
        choice("dtype", self.dtype, ("float64", "float32"))
        torch_device(self.device)
        check = Checker()
        for field, least in (("seed", 0), ("memory_limit", 1), ("output_combinations", 0), ("marginal_fields", 0)):
            value = getattr(self, field)
            if value is None and field in ("output_combinations", "marginal_fields"):
                continue
            if not check.whole(field, value, at_least=least, advice=f"Give {field} as an integer."):
                continue
            if field == "output_combinations" and (value == 1 or value > MOST_COMBINATIONS):
                advice = "A standard error needs two; 0 takes every output by itself."
                check.fail(field, value, f"0, or 2 to {MOST_COMBINATIONS}", advice)
            elif field == "marginal_fields" and value > MOST_FIELDS:
                check.fail(field, value, f"at most {MOST_FIELDS}", "A few hundred are plenty.")
        check.number(
            "sampling_error", self.sampling_error, above=0, advice="Give it as a part of the MSE, such as 0.01."
        )
        check.done()

    @property
    def settings(self) -> dict[str, Any]:
        """Those that bear on the result and are not the default, by name."""
        names = ("dtype", "output_combinations", "marginal_fields", "sampling_error", "seed", "memory_limit")
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(DEFAULT_OPTIONS, name)}

    def predictor(self, network: Network, hardware: Hardware, inputs: np.ndarray, method: str) -> Predictor:
        """A predictor made so."""
        return Predictor.of(
            network,
            hardware,
            inputs,
            method=method,
            dtype=getattr(torch, self.dtype),
            device=self.device,
            output_combinations=self.output_combinations,
            marginal_fields=self.marginal_fields,
            sampling_error=self.sampling_error,
            seed=self.seed,
            memory_limit=self.memory_limit,
        )


DEFAULT_OPTIONS = PredictionOptions()


def report(predictor: Predictor, gains: Gains, progress: Callable[[float], None] | None = None) -> Prediction:
    """The prediction of a ready predictor at given gains, a part of the inputs at a time."""
    with torch.no_grad():
        programmed = predictor.program(*predictor.gain_tensors(gains))
        predictor = corrected(predictor, programmed)
        found = []
        for part in predictor.parts:
            found.append(_Part.of(predictor, predictor.moments(programmed, part, full=True), part))
            if progress is not None:
                progress(part.stop / len(predictor.inputs))
    warn_beyond_first_order(dict.fromkeys(name for part in found for name in part.beyond))
    return _assemble(predictor, found)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """What a report keeps of the moments of a part of the inputs."""

    weight: float
    mean: Tensor
    variance: Tensor
    spread: Tensor
    covariance: Tensor | None
    amounts: tuple[np.ndarray, np.ndarray]
    array_power: Tensor
    tia_power: Tensor
    converter_power: Tensor
    layers: tuple[LayerMoments, ...]
    first_order: tuple[str, ...]
    beyond: tuple[str, ...]

    @classmethod
    def of(cls, predictor: Predictor, moments: Moments, part: slice) -> _Part:
        trace = moments.trace
        if not bool(moments.variance.isfinite().all() & moments.mean.isfinite().all()):
            raise InvalidInput.of(
                "inputs",
                float(predictor.inputs.abs().max()),
                f"values whose outputs {predictor.inputs.dtype} can hold, squared",
                "Check the units of inputs and weights, or scale them.",
            )
        size = part.stop - part.start
        by_output = moments.variance if moments.variance.shape == moments.mean.shape else trace.output_variance
        return cls(
            weight=size / len(predictor.inputs),
            mean=moments.mean,
            variance=by_output.double().expand(size, -1),
            spread=moments.variance.double().expand(size, -1),
            covariance=moments.covariance,
            amounts=error_amounts(predictor.network, moments),
            array_power=moments.array_power.double(),
            tia_power=moments.tia_power.double(),
            converter_power=moments.converter_power.double(),
            layers=tuple(_layers(predictor, moments, size)),
            first_order=tuple(name for name, step in trace.digital.items() if step.first_order),
            beyond=beyond_first_order(predictor.network, trace, predictor.inputs[part]),
        )


def _assemble(predictor: Predictor, parts: Sequence[_Part]) -> Prediction:
    network, hardware = predictor.network, predictor.hardware
    mean = torch.cat([p.mean for p in parts])
    spread = torch.cat([p.spread for p in parts])
    bias = mean.double() - predictor.ideal
    mse_bias, mse_variance = float((bias**2).mean()), float(spread.mean())
    mse, error = mse_bias + mse_variance, predictor.corrections.error
    by_combinations = 0.0 if predictor.is_exact else _standard_error(spread)
    by_output = torch.cat([p.variance for p in parts])
    if spread.shape != by_output.shape and by_output.sum() > 0:
        by_output = by_output * (mse_variance / by_output.mean())  # shared out as the forward pass found
    by_variance = _mean([p.amounts[0] for p in parts], parts)
    by_bias = _mean([p.amounts[1] for p in parts], parts)
    by_variance = by_variance / (by_variance.sum() or 1.0)
    by_bias = by_bias / by_bias.sum() if by_bias.sum() > 0 else by_variance
    by_layer = mse_variance * by_variance + mse_bias * by_bias
    if by_layer.sum() > 0:
        by_layer *= mse / by_layer.sum()
    mse_by_output = _frozen((bias**2 + by_output).mean(0))
    array = _mean([p.array_power.cpu().numpy() for p in parts], parts)
    tia = _mean([p.tia_power.cpu().numpy() for p in parts], parts)
    converters = _mean([p.converter_power.cpu().numpy() for p in parts], parts)
    power = array + tia + converters
    signal = predictor.signal_power
    covariances = [p.covariance for p in parts if p.covariance is not None]
    return Prediction(
        method=predictor.method,
        mse=mse,
        mse_standard_error=math.hypot(mse * error.mse, by_combinations),
        nmse=mse / signal if signal > 0 else float("nan"),
        signal_power=signal,
        mse_bias=mse_bias,
        mse_by_layer=_frozen(by_layer),
        mse_by_output=mse_by_output,
        mse_by_output_standard_error=_frozen(mse_by_output * error.outputs.cpu().numpy()),
        power=float(power.sum()),
        power_standard_error=float(power.sum()) * error.power,
        power_by_layer=_frozen(power),
        array_power_by_layer=_frozen(array),
        tia_power_by_layer=_frozen(tia),
        converter_power_by_layer=_frozen(converters),
        energy=float(power.sum()) * hardware.read_time,
        layer_names=network.layer_names,
        ideal_output=_frozen(predictor.ideal),
        output_mean=_frozen(mean),
        output_covariance=_frozen(torch.cat(covariances)) if covariances else None,
        layers=_joined_layers(parts),
        first_order=parts[0].first_order,
        marginal_fields=predictor.corrections.fields,
        sampling_limited=error.limited,
    )


def _mean(values: Sequence[np.ndarray], parts: Sequence[_Part]) -> np.ndarray:
    """Mean over all inputs of what is a mean over each part."""
    return np.asarray(sum(p.weight * value for p, value in zip(parts, values, strict=True)))


def _standard_error(spread: Tensor) -> float:
    """Standard error of the mean of (B, C) values, C independent ones for every input."""
    batch, combinations = spread.shape
    return float(spread.var(1).sum().div(combinations).sqrt() / batch)


def _layers(predictor: Predictor, moments: Moments, size: int) -> Iterator[LayerMoments]:
    """Moments of the layers, unless they take more than a fraction of the memory limit."""
    names = predictor.network.layer_names
    entries = len(predictor.inputs) * sum(math.prod(predictor.network.shapes[name]) for name in names)
    if 2 * entries * predictor.inputs.element_size() > predictor.memory_limit:
        return
    for name in names:
        trace = moments.trace.crossbars[name]
        own = name == predictor.network.output and moments.variance.shape == moments.mean.shape
        small = (
            trace.covariance is not None
            and trace.covariance[0].numel() * trace.covariance.element_size() * len(predictor.inputs)
            <= predictor.memory_limit
        )
        yield LayerMoments(
            name=name,
            mean=_frozen(trace.mean.flatten(1).expand(size, -1)),
            # of the output layer the method's own variance, not the forward pass's
            variance=_frozen((moments.variance if own else trace.variance).flatten(1).expand(size, -1)),
            covariance=_frozen(trace.covariance) if small and trace.covariance is not None else None,
        )


def _joined_layers(parts: Sequence[_Part]) -> tuple[LayerMoments, ...]:
    joined = []
    for pieces in zip(*(p.layers for p in parts), strict=True):
        covariances = [piece.covariance for piece in pieces if piece.covariance is not None]
        joined.append(
            LayerMoments(
                name=pieces[0].name,
                mean=_frozen(np.concatenate([piece.mean for piece in pieces])),
                variance=_frozen(np.concatenate([piece.variance for piece in pieces])),
                covariance=_frozen(np.concatenate(covariances)) if covariances else None,
            )
        )
    return tuple(joined)


def _frozen(value: torch.Tensor | np.ndarray) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    array.setflags(write=False)
    return array
