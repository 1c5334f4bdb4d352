"""Technologies side by side: the same network and targets on each, as a study that is kept in memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from powerplan.batch.naming import axes_that_differ, make_names
from powerplan.batch.points import plan_defaults
from powerplan.batch.results import Failure, PointResult, PointState, StudyResult
from powerplan.batch.schema import PARTS
from powerplan.checks import Checker, unknown_keys
from powerplan.errors import InvalidInput, PowerplanError
from powerplan.hardware.describe import in_si
from powerplan.hardware.fields import check_values
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.plain import to_plain
from powerplan.network.graph import Network
from powerplan.planning import plan as plan_here
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import Target

#: fields of the hardware that a sweep sets together are joined by it
JOINED = "+"


def compare(
    network: Network,
    hardware: Mapping[str, Hardware | str] | Sequence[str],
    inputs: np.ndarray,
    target: Target | Sequence[Target],
    *,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    progress: Callable[[str, float], None] | None = None,
    **settings: Any,
) -> StudyResult:
    """Plan the same network for the same targets on several technologies.

    Args:
        network, inputs, settings: as for :func:`powerplan.plan`.
        hardware: technologies by name: hardware, or the name of a preset; or names of presets alone.
        target: one, or several.
        sweep: values of fields of the hardware, each combination on every technology: ``{"adc_bits": [4, 6, 8]}``;
            ``"array_rows+array_columns"`` sets both, to the same value or each to its own of a tuple. Numbers may be
            text with a unit.
        progress: called with the name of what is planned, and the fraction done.

    Returns:
        a point for each technology, combination and target, in this order. ``result.table()`` shows them, ``plot`` and
        ``report`` draw them. Where a technology cannot do it, the point says why.

    Raises:
        InvalidInput: nothing to compare, an unknown preset or field, or settings, inputs or a network that are wrong
            whatever the technology.
    """
    return compare_with(plan_here, network, hardware, inputs, target, sweep=sweep, progress=progress, **settings)


def compare_with(
    planner: Callable[..., Plan],
    network: Network,
    hardware: Mapping[str, Hardware | str] | Sequence[str],
    inputs: np.ndarray,
    target: Target | Sequence[Target],
    *,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    progress: Callable[[str, float], None] | None = None,
    on_point: Callable[[PointResult], None] | None = None,
    **settings: Any,
) -> StudyResult:
    """As :func:`compare`, by a planner with the arguments of :func:`powerplan.plan`; ``on_point`` is told every point
    as it is planned."""
    technologies = _technologies(hardware)
    targets = [target] if isinstance(target, Target) else list(target)
    if not technologies or not targets:
        missing = "hardware" if not technologies else "target"
        raise InvalidInput.of(missing, "nothing", "at least one", f"Give {missing} to compare.")
    combinations = combinations_of(sweep or {})
    asked = {name: to_plain(value) for name, value in settings.items() if name in plan_defaults()}
    if "optimize" in asked:
        asked["optimize"] = JOINED.join(
            [asked["optimize"]] if isinstance(asked["optimize"], str) else asked["optimize"]
        )
    wanted = [
        (technologies[name], override, one, _settings(name, override, one, asked))
        for name, override, one in itertools.product(technologies, combinations, targets)
    ]
    axes = axes_that_differ([plain for *_, plain in wanted])
    names = make_names([plain for *_, plain in wanted], axes or ("hardware",))
    started, points = time.time(), []
    for i, (name, (technology, override, one, plain)) in enumerate(zip(names, wanted, strict=True)):
        if progress is not None:
            progress(name, i / len(wanted))
        points.append(_planned(planner, network, technology, override, inputs, one, settings, name, plain))
        if on_point is not None:
            on_point(points[-1])
    if progress is not None:
        progress("done", 1.0)
    _raise_common(points)
    return StudyResult(name="comparison", points=tuple(points), axes=axes, started=started, ended=time.time())


def table_of(points: Sequence[PointResult]) -> str:
    """The points of a comparison as text."""
    return StudyResult(name="comparison", points=tuple(points)).table()


def _technologies(hardware: Mapping[str, Hardware | str] | Sequence[str]) -> dict[str, Hardware]:
    named = hardware if isinstance(hardware, Mapping) else {name: name for name in hardware}
    return {str(name): Hardware.preset(one) if isinstance(one, str) else one for name, one in named.items()}


def combinations_of(sweep: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of all axes, by field."""
    axes = []
    for joined, values in sweep.items():
        if isinstance(values, str) or not len(values):
            raise InvalidInput.of(f"sweep[{joined!r}]", values, "a list of values", "Give at least one.")
        names = joined.split(JOINED)
        axes.append([_joined(joined, names, value) for value in values])
    return [{field: value for part in parts for field, value in part.items()} for parts in itertools.product(*axes)]


def _joined(joined: str, names: Sequence[str], value: Any) -> dict[str, Any]:
    """One value of a sweep by the fields that it sets: the same of all, or one of each."""
    if len(names) == 1 or not isinstance(value, tuple):
        return dict.fromkeys(names, value)
    if len(value) != len(names):
        raise InvalidInput.of(f"sweep[{joined!r}]", value, f"{len(names)} values, or one for all", "Give one of each.")
    return dict(zip(names, value, strict=True))


def _settings(name: str, override: Mapping[str, Any], target: Target, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a point asks, as a study's settings have it; overrides in SI units."""
    check = Checker("sweep.")
    unknown_keys(check, override, [f.name for f in fields(Hardware)])
    numbers = in_si(check, override, Hardware)
    check.done()
    check_values(numbers, Hardware, check)
    check.done()
    parts = {part: getattr(target, part, None) for part in PARTS}
    return {
        **plan_defaults(),
        **asked,
        "network": "network",
        "inputs": None,
        "hardware": name,
        "override": numbers,
        "target": {target.kind: target.value, **{part: value for part, value in parts.items() if value is not None}},
    }


def _planned(
    planner: Callable[..., Plan],
    network: Network,
    technology: Hardware,
    override: Mapping[str, Any],
    inputs: np.ndarray,
    target: Target,
    settings: Mapping[str, Any],
    name: str,
    plain: Mapping[str, Any],
) -> PointResult:
    begun = time.perf_counter()
    try:
        plan = planner(network, technology.replace(**override), inputs, target, **settings)
    except InvalidInput as error:
        failure = Failure(code="invalid", message=str(error))
    except PowerplanError as error:
        failure = Failure(code="solver", message=str(error))
    else:
        seconds = time.perf_counter() - begun
        return PointResult(name=name, settings=plain, state=PointState.DONE, source=plan, seconds=seconds, attempts=1)
    return PointResult(name=name, settings=plain, state=PointState.FAILED, failure=failure, attempts=1)


def _raise_common(points: Sequence[PointResult]) -> None:
    """What is wrong with every point alike is no matter of the technology."""
    messages = {point.failure.message if point.failure else "" for point in points}
    if len(messages) == 1 and (message := messages.pop()):
        raise InvalidInput.of("comparison", f"{len(points)} points", "one that can be planned", message)
