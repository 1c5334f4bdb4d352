"""Every setting passes every door with the same verdict: Python, command line, study file, wire and client."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

import powerplan as pp
import powerplan_client as pc
from powerplan.batch.naming import SETTINGS
from powerplan.cli.commands.plan import command
from powerplan.cli.commands.simulate import command as simulate
from powerplan.cli.options import take_settings
from powerplan.moments.settings import PredictionSettings
from powerplan.montecarlo.settings import SimulationSettings
from powerplan.planning.settings import PlanSettings
from powerplan.settings import Choice, Flag, Names, Number, Setting, Settings, Whole, named, table
from powerplan_client._generated import v1 as pb
from powerplan_client.building import hardware_message
from powerplan_client.networks import network_message
from powerplan_client.options import PlanOptions
from powerplan_client.packing import tensor_of
from powerplan_server import calls
from powerplan_server.wire.limits import WireLimits
from powerplan_server.wire.tasks import SETTING_FIELDS

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(3)
NETWORK = pp.Network.mlp([RNG.normal(size=(4, 3)), RNG.normal(size=(2, 4))])
INPUTS = RNG.normal(size=(3, 3))
HARDWARE = pp.Hardware(read_noise_std=1e-7, adc_bits=8, dac_bits=8, costs="node_32nm")
CLIENT = pc.PlannerClient.local()

SHARED = [row for row in table(PlanSettings) if row.name != "device"]
#: settings whose values are judged by themselves, not with the network
JUDGED = [row for row in SHARED if row.kind.allowed]
#: what a server takes of the table
AT_MOST = {"verify_draws": WireLimits().max_draws, "max_iterations": WireLimits().max_iterations, "memory_limit": 2**30}


def accepts(refusals: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]) -> bool:
    try:
        call()
    except refusals:
        return False
    return True


def by_python(row: Setting, value: Any) -> bool:
    return accepts(pp.InvalidInput, lambda: PlanSettings(**{row.name: value}))


def by_command_line(row: Setting, value: Any) -> bool:
    flag = {"verify_draws": "--verify"}.get(row.name, "--" + row.name.replace("_", "-"))
    if isinstance(value, bool):
        words = [flag if value else flag.replace("--", "--no-", 1)]
    else:
        words = [f"{flag}={','.join(value) if isinstance(value, tuple) else value}"]

    def parse() -> None:
        context = command.make_context("plan", words)
        taken = take_settings(context.params, PlanSettings)
        assert list(taken) == [row.name]

    return accepts((pp.InvalidInput, click.ClickException), parse)


def by_study(row: Setting, value: Any) -> bool:
    plain = "+".join(value) if isinstance(value, tuple) else value
    values = {
        "networks": {"iris": {"example": "iris"}},
        "points": [{"target": {"max_flip_rate": 0.1}, row.name: plain}],
    }
    return accepts(pp.InvalidInput, lambda: pp.Study.from_dict(values))


def by_client(row: Setting, value: Any) -> bool:
    name = {"deadline": "time_limit"}.get(row.name, row.name)
    target = pc.MaxFlipRate(0.1) if row.name == "calibrate" else pc.MaxNMSE(0.1)
    options: Any = {name: value}
    return accepts(
        pc.InvalidRequest,
        lambda: CLIENT.plan(NETWORK, HARDWARE, INPUTS, target, validate_only=True, accept_implausible=True, **options),
    )


def by_wire(row: Setting, value: Any) -> bool:
    """A request made by hand; what the contract's types cannot hold is refused by them."""
    wire = SETTING_FIELDS.get(row.name, row.name)
    enum = pb.PlanSettings.DESCRIPTOR.fields_by_name[wire].enum_type
    if enum is not None:
        known = {
            re.sub(
                r"^(GRANULARITY|GAIN_KIND|PREDICTION_METHOD|DATA_TYPE|CALIBRATION|COST_OBJECTIVE)_", "", v.name
            ): v.number
            for v in enum.values
        }
        numbers = [known.get(name.upper(), 77) for name in (value if isinstance(value, tuple) else (value,))]
        value = numbers if isinstance(value, tuple) else numbers[0]
    elif isinstance(value, float) and isinstance(row.kind, Whole) and value.is_integer():
        value = int(value)
    try:
        message = pb.PlanSettings(**{wire: value})
    except (TypeError, ValueError, OverflowError):
        return False
    task = pb.PlanTask(
        network=network_message(NETWORK),
        hardware=hardware_message(HARDWARE),
        inputs=tensor_of(INPUTS),
        target=pb.Target(**{"max_flip_rate" if row.name == "calibrate" else "max_nmse": 0.1}),
        settings=message,
    )
    request = pb.PlanRequest(task=task, validate_only=True, accept_implausible=True)
    return accepts(pp.InvalidInput, lambda: calls.run_plan(request, calls.CallContext()))


