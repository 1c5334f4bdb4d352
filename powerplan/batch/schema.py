"""The JSON schema of a study file, made from what the engine offers: hardware fields, targets, granularities, methods.

The validator (:mod:`.validate`) checks study files by this very schema, so both agree by construction; what a schema
cannot say (names that refer to nothing, lists of different lengths, impossible hardware) is checked beside it.
``powerplan batch schema`` prints it; ``docs/study.schema.json`` is the published copy.

Why: docs/decisions/studies.md [0140].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import lru_cache
from typing import Any

from powerplan.batch.jobs import ACCEPT
from powerplan.checks import whole_words
from powerplan.examples import example_names
from powerplan.hardware import Hardware
from powerplan.hardware.by_layer import MOST_LAYERS, NONE, OneOrByLayer
from powerplan.hardware.fields import Numbers
from powerplan.hardware.steps_text import allowed_steps
from powerplan.network.reads import READS
from powerplan.network.weight_slices import MOST_BITS, MOST_SLICES
from powerplan.planning.problem.corners import MOST_CORNERS
from powerplan.planning.settings import PlanSettings
from powerplan.planning.targets import TARGETS
from powerplan.settings import (
    Choice,
    Corners,
    Flag,
    Kind,
    Names,
    Number,
    PerLayer,
    StepValues,
    Weights,
    Whole,
    table,
)

Schema = dict[str, Any]

#: settings of plans that a point can have; the device is chosen by who runs it
PLAN_SETTINGS = tuple(row for row in table(PlanSettings) if row.name != "device")
#: the parts of the chips or of the inputs that must meet a target, beside its bound
PARTS = ("chips", "inputs")
#: most values of one axis, and most definitions of one kind
MOST_VALUES = 10_000
#: largest number that is passed on; the engine has its own, tighter bounds
_LARGEST = 1e30
_NAME = "^[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}$"
_TEXT = 4096

_NUMBER: Schema = {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST, "description": "a finite number"}
_POSITIVE: Schema = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": _LARGEST,
    "description": "a finite number > 0",
}
_WEIGHT: Schema = {**_NUMBER, "minimum": 0, "description": "a finite number >= 0"}
_NAMED: Schema = {
    "type": "string",
    "pattern": _NAME,
    "description": "a name of letters, digits, '_', '.', '+' and '-', at most 64 characters",
}
_FILE: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": _TEXT,
    "description": "the path of a file, relative to the study file",
}
_LAYERS = "a type, name, path, pattern or number of layers"
_STEPS: Schema = {"type": "string", "minLength": 1, "maxLength": _TEXT}
_BOOLEAN: Schema = {"type": "boolean", "description": "true or false"}


def _in(unit: str, number: Schema) -> Schema:
    """A number that may be written with its unit ("" = a fraction, in %): see :mod:`powerplan.batch.quantities`."""
    return {**number, "unit": unit}


def _integer(least: int, most: int, words: str = "") -> Schema:
    words = words or whole_words(least, most)
    return {"type": "integer", "minimum": least, "maximum": most, "description": words}


def _choice(names: Iterable[str]) -> Schema:
    listed = sorted(names)
    return {"type": "string", "enum": listed, "description": "one of " + ", ".join(listed)}


def _range(unit: str | None) -> Schema:
    end = _NUMBER if unit is None else _in(unit, _NUMBER)
    return {
        "type": "object",
        "properties": {"from": end, "to": end, "points": _integer(2, MOST_VALUES), "scale": _choice(("linear", "log"))},
        "required": ["from", "to", "points"],
        "additionalProperties": False,
        "description": "a range {from, to, points} with scale = 'log' (the default) or 'linear'",
    }


def _range_name(unit: str | None) -> str:
    return "range" if unit is None else f"range_{unit or 'fraction'}"


def _several(value: Schema, *, scalar: bool = True) -> Schema:
    """One value that is no list itself, a list of different ones, or (numbers only) a range."""
    plain = [form for form in value.get("anyOf", [value]) if form.get("type") != "array"]
    forms: list[Schema] = list(plain) if scalar else []
    said = [form["description"] for form in forms]
    forms.append({"type": "array", "items": value, "minItems": 1, "maxItems": MOST_VALUES, "uniqueItems": True})
    said.append(f"a list of different values, each {value['description']}")
    numbers = [form for form in plain if form.get("type") == "number"]
    if numbers:
        unit = numbers[0].get("unit")
        forms.append({"$ref": f"#/$defs/{_range_name(unit)}"})
        said.append(_range(unit)["description"])
    return {"anyOf": forms, "description": "; or ".join(said)}


def _settings() -> dict[str, Schema]:
    """Schema of one value of every setting of a point that is neither a target nor an override."""
    return {
        **dict.fromkeys(("network", "inputs", "hardware"), _NAMED),
        **{row.name: _value(row.kind) for row in PLAN_SETTINGS},
        ACCEPT: _BOOLEAN,
    }


def _value(kind: Kind) -> Schema:
    """Schema of one value of a kind."""
    match kind:
        case Choice(names=names):
            return _choice(names)
        case Names(names=names):
            either = "|".join(names)
            return {
                "type": "string",
                "pattern": rf"^({either})(\+({either})){{0,{len(names) - 1}}}$",
                "description": f"of {', '.join(names)}, one or several joined by '+'",
            }
        case Flag():
            return _BOOLEAN
        case Whole():
            return _whole(kind)
        case Number():
            bounds = {"exclusiveMinimum": kind.above, "minimum": kind.at_least, "maximum": kind.at_most}
            limits = {key: bound for key, bound in bounds.items() if bound is not None}
            return _in(kind.unit, {"type": "number", **limits, "description": kind.allowed})
    return _several_values(kind)


def _several_values(kind: Kind) -> Schema:
    """Schema of what holds several values."""
    match kind:
        case Numbers(least=least, most=most, unit=unit):
            return {**_list_of(_in(unit, _NUMBER), "finite numbers", most), "minItems": least}
        case OneOrByLayer(each=each, or_none=or_none):
            return _or_by_layer(_value(each), or_none=or_none)
        case Corners():
            return _or_list(_NAMED, "hardware", MOST_CORNERS)
        case PerLayer(unit=unit):
            return _or_list(_in(unit, _POSITIVE), "one per crossbar layer")
        case Weights():
            return _list_of(_in("", _WEIGHT), "numbers >= 0, one per output")
        case StepValues(unit=unit):
            return {**_STEPS, "description": "a string: " + allowed_steps(unit)}
    raise TypeError(f"no schema for {kind}")


def _whole(kind: Whole) -> Schema:
    schema = _integer(0 if kind.or_zero else kind.at_least, kind.at_most, kind.allowed)
    if kind.or_zero and kind.at_least > 1:
        schema["not"] = {"enum": list(range(1, kind.at_least))}
    return _in(kind.unit, schema) if kind.unit else schema


def _list_of(value: Schema, what: str, most: int = MOST_VALUES) -> Schema:
    return {"type": "array", "items": value, "maxItems": most, "description": f"a list of {what}"}


def _or_list(value: Schema, what: str, most: int = MOST_VALUES) -> Schema:
    """One value for all, or a list."""
    description = f"{value['description']}, or a list ({what})"
    return {"anyOf": [value, _list_of(value, what, most)], "description": description}


def _or_by_layer(value: Schema, *, or_none: bool) -> Schema:
    """One value for all layers, a list, or a table by name."""
    each = {"anyOf": [value, _choice((NONE,))], "description": f"{value['description']}, or '{NONE}'"}
    each = each if or_none else value
    several = _list_of(each, "values, one per crossbar layer", MOST_LAYERS)
    table: Schema = {"type": "object", "minProperties": 1, "maxProperties": MOST_LAYERS, "additionalProperties": each}
    table["description"] = "a table by the names of the layers"
    words = ", or ".join(form["description"] for form in (value, several, table))
    return {"anyOf": [value, several, table], "description": words}


def _or_by_choice(value: Schema) -> Schema:
    """One value for all layers, or a table by choices of layers."""
    table: Schema = {"type": "object", "minProperties": 1, "maxProperties": MOST_LAYERS, "additionalProperties": value}
    table["description"] = f"a table by layers, each key {_LAYERS}"
    return {"anyOf": [value, table], "description": f"{value['description']}, or {table['description']}"}


def hardware_fields() -> dict[str, Schema]:
    """Schema of one value of every field of the hardware; what has parts of its own is left to the hardware itself."""
    part = {"description": "a value of this field of pp.Hardware"}
    kinds = {field.name: field.metadata.get("kind") for field in fields(Hardware)}
    return {name: _value(kind) if kind and kind.allowed else part for name, kind in kinds.items()}


def _table(properties: dict[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _definitions(one: Schema, description: str) -> Schema:
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": _NAMED,
        "additionalProperties": one,
        "maxProperties": MOST_VALUES,
        "description": description,
    }


def _source(more: dict[str, Schema], what: str) -> Schema:
    """A thing from a file or from a built-in example."""
    either = {"file": _FILE, "example": _choice(example_names()), "seed": _integer(0, 2**32 - 1)}
    return _table(
        {**either, **more},
        oneOf=[{"required": ["file"]}, {"required": ["example"]}],
        description=f"{what}: exactly one of file and example",
    )


def _axes(*, scalar: bool) -> dict[str, Schema]:
    """The axes of a grid (scalars allowed) or of a zip (lists only)."""
    axes = {name: _several(value, scalar=scalar) for name, value in _settings().items()}
    target_values = {kind: _several(value, scalar=scalar) for kind, value in _targets().items()}
    kinds = ", ".join(TARGETS)
    axes["target"] = {
        "anyOf": [
            _table(target_values, minProperties=1),
            {
                "type": "array",
                "items": _one_target(),
                "minItems": 1,
                "maxItems": 1000,
                "uniqueItems": True,
            },
        ],
        "description": f"targets: a table with one or several of {kinds}, and {' or '.join(PARTS)}, or a list of such "
        "tables",
    }
    axes["override"] = _table(
        {name: _several(value, scalar=scalar) for name, value in hardware_fields().items()},
        description="fields of pp.Hardware with the values to try on top of the named hardware",
    )
    return axes


def _targets() -> dict[str, Schema]:
    """Schema of the bound of every kind of target, and of the part of the chips or inputs that must meet it."""
    part = {**_POSITIVE, "exclusiveMaximum": 1}
    del part["maximum"]
    kinds = {kind: _in(target.written_unit(), _POSITIVE) for kind, target in TARGETS.items()}
    words = {name: f"a number > 0 and < 1: the part of the {name}" for name in PARTS}
    return {**kinds, **{name: _in("", {**part, "description": words[name]}) for name in PARTS}}


def _one_target() -> Schema:
    return _table(
        _targets(),
        oneOf=[{"required": [kind]} for kind in TARGETS],
        description=f"exactly one of {', '.join(TARGETS)}; and {' or '.join(PARTS)}, if it is on a part of them",
    )


def _units() -> list[str]:
    """Every unit that an axis can have."""
    return sorted(set(_units_in([_settings(), _targets(), hardware_fields()])))


def _units_in(schema: Any) -> Iterator[str]:
    """The unit of every number in a schema."""
    if isinstance(schema, dict) and isinstance(schema.get("unit"), str):
        yield schema["unit"]
    elif isinstance(schema, dict | list):
        for part in schema.values() if isinstance(schema, dict) else schema:
            yield from _units_in(part)


@lru_cache(maxsize=1)
def study_schema() -> Schema:
    """The JSON schema (draft 2020-12) of a study's values in SI units. Do not change the value."""
    names = {"anyOf": [_NAMED, {"type": "array", "items": _NAMED, "minItems": 1, "uniqueItems": True}]}
    point = {
        "name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "a name of 1 to 200 characters"},
        **_settings(),
        "target": _one_target(),
        "override": _table(hardware_fields(), description="fields of pp.Hardware"),
    }
    layer: Schema = {"type": ["string", "integer"], "minLength": 1, "maxLength": 256, "description": _LAYERS}
    layers = {"anyOf": [layer, {"type": "array", "items": layer, "minItems": 1, "maxItems": 100}]}
    text = {"type": "string", "maxLength": _TEXT, "description": f"at most {_TEXT} characters"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "powerplan study",
        "$defs": {_range_name(unit): _range(unit) for unit in (None, *_units())},
        **_table(
            {
                "name": _NAMED,
                "description": text,
                "networks": _definitions(
                    _source(
                        {
                            "inputs": {**names, "description": "the names of the inputs that belong to it"},
                            "analog": {**layers, "description": f"layers on crossbars: {_LAYERS}, or a list"},
                            "digital": {**layers, "description": f"layers that are digital: {_LAYERS}, or a list"},
                            "reads": _choice(READS),
                            "weight_slices": _or_by_choice(
                                _list_of(_integer(1, MOST_BITS), "bits of weight slices", MOST_SLICES)
                            ),
                            "shared_converters": _BOOLEAN,
                        },
                        "a network",
                    ),
                    "a table of networks by name",
                ),
                "inputs": _definitions(
                    _source({"batch": _integer(1, 1_000_000), "labels": _FILE}, "calibration inputs"),
                    "a table of calibration inputs by name",
                ),
                "hardware": _definitions(
                    _table(
                        {
                            "preset": {**_NAMED, "description": "the name of a preset"},
                            "file": _FILE,
                            **hardware_fields(),
                        },
                        **{"not": {"required": ["file", "preset"]}},
                        description="hardware: fields of pp.Hardware, on top of a preset or of a file",
                    ),
                    "a table of hardware by name",
                ),
                "grid": _table(_axes(scalar=True), description="axes of which every combination is planned"),
                "zip": {
                    "type": "array",
                    "items": _table(_axes(scalar=False), minProperties=1, description="axes that advance together"),
                    "maxItems": 100,
                    "description": "a list of groups of axes; those of a group advance together",
                },
                "points": {
                    "type": "array",
                    "items": _table(point, required=["target"], description="one point"),
                    "maxItems": MOST_VALUES * 10,
                    "description": "a list of single points",
                },
                "run": _table(
                    {
                        "workers": _integer(1, 4096),
                        "time_limit": _in(
                            "s",
                            {
                                **_POSITIVE,
                                "description": "seconds > 0 after which a plan ends with its best gains so far",
                            },
                        ),
                        "attempts": _integer(1, 100),
                    },
                    description="how to run it: workers, time_limit [s], attempts",
                ),
            },
            required=["networks"],
        ),
    }


def file_schema() -> Schema:
    """The JSON schema of a study file: as :func:`study_schema`, and quantities may be text with their unit."""
    schema: Schema = _with_text(study_schema())
    return schema


def _with_text(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_text(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: _with_text(part) for key, part in schema.items()}
    quantity = "type" in parts and isinstance(parts.get("unit"), str)
    return {**parts, "type": [parts["type"], "string"]} if quantity else parts
