"""Text -> values -> flow: what is read, what is refused, and that every finding points at its place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from automata.flow.load import load_flow, parse_yaml, validate_text
from automata.flow.yaml12 import MAX_NESTING, MAX_NODES
from automata.flow.yamldump import to_yaml

FOUNDING = """{ "name": "sync-orders",
  "inputs": {"source_id": {"type": "string", "required": true}},
  "defaults": {"retry": {"max_attempts": 3, "backoff": "exponential"}, "timeout_sec": 300},
  "steps": [
    {"id": "fetch", "type": "http",
     "config": {"method": "GET", "url": "https://crm.example.com/orders"},
     "outputs": {"orders": "{{ .response.body.data }}"}},
    {"id": "save", "type": "http", "depends_on": ["fetch"],
     "config": {"method": "POST", "url": "https://erp.example.com/import",
                "body": "{{ .steps.fetch.outputs.orders }}"}}]}
"""
FOUNDING_YAML = """
name: sync-orders
inputs:
  source_id: {type: string, required: true}
defaults:
  retry: {max_attempts: 3, backoff: exponential}
  timeout_sec: 300
steps:
  - id: fetch
    type: http
    config:
      method: GET
      url: https://crm.example.com/orders
    outputs:
      orders: "{{ .response.body.data }}"
  - id: save
    type: http
    depends_on: [fetch]
    config:
      method: POST
      url: https://erp.example.com/import
      body: "{{ .steps.fetch.outputs.orders }}"