def verdicts(row: Setting, value: Any) -> dict[str, bool]:
    doors = {"python": by_python, "command line": by_command_line}
    if value != math.inf:  # a file leaves a limit out for none
        doors["study"] = by_study
    if not (row.name in AT_MOST and isinstance(value, int | float) and value > AT_MOST[row.name]):
        doors |= {"wire": by_wire, "client": by_client}
    return {door: judge(row, value) for door, judge in doors.items()}


def values_of(row: Setting) -> st.SearchStrategy[Any]:
    """Values inside, outside and at the edges of the range."""
    match row.kind:
        case Choice(names=names):
            alone = [name for name in names if name != "signal"]  # which needs another setting as well
            return st.sampled_from([*alone, *(name + "x" for name in names), "nothing"])
        case Names(names=names):
            return st.sampled_from([names, *((name,) for name in names), ("nothing",), (names[0], "nothing")])
        case Flag():
            return st.booleans()
        case Whole(at_least=least, at_most=most):
            near = [n for edge in (0, least, most) for n in (edge - 1, edge, edge + 1)]
            whole = st.one_of(st.sampled_from(near), st.integers(-3, 3 * least + 30), st.integers(-(2**70), 2**70))
            return st.one_of(whole, st.integers(0, 10**6).map(float), st.floats(-10, 10**6), st.just(math.nan))
        case Number(above=above, at_most=most):
            edges = [edge for edge in (above, most, 1e-9, 0.5, -1.0) if edge is not None]
            near = [x for edge in edges for x in (edge, math.nextafter(edge, -9), math.nextafter(edge, 9))]
            return st.one_of(st.sampled_from([*near, math.nan, math.inf, -math.inf]), st.floats(allow_nan=False))
    raise AssertionError(row)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(
    judged=st.sampled_from(JUDGED).flatmap(lambda row: st.tuples(st.just(row.name), values_of(row))),
)
@example(judged=("tolerance", 0.5))
@example(judged=("tolerance", 0.1))
@example(judged=("optimize", ("adc_bits",)))
@example(judged=("least_bits", 2))
@example(judged=("max_energy", 2.0))
@example(judged=("max_area", 0.0))
@example(judged=("objective", "energy"))
@example(judged=("optimize", ("conductance", "voltage", "adc_bits", "dac_bits", "adc_headroom", "columns_per_adc")))
@example(judged=("verify_draws", 1))
@example(judged=("output_combinations", 1))
@example(judged=("max_iterations", 60.0))
@example(judged=("max_iterations", 60.5))
@example(judged=("seed", 2**63 - 1))
@example(judged=("seed", 2**63))
@example(judged=("deadline", 0.0))
def test_every_door_gives_the_same_verdict(judged: tuple[str, Any]) -> None:
    name, value = judged
    row = named(PlanSettings)[name]
    found = verdicts(row, value)
    assert len(set(found.values())) == 1, f"{name} = {value!r}: {found}"


