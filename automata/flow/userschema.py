"""JSON Schemas that come from outside: of an input's `schema`, and of step types that plugins bring.

Such a schema meets values from outside, so nothing in it may cost more than it looks: patterns run on a
linear-time engine, every keyword that is applied is paid from a budget (a schema of nested references can double
its work at each level), and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any

import re2
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import extend  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from automata.flow.findings import child
from automata.flow.shape import describe

# One application of a keyword takes about 5 µs.
MAX_WORK = 1_000_000
# Checking the schema itself costs about 0.2 ms for each schema within it.
WORK_PER_PART = 30
MAX_PROBLEMS = 20
MAX_PATTERN_MEMORY = 1 << 20
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# These name other documents, choose their target while a value is checked, or check everything twice.
_REFUSED = (
    *("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$vocabulary"),
    *("unevaluatedProperties", "unevaluatedItems"),
)
# Keywords whose value is a mapping of names to schemas, and those whose value is data and no schema.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"const", "enum", "default", "examples"})


class SchemaError(Exception):
    """The schema itself cannot be used; `pointer` leads into it."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at `pointer` of a value; `message` is a phrase that follows the name of the place."""

    pointer: str
    message: str


@dataclass(slots=True)
class SchemaBudget:
    """What may still be spent; one for all schemas that one file or one request makes us check."""

    left: int = MAX_WORK

    def spend(self, amount: int) -> None:
        """Take so many units of work; the check ends, with a problem that says so, when none are left."""
        self.left -= amount
        if self.left < 0:
            raise _SpentError


class _SpentError(Exception):
    pass


