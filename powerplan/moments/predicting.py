"""predict: error and power at given gains, without simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
import torch
from torch import Tensor

from powerplan.checks import check_inputs, check_kinds
from powerplan.errors import InvalidInput
from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.operating_point import OperatingPoint
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.wired import WiredAmplifier
from powerplan.moments.attribution import error_amounts
from powerplan.moments.chips.spectrum import check_chips, predict_chips
from powerplan.moments.prediction import ArrayDrop, LayerMoments, Prediction
from powerplan.moments.predictor import Moments, Predictor
from powerplan.moments.sampling import corrected
from powerplan.moments.settings import PredictionSettings
from powerplan.moments.slopes import beyond_first_order, warn_beyond_first_order
from powerplan.network.forward import torch_device
from powerplan.network.graph import Network
from powerplan.per_input import Inputs
from powerplan.plausibility import question
from powerplan.settings import takes

if TYPE_CHECKING:
    from powerplan.moments.keywords import PredictionOptions


@takes(PredictionSettings)
def predict(
    network: Network,
    hardware: Hardware,
    gains: Gains,
    inputs: np.ndarray,
    *,
    progress: Callable[[float], None] | None = None,
    **settings: Unpack[PredictionOptions],
) -> Prediction:
    """Predict output error and power from second-order moments.

    Args:
        inputs: calibration batch (B, *input_shape).
        {settings}
        progress: called with the fraction done.

    Raises:
        InvalidInput: inputs, gains or settings that do not fit, naming the field.

    Warns:
        PlausibilityWarning: a number of the hardware or of the answer is most likely in another unit.
        LimitWarning: the inputs drive rows beyond ``hardware.voltage_max``.
    """
    asked = PredictionSettings(**settings)
    check_kinds(network=(network, Network), hardware=(hardware, Hardware), gains=(gains, Gains))
    inputs = check_inputs(inputs, network.input_shape)
    gains.check(network, hardware)
    point = OperatingPoint(network=network, hardware=hardware, gains=gains, inputs=inputs)
    question(hardware, point)
    with torch.no_grad():
        predictor = make_predictor(network, hardware, inputs, asked)
        point.warn_beyond_voltage()
        prediction = report(predictor, gains, progress, chips=asked.chip_spread)
    question(prediction)
    return prediction


def make_predictor(network: Network, hardware: Hardware, inputs: np.ndarray, settings: PredictionSettings) -> Predictor:
    """A predictor made as the settings say.

    Raises:
        InvalidInput: a device that this machine does not have, or chips that variances or the method do not tell.
    """
    torch_device(settings.device)
    if settings.chip_spread:
        check_chips(network, hardware, settings.method)
    values = {**settings.prediction.values, "dtype": getattr(torch, settings.dtype)}
    del values["chip_spread"]  # is asked of a report
    return Predictor.of(network, hardware, inputs, **values)


def report(
    predictor: Predictor, gains: Gains, progress: Callable[[float], None] | None = None, *, chips: bool = False
) -> Prediction:
    """The prediction of a ready predictor at given gains, a part of the inputs at a time."""
    with torch.no_grad():
        programmed = predictor.program(*predictor.gain_tensors(gains))
        ideal = predictor.ideal_weights(gains, programmed)
        predictor = corrected(predictor, programmed)
        parts = []
        for part in predictor.parts:
            moments = predictor.moments(programmed, part, full=True, ideal_weights=ideal)
            parts.append(_Part.of(predictor, moments, part))
            if progress is not None:
                progress(part.stop / len(predictor.inputs))
    warn_beyond_first_order(dict.fromkeys(name for part in parts for name in part.beyond))
    prediction = _assemble(predictor, programmed, parts)
    return replace(prediction, chips=predict_chips(predictor, gains, programmed, prediction)) if chips else prediction


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """What a report keeps of the moments of a part of the inputs."""

    weight: float
    mean: Tensor
    variance: Tensor
    spread: Tensor
    covariance: Tensor | None
    amounts: tuple[np.ndarray, np.ndarray]
    wire_bias: np.ndarray
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
            wire_bias=moments.wire_bias_by_layer.double().cpu().numpy(),
            array_power=moments.array_power.double(),
            tia_power=moments.tia_power.double(),
            converter_power=moments.converter_power.double(),
            layers=tuple(_layers(predictor, moments, size)),
            first_order=tuple(place.node for place, step in trace.steps.items() if step.first_order),
            beyond=beyond_first_order(predictor.network, trace, predictor.inputs[part]),
        )


def _assemble(predictor: Predictor, programmed: Sequence[ProgrammedArray], parts: Sequence[_Part]) -> Prediction:
    network, hardware = predictor.network, predictor.hardware
    mean = torch.cat([p.mean for p in parts])
    spread = torch.cat([p.spread for p in parts])
    squared_bias = (mean.double() - predictor.ideal) ** 2
    mse_bias, mse_variance = float(squared_bias.mean()), float(spread.mean())
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
    mse_by_output = _frozen((squared_bias + by_output).mean(0))
    array = _mean([p.array_power.cpu().numpy() for p in parts], parts)
    tia = _mean([p.tia_power.cpu().numpy() for p in parts], parts)
    converters = _mean([p.converter_power.cpu().numpy() for p in parts], parts)
    power = array + tia + converters
    drop, largest_drop = _wire_drops(programmed)
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
        layer_kinds=network.layer_kinds,
        ideal_output=_frozen(predictor.ideal),
        output_mean=_frozen(mean),
        output_covariance=_frozen(torch.cat(covariances)) if covariances else None,
        layers=_joined_layers(parts),
        first_order=parts[0].first_order,
        marginal_fields=predictor.corrections.samples,
        sampling_limited=error.limited,
        wire_bias_by_layer=_frozen(_mean([p.wire_bias for p in parts], parts)),
        wire_drop_by_layer=drop,
        largest_wire_drop_by_layer=largest_drop,
        array_drops=_array_drops(programmed, network.layer_names),
        costs=None if predictor.cost_model is None else predictor.cost_model.breakdown(array + tia),
        inputs=Inputs(
            mse_by_input=_frozen(squared_bias.mean(1) + spread.mean(1)),
            signal_by_input=_frozen((predictor.ideal**2).mean(1)),
        ),
    )


def _wire_drops(programmed: Sequence[ProgrammedArray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and largest drop along the wires of every layer, (L,) each; 0 where they are ideal."""
    mean, largest = np.zeros(len(programmed)), np.zeros(len(programmed))
    for i, array in enumerate(programmed):
        if isinstance(array.read_out, WiredAmplifier):
            mean[i], largest[i] = map(float, array.read_out.drop)
    return _frozen(mean), _frozen(largest)


