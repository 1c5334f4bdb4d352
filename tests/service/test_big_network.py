"""A network of 50 MB passes a 4 MiB message limit: in chunks, each weight once, past a server that stays small."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from service_process import Service, largest, peak_resident

import powerplan as pp
import powerplan_client as pc

MIB = 2**20
WORKER_MEMORY = 1024 * MIB
INPUTS = 62_500


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("big"), "--worker-memory", str(WORKER_MEMORY))
    yield running
    assert running.stop() == 0


@pytest.mark.slow
def test_network_of_50_mb(target: Service) -> None:
    """Server memory grows by half of the network at most; the worker keeps its limit; a second call uploads nothing."""
    rng = np.random.default_rng(0)
    shapes = (100, INPUTS), (400, 100), (10, 400)
    weights = [rng.normal(0, columns**-0.5, (rows, columns)) for rows, columns in shapes]
    hardware, inputs = pp.Hardware(programming_noise_std=1e-6), rng.normal(size=(1, INPUTS))
    uploaded = weights[0].nbytes + weights[1].nbytes + inputs.nbytes  # the last weight is small and goes inline
    assert uploaded > 50e6
    before, workers_before = peak_resident(target.pid), largest(target.workers(), peak_resident)
    with pc.PlannerClient(target.address) as client:
        assert client.server_info().limits["max_message_bytes"] == 4 * MIB
        began = time.monotonic()
        first = client.predict(weights, hardware, None, inputs)
        predicted = time.monotonic()
        assert target.metric("powerplan_uploaded_bytes_total") == uploaded
        plan = client.plan(
            weights,
            hardware,
            inputs,
            pc.MaxNMSE(3 * first.nmse),
            max_iterations=1,
            tolerance=0.01,
        )
        planned = time.monotonic()
    with pc.PlannerClient(target.address) as another:
        again = another.predict(weights, hardware, plan.gains, inputs)
    assert target.metric("powerplan_uploaded_bytes_total") == uploaded
    server, worker = peak_resident(target.pid), largest(target.workers(), peak_resident)
    print(
        f"\n{uploaded / 1e6:.0f} MB: upload and prediction {predicted - began:.1f} s, "
        f"plan {planned - predicted:.1f} s; "
        f"peak memory: server {before / MIB:.0f} -> {server / MIB:.0f} MiB, "
        f"worker {workers_before / MIB:.0f} -> {worker / MIB:.0f} MiB"
    )
    assert plan.termination.outcome is pc.Outcome.OPTIMAL
    assert plan.nmse == pytest.approx(3 * first.nmse, rel=0.02)
    assert again.nmse == plan.nmse
    assert plan.power < first.power
    network = pp.Network.mlp(weights)
    assert first.mse == pp.predict(network, hardware, pp.Gains.full_range(network, hardware, inputs), inputs).mse
    assert server < before + 25 * MIB
    assert worker < workers_before + WORKER_MEMORY
