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
            return json.loads(self.text)
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
        misses = tuple(miss for one in verdicts for miss in one.misses)
        return Verdict(sum(one.weight for one in verdicts), misses)

    return judge


def compile_value(wanted: Any, what: str) -> Callable[[Any], Verdict]:
    """A matcher of one value, which may be MISSING."""
    if isinstance(wanted, Mapping) and len(wanted) == 1:
        kind, argument = next(iter(wanted.items()))
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
    return lambda value: _judged(same(value, wanted), EXACT, f"{what} must be {shown(wanted)}, it is {shown(value)}")


def same(value: Any, wanted: Any) -> bool:
    """Equal as JSON: numbers by value, but true is not 1."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted
    if isinstance(wanted, Mapping):
        return (
            isinstance(value, Mapping)
            and value.keys() == wanted.keys()
            and all(same(value[name], item) for name, item in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(value, list)
            and len(value) == len(wanted)
            and all(same(one, other) for one, other in zip(value, wanted, strict=True))
        )
    return bool(value == wanted)


def subset_misses(value: Any, wanted: Any, path: str = "$") -> Iterator[str]:
    """Where `value` does not hold `wanted`: members may be more, lists have the same length. Matchers fit anywhere."""
    if isinstance(wanted, Mapping) and not _is_matcher(wanted):
        if not isinstance(value, Mapping):
            yield f"{path} must be an object, it is {shown(value)}"
            return
        for name, item in wanted.items():
            yield from subset_misses(value.get(name, MISSING), item, f"{path}.{name}")
    elif isinstance(wanted, list):
        if not isinstance(value, list) or len(value) != len(wanted):
            yield f"{path} must be a list of {len(wanted)}, it is {shown(value)}"
            return
        for index, (one, item) in enumerate(zip(value, wanted, strict=True)):
            yield from subset_misses(one, item, f"{path}[{index}]")
    else:
        yield from compile_value(wanted, path)(value).misses


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


def _method(wanted: str) -> Rule:
    return lambda seen: _judged(seen.method == wanted, EXACT, f"the method must be {wanted}, it is {seen.method}")


def _url(wanted: str | Mapping[str, Any]) -> Rule:
    if isinstance(wanted, str):
        url = URL(wanted)
        return lambda seen: _judged(
            url in (seen.url, seen.url.with_query(None)),
            4 * EXACT if url.query_string else 3 * EXACT,
            f"the URL must be {url}, it is {seen.url}",
        )
    parts = [name for name in ("scheme", "host", "port", "path") if name in wanted]
    rules = [_member(f"the {name}", wanted[name], name) for name in parts]
    return _all([*rules, *(_query(name, value) for name, value in wanted.get("query", {}).items())])


def _member(what: str, wanted: Any, name: str) -> Rule:
    judge = compile_value(wanted, what)
    return lambda seen: judge(getattr(seen.url, name))


def _query(name: str, wanted: Any) -> Rule:
    judge = compile_value(str(wanted) if _is_number(wanted) else wanted, f"the query parameter `{name}`")
    return lambda seen: judge(seen.url.query.get(name, MISSING))


def _headers(wanted: Mapping[str, Any]) -> Rule:
    rules: list[Rule] = []
    for name, value in wanted.items():
        rules.append(_header(name, str(value) if _is_number(value) else value))
    return _all(rules)


def _header(name: str, wanted: Any) -> Rule:
    judge = compile_value(wanted, f"the header `{name}`")

    def rule(seen: Seen) -> Verdict:
        value = seen.request.header(name)
        return judge(MISSING if value is None else value)

    return rule


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(wanted: Any) -> Rule:
    judge = compile_value(wanted, "the body")
    return lambda seen: judge(seen.text)


def _json(wanted: Mapping[str, Any]) -> Rule:
    rules: list[Rule] = []
    if "equals" in wanted:
        rules.append(_json_equals(wanted["equals"]))
    if "subset" in wanted:
        rules.append(_json_subset(wanted["subset"]))
    for path, value in wanted.get("paths", {}).items():
        rules.append(_json_path(path, value))
    return _all(rules)


def _json_equals(wanted: Any) -> Rule:
    return lambda seen: _judged(
        same(seen.json, wanted), 4 * EXACT, f"the JSON body must be {shown(wanted)}, it is {shown(seen.json)}"
    )


def _json_subset(wanted: Any) -> Rule:
    def rule(seen: Seen) -> Verdict:
        misses = tuple(f"in the body {miss}" for miss in subset_misses(seen.json, wanted))
        return Verdict(0 if misses else _leaves(wanted) * EXACT, misses)

    return rule


def _json_path(path: str, wanted: Any) -> Rule:
    query = find(path)
    judge = compile_value(wanted, f"in the body {path}")

    def rule(seen: Seen) -> Verdict:
        found = [] if seen.json is MISSING else query(seen.json)
        if len(found) > 1:
            return Verdict(0, (f"in the body {path} must be one value, there are {len(found)}",))
        return judge(found[0] if found else MISSING)

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
        return Verdict(sum(one.weight for one in verdicts), tuple(miss for one in verdicts for miss in one.misses))

    return judge


_PARTS: dict[str, Callable[[Any], Rule]] = {
    "method": _method,
    "url": _url,
    "headers": _headers,
    "json": _json,
    "text": _text,
}