"""


def value_of(text: str | bytes, file: str = "a.yaml") -> object:
    value, _, problems = parse_yaml(text, file)
    assert problems == ()
    return value


def codes(text: str | bytes, file: str = "a.yaml") -> list[str]:
    return [one.code for one in parse_yaml(text, file)[2]]


# --- the founding example ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["sync-orders.json", "sync-orders.yaml"])
def test_the_founding_example_is_valid_as_json(file: str) -> None:
    loaded = validate_text(FOUNDING, file)
    assert loaded.diagnostics == ()
    assert loaded.flow is not None
    assert loaded.flow.name == "sync-orders"
    assert loaded.flow.steps[1].depends_on == ("fetch",)
    assert loaded.flow.steps[0].retry.max_attempts == 3


def test_the_founding_example_is_the_same_flow_as_yaml() -> None:
    loaded = validate_text(FOUNDING_YAML.encode(), "sync-orders.yaml")
    assert loaded.diagnostics == ()
    assert loaded.spec == json.loads(FOUNDING)
    assert loaded.flow is not None
    assert loaded.flow.spec == json.loads(FOUNDING)


# --- YAML 1.2 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("0755", "0755"),
        ("-012", "-012"),
        ("007.5", "007.5"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-05", "2026-01-05"),
        ("2026-01-05T09:00:00Z", "2026-01-05T09:00:00Z"),
        ("0b11", "0b11"),
        ("0o17", 15),
        ("0x1F", 31),
        ("+5", 5),
        ("-0", 0),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("~", None),
        ("", None),
        ("Null", None),
        ("nUll", "nUll"),
        ("=", "="),
        ("'true'", "true"),
        ('"5"', "5"),
        ("NaN", "NaN"),
    ],
)
def test_a_plain_word_means_what_yaml_1_2_says(text: str, value: object) -> None:
    read = value_of(f"a: {text}")
    assert read == {"a": value}
    assert isinstance(read, dict)
    assert type(read["a"]) is type(value)


def test_a_quoted_merge_key_and_an_on_key_are_ordinary_keys() -> None:
    assert value_of('"<<": 1\non: 2') == {"<<": 1, "on": 2}


def test_a_byte_order_mark_and_a_document_start_are_no_content() -> None:
    assert value_of(b"\xef\xbb\xbf%YAML 1.2\n---\na: 1\n...\n") == {"a": 1}


# --- JSON ----------------------------------------------------------------------------------------------------------


def test_json_is_read_like_a_json_parser_does() -> None:
    text = json.dumps({"a/b": ["😀 é \\ / \x7f\t", 1.5, -0.0, 1e-7, True, None, {}], "": "\u2028"}, indent="\t")
    assert value_of(text, "a.json") == json.loads(text)
    assert value_of(text, "a.yaml") == json.loads(text)


def test_an_escaped_backslash_before_a_surrogate_is_not_a_pair() -> None:
    text = r'{"a": "\\ud83d\\ude00", "b": "\\\ud83d\ude00"}'
    assert value_of(text, "a.json") == {"a": r"\ud83d\ude00", "b": "\\😀"}


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_json_refuses_numbers_that_are_none(word: str) -> None:
    assert codes(f'{{"a": {word}}}', "a.json") == ["AF013"]


@pytest.mark.parametrize("text", ['{"a": yes}', '{"a": 01}', '{"a": .5}', '{"a": +1}', '{"a": ~}', '{"a": 0x1}'])
def test_a_json_file_holds_no_yaml_words(text: str) -> None:
    assert codes(text, "a.json") == ["AF001"]


@pytest.mark.parametrize("text", ['{"a": 1', '{"a":}', '{"a"}', "[1, 2", '{"a": "\\ud83d"}', '{"a": "x}'])
def test_broken_json_is_one_finding_that_calls_it_json(text: str) -> None:
    _, _, problems = parse_yaml(text, "a.json")
    assert [one.code for one in problems] == ["AF001"]
    assert problems[0].message.startswith("not valid JSON")
    assert problems[0].line >= 1


# --- what is refused -----------------------------------------------------------------------------------------------

REFUSED = {
    "AF001": "a: [1\n",
    "AF002": b"a: \xff",
    "AF003": b"# " + b"x" * 256 * 1024,
    "AF004": "[" * (MAX_NESTING + 1),
    "AF005": "[" + "1," * MAX_NODES + "]",
    "AF006": "a: &x 1\n",
    "AF007": "<<: {a: 1}\n",
    "AF008": "a: !!python/object:os.system 1\n",
    "AF009": "a: 1\nb: 2\na: 3\n",
    "AF010": "a: 1\n---\nb: 2\n",
    "AF011": "# nothing\n",
    "AF012": "1: a\n",
    "AF013": "a: .nan\n",
    "AF015": 'a: "x\\0y"\n',
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_a_flow_file_must_not_hold_is_refused_by_its_code(code: str) -> None:
    assert set(codes(REFUSED[code])) == {code}


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("a: &base {x: 1}", "AF006", "anchors (`&base`)"),
        ("a: 1\nb: *base", "AF006", "aliases (`*base`)"),
        ("a: {<<: {b: 1}}", "AF007", "merge keys"),
        ("a: !secret x", "AF008", "tags (`!secret`)"),
        ("a: !!binary x", "AF008", "tags (`!!binary`)"),
        ("a: !!str 1", "AF008", "tags (`!!str`)"),
        ("%YAML 1.1\n---\na: 1", "AF008", "YAML 1.2"),
        ("a: 1\na: 2", "AF009", "`a` is already given in line 1"),
        ("a: 1\n---\nb: 1\n", "AF010", "several documents"),
        ("a: 99999999999999999999", "AF013", "does not fit 64 bits"),
        ("a: -9223372036854775809", "AF013", "does not fit 64 bits"),
        ("a: 0x8000000000000000", "AF013", "does not fit 64 bits"),
        ("a: 1e999", "AF013", "too large"),
        ("a: -.inf", "AF013", "`-.inf`"),
        ("? [x]\n: 1", "AF012", "a key must be text"),
        ("true: 1", "AF012", "not `true`"),
        ("a: \x01", "AF002", "control characters"),
        ("a:\n\tb: 1", "AF001", "cannot start any token"),
    ],
)
def test_the_message_says_what_is_refused(text: str, code: str, part: str) -> None:
    _, _, problems = parse_yaml(text, "a.yaml")
    assert (problems[0].code, len(problems)) == (code, 1)
    assert part in problems[0].message


def test_an_unquoted_template_is_told_to_be_quoted() -> None:
    for text in ("a: {{ inputs.x }}", "a: {{ inputs.x }}/y\nb: 1", "a: b {{ c }}: d"):
        _, _, problems = parse_yaml(text, "a.yaml")
        assert any("quote templates" in (one.suggestion or "") for one in problems), text


def test_a_lone_surrogate_cannot_enter_as_text() -> None:
    assert codes("a: \ud800") == ["AF002"]


def test_all_syntax_findings_are_reported_and_reading_goes_on() -> None:
    text = "a: &x 1\nb: *x\n<<: {c: 1}\nd: !foo 1\na: 2\n1: x\n? [q]\n: y\nz: .inf\nok: 1\n"
    value, _, problems = parse_yaml(text, "a.yaml")
    assert [(one.code, one.line) for one in problems] == [
        *[("AF006", 1), ("AF006", 2), ("AF007", 3), ("AF008", 4), ("AF009", 5), ("AF012", 6), ("AF012", 7)],
        ("AF013", 9),
    ]
    assert isinstance(value, dict)
    assert value["ok"] == 1
    assert value["a"] == 1


def test_a_value_that_could_not_be_read_gets_no_second_finding_about_its_shape() -> None:
    loaded = load_flow("name: *x\nsteps: [{id: a, type: delay, config: {duration_sec: 1e999}}]\n", "a.yaml")
    assert [one.code for one in loaded.diagnostics] == ["AF006", "AF013"]


# --- places --------------------------------------------------------------------------------------------------------


def test_positions_lead_from_pointers_to_lines_and_columns() -> None:
    _, positions, _ = parse_yaml("a:\n  - x/y: 1\n    q: [2,\n      3]\n", "a.yaml")
    assert positions["/a/0/x~1y"] == (2, 10)
    assert positions["/a/0/q/1"] == (4, 7)
    assert positions.locate("/a/0/q", name=True) == (3, 5)
    assert positions.locate("/a/0/q/7/nothing") == (3, 8)


def test_a_finding_of_a_template_points_into_its_text() -> None:
    text = """name: a
