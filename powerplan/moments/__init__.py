"""Prediction of error and power from second-order moments."""

from powerplan.moments.predict import predict
from powerplan.moments.prediction import LayerMoments, Prediction

__all__ = ["LayerMoments", "Prediction", "predict"]
