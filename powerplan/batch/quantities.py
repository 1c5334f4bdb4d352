"""Quantities as text in a study's plain values ("50uS", "1%", "1h") as numbers in SI units.

The schema's numbers carry their unit under the key ``unit``; text is parsed there by what the command line uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from powerplan.batch.pruning import Path
from powerplan.batch.schema import Schema, study_schema
from powerplan.batch.validate import violation
from powerplan.errors import Violation
from powerplan.reading.quantities import number_of


def in_si(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Violation]]:
    """The values of a study with its quantities as numbers, and what is wrong with those that are none."""
    wrong: list[Violation] = []
    return _converted(values, [study_schema()], (), wrong), wrong


def _converted(value: Any, schemas: Sequence[Schema], path: Path, wrong: list[Violation]) -> Any:
    """The value at a place where it may follow any of these schemas."""
    forms = [form for schema in schemas for form in _forms(schema)]
    if isinstance(value, str):
        units = [form["unit"] for form in forms if "unit" in form]
        if not units or any(form.get("type") == "string" for form in forms):
            return value
        number = number_of(value, units[0], lambda *refusal: wrong.append(violation(path, value, *refusal)))
        whole = any(form.get("type") == "integer" for form in forms)
        return int(number) if whole and isinstance(number, float) and number.is_integer() else number
    if isinstance(value, Mapping):
        return {
            key: _converted(child, [below for form in forms for below in _of_key(form, key)], (*path, str(key)), wrong)
            for key, child in value.items()
        }
    if isinstance(value, list):
        items = [form["items"] for form in forms if isinstance(form.get("items"), dict)]
        return [_converted(child, items, (*path, i), wrong) for i, child in enumerate(value)]
    return value


def _forms(schema: Schema) -> Iterator[Schema]:
    """The alternatives of a schema, references followed."""
    if "$ref" in schema:
        yield study_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    elif "anyOf" in schema:
        for form in schema["anyOf"]:
            yield from _forms(form)
    else:
        yield schema


def _of_key(form: Schema, key: str) -> Iterator[Schema]:
    """The schema of the value under a key."""
    below = form.get("properties", {}).get(key, form.get("additionalProperties"))
    if isinstance(below, dict):
        yield below