steps:
  - {id: s, type: transform, config: {mappings: {x: "a {{ inputs.nope }}", y: '{{ vars.é }} {{ inputs.no }}'}}}
  - id: t
    type: transform
    config:
      mappings:
        plain: a {{ inputs.nope }}
        escaped: "\\t{{ inputs.nope }}"
        block: |
          {{ inputs.nope }}
"""
    found = validate_text(text, "a.yaml").diagnostics
    lines = text.splitlines()
    exact = [lines[one.line - 1][one.column - 1 :][:10] for one in found[:3]]
    assert exact == ["inputs.nop", "inputs.no ", "inputs.nop"]
    assert [(one.line, one.column) for one in found[3:]] == [(9, 18), (10, 16)]


def test_a_missing_key_points_at_the_mapping_that_lacks_it() -> None:
    (finding,) = load_flow("name: a\nsteps:\n  - id: x\n", "a.yaml").diagnostics
    assert (finding.code, finding.line, finding.column, finding.pointer) == ("AF021", 3, 5, "/steps/0")
    assert str(finding) == "a.yaml:3:5: AF021 `type` is missing in item 1 of `steps`"


def test_an_unknown_key_points_at_the_key_and_suggests_the_near_one() -> None:
    (finding,) = load_flow("name: a\nsteps:\n  - {id: x, type: q, depend_on: [y]}\n", "f.yaml").diagnostics
    assert str(finding) == "f.yaml:3:22: AF020 unknown key `depend_on` (did you mean `depends_on`?)"


# --- shape ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["[1]", "x", "5", "name"])
def test_a_file_that_is_no_mapping_is_one_finding(text: str) -> None:
    loaded = validate_text(text, "a.yaml")
    assert [one.code for one in loaded.diagnostics] == ["AF022"]
    assert loaded.flow is None
    assert loaded.spec is None


def test_shape_and_meaning_are_reported_together() -> None:
    text = """
name: Bad Name
steps:
  - {id: a, type: delay, config: {duration_sec: 1}, depends_on: [b], timeout: 5}
  - {id: b, type: delay, config: {duration_sec: 1}, depends_on: [a, nope]}
"""
    assert [one.code for one in validate_text(text).diagnostics] == ["AF024", "AF103", "AF020", "AF101"]


def test_errors_of_a_step_are_about_its_own_type() -> None:
    text = """
