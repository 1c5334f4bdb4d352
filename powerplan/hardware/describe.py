"""What every field of the hardware means, read from its docstring: one text for help, reports and files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache, partial
from typing import Any

from powerplan.checks import Checker
from powerplan.hardware.aging import DRIFTS, LowFrequencyNoise, Snapshot
from powerplan.hardware.costs.converters import ADCS, DACS
from powerplan.hardware.curves import CURVES, Curve
from powerplan.reading.quantities import number_of

#: what a field can be made of, by the name in its annotation: kinds by their type name
PARTS: dict[str, Mapping[str, type]] = {
    "Curve": CURVES,
    "Drift": DRIFTS,
    "LowFrequencyNoise": {"": LowFrequencyNoise},
    "Snapshot": {"": Snapshot},
    "ADC": ADCS,
    "DAC": DACS,
}
#: parts that a number may stand for
_OR_NUMBER = ("Curve", "ADC", "DAC")


@cache
def described_fields(kind: type) -> dict[str, tuple[str, str]]:
    """Unit and description of every field of a class with a docstring like the hardware's: name -> (unit, text)."""
    text = (kind.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0].replace("``", "")
    entries = re.split(r"\n\s+(?=[a-z_]+: )", text)
    by_name = {}
    for entry in filter(str.strip, entries):
        name, _, description = " ".join(entry.split()).partition(": ")
        unit = re.search(r"\[(\w+)\]", description)
        by_name[name] = (unit[1] if unit else "", description)
    return by_name


def is_quantity(annotation: str) -> bool:
    """Whether a field with this annotation holds numbers that have a unit, one or several."""
    return annotation.startswith(("float", "tuple[float"))


def in_si(check: Checker, values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The values of fields as numbers where they are quantities as text ("50uS"); a wrong one is noted.

    Inside curves, drift, noise and measurements too: the values of a curve have the unit of the field that it is for.
    """
    return {name: _field_in_si(check, name, value, kind, values) for name, value in values.items()}


def _field_in_si(
    check: Checker, path: str, value: Any, kind: type, siblings: Mapping[str, Any], of_curve: str = ""
) -> Any:
    """One field of ``kind``; ``of_curve`` is the unit of a curve's values."""
    name = path.rpartition(".")[2]
    annotation = next((str(field.type) for field in fields(kind) if field.name == name), None)
    unit = described_fields(kind).get(name, ("", ""))[0]
    if issubclass(kind, Curve):
        unit = {"": of_curve, "1": ""}.get(unit, unit)
    if kind is Snapshot and name == "target":  # measurements as lists, see Snapshot.table
        return number_in_si(check, path, value, "S")
    if kind is LowFrequencyNoise and name == "std":
        unit = "" if siblings.get("relative", True) else "S"
    part = next((name for name in PARTS if name in (annotation or "")), None)
    if annotation is None or not (part or is_quantity(annotation)):
        return value
    return number_in_si(check, path, value, unit, part)


def number_in_si(check: Checker, path: str, value: Any, unit: str, part: str | None = None) -> Any:
    """A quantity as text, several in lists, or those in the fields of a part of this name; the rest as it is."""
    if isinstance(value, str) and (part is None or part in _OR_NUMBER):
        return number_of(value, unit, partial(check.fail, path, value))
    if isinstance(value, list | tuple):
        return type(value)(number_in_si(check, f"{path}[{i}]", one, unit, part) for i, one in enumerate(value))
    if isinstance(value, Mapping) and part is not None:
        kinds = PARTS[part]
        kind = next(iter(kinds.values())) if len(kinds) == 1 else kinds.get(str(value.get("type")))
        if kind is not None:
            return {name: _field_in_si(check, f"{path}.{name}", one, kind, value, unit) for name, one in value.items()}
    return value
