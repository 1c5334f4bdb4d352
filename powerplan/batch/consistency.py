"""What the schema cannot say of a study: names that refer to nothing, and options that contradict each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from powerplan.batch.naming import STEPS
from powerplan.batch.pruning import Path
from powerplan.batch.validate import violation
from powerplan.checks import nearest
from powerplan.errors import InvalidInput, Violation
from powerplan.hardware.steps_text import allowed_steps, parse_layers
from powerplan.planning.settings import conflicts
from powerplan.planning.targets import VERIFIED

#: what names refer to, and the table that defines it
_TABLES = {"network": "networks", "hardware": "hardware", "inputs": "inputs"}


def check_references(values: Mapping[str, Any], cuts: Collection[Path] = ()) -> Iterator[Violation]:
    """Names that refer to nothing, and networks without inputs.

    Args:
        cuts: places that were left out; nothing is said of names whose whole table is among them.
    """
    known = {kind: list(values.get(table, {})) for kind, table in _TABLES.items() if (table,) not in cuts}
    for name, definition in values.get("networks", {}).items():
        path = ("networks", name, "inputs")
        if "inputs" in definition:
            yield from _unknown(known, path, "inputs", definition["inputs"])
        elif "file" in definition and path not in cuts and not known.get("inputs", True):
            yield violation(path, "nothing", "calibration inputs", "Add [inputs.NAME] with file = ...")
    tables: list[tuple[Path, Mapping[str, Any]]] = [(("grid",), values.get("grid", {}))]
    tables += [(("zip", i), group) for i, group in enumerate(values.get("zip", []))]
    tables += [(("points", i), point) for i, point in enumerate(values.get("points", []))]
    for place, table in tables:
        for axis, kind in (*((kind, kind) for kind in _TABLES), ("corners", "hardware")):
            if axis in table:
                yield from _unknown(known, (*place, axis), kind, table[axis])


def _unknown(known: Mapping[str, list[str]], path: Path, kind: str, value: Any) -> Iterator[Violation]:
    """The names among a value, or in lists of it, that nothing of a kind has."""
    if kind not in known:
        return
    for name in value if isinstance(value, list) else [value]:
        if isinstance(name, list):
            yield from _unknown(known, path, kind, name)
        elif name not in known[kind]:
            allowed = "one of " + ", ".join(known[kind]) if known[kind] else f"a name defined under {kind}"
            yield violation(path, name, allowed, nearest(name, known[kind]))


def _verified(settings: Mapping[str, Any]) -> bool:
    """Whether a point's plan is simulated: as it says, else where the target is on classes."""
    draws, target = settings["verify_draws"], settings["target"]
    if draws is None:
        return target is None or not VERIFIED.isdisjoint(target)  # that there is no target is told elsewhere
    return bool(draws > 0)


def check_options(chosen: Sequence[tuple[Path, Mapping[str, Any]]]) -> Iterator[Violation]:
    """Options that contradict each other, once for each place."""
    for path in dict.fromkeys(path for path, s in chosen if s["calibrate"] and not _verified(s)):
        yield violation((*path, "calibrate"), True, "only with verify_draws", "Give verify_draws, for example 2000.")
    for path in dict.fromkeys(path for path, s in chosen if s["output_weights"] and not any(s["output_weights"])):
        yield violation((*path, "output_weights"), "zeros", "at least one weight > 0", "Say which outputs count.")
    found: dict[Path, Violation] = {}
    for path, s in chosen:
        for name, _, allowed, advice in conflicts(s["optimize"].split("+"), s):
            found.setdefault((*path, name), violation((*path, name), s[name], allowed, advice))
    yield from found.values()
    for name, unit in STEPS.items():
        for path, text in dict.fromkeys((path, s[name]) for path, s in chosen if s[name] is not None):
            try:
                parse_layers(text, unit)
            except InvalidInput as error:
                for wrong in error.violations:
                    yield violation((*path, name), text, wrong.allowed, wrong.advice)
            except ValueError:
                yield violation((*path, name), text, allowed_steps(unit), "Write the steps in one of these ways.")
