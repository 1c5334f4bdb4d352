"""Predictions and simulations on the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from powerplan.moments.accuracy import Accuracy
from powerplan.moments.prediction import LayerMoments, Prediction
from powerplan.montecarlo.simulation import RunningEstimate, Simulation
from powerplan_client._generated import v1 as pb
from powerplan_server.wire.tasks import METHODS
from powerplan_server.wire.tensors import array_to_proto


def prediction_to_proto(
    prediction: Prediction, detail: pb.ResultDetail | None = None, *, accuracy: Accuracy | None = None
) -> pb.Prediction:
    """A prediction, its large parts only if asked for."""
    detail = detail or pb.ResultDetail()
    moments, by_output_error = detail.output_moments, prediction.mse_by_output_standard_error
    return pb.Prediction(
        method=METHODS[prediction.method],
        mse=prediction.mse,
        mse_standard_error=prediction.mse_standard_error,
        nmse_standard_error=prediction.nmse_standard_error,
        power_standard_error_watts=prediction.power_standard_error,
        mse_by_output_standard_error=_floats(() if by_output_error is None else by_output_error),
        marginal_fields=prediction.marginal_fields,
        sampling_limited=prediction.sampling_limited,
        nmse=prediction.nmse,
        signal_power=prediction.signal_power,
        mse_bias=prediction.mse_bias,
        mse_by_layer=_floats(prediction.mse_by_layer),
        mse_by_output=_floats(prediction.mse_by_output),
        power_watts=prediction.power,
        power_by_layer_watts=_floats(prediction.power_by_layer),
        array_power_by_layer_watts=_floats(prediction.array_power_by_layer),
        tia_power_by_layer_watts=_floats(prediction.tia_power_by_layer),
        converter_power_by_layer_watts=_floats(prediction.converter_power_by_layer),
        energy_joules=prediction.energy,
        layer_names=prediction.layer_names,
        first_order=prediction.first_order,
        ideal_output=_tensor(prediction.ideal_output if moments else None),
        output_mean=_tensor(prediction.output_mean if moments else None),
        output_covariance=_tensor(prediction.output_covariance if moments else None),
        layers=_layers(prediction.layers, detail),
        accuracy=None if accuracy is None else accuracy[0],
        accuracy_standard_error=None if accuracy is None else accuracy[1],
    )


def simulation_to_proto(
    simulation: Simulation, detail: pb.ResultDetail | None = None, *, accuracy: Accuracy | None = None
) -> pb.Simulation:
    """A simulation, its large parts only if asked for."""
    detail = detail or pb.ResultDetail()
    moments = detail.output_moments
    return pb.Simulation(
        draws=simulation.draws,
        seed=simulation.seed,
        mse=simulation.mse,
        mse_standard_error=simulation.mse_standard_error,
        nmse=simulation.nmse,
        nmse_standard_error=simulation.nmse_standard_error,
        signal_power=simulation.signal_power,
        mse_by_output=_floats(simulation.mse_by_output),
        mse_by_output_standard_error=_floats(simulation.mse_by_output_standard_error),
        power_watts=simulation.power,
        power_standard_error_watts=simulation.power_standard_error,
        power_by_layer_watts=_floats(simulation.power_by_layer),
        power_by_layer_standard_error_watts=_floats(simulation.power_by_layer_standard_error),
        converter_power_by_layer_watts=_floats(simulation.converter_power_by_layer),
        energy_joules=simulation.energy,
        layer_names=simulation.layer_names,
        ideal_output=_tensor(simulation.ideal_output if moments else None),
        output_mean=_tensor(simulation.output_mean if moments else None),
        output_covariance=_tensor(simulation.output_covariance if moments else None),
        mse_by_draw=_tensor(simulation.mse_by_draw) if detail.draws else None,
        classes=array_to_proto(simulation.classes.astype(np.int32)) if detail.draws else None,
        layers=_layers(simulation.layers, detail),
        accuracy=None if accuracy is None else accuracy[0],
        accuracy_standard_error=None if accuracy is None else accuracy[1],
    )


def running_to_proto(running: RunningEstimate) -> pb.RunningEstimate:
    """Where a simulation stands, with 95 % confidence intervals."""
    signal = running.signal_power or math.nan
    return pb.RunningEstimate(
        draws_done=running.draws,
        draws_total=running.draws_total,
        mse=_estimate(running.mse, running.mse_standard_error),
        nmse=_estimate(running.mse / signal, running.mse_standard_error / signal),
        power_watts=_estimate(running.power, running.power_standard_error),
    )


def _estimate(mean: float, standard_error: float) -> pb.Estimate:
    return pb.Estimate(
        mean=mean,
        standard_error=standard_error,
        confidence_low=mean - 1.96 * standard_error,
        confidence_high=mean + 1.96 * standard_error,
    )


def _layers(layers: Iterable[LayerMoments], detail: pb.ResultDetail) -> list[pb.LayerMoments]:
    if not detail.layer_moments:
        return []
    return [
        pb.LayerMoments(
            name=layer.name,
            mean=_tensor(layer.mean),
            variance=_tensor(layer.variance),
            covariance=_tensor(layer.covariance) if detail.layer_covariances else None,
        )
        for layer in layers
    ]


def _tensor(array: np.ndarray | None) -> pb.Tensor | None:
    return None if array is None else array_to_proto(array)


def _floats(array: npt.ArrayLike) -> np.ndarray:
    return np.asarray(array, np.float64)