_work: ContextVar[SchemaBudget] = ContextVar("work")


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Any:
    """A pattern for the linear-time engine; raises SchemaError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise SchemaError(f"`{pattern[:80]}` is not a regular expression of RE2: {text}") from None


def compile_schema(schema: Mapping[str, Any], work: SchemaBudget) -> Callable[[Any, SchemaBudget], list[Problem]]:
    """A function from a value to its problems; raises SchemaError when the schema is not usable."""
    parts = list(_parts(schema, ""))
    try:
        work.spend(len(parts) * WORK_PER_PART)
    except _SpentError:
        raise SchemaError("too large to be checked") from None
    wrong = next(iter(_META.iter_errors(schema)), None)
    if wrong:
        raise SchemaError(f"not a JSON Schema: {wrong.message[:200]}", _pointer(wrong.absolute_path))
    for pointer, part in parts:
        _vet(part, pointer, schema)
    validator = _Bounded(schema, registry=Registry())
    return lambda value, work: _problems(validator, value, work)


def _problems(validator: Any, value: Any, work: SchemaBudget) -> list[Problem]:
    token = _work.set(work)
    try:
        return [_problem(error) for error in islice(validator.iter_errors(value), MAX_PROBLEMS)]
    except (_SpentError, RecursionError):
        return [Problem("", "cannot be checked: its schema asks for too much work")]
    finally:
        _work.reset(token)


def _problem(error: ValidationError) -> Problem:
    """The innermost cause: of an `anyOf` the branch that got furthest."""
    while error.context and error.validator in ("anyOf", "oneOf"):
        error = max(error.context, key=lambda one: len(one.absolute_path))
    return Problem(_pointer(error.absolute_path), _phrase(error))


def _phrase(error: ValidationError) -> str:
    argument: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = argument if isinstance(argument, str) else " or ".join(argument)
            return f"must be of type {kinds}, not {describe(error.instance)}"
        case "enum":
            return f"must be one of {', '.join(str(choice) for choice in argument)[:200]}"
        case "required":
            return f"lacks {error.message.split(' is a required')[0].replace(chr(39), '`')}"
        case "pattern":
            return f"does not match the pattern `{argument}`"
        case "additionalProperties":
            return f"has keys that are not known: {error.message[:200]}"
    return f"is not valid: {error.message[:200]}"


def _pointer(path: Any) -> str:
    pointer = ""
    for part in path:
        pointer = child(pointer, part)
    return pointer


def _parts(schema: Any, pointer: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every sub-schema with its pointer."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _parts(item, child(pointer, index))
    if not isinstance(schema, dict):
        return
    yield pointer, schema
    for key, value in schema.items():
        place = child(pointer, key)
        if key in _NAMED and isinstance(value, dict):
            for name, named in value.items():
                yield from _parts(named, child(place, name))
        elif key not in _DATA:
            yield from _parts(value, place)


def _vet(part: Mapping[str, Any], pointer: str, root: Mapping[str, Any]) -> None:
    for key in _REFUSED:
        if key in part:
            raise SchemaError(f"`{key}` is not supported here", child(pointer, key))
    if part.get("$schema", DIALECT).rstrip("#") != DIALECT:
        raise SchemaError("only JSON Schema draft 2020-12 is supported", child(pointer, "$schema"))
    if "$ref" in part:
        _vet_ref(part["$ref"], child(pointer, "$ref"), root)
    for pattern in [*part.get("patternProperties", ()), *([part["pattern"]] if "pattern" in part else [])]:
        try:
            compile_pattern(pattern)
        except SchemaError as error:
            raise SchemaError(str(error), child(pointer, "pattern")) from None


def _vet_ref(target: str, pointer: str, root: Mapping[str, Any]) -> None:
    if not target.startswith("#"):
        raise SchemaError(f"the `$ref` to `{target[:80]}` leaves the schema; nothing is fetched", pointer)
    try:
        Registry().resolver_with_root(DRAFT202012.create_resource(root)).lookup(target)
    except (Unresolvable, ValueError):
        raise SchemaError(f"the `$ref` `{target[:80]}` leads nowhere in the schema", pointer) from None


def _match_pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str):
        _work.get().spend(len(instance) // 1000)
        if not compile_pattern(pattern).search(instance):
            yield ValidationError(f"does not match {pattern!r}")


def _match_names(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        regex = compile_pattern(pattern)
        _work.get().spend(len(instance))
        for name, value in instance.items():
            if regex.search(name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _further(validator: Any, further: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    regexes = [compile_pattern(pattern) for pattern in schema.get("patternProperties", ())]
    _work.get().spend(len(instance) * (len(regexes) + 1))
    extra = [name for name in instance if name not in known and not any(regex.search(name) for regex in regexes)]
    if further is False and extra:
        yield ValidationError(", ".join(f"`{name}`" for name in extra[:5]))
    elif further is not False:
        for name in extra:
            yield from validator.descend(instance[name], further, path=name)


def _unique(_: Any, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        _work.get().spend(len(instance))
        if len({frozen(item) for item in instance}) < len(instance):
            yield ValidationError("it has equal entries")


def frozen(value: Any) -> Any:
    """A hashable twin: equal where JSON values are equal, so that 1 is 1.0 and is not true."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, dict):
        return frozenset((key, frozen(item)) for key, item in value.items())
    return value


def _paid(keyword: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
    def apply(validator: Any, argument: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _work.get().spend(1)
        yield from keyword(validator, argument, instance, schema) or ()

    return apply


def _multiple(validator: Any, step: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Whole numbers beyond what a double counts are divided exactly."""
    if type(instance) is not int or abs(instance) <= 1 << 53:
        yield from Draft202012Validator.VALIDATORS["multipleOf"](validator, step, instance, schema) or ()
    elif Fraction(instance) % Fraction(str(step)):
        yield ValidationError(f"it is not a multiple of {step}")


_OWN = {
    "multipleOf": _multiple,
    "pattern": _match_pattern,
    "patternProperties": _match_names,
    "additionalProperties": _further,
    "uniqueItems": _unique,
}
_Bounded: Any = extend(
    Draft202012Validator, {name: _paid(rule) for name, rule in {**Draft202012Validator.VALIDATORS, **_OWN}.items()}
)
_META: Any = Draft202012Validator(Draft202012Validator.META_SCHEMA)
