"""Every bomb ends within 2 seconds and 256 MB of memory, with a TemplateError that says it is about cost or depth.

All of them run in one child process whose address space is capped, so that a bomb which gets through ends the child
and not the test run; the child reports the error of each and its processor time, which busy neighbours do not change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from automata.flow.template import Ambient, TemplateError, compile_template, compile_value

SECONDS = 10.0  # of processor time
MEGABYTES = 256

TURN = "{% for i in range(100000) %}"
END = "{% endfor %}"


def _loop(body: str) -> str:
    return TURN + body + END


def _nested(depth: int, leaf: str) -> str:
    """A value that doubles at each level: 2**depth parts when it is written out."""
    heads = "".join(f"{{% for a in [[{'a,a' if level else 'inputs.text,1'}]] %}}" for level in range(depth))
    return heads + leaf + END * depth


LOOPS = [
    TURN * 2 + END * 2,
    TURN * 8 + "x" + END * 8,
    "{% for i in range(1000) %}" * 3 + END * 3,
    "{% for i in inputs.numbers %}{% endfor %}",
    "{% for i in inputs.numbers if i %}{% endfor %}",
    _loop("{% for j in inputs.small %}{% endfor %}"),
    _loop("{{ 'x' * 1000 }}"),
    _loop("{{ inputs.text }}"),
    _loop("{{ i }},{{ i }},{{ i }}"),
    _loop("{{ inputs.small | json }}"),
    _loop("{% if 'zz' in inputs.text %}{% endif %}"),
    _loop("{% if i in inputs.words %}{% endif %}"),
    _loop("{% if inputs.text == inputs.other %}{% endif %}" * 20),
    _loop("{% if inputs.text ~ 'x' == inputs.text ~ 'y' %}{% endif %}"),
    _loop("{% if inputs.small | sort | unique | length %}{% endif %}"),
    _loop("{% if i | string | sha256 %}{% endif %}" * 20),
    _loop("{% if i | string | regex_match('^[0-9]+$') %}{% endif %}" * 20),
    _loop("{% if now() | parse_time %}{% endif %}" * 20),
    _loop("{% if 0 | format_time('%A %B %Y', 'Europe/Berlin') %}{% endif %}" * 20),
    _loop("{% if inputs.absent.deep | default(1) %}{% endif %}" * 40),
    _loop("{% if i + i * i // 3 %}{% endif %}" * 40),
    _loop("{% if 2 ** 4000 %}{% endif %}" * 40),
    _loop("{% if range(100000) %}{% endif %}"),
    _loop("{{ ('[' ~ i ~ ',[],[],[]]') | fromjson }}"),
]
TEXTS = [
    "{{ 'x' * 10 ** 9 }}",
    "{{ 10 ** 9 * 'x' }}",
    "{{ ('x' * 1000000) * 1000000 }}",
    "{{ 'x' * 1000000 ~ 'x' * 1000000 }}",
    "{{ 'x' * 1000000 + 'x' * 1000000 }}",
    "{{ 'x' * 1000000 }}{{ 'x' * 1000000 }}",
    "{{ [" + "'x' * 1000000," * 200 + "] }}",
    "{{ ('x' * 1000000) | replace('x', 'y' * 1000000) }}",
    "{{ ('x' * 1000000) | replace('', 'y' * 1000) }}",
    "{{ 'a' | center(10 ** 9) }}",
    "{{ 'a' | indent(10 ** 9) }}",
    "{{ ('a\n' * 500000) | indent(1000, true, true) }}",
    "{{ range(100000) | join('x' * 1000000) }}",
    "{{ (['x' * 1000000] * 1000) | join }}",
    "{{ (['x' * 1000000] * 1000) | json }}",
    "{{ ('a' * 1000000) | truncate(1000000, end='x' * 999999) ~ 'x' * 1000000 }}",
    "{{ inputs.text | upper }}",
    "{{ inputs.text | title }}",
    "{{ inputs.text | b64encode }}",
    "{{ inputs.text | urlencode }}",
    "{{ inputs.text | sha256 }}",
    "{{ inputs.text | split('a') }}",
    "{{ inputs.text | list }}",
    "{{ inputs.text | replace('b', ' ') | wordcount }}",
    "{{ inputs.text | regex_replace('a', 'bbbb') }}",
    "{{ inputs.text | regex_match('(((a{1,30}){1,30}))c') }}",
    "{{ inputs.text[:1000000] | regex_match('((a?){300})(a{300})c') }}",
    "{{ inputs.text[:20000] | regex_replace('(a)(?:[ab]*a[ab]{30}c)?', 'x') }}",
    "{{ 'a' | regex_match('(((a{1000}){1000}){1000}){1000}') }}",
    "{% for i in range(1000) %}{% if 'a' | regex_match('a{' ~ i ~ '}') %}{% endif %}{% endfor %}",
    "{{ ('[' * 500000 ~ ']' * 500000) | fromjson }}",
    "{{ inputs.text | find_all('a') }}",
    "{{ inputs.text[:20000] | find_all('(a)(?:[ab]*a[ab]{30}c)?') }}",
    "{{ inputs.text | chunk(1) }}",
    "{{ inputs.text | hex_encode }}",
    "{{ inputs.text | hash }}",
    "{{ inputs.text | from_csv }}",
    "{{ inputs.csv | from_csv }}",
    "{{ inputs.csv | from_csv(header=false) }}",
    "{{ (',' * 1000000) | from_csv(header=false) ~ '' }}",
    "{{ ([[1]] * 90000 + [['x' * 1000000] * 100]) | to_csv }}",
    "{{ (inputs.numbers | chunk(1)) | to_csv }}",
    "{{ inputs.text | from_xml }}",
    "{{ inputs.laughs | from_xml }}",
    "{{ ('<a>' * 300000) | from_xml }}",
    "{{ ('<r>' ~ '<a/>' * 200000 ~ '</r>') | from_xml }}",
    "{{ ('<r>' ~ '<a b=\"\"/>' * 90000 ~ '</r>') | from_xml ~ '' ~ 'x' * 1000000 }}",
    "{{ {'a': inputs.dag} | to_xml }}",
    "{{ {'a': {'b': inputs.words * 3}} | to_xml }}",
    "{{ (['[' ~ '[],' * 300000 ~ '[]]'] * 50) | map('fromjson') }}",
]
NUMBERS = [
    "{{ 10 ** (10 ** 10) }}",
    "{{ 2 ** 100000 }}",
    "{{ (2 ** 2000) ** 1000 }}",
    "{{ 2 ** 2000 * 2 ** 2000 * 2 ** 2000 }}",
    "{{ 9 ** 9 ** 9 ** 9 ** 9 ** 9 }}",
    "{{ -9 ** 99999 }}",
    "{{ range(10 ** 12) }}",
    "{{ range(0 - 10 ** 12, 10 ** 12, 3) | length }}",
    "{{ inputs.huge * inputs.huge }}",
    "{{ inputs.huge ~ '' }}",
    "{{ 0 | format_time('%999999999d') }}",
    "{{ 1 | round(10 ** 9) }}",
    "{{ 1 | round(-10 ** 9) }}",
    "{{ '1e9999' | decimal }}",
    "{{ ('9' * 300) | dec_mul('9' * 300) }}",
    "{{ '1' * 1000000 | decimal }}",
    "{{ inputs.huge | decimal }}",
    _loop("{% if '1e299' | dec_div('3', 0, 'up') %}{% endif %}" * 20),
    _loop("{% if 0 | add_time(days=1, timezone='Pacific/Apia') %}{% endif %}" * 20),
    _loop("{% if {'a': 1} | jwt_sign('k') %}{% endif %}" * 20),
    "{{ 0 | add_time(years=10 ** 9) }}",
]
VALUES = [
    "{{ [0] * 10 ** 9 }}",
    "{{ inputs.small * 10 ** 9 }}",
    "{{ ([0] * 100000) * 1000 }}",
    "{{ [0] * 60000 + [0] * 60000 }}",
    "{{ [" + "range(100000)," * 900 + "] }}",
    "{{ [" + "inputs.numbers | list," * 600 + "] }}",
    "{{ [1] | batch(10 ** 9, 0) }}",
    "{{ [1] | slice(10 ** 9, 0) }}",
    "{{ inputs.numbers | sort }}",
    "{{ inputs.numbers | unique }}",
    "{{ inputs.numbers | map('string') | list }}",
    "{{ inputs.numbers | json }}",
    "{{ inputs.numbers == inputs.numbers + [] }}",
    "{{ inputs.dag | json }}",
    "{{ inputs.dag ~ '' }}",
    "{{ inputs.dag == inputs.dag2 }}",
    "{{ inputs.dag in [inputs.dag2] }}",
    "{{ [inputs.dag, inputs.dag2] | unique }}",
    "{{ [inputs.dag] }}",
    "{{ {'a': inputs.dag} }}",
    "{{ [" + "inputs.text," * 1000 + "] }}",
    _nested(40, "{{ a | json }}"),
    _nested(40, "{{ a }}"),
    _nested(30, "{% if a == [a[0], a[1]] %}{{ a }}{% endif %}"),
    "{{ [inputs.dag] | flatten(200) }}",
    "{{ {'a': inputs.objects} | merge({'a': inputs.objects}, deep=true) ~ '' }}",
    "{{ range(2000) | batch(1) | join_on(range(2000) | batch(1), 0) }}",
    "{{ ([{'k': 1}] * 2000) | join_on([{'k': 1}] * 2000, 'k') }}",
    "{{ inputs.numbers | zip(inputs.numbers) }}",
    "{{ inputs.numbers | chunk(2) }}",
    "{{ ([{'k': 'x' * 1000000}] * 1000) | group_by('k') }}",
    "{{ [1] | jmespath('@" + "|[@,@][]" * 60 + "') }}",
    "{{ [1] | jmespath('@" + "|[@,@]" * 60 + "|to_string(@)') }}",
    "{{ [1] | jmespath('@" + "|[@,@]" * 60 + "|@==@') }}",
    "{{ [1] | jmespath('@" + "|[@,@]" * 60 + "|contains(@,@)') }}",
    "{{ inputs.small | jmespath('[*].[" + "@," * 400 + "@][][].[" + "@," * 60 + "@]') }}",
    "{{ inputs.text | jmespath('join(@, [" + '`"a"`,' * 50 + "@])') }}",
    "{{ inputs.numbers | jmespath('sort_by(@, &to_string(@))') }}",
    "{{ 1 | jmespath('" + "(" * 900 + "') }}",
    "{{ 1 | jmespath('" + "!" * 990 + "a') }}",
    "{{ inputs.deep | json }}",
    "{{ [inputs.deep] }}",
    "{{ [inputs.deep] == [inputs.deeper] }}",
]
DEPTHS = [
    "{{ " + "(" * 8000 + ")" * 8000 + " }}",
    "{{ " + "[" * 8000 + " }}",
    "{{ " + "not " * 4000 + "1 }}",
    "{{ " + "-" * 16000 + "1 }}",
    "{{ a" + "+a" * 8000 + " }}",
    "{{ 1" + "+1" * 8000 + " }}",
    "{{ 1" + "**1" * 5000 + " }}",
    "{{ 1" + "|abs" * 4000 + " }}",
    "{{ 1" + " if 1 else 1" * 1300 + " }}",
    "{{ inputs" + "[inputs" * 2000 + "]" * 2000 + " }}",
    "{{ [0]" + "[0]" * 5000 + " }}",
    "{{ " + "json(" * 2000 + ")" * 2000 + " }}",
    "{% if 1 %}" * 700 + "{% endif %}" * 700,
    "{% for a in [] %}" * 500 + END * 500,
    "{{ {'a':" * 1000 + "1" + "}" * 1000 + " }}",
    "{{" * 8000,
    "{%" * 8000,
    "{#" * 4000 + "{{",
    "{{ " + "'" * 16001 + " }}",
    "{{ " + "9" * 16000 + " }}",
    "{{ " + "\\" * 16000 + " }}",
    "{{ " + "a" * 16000 + " }}",
    "{{ 1 | " + "a" * 16000 + " }}",
    "{{ inputs." + "a" * 16000 + " }}",
    "{{ 'x' }}" * 2_000_000,
]
_ENTITIES = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
_LAUGHS = f'<!DOCTYPE x [<!ENTITY l0 "ha">{_ENTITIES}]><x>&l9;</x>'
BOMBS = LOOPS + TEXTS + NUMBERS + VALUES + DEPTHS


def _trees() -> list[Any]:
    """Bombs that need a whole configuration: each template is harmless, their sum is not."""
    return [
        ["{{ inputs.text }}"] * 10_000,
        [{"a": "{{ inputs.numbers }}"}] * 1000,
        ["{{ 'x' * 1000000 ~ '' }}"] * 1000,
        ["{% for i in range(90000) %}{% endfor %}"] * 1000,
        ["{{ range(90000) }}"] * 1000,
    ]


def _context() -> dict[str, Any]:
    from datetime import UTC, datetime

    def doubled() -> Any:
        value: Any = [0]
        for _ in range(60):
            value = [value, value]
        return value

    def nested(depth: int) -> Any:
        value: Any = []
        for _ in range(depth):
            value = [value]
        return value

    def doubled_objects() -> Any:
        value: Any = {"x": 1}
        for _ in range(60):
            value = {"l": value, "r": value}
        return value

    inputs = {
        "text": "ab" * 2_500_000,
        "other": "ba" * 2_500_000,
        "numbers": list(range(300_000)),
        "words": [f"w{number}" for number in range(50_000)],
        "small": list(range(100)),
        "huge": 3**20_000,
        "csv": "a,b\n" * 1_000_000,
        "laughs": _LAUGHS,
        "objects": doubled_objects(),
        "dag": doubled(),
        "dag2": doubled(),
        "deep": nested(900),
        "deeper": nested(900),
    }
    ambient = Ambient(lambda: datetime(2026, 7, 1, tzinfo=UTC), lambda: "u")
    return {"inputs": inputs, "__ambient__": ambient}


def _explode(bomb: Any, context: dict[str, Any]) -> dict[str, Any]:
    import time

    begin = time.process_time()
    try:
        template = compile_template(bomb) if isinstance(bomb, str) else compile_value(bomb)
        template.render(context)
        code = "no error"
    except TemplateError as error:
        code = error.code if len(str(error)) < 2000 else "a long message"
    except BaseException as error:
        code = type(error).__name__
    return {"code": code, "seconds": time.process_time() - begin}


def _child() -> None:
    import resource
    import signal
    from pathlib import Path

    def late(*_: object) -> None:
        raise TimeoutError

    context, trees = _context(), _trees()
    signal.signal(signal.SIGALRM, late)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEGABYTES * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for bomb in [*BOMBS, *trees]:
        signal.alarm(120)
        sys.stdout.write(json.dumps(_explode(bomb, context)) + "\n")
        signal.alarm(0)


@pytest.fixture(scope="module")
def outcomes() -> list[dict[str, Any]]:
    code = f"import runpy; runpy.run_path({__file__!r}, run_name='bombs')['_child']()"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert child.returncode == 0, child.stderr[-2000:]
    return [json.loads(line) for line in child.stdout.splitlines()]


@pytest.mark.parametrize("number", range(len(BOMBS) + len(_trees())))
def test_a_bomb_ends_in_time_and_space_with_an_error_of_the_template(
    number: int, outcomes: list[dict[str, Any]]
) -> None:
    outcome = outcomes[number]
    assert outcome["code"].startswith("AF2"), str([*BOMBS, *_trees()][number])[:200]
    assert outcome["seconds"] < SECONDS


def test_there_are_many_bombs() -> None:
    assert len(set(BOMBS)) >= 100


def test_the_cap_on_memory_would_catch_a_bomb() -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28)); b'x' * 2**29"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert "MemoryError" in child.stderr
