"""Does a request fit a rule? Every matcher gives a verdict, a weight for "most specific wins", and a reason if not."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from yarl import URL

from automata.errors import Invalid
from automata.flow.exact_json import loads
from automata.flow.userschema import compile_pattern
from automata.sandbox.json_paths import find
from automata.steps.contract import HttpRequest

EXACT, PATTERN, PRESENT = 4, 2, 1
MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`weight` of what fitted; `misses` are sentences, empty when all of it fits."""

    weight: int
    misses: tuple[str, ...] = ()


class Seen:
    """A request as matchers look at it."""

    def __init__(self, request: HttpRequest, step: str = "") -> None:
        self.request = request
        self.step = step
        self.method = request.method
        self.url = URL(request.url)

    @cached_property
    def text(self) -> str:
        """The body as text."""
        return (self.request.body or b"").decode(errors="replace")

    @cached_property
    def json(self) -> Any:
        """The body as JSON; MISSING when it is none."""
        try:
            return loads(self.request.body or b"")
        except ValueError:
            return MISSING

    def line(self) -> str:
        """Method and address, as messages show the request."""
        return f"{self.method} {self.url}"


Rule = Callable[[Seen], Verdict]


def compile_request(spec: Mapping[str, Any]) -> Rule:
    """A rule from the `request` of a mock or an entry of `expect.requests`. Raises Invalid for what cannot be read."""
    rules = [_PARTS[name](argument) for name, argument in spec.items() if name in _PARTS]

    def judge(seen: Seen) -> Verdict:
        verdicts = [rule(seen) for rule in rules]
        misses = tuple(miss for verdict in verdicts for miss in verdict.misses)
        return Verdict(sum(verdict.weight for verdict in verdicts), misses)

    return judge


def compile_value(expected: Any, what: str) -> Callable[[Any], Verdict]:
    """A matcher of one value, which may be MISSING."""
    if isinstance(expected, Mapping) and len(expected) == 1:
        kind, argument = next(iter(expected.items()))
        if kind == "regex":
            return _regex(argument, what)
        if kind == "glob":
            return lambda value: _judged(
                value is not MISSING and fnmatch.fnmatchcase(_plain(value), argument),
                PATTERN,
                f"{what} must look like `{argument}`, it is {shown(value)}",
            )
        if kind == "present":
            return lambda value: _judged(
                (value is not MISSING) == argument,
                PRESENT,
                f"{what} must {'be there' if argument else 'not be there'}",
            )
    return lambda value: _judged(
        same(value, expected), EXACT, f"{what} must be {shown(expected)}, it is {shown(value)}"
    )


