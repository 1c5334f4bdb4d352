"""Plans on steps are feasible, equal brute force on small networks, and know how far they can be from the best."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.session import Session
from powerplan.planning.settings import PlanSettings

DEVICES = {
    "constant": pp.Hardware(programming_noise_std=1e-6),
    "unclipped": pp.Hardware(programming_noise_std=2e-6, clip_conductance=False),
    "proportional": pp.Hardware(programming_noise_std=1e-6, programming_noise_proportional=0.05),
    "read": pp.Hardware(programming_noise_std=5e-7, read_noise_std=1e-7, feedback_resistance=1e4),
}


def lists_of(count: int) -> dict[str, pp.Steps]:
    """Of so many steps, one more in the geometric list."""
    return {
        "linear": pp.Steps.over_range(count),
        "geometric": pp.Steps.over_range(count + 1, spacing="geometric", smallest=0.1),
        "random": pp.Steps(values=np.random.default_rng(5).uniform(0.1, 1, count), relative=True),
    }


STEPS = lists_of(5)


def batch(network: pp.Network) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (12, *network.input_shape))


def brute_force(
    network: pp.Network, hardware: pp.Hardware, x: np.ndarray, target: pp.planning.Target, **options: Any
) -> float | None:
    """The least objective over every choice of steps, each on the full predictor; None if none is feasible."""
    session = Session.of(network, hardware, x, PlanSettings(**options))
    problem = session.problem(requirement(target, session.predictors, None), session.free)
    best = None
    assert session.levels is not None
    for choice in itertools.product(*(steps for steps in session.levels if steps is not None)):
        objective, *constraints = problem.terms.values(np.array(choice))
        if problem.excesses_of(constraints).max() <= 0 and (best is None or objective.total < best):
            best = objective.total
    return best


def objective(plan: pp.Plan) -> float:
    return plan.mse if isinstance(plan.target, pp.MaxPower) else plan.power


CASES = [
    (widths, activation, device, steps, kind)
    for k, (widths, activation) in enumerate(
        [((5, 8, 3), "relu"), ((6, 12, 8, 3), "tanh"), ((5, 8, 3), "gelu"), ((4, 5, 5, 5, 3), "relu")]
    )
    for device, steps, kind in [
        (list(DEVICES)[k], list(STEPS)[k % 3], "max_nmse"),
        (list(DEVICES)[(k + 1) % 4], list(STEPS)[(k + 1) % 3], "max_power"),
        (list(DEVICES)[(k + 2) % 4], "linear", "max_output_mse"),
    ]
]


@pytest.mark.slow
@pytest.mark.parametrize(("widths", "activation", "device", "steps", "kind"), CASES)
def test_equals_brute_force(widths: tuple[int, ...], activation: str, device: str, steps: str, kind: str) -> None:
    """Two to four layers, three to six steps, three targets: the least objective of all choices, or a proof of none."""
    network, hardware = small_network(3, widths, activation), DEVICES[device]
    listed = lists_of(5 if len(widths) < 5 else 3)[steps]  # four layers of six steps would be 1296 choices
    x = batch(network)
    lowest = pp.plan(network, hardware, x, pp.MaxMSE(1e-12)).termination.best_reachable
    assert lowest is not None
    target: pp.planning.Target = pp.MaxMSE(3 * lowest)
    if kind == "max_nmse":
        target = pp.MaxNMSE(2 * lowest / float((network(x) ** 2).mean()))
    elif kind == "max_power":
        target = pp.MaxPower(1.2 * pp.plan(network, hardware, x, target).power)
    elif kind == "max_output_mse":
        target = pp.planning.MaxOutputMSE(6 * lowest)
    plan = pp.plan(network, hardware, x, target, conductance_steps=listed)
    best = brute_force(network, hardware, x, target, conductance_steps=listed)
    if best is None:
        assert plan.termination.outcome is pp.Outcome.INFEASIBLE
        return
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert objective(plan) == pytest.approx(best, rel=1e-5)
    assert plan.reached <= target.value * (1 + 1e-12)
    assert plan.discrete is not None
    assert plan.discrete.gap <= 1.1e-5
    assert plan.discrete.continuous <= plan.discrete.bound * (1 + 1e-5) <= best * (1 + 2e-5)
    for gain, high in zip(plan.gains.conductance, largest(network, hardware), strict=True):
        assert np.isclose(listed.of(high), gain, rtol=1e-12).any()


def random_case(seed: int) -> tuple[pp.Network, pp.Hardware, np.ndarray, pp.planning.Target, dict[str, Any]]:
    """Two to six gains of two or three steps, of layers or columns, of conductance and voltage; any target; corners."""
    rng = np.random.default_rng(seed)
    granularity, optimize, widths = (
        ("layer", ("conductance",), (3, 4, 3)),
        ("layer", ("conductance", "voltage"), (3, 4, 2)),
        ("column", ("conductance",), (3, 2, 2)),
        ("layer", ("voltage",), (2, 3, 3, 2)),
        ("column", ("conductance", "voltage"), (3, 2)),
        ("column", ("conductance",), (3, 6)),
    )[seed % 6]
    network = small_network(seed, widths, str(rng.choice(["relu", "tanh", "gelu"])))
    x = rng.uniform(-0.5, 1, (4, widths[0]))
    hardware = pp.Hardware(
        programming_noise_std=rng.choice([3e-7, 1e-6, 3e-6]),
        programming_noise_proportional=rng.choice([0.0, 0.05]),
        read_noise_std=rng.choice([5e-8, 2e-7]),
        clip_conductance=bool(rng.integers(2)),
        feedback_resistance=rng.choice([None, 1e4]),
    )
    corners = [hardware.replace(read_noise_std=2e-7, programming_noise_std=1e-6)][: rng.integers(2)]
    options: dict[str, Any] = {"granularity": granularity, "optimize": optimize, "corners": corners}
    for kind in optimize:
        options[f"{kind}_steps"] = pp.Steps(values=rng.uniform(0.1, 1, 2 if widths == (3, 6) else 3), relative=True)
    at_most = pp.predict(network, hardware, pp.Gains.uniform(network, hardware, inputs=x), x)
    factor = float(np.exp(rng.uniform(0, 3)))
    target: pp.planning.Target = (
        pp.MaxMSE(factor * at_most.mse),
        pp.MaxNMSE(factor * at_most.nmse),
        pp.MaxPower(at_most.power / factor),
        pp.planning.MaxOutputMSE(2 * factor * at_most.mse),
        pp.planning.MaxFlipRate(0.02 * factor),
    )[rng.integers(5)]
    return network, hardware, x, target, options


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
@pytest.mark.parametrize("seed", range(18))
def test_random_small_cases_equal_brute_force(seed: int) -> None:
    """Feasible always, equal to the best of all choices, no bound above it, no gap below the truth, else infeasible."""
    network, hardware, x, target, options = random_case(seed)
    plan = pp.plan(network, hardware, x, target, max_iterations=12, **options)
    best = brute_force(network, hardware, x, target, **options)
    if best is None:
        assert plan.termination.outcome is pp.Outcome.INFEASIBLE
        return
    assert plan.termination.outcome in (pp.Outcome.OPTIMAL, pp.Outcome.WITHIN_GAP)
    assert plan.reached <= target.value * (1 + 1e-12)
    assert plan.discrete is not None
    assert plan.discrete.bound <= best * (1 + 1e-9)
    assert objective(plan) <= best * (1 + 1e-5)
    assert objective(plan) / best - 1 <= plan.discrete.gap + 1e-12


def largest(network: pp.Network, hardware: pp.Hardware) -> list[float]:
    span = hardware.conductance_max - hardware.conductance_min
    return [span / float(np.abs(node.op.matrix).max()) for node in network.crossbars]


@pytest.mark.slow
def test_a_finer_list_never_costs_more_and_tends_to_the_continuous_plan() -> None:
    network, hardware = small_network(), DEVICES["constant"]
    x, target = batch(network), pp.MaxNMSE(0.05)
    free = pp.plan(network, hardware, x, target)
    powers = [
        pp.plan(network, hardware, x, target, conductance_steps=pp.Steps.over_range(count)).power
        for count in (5, 10, 20, 160)
    ]
    assert all(fine <= coarse * (1 + 1.1e-3) for coarse, fine in itertools.pairwise(powers))
    assert free.power * (1 - 1e-6) <= powers[-1] <= 1.01 * free.power


@pytest.mark.slow
def test_steps_per_layer_leave_the_others_continuous() -> None:
    """A layer without steps is re-optimised for the steps of the others: never dearer than with steps of its own."""
    network, hardware = small_network(), DEVICES["constant"]
    x, target = batch(network), pp.MaxNMSE(0.05)
    coarse = pp.Steps.over_range(3)
    mixed = pp.plan(network, hardware, x, target, conductance_steps=[coarse, None, coarse])
    full = pp.plan(network, hardware, x, target, conductance_steps=coarse)
    assert mixed.termination.outcome is pp.Outcome.OPTIMAL
    assert mixed.reached == pytest.approx(target.value, rel=1e-6)  # the continuous layer takes up the slack
    assert mixed.power < full.power
    for layer in (0, 2):
        high = largest(network, hardware)[layer]
        assert np.isclose(coarse.of(high), mixed.gains.conductance[layer], rtol=1e-9).any()
    # the best of all choices for the two layers, the middle one re-planned for each
    best = min(
        plan.power
        for first, last in itertools.product(
            coarse.of(largest(network, hardware)[0]), coarse.of(largest(network, hardware)[2])
        )
        for plan in [
            pp.plan(
                network,
                hardware,
                x,
                target,
                conductance_steps=[pp.Steps(values=[first]), None, pp.Steps(values=[last])],
            )
        ]
        if plan.termination.outcome is pp.Outcome.OPTIMAL
    )
    assert mixed.power == pytest.approx(best, rel=1e-5)


def test_both_gains_on_steps() -> None:
    network, hardware = small_network(2, (5, 8, 3)), DEVICES["read"]
    x, target = batch(network), pp.MaxNMSE(0.02)
    volts = pp.Steps.over_range(6)
    plan = pp.plan(
        network,
        hardware,
        x,
        target,
        optimize=("conductance", "voltage"),
        conductance_steps=STEPS["geometric"],
        voltage_steps=volts,
    )
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.nmse <= target.value
    free = pp.plan(network, hardware, x, target, optimize=("conductance", "voltage"))
    assert free.power <= plan.power
    held = pp.plan(network, hardware, x, target, voltage=plan.gains.voltage, conductance_steps=STEPS["geometric"])
    assert plan.power <= held.power * (1 + 1e-5)


def test_columns_are_rounded_with_the_continuous_plan_as_bound() -> None:
    network, hardware = small_network(4, (6, 20, 12, 3)), DEVICES["constant"]
    x, target = batch(network), pp.MaxNMSE(0.03)
    steps = pp.Steps.over_range(16, spacing="geometric", smallest=0.05)
    plan = pp.plan(network, hardware, x, target, granularity="column", conductance_steps=steps)
    free = pp.plan(network, hardware, x, target, granularity="column")
    assert plan.termination.outcome is pp.Outcome.WITHIN_GAP
    assert plan.nmse <= target.value
    assert plan.discrete is not None
    assert plan.discrete.method == "rounding"
    assert plan.power == pytest.approx(plan.discrete.bound * (1 + plan.discrete.gap))
    assert 0.97 * free.power < plan.discrete.bound <= free.power * (1 + 1e-6)
    assert plan.discrete.gap < 0.06


def test_steps_that_are_too_low_are_named_and_adding_what_is_asked_for_helps() -> None:
    network, hardware = small_network(), DEVICES["constant"]
    x, target = batch(network), pp.MaxNMSE(0.02)
    free = pp.plan(network, hardware, x, target)
    wanted = [float(g) for g in free.gains.conductance]
    short = pp.Steps(values=[0.3 * wanted[1], 0.5 * wanted[1]])
    plan = pp.plan(network, hardware, x, target, conductance_steps=[None, short, None], conductance=None)
    if plan.termination.outcome is not pp.Outcome.INFEASIBLE:  # the other layers could make up for it
        short = pp.Steps(values=[0.01 * wanted[1]])
        plan = pp.plan(network, hardware, x, target, conductance_steps=[None, short, None])
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert plan.termination.binding_limits == ("linear2 conductance: steps",)
    assert f"add one of at least {wanted[1]:.6g}" in plan.termination.message
    assert plan.termination.best_reachable == pytest.approx(plan.reached)
    longer = pp.Steps(values=[*short.values, 1.0001 * wanted[1]])
    mended = pp.plan(network, hardware, x, target, conductance_steps=[None, longer, None])
    assert mended.termination.outcome is pp.Outcome.OPTIMAL


def test_a_budget_below_the_lowest_steps_is_infeasible() -> None:
    network, hardware = small_network(), DEVICES["constant"]
    x = batch(network)
    budget = pp.MaxPower(pp.plan(network, hardware, x, pp.MaxNMSE(0.3)).power)
    plan = pp.plan(network, hardware, x, budget, conductance_steps=pp.Steps.over_range(2))
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert "smallest step" in plan.termination.message
    assert plan.power > budget.value


def test_a_target_unreachable_without_steps_stays_on_steps() -> None:
    network, hardware = small_network(), DEVICES["constant"]
    steps = pp.Steps.over_range(3)
    plan = pp.plan(network, hardware, batch(network), pp.MaxNMSE(1e-9), conductance_steps=steps)
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    np.testing.assert_allclose(plan.gains.conductance, largest(network, hardware), rtol=1e-9)


def test_a_deadline_still_gives_a_feasible_plan_on_steps() -> None:
    network, hardware = small_network(), DEVICES["constant"]
    plan = pp.plan(
        network, hardware, batch(network), pp.MaxNMSE(0.05), conductance_steps=pp.Steps.over_range(9), deadline=1e-6
    )
    assert plan.termination.outcome is pp.Outcome.DEADLINE
    assert plan.nmse <= 0.05
    assert plan.discrete is not None
    assert plan.discrete.gap >= 0


def test_calibration_uses_the_slack_of_the_steps() -> None:
    """The simulated error of a plan on steps is compared with its predicted one, not with the target it undercuts."""
    network, hardware = small_network(), DEVICES["constant"]
    plan = pp.plan(
        network,
        hardware,
        batch(network),
        pp.MaxNMSE(0.05),
        conductance_steps=pp.Steps.over_range(5),
        verify_draws=400,
        calibrate=True,
    )
    assert plan.verification is not None
    assert plan.verification.ratio <= 1 + 4 * plan.verification.ratio_standard_error


def test_progress_rises_and_the_plan_survives_its_file(tmp_path: object) -> None:
    network, hardware = small_network(2, (5, 8, 3)), DEVICES["constant"]
    seen: list[float] = []
    steps = pp.Steps.geometric(1e-6, 1e-3, decibel=3)
    plan = pp.plan(
        network,
        hardware,
        batch(network),
        pp.MaxNMSE(0.05),
        conductance_steps=steps,
        progress=lambda what, done: seen.append(done),
    )
    assert seen == sorted(seen)
    plan.save(tmp_path / "plan.json")  # type: ignore[operator]
    again = pp.Plan.load(tmp_path / "plan.json")  # type: ignore[operator]
    assert again.discrete == plan.discrete
    assert pp.Steps.from_dict(again.provenance["conductance_steps"]) == steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conductance_steps": [pp.Steps.over_range(3)]}, "one Steps or None per crossbar layer"),
        ({"conductance_steps": 3}, "one Steps or None per crossbar layer"),
        ({"conductance_steps": [1e-6, 2e-6, 3e-6]}, "one Steps or None per crossbar layer"),
        ({"voltage_steps": pp.Steps.over_range(3)}, "only with 'voltage' in optimize"),
        ({"conductance_steps": pp.Steps(values=[1.0])}, "add a step of at most"),
        (
            {
                "conductance_steps": [pp.Steps.over_range(3), pp.Steps.over_range(4), None],
                "granularity": "network",
            },
            "a gain that all layers share",
        ),
    ],
)
def test_steps_that_do_not_fit_are_refused(options: dict[str, object], message: str) -> None:
    network = small_network()
    with pytest.raises(pp.InvalidInput, match=message):
        pp.plan(network, DEVICES["constant"], batch(network), pp.MaxNMSE(0.05), **options)  # type: ignore[arg-type]


def test_columns_on_steps_are_never_dearer_than_the_layers_they_contain() -> None:
    """Many gains are rounded: here that alone costs 1 % more than the steps that are the layers' best gains."""
    rng = np.random.default_rng(8)
    network = pp.Network.mlp([rng.normal(size=(14, 8)) * 0.5, rng.normal(size=(10, 14)) * 0.5])
    inputs, hardware, target = rng.normal(size=(6, 8)), pp.Hardware(), pp.MaxNMSE(0.05)
    gains = pp.plan(network, hardware, inputs, target).gains.conductance
    steps = pp.Steps(values=tuple(sorted(1.0001 * gain for gain in gains)))
    plans = [
        pp.plan(network, hardware, inputs, target, granularity=each, conductance_steps=steps)
        for each in ("layer", "column")
    ]
    by_layer, by_column = plans
    assert by_column.discrete.method == "rounding"
    assert by_column.meets_target
    assert by_column.power <= by_layer.power * (1 + 1e-9)
    assert by_column.discrete.gap == pytest.approx(by_column.power / by_column.discrete.bound - 1)