@pytest.mark.parametrize("row", SHARED, ids=lambda row: row.name)
def test_every_setting_has_every_door(row: Setting) -> None:
    flags = [flag for parameter in command.params if parameter.name == row.name for flag in parameter.opts]
    assert flags
    assert row.name in SETTINGS
    assert {"deadline": "time_limit"}.get(row.name, row.name) in PlanOptions.__annotations__
    wire = pb.PlanTask if row.name == "corners" else pb.PlanSettings
    assert SETTING_FIELDS.get(row.name, row.name) in wire.DESCRIPTOR.fields_by_name
    for function in (pp.plan, pp.frontier):
        assert inspect.signature(function).parameters[row.name].default == row.default
    assert f"{row.name}: " in (pp.plan.__doc__ or "")


@pytest.mark.parametrize("row", table(PredictionSettings), ids=lambda row: row.name)
def test_predictions_take_their_settings(row: Setting) -> None:
    assert inspect.signature(pp.predict).parameters[row.name].default == row.default
    assert f"{row.name}: " in (pp.predict.__doc__ or "")
    if row.name != "device":
        assert SETTING_FIELDS.get(row.name, row.name) in pb.PredictRequest.DESCRIPTOR.fields_by_name


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("draws", (-1, 0, 1, 1.0, 1.5, 2000, 10**7 + 1)),
        ("relative_standard_error", (-0.1, 0.0, 1e-9, 0.1, 2.0)),
        ("seed", (-1, 0, 0.5, 2**63 - 1, 2**63)),
    ],
)
def test_simulations_get_the_same_verdict_too(name: str, values: tuple[float, ...]) -> None:
    def parse(value: float) -> None:
        context = simulate.make_context("simulate", [f"--{name.replace('_', '-')}={value}"])
        assert take_settings(context.params, SimulationSettings)[name] == value

    def ask(value: float) -> None:
        options: Any = {name: value}
        CLIENT.simulate(NETWORK, HARDWARE, None, INPUTS, validate_only=True, **options)

    for value in values:
        doors = (
            accepts(pp.InvalidInput, partial(SimulationSettings, **{name: value})),
            accepts((pp.InvalidInput, click.ClickException), partial(parse, value)),
            accepts(pc.InvalidRequest, partial(ask, value)),
        )
        assert len(set(doors)) == 1, f"{name} = {value!r}: {doors}"


@pytest.mark.parametrize("kind", [PredictionSettings, PlanSettings, SimulationSettings])
def test_defaults_are_allowed(kind: type[Settings]) -> None:
    assert kind().values == {row.name: row.default for row in table(kind)}


def test_every_value_that_is_not_allowed_is_named_at_once() -> None:
    with pytest.raises(pp.InvalidInput) as caught:
        pp.plan(NETWORK, HARDWARE, INPUTS, pp.MaxNMSE(0.1), tolerance=0.5, seed=-1, granularity="layr")
    assert [v.field for v in caught.value.violations] == ["seed", "granularity", "tolerance"]
    assert "Did you mean 'layer'?" in str(caught.value)


@pytest.mark.parametrize("script", ["generate_keywords", "generate_client"])
def test_generated_files_are_those_of_the_tables(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    files = import_module(script).generate()
    monkeypatch.delitem(sys.modules, script)
    for name, text in files.items():
        assert (ROOT / name).read_text() == text, f"python scripts/{script}.py"


@pytest.mark.parametrize("row", JUDGED, ids=lambda row: row.name)
def test_the_contract_states_ranges_and_defaults(row: Setting) -> None:
    """Its comments are for readers without the engine."""
    text = (ROOT / "proto/powerplan/v1/plan.proto").read_text()
    text = text[text.index("message PlanSettings {") :]
    field = SETTING_FIELDS.get(row.name, row.name)
    declared = re.search(rf"((?:  //.*\n)+)  (?:optional |repeated )?\w+ {field} = \d+;", text)
    assert declared is not None
    comment = " ".join(declared[1].replace("//", " ").split())
    assert re.search("[Dd]efault|as in PredictRequest", comment)
    if isinstance(row.kind, Whole | Number) and row.default is not None:
        assert row.default in {
            2 ** float(n) if base else float(n) for base, n in re.findall(r"Default (2\^)?([\d.e-]*\d)", comment)
        }
    if isinstance(row.kind, Number) and row.kind.at_most is not None:
        assert f"<= {row.kind.at_most:g}" in comment
