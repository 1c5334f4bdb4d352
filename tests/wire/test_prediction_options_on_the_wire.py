"""How predictions are made: the same options in plan, frontier and predict, over every border."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.errors import InvalidInput
from powerplan.planning.settings import PlanSettings
from powerplan_client._generated import v1 as pb
from powerplan_client.building import plan_settings
from powerplan_client.networks import network_message
from powerplan_client.packing import tensor_of
from powerplan_server import calls
from powerplan_server.wire import Reader, TooLarge
from powerplan_server.wire.tasks import settings_from_proto

RNG = np.random.default_rng(11)
NETWORK = pp.Network.mlp([RNG.normal(size=(6, 4)), RNG.normal(size=(5, 6))])
INPUTS = RNG.normal(size=(5, 4))
HARDWARE = pp.Hardware()
OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "output_combinations": 3,
    "marginal_fields": 0,
    "memory_limit": 1,
    "seed": 5,
    "tolerance": 1e-4,
}


def test_the_options_arrive_as_they_were_given() -> None:
    reader = Reader.start()
    settings = settings_from_proto(reader, plan_settings(OPTIONS), PlanSettings)
    reader.done()
    assert settings is not None
    assert {name: settings.values[name] for name in OPTIONS} == OPTIONS
    left_out = settings_from_proto(Reader.start(), pb.PlanSettings(), PlanSettings)
    assert left_out is not None
    assert left_out.values == PlanSettings().values


@pytest.mark.slow
@pytest.mark.parametrize("options", [OPTIONS, OPTIONS | {"dtype": "float64"}])
def test_a_client_gets_the_plan_of_the_engine(options: dict[str, Any]) -> None:
    """Bit for bit, so that every option has reached the engine; a frontier takes the same."""
    plan = pp.plan(NETWORK, HARDWARE, INPUTS, pp.MaxNMSE(0.05), **options)
    client = pc.PlannerClient.local()
    answer = client.plan(NETWORK, HARDWARE, INPUTS, pc.MaxNMSE(0.05), **options)
    (point,) = client.frontier(NETWORK, HARDWARE, INPUTS, [pc.MaxNMSE(0.05)], **options)
    for found in (answer, point):
        assert found.gains.conductance == plan.gains.conductance
        assert found.prediction.mse_standard_error == plan.prediction.mse_standard_error > 0


@pytest.mark.slow
def test_clients_know_the_spread_over_chips() -> None:
    gains = pp.Gains.full_range(NETWORK, HARDWARE, INPUTS)
    hardware = HARDWARE.replace(programming_noise_std=1e-6)
    client = pc.PlannerClient.local()
    given = pc.Gains(conductance=gains.conductance, voltage=gains.voltage)
    ours = pp.predict(NETWORK, hardware, gains, INPUTS, chip_spread=True).chips
    theirs = client.predict(NETWORK, hardware, given, INPUTS, chip_spread=True).chips
    assert ours is not None
    assert theirs is not None
    assert theirs.nmse.std == ours.nmse.std
    assert theirs.nmse.yield_at(ours.nmse.mean) == pytest.approx(ours.nmse.yield_at(ours.nmse.mean), abs=1e-3)
    with pytest.raises(pc.InvalidRequest, match=r"probability: got 95.*95 % is 0\.95"):
        theirs.nmse.quantile(95)
    assert client.predict(NETWORK, hardware, given, INPUTS).chips is None
    simulated = client.simulate(NETWORK, hardware, given, INPUTS, draws=50)
    assert simulated.chips is not None
    assert simulated.chips.mse.mean == pytest.approx(simulated.mse)


def test_a_prediction_in_single_precision() -> None:
    gains = pp.Gains.full_range(NETWORK, HARDWARE, INPUTS)
    single, double = (pp.predict(NETWORK, HARDWARE, gains, INPUTS, dtype=name) for name in ("float32", "float64"))
    answer = pc.PlannerClient.local().predict(NETWORK, HARDWARE, None, INPUTS, dtype="float32")
    assert answer is not None
    assert answer.mse == single.mse != double.mse


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("output_combinations", v) for v in (-1, 1, 4097, 2**62)),
        *(("marginal_fields", v) for v in (-1, 65537)),
        ("seed", -1),
        *(("memory_limit_bytes", v) for v in (0, -5, 2**30 + 1)),
        *(("dtype", v) for v in (3, 4, 77)),
    ],
)
def test_options_out_of_range_are_named(field: str, value: int) -> None:
    """In a plan, also one that is only checked, and in a prediction."""
    network, inputs = network_message(NETWORK), tensor_of(INPUTS)
    settings = pb.PlanSettings(**{field: value})
    task = pb.PlanTask(network=network, inputs=inputs, target=pb.Target(max_nmse=0.1), settings=settings)
    with pytest.raises(InvalidInput, match=rf"task\.settings\.{field}: got {value}") as caught:
        calls.run_plan(pb.PlanRequest(task=task, validate_only=True), calls.CallContext())
    assert isinstance(caught.value, TooLarge) == (field == "memory_limit_bytes" and value > 0)
    with pytest.raises(InvalidInput, match=rf"^{field}: got {value}"):
        calls.run_predict(pb.PredictRequest(network=network, inputs=inputs, **{field: value}), calls.CallContext())


def test_the_client_knows_the_names_of_the_precisions() -> None:
    with pytest.raises(pc.InvalidRequest, match=r"dtype: got 'float16'; allowed: float32, float64"):
        pc.PlannerClient.local().predict(NETWORK, HARDWARE, None, INPUTS, dtype="float16")
