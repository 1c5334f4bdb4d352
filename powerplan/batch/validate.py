"""What the schema says of a study's plain values, every error in words, and where they stand."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from powerplan.batch.pruning import Path, field_name, place_of
from powerplan.batch.schema import study_schema
from powerplan.checks import nearest
from powerplan.errors import InvalidInput, Violation, show

#: more are counted, not listed
MOST_VIOLATIONS = 100

#: a violation (None if another one says it), and the place to leave out for the checks that follow (None if none)
Finding = tuple[Violation | None, Path | None]


def check_structure(values: Mapping[str, Any]) -> tuple[list[Violation], frozenset[Path]]:
    """Where values do not follow the schema of a study, or are NaN or infinite.

    Returns:
        every violation, and the places without which the values can be checked further (:mod:`.pruning`).
    """
    findings = [_not_finite(path, value) for path, value in _numbers(values, ()) if not math.isfinite(value)]
    for error in Draft202012Validator(study_schema()).iter_errors(values):
        findings += _violations(error)
    return [wrong for wrong, _ in findings if wrong is not None], frozenset(
        place_of(path) for _, path in findings if path is not None
    )


def check_run(options: Mapping[str, Any]) -> None:
    """Refuse options of a run that the table ``run`` of a study file could not hold.

    Raises:
        InvalidInput: with every violation found.
    """
    wrong, _ = check_structure({"networks": {"any": {"file": "any"}}, "run": options})
    raise_all(wrong)


def raise_all(violations: Sequence[Violation]) -> None:
    """One error with the violations, no value twice; beyond :data:`MOST_VIOLATIONS` only their number."""
    first: dict[tuple[str, str], Violation] = {}
    for wrong in violations:
        first.setdefault((wrong.field, wrong.value), wrong)
    different = list(first.values())
    if not different:
        return
    more = len(different) - MOST_VIOLATIONS
    if more > 0:
        rest = Violation(field="study", value=f"{more} more errors", allowed="none", advice="Mend those above first.")
        different = [*different[:MOST_VIOLATIONS], rest]
    raise InvalidInput(*different)


def violation(path: Iterable[str | int], value: object, allowed: str, advice: str) -> Violation:
    """A violation at a path of keys and indices."""
    return Violation(field=field_name(tuple(path)), value=show(value), allowed=allowed, advice=advice)


def _not_finite(path: Path, value: float) -> Finding:
    return violation(path, value, "a finite number", "Give a number; leave a limit out for none."), path


def _numbers(value: Any, path: Path) -> Iterator[tuple[Path, float]]:
    """Every float in nested tables and lists (their depth is bounded by the reader)."""
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _numbers(child, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for i, child in enumerate(value):
            yield from _numbers(child, (*path, i))


def _violations(error: ValidationError) -> Iterator[Finding]:
    """The violations behind one error of the schema: of alternatives, those of the one that was meant."""
    path: Path = tuple(error.absolute_path)
    schema: Any = error.schema if isinstance(error.schema, Mapping) else {}
    instance: Any = error.instance
    if error.validator == "anyOf":
        meant = _meant(error)
        if meant:
            for child in meant:
                yield from _violations(child)
            return
    if error.validator == "additionalProperties":
        yield from _unknown_keys(path, instance, schema)
        return
    if error.validator == "required" and isinstance(error.validator_value, list):
        yield from _missing_keys(path, instance, schema, error.validator_value)
        return
    if error.validator in ("oneOf", "not") and schema.get("type") == "object":
        if not isinstance(instance, Mapping):
            return  # its type is refused as well
        if _alternatives(schema).keys() & _misspelt(instance, schema):
            return
    harmless = error.validator == "uniqueItems" or "propertyNames" in error.absolute_schema_path
    yield violation(path, instance, _allowed(error, schema), _advice(error)), None if harmless else path


def _unknown_keys(path: Path, instance: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Finding]:
    allowed = sorted(schema.get("properties", ()))
    for key in instance:
        if key not in allowed:
            where = (*path, str(key))
            yield violation(where, instance[key], "one of " + ", ".join(allowed), nearest(str(key), allowed)), where
    yield from ((None, (*path, meant)) for meant in _misspelt(instance, schema))


def _missing_keys(
    path: Path, instance: Mapping[str, Any], schema: Mapping[str, Any], required: list[str]
) -> Iterator[Finding]:
    for key in required:
        if key not in instance and key not in _misspelt(instance, schema):
            wanted = schema.get("properties", {}).get(key, {}).get("description", "a value")
            where = (*path, key)
            yield Violation(field=field_name(where), value="nothing", allowed=wanted, advice=f"Add {key}."), where


def _misspelt(instance: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    """The keys of a table that are not there, but a misspelt one is."""
    allowed = schema.get("properties", {})
    near = (difflib.get_close_matches(str(key), allowed, n=1) for key in instance if key not in allowed)
    return {names[0] for names in near if names} - instance.keys()


def _alternatives(schema: Any) -> dict[str, None]:
    """The keys of which a table must have exactly one, in order."""
    return {key: None for each in schema.get("oneOf", ()) for key in each["required"]}


def _meant(error: ValidationError) -> list[ValidationError]:
    """The errors of the only alternative whose type fits the value; none if that is not clear."""
    branches: dict[Any, list[ValidationError]] = {}
    for child in error.context or ():
        branches.setdefault(child.schema_path[0], []).append(child)
    fitting = [
        errors
        for errors in branches.values()
        if not any(child.validator == "type" and not child.path for child in errors)
    ]
    return fitting[0] if len(fitting) == 1 else []


def _allowed(error: ValidationError, schema: Mapping[str, Any]) -> str:
    described = str(schema.get("description", ""))
    if error.validator == "uniqueItems":
        return "different values"
    if error.validator == "maxItems":
        return f"at most {error.validator_value} entries"
    if error.validator in ("minItems", "minProperties"):
        return f"at least {error.validator_value} entry" + (f" ({described})" if described else "")
    if error.validator == "maxProperties":
        return f"at most {error.validator_value} entries" + (f" ({described})" if described else "")
    if error.validator == "type" and not described:
        return {"object": "a table", "array": "a list"}.get(str(error.validator_value), str(error.validator_value))
    return described or str(error.message)


def _advice(error: ValidationError) -> str:
    instance, wanted = cast(Any, error.instance), cast(Any, error.validator_value)
    if error.validator == "enum":
        return nearest(str(instance), [str(name) for name in wanted])
    if error.validator == "uniqueItems":
        return f"Leave out {_repeated(instance)}."
    if error.validator in ("oneOf", "not") and isinstance(instance, Mapping):
        several = len(_alternatives(error.schema).keys() & instance.keys()) > 1 or {"file", "preset"} <= set(instance)
        return "Keep one and remove the other." if several else f"Add one of {', '.join(_alternatives(error.schema))}."
    if error.validator == "pattern" and isinstance(instance, str):
        near = difflib.get_close_matches(instance, ("conductance", "voltage", "conductance+voltage"), n=1)
        return f"Did you mean {near[0]!r}?" if near and "joined" in str(error.schema) else "Change its spelling."
    return "Change it."


def _repeated(values: Sequence[Any]) -> str:
    return next((f"the second {show(value)}" for i, value in enumerate(values) if value in values[:i]), "repetitions")
