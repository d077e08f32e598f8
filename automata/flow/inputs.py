"""What a run is given: checked against what the flow declares, when a run is created and when a flow is validated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from automata.errors import Diagnostic, Invalid
from automata.flow.exact_json import dumps, loads
from automata.flow.findings import Nearest, child
from automata.flow.model import Input
from automata.flow.shape import describe, is_kind
from automata.flow.userschema import Problem, SchemaBudget, compile_pattern, compile_schema, frozen

MAX_INPUT_BYTES = 1024 * 1024
MAX_EXACT = 1 << 53  # below it a double is one whole number; it is 2^53 + 1 as well
# Enough for every small request; a large one may cost in proportion to its size.
BASE_WORK = 50_000

_NOUNS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
}


def check_inputs(inputs: Mapping[str, Input], values: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run with defaults applied.

    Raises Invalid (`invalid_input`, 422) with one diagnostic a problem; `pointer` is `/inputs/NAME`. A value of a
    secret input never stands in a message.
    """
    size = _measure(values)
    problems = list(input_problems(inputs, values, SchemaBudget(BASE_WORK + size)))
    if problems:
        raise _invalid(problems)
    return complete(inputs, values)


def without_nulls(inputs: Mapping[str, Input], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a template made, in which a null stands for an input that is left out: no type has it as a value.

    For the inputs of a `flow` step and of a webhook, where nobody could leave a key out otherwise. What somebody
    sends to the API as null is told to be of the wrong type.
    """
    return {name: value for name, value in values.items() if value is not None or name not in inputs}


def complete(inputs: Mapping[str, Input], values: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, in its order, and then the defaults; an optional input without either stays absent."""
    given = {name: _as_declared(inputs[name], value) for name, value in values.items()}
    rest = (declared for declared in inputs.values() if declared.has_default and declared.name not in given)
    return {**given, **{declared.name: declared.default for declared in rest}}


def input_problems(
    inputs: Mapping[str, Input], values: Mapping[str, Any], work: SchemaBudget, nearest: Nearest | None = None
) -> Iterable[Diagnostic]:
    """One diagnostic a problem, pointers from `/inputs`."""
    nearest = nearest or Nearest()
    for name in values:
        if name not in inputs:
            hint = nearest.hint(name, inputs) or ("the flow has no inputs" if not inputs else None)
            yield _diagnostic("AF060", f"the flow declares no input `{name[:100]}`", name, hint)
    for name, declared in inputs.items():
        if name in values:
            for code, problem in value_problems(declared, values[name], work):
                message = f"the input `{name}` {problem.message}"
                yield _diagnostic(code, message, name, None, problem.pointer)
        elif declared.required and not declared.has_default:
            yield _diagnostic("AF061", f"the input `{name}` is required", name, None)


def value_problems(declared: Input, value: Any, work: SchemaBudget) -> list[tuple[str, Problem]]:
    """What is wrong with one value, each with its code; messages follow the name of the input."""
    if not _has_type(declared.type, value):
        message = f"must be {_NOUNS[declared.type]}"
        return [("AF062", Problem("", message if declared.secret else f"{message}, not {describe(value)}"))]
    if declared.enum is not None and frozen(value) not in {frozen(allowed) for allowed in declared.enum}:
        return [("AF063", Problem("", _enum_message(declared, value)))]
    if declared.pattern is not None and isinstance(value, str) and not compile_pattern(declared.pattern).search(value):
        return [("AF064", Problem("", f"does not match the pattern `{declared.pattern}`"))]
    if declared.schema is not None:
        return [("AF065", problem) for problem in _schema_problems(declared, value, work)]
    return []


def _schema_problems(declared: Input, value: Any, work: SchemaBudget) -> list[Problem]:
    problems = _checker(dumps(declared.schema, option=orjson.OPT_SORT_KEYS))(value, work)
    if declared.secret and problems:
        return [Problem("", "does not fit its schema")]
    return [
        Problem(problem.pointer, f"{problem.message} (at `{problem.pointer}`)" if problem.pointer else problem.message)
        for problem in problems
    ]


@lru_cache(maxsize=256)
def _checker(schema: bytes) -> Callable[[Any, SchemaBudget], list[Problem]]:
    # Cached by content: compiling takes longer than checking. A stored schema was checked before it was stored.
    return compile_schema(loads(schema), SchemaBudget())


def _enum_message(declared: Input, value: Any) -> str:
    allowed = [str(name) for name in declared.enum or ()]
    message = f"must be one of {', '.join(f'`{name}`' for name in allowed[:20])}"
    if declared.secret:
        return "is not one of its allowed values"
    near = Nearest().hint(value, allowed) if isinstance(value, str) else None
    return f"{message}, not {describe(value)}" + (f"; {near}" if near else "")


def _has_type(kind: str, value: Any) -> bool:
    if kind == "integer" and isinstance(value, float):
        # A larger one stands for many whole numbers, and which of them was meant cannot be known.
        return value.is_integer() and abs(value) < MAX_EXACT
    return is_kind(value, kind)


def _as_declared(declared: Input, value: Any) -> Any:
    """JSON does not tell 3.0 from 3, but a template that prints it does."""
    return int(value) if declared.type == "integer" else value


def from_text(text: str, type_: str) -> Any:
    """What somebody typed as a value of an input of `type_`: for a string as it is, else as JSON where it is JSON.

    What is not JSON stays text, so that `check_inputs` says what is wrong, with the input's name.
    """
    if type_ == "string":
        return text
    try:
        return strict_json(text)
    except ValueError:
        return text


def strict_json(text: str) -> Any:
    """JSON that can be kept as it is (automata.flow.exact_json). Raises ValueError."""
    return loads(text)


def _measure(values: Mapping[str, Any]) -> int:
    """The size in bytes; refuses what JSON and the database cannot hold."""
    try:
        # Each codec refuses what the other lets pass: NaN and deep nesting, lone surrogates and long numbers.
        json.dumps(values, allow_nan=False)
        size = len(dumps(values))
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"The inputs cannot be read as JSON: {str(error)[:100]}.", code="invalid_input") from None
    if size > MAX_INPUT_BYTES:
        message = f"The inputs have {size:,} bytes of JSON; at most {MAX_INPUT_BYTES:,} are allowed."
        raise Invalid(message, code="invalid_input", pointer="/inputs")
    return size


def _diagnostic(code: str, message: str, name: str, hint: str | None, below: str = "") -> Diagnostic:
    return Diagnostic(code, message, pointer=child("/inputs", name) + below, suggestion=hint)


def _invalid(problems: list[Diagnostic]) -> Invalid:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"{first.message[:1].upper()}{first.message[1:]}{more}."
    return Invalid(message, code="invalid_input", hint=first.suggestion, pointer=first.pointer, diagnostics=problems)
