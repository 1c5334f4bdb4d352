"""Prediction of error and power from second-order moments."""

from typing import TYPE_CHECKING

from powerplan.lazy import loaded_when_used
from powerplan.moments.prediction import LayerMoments, Prediction

if TYPE_CHECKING:
    from powerplan.moments.predicting import predict
else:
    __getattr__ = loaded_when_used(__name__, {"predict": "powerplan.moments.predicting"})

__all__ = ["LayerMoments", "Prediction", "predict"]
