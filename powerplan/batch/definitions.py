"""The hardware of a study's points: presets, files and fields, with the overrides of single points on top."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from powerplan.batch.points import Point
from powerplan.batch.validate import violation
from powerplan.errors import InvalidInput, Violation
from powerplan.hardware import Hardware
from powerplan.planning.targets import TARGETS, build_target

_SOURCES = ("preset", "file")


class HardwareTable:
    """The hardware of every point, each combination built once.

    Args:
        definitions: the study's table ``hardware``.
        base: folder that files are relative to.
    """

    def __init__(self, definitions: Mapping[str, Mapping[str, Any]], base: Path) -> None:
        self._definitions = definitions
        self._base = base
        self._built: dict[Any, Hardware | InvalidInput] = {}

    def of(self, name: str | None, override: Mapping[str, Any]) -> Hardware:
        """The hardware of that name (None = every default) with some fields changed.

        Raises:
            InvalidInput: it cannot be; fields are named as in the study file.
        """
        key = (name, repr(sorted(override.items())))
        if key not in self._built:
            try:
                if override:
                    self._built[key] = _changed(self.of(name, {}), override)
                else:
                    self._built[key] = Hardware() if name is None else self._define(name)
            except InvalidInput as error:
                self._built[key] = error
        built = self._built[key]
        if isinstance(built, InvalidInput):
            raise built
        return built

    def _define(self, name: str) -> Hardware:
        definition = self._definitions[name]
        path = f"hardware.{name}."
        try:
            if "preset" in definition:
                start = Hardware.preset(definition["preset"])
            elif "file" in definition:
                start = Hardware.from_toml(self._base / definition["file"])
            else:
                start = Hardware()
            return _changed(start, {k: v for k, v in definition.items() if k not in _SOURCES})
        except InvalidInput as error:
            raise InvalidInput(
                *(replace(v, field=path + v.field.removeprefix("hardware.")) for v in error.violations)
            ) from error


def _changed(hardware: Hardware, fields: Mapping[str, Any]) -> Hardware:
    """The hardware with some fields given as plain values."""
    return Hardware.from_dict({**hardware.to_dict(), **fields}) if fields else hardware


def check_hardware(table: HardwareTable, points: Iterable[Point], defined: Iterable[str]) -> Iterable[Violation]:
    """What is wrong with the hardware of any point, each thing once."""
    found: dict[tuple[str, str], Violation] = {}
    broken = set()
    for name in defined:
        try:
            table.of(name, {})
        except InvalidInput as error:
            broken.add(name)
            found.update({(v.field, v.value): v for v in error.violations})
    for point in points:
        override = point.settings["override"]
        if override and point.settings["hardware"] not in broken:
            try:
                table.of(point.settings["hardware"], override)
            except InvalidInput as error:
                for v in error.violations:
                    field = "override." + v.field.removeprefix("hardware.")
                    advice = f"{v.advice} (first at the point {point.name!r})"
                    found.setdefault((field, v.value), replace(v, field=field, advice=advice))
    return found.values()


def check_targets(points: Iterable[Point]) -> Iterable[Violation]:
    """Targets out of range, each once."""
    for kind, value in dict.fromkeys(next(iter(point.settings["target"].items())) for point in points):
        try:
            build_target(kind, value, labels=np.zeros(1))  # any labels will do
        except InvalidInput as error:
            yield violation(("target", kind), value, error.violations[0].allowed, error.violations[0].advice)


def needs_labels(kind: str) -> bool:
    """Whether a kind of target is about the classes of the inputs."""
    return "labels" in inspect.signature(TARGETS[kind]).parameters