def _array_drops(programmed: Sequence[ProgrammedArray], names: Sequence[str]) -> tuple[ArrayDrop, ...]:
    """What wires take off every array; nothing where they are ideal."""
    return tuple(
        ArrayDrop(
            layer=name, **place._asdict(), mean=float(1 - passed / held) if held > 0 else 0.0, largest=float(1 - least)
        )
        for name, array in zip(names, programmed, strict=True)
        if isinstance(array.read_out, WiredAmplifier)
        for place, (held, passed, least) in array.read_out.tiles.arrays(array.read_out.drops, 1)
    )


def _mean(values: Sequence[np.ndarray], parts: Sequence[_Part]) -> np.ndarray:
    """Mean over all inputs of what is a mean over each part."""
    return np.asarray(sum(p.weight * value for p, value in zip(parts, values, strict=True)))


def _standard_error(spread: Tensor) -> float:
    """Standard error of the mean of (B, C) values, C independent ones for every input."""
    batch, combinations = spread.shape
    return float(spread.var(1).sum().div(combinations).sqrt() / batch)


def _layers(predictor: Predictor, moments: Moments, size: int) -> Iterator[LayerMoments]:
    """Moments of the layers, of each read of an array, unless they take more than a fraction of the memory limit."""
    names = predictor.network.read_names
    entries = len(predictor.inputs) * sum(math.prod(predictor.network.shapes[name]) for name in names)
    if 2 * entries * predictor.inputs.element_size() > predictor.memory_limit:
        return
    for name in names:
        step, covariance = moments.trace.behind(name), moments.trace.covariances.get(name)
        own = name == predictor.network.output and moments.variance.shape == moments.mean.shape
        small = (
            covariance is not None
            and covariance[0].numel() * covariance.element_size() * len(predictor.inputs) <= predictor.memory_limit
        )
        yield LayerMoments(
            name=name,
            mean=_frozen(step.mean.flatten(1).expand(size, -1)),
            # of the output layer the method's own variance, not the forward pass's
            variance=_frozen((moments.variance if own else step.variance).flatten(1).expand(size, -1)),
            covariance=_frozen(covariance) if small and covariance is not None else None,
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
    array = value.numpy(force=True) if isinstance(value, torch.Tensor) else value
    array.setflags(write=False)
    return array