def same(value: Any, expected: Any) -> bool:
    """Equal as JSON: numbers by value, but true is not 1."""
    if isinstance(expected, bool) or isinstance(value, bool):
        return value is expected
    if isinstance(expected, Mapping):
        return (
            isinstance(value, Mapping)
            and value.keys() == expected.keys()
            and all(same(value[name], item) for name, item in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(value, list)
            and len(value) == len(expected)
            and all(same(element, other) for element, other in zip(value, expected, strict=True))
        )
    return bool(value == expected)


def subset_misses(value: Any, expected: Any, path: str = "$") -> Iterator[str]:
    """Where `value` does not hold `wanted`: members may be more, lists have the same length. Matchers fit anywhere."""
    if isinstance(expected, Mapping) and not _is_matcher(expected):
        if not isinstance(value, Mapping):
            yield f"{path} must be an object, it is {shown(value)}"
            return
        for name, item in expected.items():
            yield from subset_misses(value.get(name, MISSING), item, f"{path}.{name}")
    elif isinstance(expected, list):
        if not isinstance(value, list) or len(value) != len(expected):
            yield f"{path} must be a list of {len(expected)}, it is {shown(value)}"
            return
        for index, (element, item) in enumerate(zip(value, expected, strict=True)):
            yield from subset_misses(element, item, f"{path}[{index}]")
    else:
        yield from compile_value(expected, path)(value).misses


def shown(value: Any) -> str:
    """A value for a sentence, in one line."""
    if value is MISSING:
        return "missing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return f"`{text}`" if len(text) <= 80 else f"`{text[:77]}…`"


def _is_matcher(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in ("regex", "glob", "present")


def _judged(fits: bool, weight: int, miss: str) -> Verdict:
    return Verdict(weight) if fits else Verdict(0, (miss,))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@cache
def _pattern(text: str) -> Any:
    try:
        return compile_pattern(text)
    except Exception as error:
        raise Invalid(f"The regular expression `{text}` cannot be used: {error}.", code="bad_pattern") from error


def _regex(text: str, what: str) -> Callable[[Any], Verdict]:
    pattern = _pattern(text)
    return lambda value: _judged(
        value is not MISSING and pattern.search(_plain(value)) is not None,
        PATTERN,
        f"{what} must match `{text}`, it is {shown(value)}",
    )


# --- the parts of a request ----------------------------------------------------------------------------------------


def _method(expected: str) -> Rule:
    return lambda seen: _judged(seen.method == expected, EXACT, f"the method must be {expected}, it is {seen.method}")


def _url(expected: str | Mapping[str, Any]) -> Rule:
    if isinstance(expected, str):
        url = URL(expected)
        return lambda seen: _judged(
            url in (seen.url, seen.url.with_query(None)),
            4 * EXACT if url.query_string else 3 * EXACT,
            f"the URL must be {url}, it is {seen.url}",
        )
    parts = [name for name in ("scheme", "host", "port", "path") if name in expected]
    rules = [_member(f"the {name}", expected[name], name) for name in parts]
    return _all([*rules, *(_query(name, value) for name, value in expected.get("query", {}).items())])


def _member(what: str, expected: Any, name: str) -> Rule:
    judge = compile_value(expected, what)
    return lambda seen: judge(getattr(seen.url, name))


def _query(name: str, expected: Any) -> Rule:
    """A parameter may be there several times, as an `http` step with a list sends it."""
    what = f"the query parameter `{name}`"
    if isinstance(expected, list):
        return _repeated(name, expected, what)
    judge = compile_value(_as_sent(expected), what)

    def rule(seen: Seen) -> Verdict:
        values = seen.url.query.getall(name, [])
        if len(values) < 2:
            return judge(values[0] if values else MISSING)
        if not isinstance(expected, Mapping):
            return judge(values)  # one value is not what several are
        verdicts = [judge(value) for value in values]
        return next((verdict for verdict in verdicts if verdict.misses), verdicts[0])

    return rule


def _repeated(name: str, expected: list[Any], what: str) -> Rule:
    """Each value in its turn; an empty list is a parameter that is not there."""
    judges = [compile_value(_as_sent(item), f"{what}, value {number},") for number, item in enumerate(expected, 1)]

    def rule(seen: Seen) -> Verdict:
        values = seen.url.query.getall(name, [])
        if len(values) != len(judges):
            miss = f"{what} must be there {_times(len(judges))}, it is {shown(values or MISSING)}"
            return Verdict(0, (miss,))
        verdicts = [judge(value) for judge, value in zip(judges, values, strict=True)]
        misses = tuple(miss for verdict in verdicts for miss in verdict.misses)
        return Verdict(sum(verdict.weight for verdict in verdicts) or PRESENT, misses)

    return rule


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _as_sent(expected: Any) -> Any:
    """What an `http` step makes of a number or a boolean in a query or a header."""
    if isinstance(expected, bool):
        return "true" if expected else "false"
    return str(expected) if isinstance(expected, int | float) else expected


def _headers(expected: Mapping[str, Any]) -> Rule:
    rules: list[Rule] = []
    for name, value in expected.items():
        rules.append(_header(name, _as_sent(value)))
    return _all(rules)


def _header(name: str, expected: Any) -> Rule:
    judge = compile_value(expected, f"the header `{name}`")

    def rule(seen: Seen) -> Verdict:
        value = seen.request.header(name)
        return judge(MISSING if value is None else value)

    return rule


def _text(expected: Any) -> Rule:
    judge = compile_value(expected, "the body")
    return lambda seen: judge(seen.text)


def _json(expected: Mapping[str, Any]) -> Rule:
    rules: list[Rule] = []
    if "equals" in expected:
        rules.append(_json_equals(expected["equals"]))
    if "subset" in expected:
        rules.append(_json_subset(expected["subset"]))
    for path, value in expected.get("paths", {}).items():
        rules.append(_json_path(path, value))
    return _all(rules)


def _json_equals(expected: Any) -> Rule:
    return lambda seen: _judged(
        same(seen.json, expected), 4 * EXACT, f"the JSON body must be {shown(expected)}, it is {shown(seen.json)}"
    )


def _json_subset(expected: Any) -> Rule:
    def rule(seen: Seen) -> Verdict:
        misses = tuple(f"in the body {miss}" for miss in subset_misses(seen.json, expected))
        return Verdict(0 if misses else _leaves(expected) * EXACT, misses)

    return rule


def _json_path(path: str, expected: Any) -> Rule:
    query = find(path)
    judge = compile_value(expected, f"in the body {path}")

    def rule(seen: Seen) -> Verdict:
        values = [] if seen.json is MISSING else query(seen.json)
        if len(values) > 1:
            return Verdict(0, (f"in the body {path} must be one value, there are {len(values)}",))
        return judge(values[0] if values else MISSING)

    return rule


def _leaves(value: Any) -> int:
    if isinstance(value, Mapping) and not _is_matcher(value):
        return sum(_leaves(item) for item in value.values())
    if isinstance(value, list):
        return sum(_leaves(item) for item in value)
    return 1


def _all(rules: list[Rule]) -> Rule:
    def judge(seen: Seen) -> Verdict:
        verdicts = [rule(seen) for rule in rules]
        return Verdict(
            sum(verdict.weight for verdict in verdicts), tuple(miss for verdict in verdicts for miss in verdict.misses)
        )

    return judge


_PARTS: dict[str, Callable[[Any], Rule]] = {
    "method": _method,
    "url": _url,
    "headers": _headers,
    "json": _json,
    "text": _text,
}
