"""Predictions and simulations on the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from powerplan.moments.prediction import LayerMoments, Prediction
from powerplan.montecarlo.simulation import RunningEstimate, Simulation
from powerplan_client._generated import v1 as pb
from powerplan_client.packing import tensor_of
from powerplan_server.wire.writing import message_of

#: an accuracy, its standard error, and that over inputs
Accuracy = tuple[float, float, float]
_ACCURACY = ("accuracy", "accuracy_standard_error", "accuracy_input_standard_error")


def prediction_to_proto(
    prediction: Prediction,
    detail: pb.ResultDetail | None = None,
    *,
    accuracy: Accuracy | None = None,
    labels: np.ndarray | None = None,
) -> pb.Prediction:
    """A prediction, its large parts only if asked for; chips with what labels tell of them."""
    return message_of(pb.Prediction, prediction, **_details(prediction, detail or pb.ResultDetail(), accuracy, labels))


def simulation_to_proto(
    simulation: Simulation,
    detail: pb.ResultDetail | None = None,
    *,
    accuracy: Accuracy | None = None,
    labels: np.ndarray | None = None,
) -> pb.Simulation:
    """A simulation, its large parts only if asked for; chips with what labels tell of them."""
    detail = detail or pb.ResultDetail()
    return message_of(
        pb.Simulation,
        simulation,
        **_details(simulation, detail, accuracy, labels),
        mse_by_draw=_tensor(simulation.mse_by_draw) if detail.draws else None,
        worst_mse_by_draw=_tensor(simulation.worst_mse_by_draw) if detail.draws else None,
        power_by_draw_watts=_tensor(simulation.power_by_draw) if detail.draws else None,
        classes=tensor_of(simulation.classes.astype(np.int32)) if detail.draws else None,
    )


def _details(
    result: Prediction | Simulation, detail: pb.ResultDetail, accuracy: Accuracy | None, labels: np.ndarray | None
) -> dict[str, Any]:
    """The large parts of a result, left out unless asked for, its accuracy and its chips."""
    moments = ("ideal_output", "output_mean", "output_covariance")
    chips = result.chips_for(labels)
    return {
        "chips": None if chips is None else message_of(pb.Chips, chips),
        **{name: _tensor(getattr(result, name)) if detail.output_moments else None for name in moments},
        "layers": _layers(result.layers, detail),
        "ideal_accuracy": None if labels is None else result.ideal_accuracy(labels),
        **dict(zip(_ACCURACY, accuracy or (None, None, None), strict=True)),
    }


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
        message_of(pb.LayerMoments, layer, covariance=_tensor(layer.covariance) if detail.layer_covariances else None)
        for layer in layers
    ]


def _tensor(array: np.ndarray | None) -> pb.Tensor | None:
    return None if array is None else tensor_of(array)
