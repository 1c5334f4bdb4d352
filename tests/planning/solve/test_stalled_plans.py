"""Plans that end where a curve of the devices jumps."""

from __future__ import annotations

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan.planning.solve.stall import Stall


def test_a_descent_stalls_when_neither_objective_nor_residual_moves() -> None:
    """Five points without progress; a residual that halves, or an objective that falls, is progress."""
    stall = Stall(window=5)
    assert [stall.seen(1.0, 0.1) for _ in range(6)] == [*(False,) * 5, True]
    for objective, residual in ((lambda k: 1.0 - 1e-4 * k, lambda k: 0.1), (lambda k: 1.0, lambda k: 0.1 * 0.8**k)):
        stall = Stall(window=5)
        assert not any(stall.seen(objective(k), residual(k)) for k in range(12))


def test_a_descent_that_creeps_stalls_after_twice_as_many_points() -> None:
    """Unless its residual falls: by a tenth in ten points, however slowly the objective changes."""
    creeping = Stall(window=5)
    assert [creeping.seen(1.0 - 1e-6 * k, 0.1) for k in range(11)] == [*(False,) * 10, True]
    settling = Stall(window=5)
    assert not any(settling.seen(1.0 - 1e-6 * k, 0.1 * 0.98**k) for k in range(60))


def test_a_descent_does_not_come_back_to_where_it_was() -> None:
    """HERMES PCM after a day: steps across a jump settle more on one side and cost less on the other. The descent went
    to and fro for 600 steps; it ends where both hold, for less."""
    network, x = small_network(2, (4, 5, 3)), np.random.default_rng(2).uniform(0, 1, (8, 4))
    hardware = pp.Hardware.preset("pcm_hermes_1dev", time=1e5, drift_compensation=True)
    plan = pp.plan(network, hardware, x, pp.MaxNMSE(0.3))
    assert plan.termination.outcome is pp.Outcome.STALLED
    assert plan.termination.iterations < 300
    assert plan.meets_target
    assert plan.power < 1.33375e-07


def test_a_plan_at_a_jump_of_the_devices_stalls_and_no_neighbour_is_cheaper() -> None:
    """HERMES PCM after an hour: at the least power of this network a device is where the drift exponent jumps."""
    network, x = small_network(5, (4, 5, 3)), np.random.default_rng(5).uniform(0, 1, (8, 4))
    hardware = pp.Hardware.preset("pcm_hermes_1dev", time=3600.0, drift_compensation=True)
    plan = pp.plan(network, hardware, x, pp.MaxNMSE(0.3))
    assert plan.termination.outcome is pp.Outcome.STALLED
    assert plan.termination.outcome.is_settled
    assert plan.meets_target
    assert "where a curve of the devices jumps or bends" in plan.termination.message
    assert plan.certificate is not None
    assert plan.certificate.kkt_residual > 1e-6
    largest = np.array(pp.Gains.full_range(network, hardware, x).conductance)
    rng = np.random.default_rng(0)
    feasible = 0
    for scale in np.geomspace(1e-5, 1e-1, 60):
        near = np.minimum(np.array(plan.gains.conductance) * np.exp(scale * rng.normal(size=2)), largest)
        there = pp.predict(network, hardware, pp.Gains(conductance=tuple(near), voltage=plan.gains.voltage), x)
        if there.nmse <= 0.3:
            feasible += 1
            assert there.power > plan.power * (1 - 1e-4)
    assert feasible > 10


@pytest.mark.slow
def test_a_plan_next_to_a_jump_of_the_devices_is_settled(digits_example: pp.Example) -> None:
    """HERMES PCM after an hour: the drift exponent jumps between two fitted pieces, and near the least power one of the
    devices is there. The descent ends on the smooth side of the jump, 1.2e-5 above the best point known, which no
    gradient proves. No neighbour on the bound is more than 1e-3 cheaper, and the plan takes a few steps only."""
    network, x = digits_example.network, digits_example.inputs[:128]
    hardware = pp.Hardware.preset("pcm_hermes_1dev", time=3600.0, drift_compensation=True)
    plan = pp.plan(network, hardware, x, pp.MaxNMSE(0.1))
    assert plan.termination.outcome.is_settled
    assert plan.power <= 1.49868381e-05 * (1 + 1e-4)
    assert plan.termination.iterations < 30
    assert plan.nmse <= 0.1 * (1 + 1e-9)
    largest = np.array(pp.Gains.full_range(network, hardware, x).conductance)

    def at(conductance: np.ndarray) -> pp.Prediction:
        gains = pp.Gains(conductance=tuple(np.minimum(conductance, largest)), voltage=plan.gains.voltage)
        return pp.predict(network, hardware, gains, x)

    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 1e-1):
        for _ in range(10):
            near = np.array(plan.gains.conductance) * np.exp(scale * rng.normal(size=3))
            for _ in range(8):  # onto the bound
                near = near * (at(near).nmse / 0.1) ** 0.7
            there = at(near)
            assert there.nmse == pytest.approx(0.1, rel=5e-4)
            assert there.power > plan.power * (1 - 1e-3)