name: a
steps:
  - {id: a, type: http, config: {urll: "https://x.example.com"}}
  - {id: b, type: delay, config: {}}
  - {id: c, type: transform}
  - {id: d, type: parallel, config: {x: 1}}
"""
    messages = [one.message for one in validate_text(text).diagnostics]
    assert messages == [
        "`url` is missing in `config`",
        "unknown key `urll`",
        "`config` needs exactly one of `duration_sec`, `duration_ms` and `until`; it has none",
        "`config` is missing in item 3 of `steps`",
        "`branches` is missing in item 4 of `steps`",
        "unknown key `x`",
    ]


def test_warnings_do_not_make_a_flow_invalid() -> None:
    text = "name: a\nsteps: [{id: a, type: delay, config: {duration_sec: 1}, retry: {max_attempts: 2}}]"
    loaded = validate_text(text)
    assert [one.severity for one in loaded.diagnostics] == ["warning"]
    assert loaded.flow is not None


def test_a_spec_is_kept_as_it_was_written() -> None:
    text = "steps: [{type: delay, id: a, config: {duration_ms: 5}}]\nname: a\n"
    loaded = validate_text(text)
    assert loaded.flow is not None
    assert loaded.flow.spec == {"name": "a", "steps": [{"id": "a", "type": "delay", "config": {"duration_ms": 5}}]}


# --- hostile files -------------------------------------------------------------------------------------------------


def _nested(depth: int) -> dict[str, object]:
    inner = {"id": "x", "type": "delay", "config": {"duration_sec": 1}} if depth == 0 else _nested(depth - 1)
    return {"id": f"p{depth}", "type": "parallel", "branches": [{"id": "b", "steps": [inner]}]}


def _steps(count: int, **more: object) -> str:
    return json.dumps({"name": "a", "steps": [{"id": f"step_{n}", "type": "x", **more} for n in range(count)]})


def _mappings(*texts: str) -> str:
    mappings = {f"m{number}": text for number, text in enumerate(texts)}
    return json.dumps({"name": "a", "steps": [{"id": "s", "type": "transform", "config": {"mappings": mappings}}]})


def _wired(target: Callable[[int], int]) -> str:
    steps = [{"id": f"s{n}", "type": "x", "depends_on": [f"s{target(n)}"]} for n in range(1_000)]
    return json.dumps({"name": "a", "steps": steps})


def _inputs(count: int, **declared: object) -> str:
    step = {"id": "s", "type": "delay", "config": {"duration_sec": 1}}
    return json.dumps({"name": "a", "steps": [step], "inputs": {f"i{n}": declared for n in range(count)}})


_LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
_DOUBLING = {"$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(25)} | {"d25": {}}}
_TEXTS = {"items": {"type": "string"}}

HOSTILE = {
    "billion laughs": _LAUGHS,
    "brackets": "[" * 250_000,
    "braces": "{" * 250_000,
    "dashes": "- " * 125_000,
    "question marks": "? " * 125_000,
    "mixed brackets": "[{" * 125_000,
    "anchors": "a: " + "&a " * 80_000,
    "tags": "%TAG ! tag:x:\n" * 18_000 + "---\na: 1",
    "documents": "---\n" * 60_000,
    "keys": "{" + "a," * 120_000,
    "digits": "a: " + "9" * 250_000,
    "fraction": "a: 1." + "9" * 250_000,
    "exponent": "a: 1e" + "9" * 250_000,
    "backslashes": '{"a": "' + "\\\\" * 120_000 + '\\ud83d"}',
    "quotes": "'" * 250_001,
    "comments": "#" * 250_000,
    "blanks": "a:" + " " * 250_000,
    "unknown keys": json.dumps({f"step{n}": 1 for n in range(4_900)}),
    "long names": json.dumps({"name": "a" * 200_000}),
    "misspelt dependencies": _steps(1_000, depends_on=["stpe_0"]),
    "unknown types": _steps(1_000),
    "reads of nothing": _mappings(*["{{ [" + "steps.x," * 1_500 + "1] }}"] * 20),
    "bad templates": _mappings(*["{{ a }}" * 2_000] * 18),
    "parentheses": _mappings(*["{{ " + "(" * 8_000] * 30),
    "filters": _mappings(*["{{ inputs.x" + "|default(1)" * 1_000 + " }}"] * 20),
    "nested groups": json.dumps({"name": "a", "steps": [_nested(15)]}),
    "doubling schema": _inputs(10, type="array", schema={**_DOUBLING, "$ref": "#/$defs/d0"}, default=[]),
    "wide schema": _inputs(1, type="array", schema={"allOf": [_TEXTS] * 1_200}, default=["a"] * 1_200),
    "many schemas": _inputs(95, type="array", schema={"allOf": [{}] * 90}, default=[]),
    "endless schema": _inputs(1, type="array", schema={"$ref": "#"}, default=[]),
    "catastrophic pattern": _inputs(100, pattern="(x+x+)+y" * 80, default="x" * 500),
    "large pattern": _inputs(100, pattern="((a{1,100}){1,100}){1,100}"),
    "cycles": _wired(lambda number: number ^ 1),
    "one long cycle": _wired(lambda number: (number + 1) % 1_000),
    "time zones": json.dumps({"schedules": [{"timezone": f"Europe/Berl{n}"} for n in range(2_400)]}),
}


_CHILD = """
import json, sys, time
from pathlib import Path
from automata.flow.load import validate_text
took = {}
for name, text in json.load(sys.stdin).items():
    for file in ("a.yaml", "a.json"):
        start = time.process_time()
        validate_text(text, file)
        took[name + " " + file] = time.process_time() - start
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
json.dump([took, int(peak) // 1024], sys.stdout)
"""


@pytest.fixture(scope="module")
def hostile() -> tuple[dict[str, float], int]:
    """Seconds of processor time for each file, and the peak of memory in MiB, in a process of its own.

    Not `ru_maxrss`, which counts what the test process held when it forked.
    """
    run = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(HOSTILE),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    took, peak = json.loads(run.stdout)
    return took, peak


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("file", ["a.yaml", "a.json"])
def test_a_hostile_file_is_done_soon(name: str, file: str, hostile: tuple[dict[str, float], int]) -> None:
    assert len(HOSTILE[name]) < 256 * 1024
    # Half a second at most on a quick machine that does nothing else; without a limit, minutes and more.
    assert hostile[0][f"{name} {file}"] < 10


def test_hostile_files_take_less_than_256_mb(hostile: tuple[dict[str, float], int]) -> None:
    assert 10 < hostile[1] < 256


def test_a_thousand_steps_are_the_limit() -> None:
    steps = [{"id": f"s{n}", "type": "delay", "config": {"duration_sec": 1}} for n in range(999)]
    group = {"id": "p", "type": "parallel", "branches": [{"id": "b", "steps": steps[-1:]}]}
    allowed = json.dumps({"name": "a", "steps": [*steps[:-1], group]})
    assert validate_text(allowed).diagnostics == ()
    extra = {"id": "extra", "type": "delay", "config": {"duration_sec": 1}}
    group = {"id": "p", "type": "parallel", "branches": [{"id": "b", "steps": [steps[-1], extra]}]}
    beyond = json.dumps({"name": "a", "steps": [*steps[:-1], group]})
    assert [one.code for one in validate_text(beyond).diagnostics] == ["AF016"]


def test_the_limits_themselves_are_allowed() -> None:
    assert codes("[" * MAX_NESTING + "]" * MAX_NESTING) == []
    assert codes("[" + "1," * (MAX_NODES - 1) + "]") == []
    assert codes("# " + "x" * (256 * 1024 - 8) + "\na: 1") == []


@pytest.mark.parametrize(
    "word", ["0o17", "1e3", "0x1F", "12", "-0", ".5", ".inf", "true", "on", "~", "", "a: b", "'", "é\u2028"]
)
def test_what_is_written_as_yaml_is_read_back_as_it_was(word: str) -> None:
    value = {"text": word, word or "key": [word, 1e300, 10**15, None, True]}
    assert parse_yaml(to_yaml(value))[0] == value
