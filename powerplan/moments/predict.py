"""predict: error and power at given gains, without simulation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from powerplan.checks import check_inputs, choice
from powerplan.errors import InvalidInput
from powerplan.hardware.gains import Gains, warn_beyond_voltage
from powerplan.hardware.hardware import Hardware
from powerplan.moments.attribution import error_amounts
from powerplan.moments.prediction import LayerMoments, Prediction
from powerplan.moments.predictor import METHODS, Moments, Predictor
from powerplan.network.forward import torch_device
from powerplan.network.graph import Network

#: most entries of an inner tensor of one chunk of inputs
_CHUNK_ENTRIES = 4_000_000
#: layer covariances larger than this are not returned
_MOST_COVARIANCE_BYTES = 1 << 30


def predict(
    network: Network,
    hardware: Hardware,
    gains: Gains,
    inputs: np.ndarray,
    *,
    method: str = "linearized",
    dtype: str = "float64",
    device: str = "cpu",
) -> Prediction:
    """Predict output error and power from second-order moments.

    Args:
        inputs: calibration batch (B, *input_shape).
        method: "linearized" (statistical linearisation and adjoints; keeps all correlations, cost of about
            one forward pass and K backward passes), "covariance" (carries the full covariance of every
            layer, O(n²) to O(n³), the reference for small layers) or "diagonal" (independence assumed:
            cheap, 10-20 % low).
        dtype: "float64" or "float32".
        device: "cpu", or "cuda" where there is one.

    Raises:
        InvalidInput: inputs, gains or options that do not fit, naming the field.
    """
    choice("method", method, METHODS)
    choice("dtype", dtype, ("float64", "float32"))
    torch_device(device)
    inputs = check_inputs(inputs, network.input_shape)
    gains.check(network, hardware)
    with torch.no_grad():
        predictor = Predictor.of(network, hardware, inputs, method=method, dtype=getattr(torch, dtype), device=device)
        warn_beyond_voltage(network, hardware, gains, inputs, values=predictor.ideal_values)
        return report(predictor, gains)


def report(predictor: Predictor, gains: Gains) -> Prediction:
    """The prediction of a ready predictor at given gains, a chunk of inputs at a time."""
    with torch.no_grad():
        programmed = predictor.program(*predictor.gain_tensors(gains))
        chunks = _chunks(predictor)
        parts = [predictor.moments(programmed, chunk, full=True) for chunk in chunks]
    return _assemble(predictor, parts, [chunk.shape[0] for chunk in chunks])


def _chunks(predictor: Predictor) -> Sequence[torch.Tensor]:
    """Split the inputs so that adjoints (B, K, n), or covariances (B, n, n), stay small."""
    network = predictor.network
    widest = max(math.prod(shape) for shape in network.shapes.values())
    per_input = widest * (widest if predictor.method == "covariance" else math.prod(network.output_shape))
    return torch.split(predictor.inputs, max(1, _CHUNK_ENTRIES // per_input))


def _assemble(predictor: Predictor, parts: Sequence[Moments], sizes: Sequence[int]) -> Prediction:
    network, hardware = predictor.network, predictor.hardware
    weights = np.array(sizes) / sum(sizes)
    mean = torch.cat([p.mean for p in parts])
    variance = torch.cat([p.variance for p in parts]).double()
    bias = mean.double() - predictor.ideal
    mse_by_output = (bias**2 + variance).mean(0)
    mse_bias, spread = float((bias**2).mean()), float(variance.mean())
    mse = float(mse_by_output.mean())
    if not math.isfinite(mse):
        raise InvalidInput.of(
            "inputs",
            float(predictor.inputs.abs().max()),
            f"values whose outputs {predictor.inputs.dtype} can hold, squared",
            "Check the units of inputs and weights, or scale them.",
        )
    amounts = [error_amounts(network, part) for part in parts]
    by_variance, by_bias = (
        sum(w * a for w, a in zip(weights, column, strict=True)) for column in zip(*amounts, strict=True)
    )
    by_variance = by_variance / (by_variance.sum() or 1.0)
    by_bias = by_bias / by_bias.sum() if by_bias.sum() > 0 else by_variance
    by_layer = spread * by_variance + mse_bias * by_bias
    if by_layer.sum() > 0:
        by_layer *= mse / by_layer.sum()
    array = sum(w * p.array_power.double() for w, p in zip(weights, parts, strict=True))
    tia = sum(w * p.tia_power.double() for w, p in zip(weights, parts, strict=True))
    assert isinstance(array, torch.Tensor)
    assert isinstance(tia, torch.Tensor)
    power = array + tia
    signal = predictor.signal_power
    return Prediction(
        method=predictor.method,
        mse=mse,
        nmse=mse / signal if signal > 0 else float("nan"),
        signal_power=signal,
        mse_bias=mse_bias,
        mse_by_layer=_frozen(by_layer),
        mse_by_output=_frozen(mse_by_output),
        power=float(power.sum()),
        power_by_layer=_frozen(power),
        array_power_by_layer=_frozen(array),
        tia_power_by_layer=_frozen(tia),
        energy=float(power.sum()) * hardware.read_time,
        layer_names=network.layer_names,
        ideal_output=_frozen(predictor.ideal),
        output_mean=_frozen(mean),
        output_covariance=_frozen(torch.cat([p.covariance for p in parts if p.covariance is not None])),
        layers=tuple(_layers(network, parts)),
    )


def _layers(network: Network, parts: Sequence[Moments]) -> Iterator[LayerMoments]:
    for name in network.layer_names:
        traces = [p.trace.crossbars[name] for p in parts]
        joints = [t.covariance for t in traces if t.covariance is not None]
        small = sum(j.numel() * j.element_size() for j in joints) <= _MOST_COVARIANCE_BYTES
        yield LayerMoments(
            name=name,
            mean=_frozen(torch.cat([t.mean for t in traces])),
            # of the output layer the method's own variance, not the forward pass's
            variance=_frozen(
                torch.cat([p.variance if name == network.output else p.trace.crossbars[name].variance for p in parts])
            ),
            covariance=_frozen(torch.cat(joints)) if joints and small else None,
        )


def _frozen(value: torch.Tensor | np.ndarray) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    array.setflags(write=False)
    return array
