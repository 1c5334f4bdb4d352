"""Hardware of a study's points, from presets, files, fields and overrides; what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from powerplan.batch.points import Point
from powerplan.errors import InvalidInput, Violation
from powerplan.hardware import Hardware


class HardwareTable:
    """The hardware of every point, each combination built once.

    Attributes:
        definitions: the study's table ``hardware``.
        base: folder that files are relative to.
    """

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]], base: Path) -> None:
        self.definitions = definitions
        self.base = base
        self._built: dict[Any, Hardware | InvalidInput] = {}

    def of(self, name: str | None, override: Mapping[str, Any]) -> Hardware:
        """The hardware of that name (None = every default) with some fields changed.

        Raises:
            InvalidInput: it cannot be; fields are named as in the study file.
        """
        key = (name, repr(sorted(override.items())))
        if key not in self._built:
            try:
                self._built[key] = self._define(name, override)
            except InvalidInput as error:
                self._built[key] = error
        built = self._built[key]
        if isinstance(built, InvalidInput):
            raise built
        return built

    def _define(self, name: str | None, override: Mapping[str, Any]) -> Hardware:
        """Built once from all that is known, so that an override may give what a file leaves open."""
        definition = {} if name is None else dict(self.definitions[name])
        preset, file = definition.pop("preset", None), definition.pop("file", None)
        changes = {**definition, **override}
        try:
            if preset is not None:
                return Hardware.preset(preset, **changes)
            return Hardware.from_dict(changes) if file is None else Hardware.from_toml(self.base / file, **changes)
        except InvalidInput as error:
            path = f"hardware.{name}." if name is not None and not override else ""
            raise InvalidInput(
                *(replace(v, field=path + v.field.removeprefix("hardware.")) for v in error.violations)
            ) from error


def check_hardware(
    table: HardwareTable, points: Collection[Point], cuts: Collection[tuple[str | int, ...]] = ()
) -> Iterable[Violation]:
    """What is wrong with the hardware of any point, each thing once.

    Args:
        cuts: places that were left out because they break the schema. What may come from that is not told: of a table
            that lacks fields, only what is wrong with a field whatever the others are.
    """
    distinct: dict[tuple[str, str], Violation] = {}
    broken = {cut[1] for cut in cuts if len(cut) > 1 and cut[0] == "hardware"}
    for name, definition in table.definitions.items():
        if name in broken:
            parts = [HardwareTable({name: {field: value}}, table.base) for field, value in definition.items()]
            wrong = tuple(v for part in parts for v in _violations(part, name, {}) if _of_one_field(v))
        else:
            always = _always_changed(name, points)
            wrong = tuple(v for v in _violations(table, name, {}) if v.field.rpartition(".")[2] not in always)
        if wrong:
            broken.add(name)
        distinct.update({(v.field, v.value): v for v in wrong})
    doubtful = any("override" in cut or cut == ("hardware",) for cut in cuts)
    for point in points:
        override, of = point.settings["override"], point.settings["hardware"]
        if not override or of in broken or (of is not None and of not in table.definitions):
            continue
        for v in _violations(table, of, override):
            field = "override." + v.field.removeprefix("hardware.")
            advice = f"{v.advice} (first at the point {point.name!r})"
            if not doubtful or _of_one_field(v):
                distinct.setdefault((field, v.value), replace(v, field=field, advice=advice))
    return distinct.values()


def _always_changed(name: str, points: Collection[Point]) -> set[str]:
    """The fields that every point of this hardware overrides; none if it is also a corner."""
    overrides = [set(point.settings["override"]) for point in points if point.settings["hardware"] == name]
    if not overrides or any(name in (point.settings["corners"] or ()) for point in points):
        return set()
    return set.intersection(*overrides)


def _violations(table: HardwareTable, name: str | None, override: Mapping[str, Any]) -> tuple[Violation, ...]:
    """What is wrong with one hardware."""
    try:
        table.of(name, override)
    except InvalidInput as error:
        return error.violations
    return ()


def _of_one_field(wrong: Violation) -> bool:
    """Whether a violation is about a single field: one about two may come from what the other is."""
    words = set(re.findall(r"\w+", f"{wrong.field} {wrong.allowed} {wrong.advice}"))
    return len(words & {field.name for field in fields(Hardware)}) <= 1
