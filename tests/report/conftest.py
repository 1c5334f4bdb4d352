"""Hand-built results, so that the reports are tested without the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from powerplan.hardware import Gains, Hardware
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.network import Network
from powerplan.planning import (
    Certificate,
    LimitPrice,
    MaxNMSE,
    Outcome,
    Plan,
    ShadowPrices,
    Termination,
    Verification,
)

NAMES = ("linear1", "linear2", "linear3")


@pytest.fixture
def network() -> Network:
    """4-3-2-2 with largest weights 2, 1 and 0.5."""
    rng = np.random.default_rng(0)
    weights = []
    for shape, largest in (((3, 4), 2.0), ((2, 3), 1.0), ((2, 2), 0.5)):
        w = rng.uniform(-1, 1, shape)
        weights.append(w / np.abs(w).max() * largest)
    return Network.mlp(weights)


@pytest.fixture
def make_prediction() -> Callable[..., Prediction]:
    """A prediction of three layers; power and NMSE scale."""

    def make(nmse: float = 0.01, power: float = 7e-6, **changes: Any) -> Prediction:
        signal = 4.0
        values: dict[str, Any] = {
            "method": "linearized",
            "mse": nmse * signal,
            "nmse": nmse,
            "signal_power": signal,
            "mse_bias": 0.25 * nmse * signal,
            "mse_by_layer": nmse * signal * np.array([0.5, 0.3, 0.2]),
            "mse_by_output": np.array([nmse * signal] * 2),
            "power": power,
            "power_by_layer": power * np.array([0.7, 0.2, 0.1]),
            "array_power_by_layer": power * np.array([0.7, 0.2, 0.1]),
            "tia_power_by_layer": np.zeros(3),
            "converter_power_by_layer": np.zeros(3),
            "energy": power * 1e-7,
            "layer_names": NAMES,
        }
        return Prediction(**{**values, **changes})

    return make


@pytest.fixture
def make_plan(make_prediction: Callable[..., Prediction]) -> Callable[..., Plan]:
    """An optimal, verified plan for NMSE <= 1 % that saves 30 % of 10 uW."""

    def make(nmse: float = 0.01, power: float = 7e-6, **changes: Any) -> Plan:
        values: dict[str, Any] = {
            "gains": Gains(conductance=(25e-6, 40e-6, 100e-6), voltage=(0.2, 0.1, 0.05)),
            "prediction": make_prediction(nmse, power),
            "target": MaxNMSE(nmse),
            "reached": nmse,
            "granularity": "layer",
            "optimize": ("conductance",),
            "hardware": Hardware(),
            "termination": Termination(
                outcome=Outcome.OPTIMAL,
                message="Least power for the target.",
                solver_status="optimal",
                iterations=5,
                predictions=12,
                seconds=0.25,
            ),
            "certificate": Certificate(kkt_residual=1.2e-9, duality_gap=3.4e-10, constraint_violation=0.0),
            "shadow_prices": ShadowPrices(
                target=-0.5, limits=(LimitPrice(layer="linear1", limit="conductance_max", price=-0.02),)
            ),
            "baseline_gains": Gains(conductance=(20e-6, 40e-6, 80e-6), voltage=(0.2, 0.1, 0.05)),
            "baseline_power": power / 0.7,
            "baseline_mse": nmse * 4,
            "verification": Verification(
                draws=2000,
                seed=0,
                mse=1.01 * nmse * 4,
                mse_standard_error=0.005 * nmse * 4,
                nmse=1.01 * nmse,
                nmse_standard_error=0.005 * nmse,
                power=power,
                power_standard_error=power / 1000,
                ratio=1.01,
            ),
        }
        return Plan(**{**values, **changes})

    return make


@pytest.fixture
def make_simulation() -> Callable[..., Simulation]:
    """A simulation of three layers; NMSE given."""

    def make(nmse: float = 0.01, power: float = 7e-6) -> Simulation:
        return Simulation(
            draws=1000,
            seed=3,
            mse=4 * nmse,
            mse_standard_error=0.04 * nmse,
            nmse=nmse,
            nmse_standard_error=0.01 * nmse,
            signal_power=4.0,
            mse_by_output=np.array([4 * nmse] * 2),
            mse_by_output_standard_error=np.array([0.04 * nmse] * 2),
            mse_by_draw=np.full(1000, 4 * nmse),
            worst_mse_by_draw=np.full(1000, 4 * nmse),
            power=power,
            power_standard_error=power / 1000,
            power_by_layer=power * np.array([0.7, 0.2, 0.1]),
            power_by_layer_standard_error=power * np.array([0.7, 0.2, 0.1]) / 1000,
            converter_power_by_layer=np.zeros(3),
            energy=power * 1e-7,
            layer_names=NAMES,
            ideal_output=np.ones((1, 2)),
            output_mean=np.ones((1, 2)),
            output_covariance=np.zeros((1, 2, 2)),
            classes=np.zeros((1000, 1), dtype=np.int64),
        )

    return make
