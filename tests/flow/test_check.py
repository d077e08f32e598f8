"""The static checks: one example a code, and the rules of what a step may wait for and read."""

from __future__ import annotations

import textwrap

import pytest

from automata.errors import Diagnostic
from automata.flow.check import check_flow
from automata.flow.codes import CODES
from automata.flow.load import load_flow, validate_text

DELAY = "type: delay, config: {duration_sec: 1}"
HTTP = "type: http, config: {url: https://x.example.com}"


def found(text: str, **types: object) -> list[Diagnostic]:
    return list(validate_text(textwrap.dedent(text), "a.yaml", types).diagnostics)  # type: ignore[arg-type]


def steps(*lines: str, more: str = "", **types: object) -> list[Diagnostic]:
    """A flow of steps, each a flow mapping without its braces."""
    listed = "".join(f"  - {{{line}}}\n" for line in lines)
    return found(f"name: a\nsteps:\n{listed}{textwrap.dedent(more)}", **types)


def mapping(template: str, *before: str, depends_on: str = "", more: str = "") -> list[Diagnostic]:
    """What is wrong with a `transform` that reads `template`, after some other steps."""
    text = template.replace("'", "''")
    reader = f"id: reader, type: transform, depends_on: [{depends_on}], config: {{mappings: {{x: '{text}'}}}}"
    return steps(*before, reader, more=more)


def codes(diagnostics: list[Diagnostic]) -> list[str]:
    return [one.code for one in diagnostics]


def one(diagnostics: list[Diagnostic]) -> str:
    """The only finding, without its place."""
    assert len(diagnostics) == 1, diagnostics
    return str(diagnostics[0]).partition(": ")[2]


# --- one example a code --------------------------------------------------------------------------------------------

_INPUT = "inputs: {{x: {{{}}}}}"
_SCHEDULE = "schedules: [{{name: n, {}}}]"
EXAMPLES = {
    "AF016": [f"id: s{n}, {DELAY}" for n in range(1_001)],
    "AF020": [f"id: s, {DELAY}, nmae: x"],
    "AF021": ["id: s, type: delay"],
    "AF022": [f"id: s, {DELAY}, depends_on: x"],
    "AF023": ["id: s, type: http, config: {url: https://x.example.com, method: GTE}"],
    "AF024": ["id: 1s, " + DELAY],
    "AF025": [f"id: s, {HTTP}, retry: {{max_attempts: 0}}"],
    "AF026": ["id: s, type: parallel, branches: []"],
    "AF027": ["id: s, type: parallel, branches: [{id: b, steps: []}]"],
    "AF028": ["id: s, type: htttp"],
    "AF029": ["id: s, type: delay, config: {}"],
    "AF030": ["id: s, type: http, config: {url: https://x.example.com, ok_status: 299-200}"],
    "AF036": ["id: s, type: http, config: {url: https://x.example.com, charset: klingon}"],
    "AF032": [f"id: s, {DELAY}, timeout_sec: 5"],
    "AF033": [f"id: s, {HTTP}, retry: {{on_status: [500, 500]}}"],
    "AF034": ["id: s, type: chat, config: {}"],
    "AF035": ["id: s, type: delay, config: {until: tomorrow}"],
    "AF040": _INPUT.format("type: integer, default: x"),
    "AF041": _INPUT.format("pattern: '(a'"),
    "AF042": _INPUT.format("type: object, schema: {type: strin}"),
    "AF043": _INPUT.format("type: integer, pattern: a"),
    "AF044": _INPUT.format("required: true, default: x"),
    "AF045": _INPUT.format("type: integer, enum: [x]"),
    "AF046": _INPUT.format("secret: true, default: x"),
    "AF050": _SCHEDULE.format("cron: '* * * *'"),
    "AF051": _SCHEDULE.format("interval_sec: 60, timezone: Mars/Olympus"),
    "AF052": _SCHEDULE.format("interval_sec: 60, inputs: {y: 1}"),
    "AF053": "schedules: [{name: n, interval_sec: 60}, {name: n, interval_sec: 61}]",
    "AF054": "webhooks: [{name: n, secret: S, inputs: {x: 1}}]",
    "AF055": "webhooks: [{name: n, secret: S}, {name: n, secret: T}]",
    "AF058": "webhooks: [{name: n, secret: S}, {name: o, secret: S}]",
    "AF100": [f"id: s, {DELAY}", f"id: s, {DELAY}"],
    "AF101": [f"id: s, {DELAY}, depends_on: [t]"],
    "AF102": [f"id: s, {DELAY}, depends_on: [s]"],
    "AF103": [f"id: s, {DELAY}, depends_on: [t]", f"id: t, {DELAY}, depends_on: [s]"],
    "AF104": ["id: s, type: transform, config: {mappings: {x: '{{ steps.t.status }}'}}"],
    "AF105": [f"id: t, {DELAY}", "id: s, type: transform, config: {mappings: {x: '{{ steps.t.status }}'}}"],
    "AF106": [
        f"id: t, {DELAY}",
        "id: s, type: transform, depends_on: [t], config: {mappings: {x: '{{ steps.t.outputs.y }}'}}",
    ],
    "AF107": ["id: s, type: transform, config: {mappings: {x: '{{ inputs.y }}'}}"],
    "AF108": ["id: s, type: transform, config: {mappings: {x: '{{ secrets.Y }}'}}"],
    "AF111": ["id: s, type: transform, config: {mappings: {x: '{{ run.y }}'}}"],
    "AF112": [f"id: s, {DELAY}, depends_on: [f]"],
    "AF113": [
        f"id: s, type: parallel, branches: [{{id: b, steps: [{{id: x, {DELAY}}}]}}, {{id: b, steps: [{{id: y, {DELAY}}}]}}]"  # noqa: E501
    ],
    "AF117": "outputs: {x: '{{ steps.maybe.outputs.y }}'}",
    "AF120": [
        f"id: t, {HTTP}",
        "id: s, type: http, depends_on: [t], config: {url: 'https://x.example.com/{{ steps.t.outputs.body }}'}",
    ],
    "AF200": ["id: s, type: transform, config: {mappings: {x: '{{ 1 + }}'}}"],
    "AF201": ["id: s, type: transform, config: {mappings: {x: '{{ 1 }}" + "x" * 16_400 + "'}}"],
    "AF202": ["id: s, type: transform, config: {mappings: {x: '{{ " + "(" * 100 + "1" + ")" * 100 + " }}'}}"],
    "AF203": ["id: s, type: transform, config: {mappings: {x: '{% set a = 1 %}'}}"],
    "AF204": ["id: s, type: transform, config: {mappings: {x: '{{ input.y }}'}}"],
    "AF205": ["id: s, type: transform, config: {mappings: {x: '{{ vars.y | uper }}'}}"],
    "AF206": ["id: s, type: transform, config: {mappings: {x: '{{ vars.y is defned }}'}}"],
    "AF207": ["id: s, type: transform, config: {mappings: {x: '{{ noww() }}'}}"],
    "AF208": ["id: s, type: transform, config: {mappings: {x: '{{ steps[vars.y].status }}'}}"],
    "AF209": ["id: s, type: transform, config: {mappings: {x: '{{ now(1, 2, 3) }}'}}"],
}
# Codes of reading (tests/flow/test_load.py), of inputs at run time (test_inputs.py), of rendering (test_template.py,
# test_address.py), and of many files together (tests/cli/test_validate.py).
ELSEWHERE = {
    *[f"AF{number:03}" for number in range(18)],
    *("AF060", "AF061", "AF062", "AF063", "AF064", "AF065", "AF114", "AF115"),
    *("AF210", "AF211", "AF212", "AF213", "AF214", "AF220"),
}
_FAILURE = f"on_failure: {{id: f, {DELAY}}}\n"
_CHAT = {"type": "object", "required": ["room"], "properties": {"room": {"type": "integer"}}}


@pytest.mark.parametrize("code", EXAMPLES)
def test_each_code_has_an_example_that_is_found_for_that_reason_alone(code: str) -> None:
    given = EXAMPLES[code]
    maybe = "id: maybe, type: transform, condition: 1 > 2, config: {mappings: {y: 1}}"
    lines = [f"id: s, {DELAY}", maybe] if isinstance(given, str) else given
    diagnostics = steps(*lines, more=_FAILURE + (f"{given}\n" if isinstance(given, str) else ""), chat=_CHAT)
    assert set(codes(diagnostics)) == {code}
    for diagnostic in diagnostics:
        assert diagnostic.file == "a.yaml"
        assert diagnostic.line > 0
        assert diagnostic.column > 0
        assert diagnostic.pointer.startswith("/")
        assert "\n" not in diagnostic.message


def test_every_code_is_explained_and_tested() -> None:
    assert set(CODES) == {*EXAMPLES, *ELSEWHERE} - {"AF000", "AF014"}
    assert all((sentence[0].isupper() or sentence[0] == "`") and sentence.endswith(".") for sentence in CODES.values())


# --- dependencies --------------------------------------------------------------------------------------------------


def test_a_misspelt_dependency_gets_the_near_id() -> None:
    message = one(steps(f"id: fetch, {DELAY}", f"id: b, {DELAY}, depends_on: [fetsh]"))
    assert message == "AF101 there is no step `fetsh` (did you mean `fetch`?)"


def test_a_cycle_is_spelled_out_and_points_at_a_dependency_that_closes_it() -> None:
    (finding,) = steps(
        f"id: a, {DELAY}, depends_on: [c]", f"id: b, {DELAY}, depends_on: [a]", f"id: c, {DELAY}, depends_on: [b]"
    )
    assert finding.message == "these steps wait for each other: `a` → `c` → `b` → `a`"
    assert finding.pointer == "/steps/0/depends_on/0"


def test_every_cycle_is_found_and_what_waits_behind_one_is_not_in_it() -> None:
    diagnostics = steps(
        f"id: a, {DELAY}, depends_on: [b]",
        f"id: b, {DELAY}, depends_on: [a]",
        f"id: behind, {DELAY}, depends_on: [a]",
        f"id: c, {DELAY}, depends_on: [d]",
        f"id: d, {DELAY}, depends_on: [c]",
    )
    assert [diagnostic.message.partition(": ")[2] for diagnostic in diagnostics] == [
        "`a` → `b` → `a`",
        "`c` → `d` → `c`",
    ]


GROUP = """
name: a
steps:
  - id: fan
    type: parallel
    depends_on: [{fan}]
    branches:
      - id: left
        steps:
          - {{id: l1, type: delay, config: {{duration_sec: 1}}, depends_on: [{l1}]}}
          - {{id: l2, type: delay, config: {{duration_sec: 1}}}}
      - id: right
        steps:
          - {{id: r1, type: delay, config: {{duration_sec: 1}}, depends_on: [{r1}]}}
  - {{id: after, type: delay, config: {{duration_sec: 1}}, depends_on: [{after}]}}
"""


def group(fan: str = "", l1: str = "", r1: str = "", after: str = "") -> list[Diagnostic]:
    return found(GROUP.format(fan=fan, l1=l1, r1=r1, after=after))


@pytest.mark.parametrize(
    ("wiring", "path"),
    [
        ({"l1": "fan"}, "`fan` → `l1` → `fan`"),
        ({"l1": "l2"}, "`l1` → `l2` → `l1`"),
        ({"fan": "l1"}, "`fan` → `l1` → `fan`"),
        ({"l1": "after", "after": "fan"}, "`fan` → `l1` → `after` → `fan`"),
        ({"l1": "r1", "r1": "l2"}, "`l1` → `r1` → `l2` → `l1`"),
    ],
)
def test_a_cycle_through_a_group_is_found(wiring: dict[str, str], path: str) -> None:
    (finding,) = group(**wiring)
    assert (finding.code, finding.message.partition(": ")[2]) == ("AF103", path)


@pytest.mark.parametrize(
    "wiring",
    [{"r1": "l2"}, {"after": "l1"}, {"after": "fan.left.l1"}, {"r1": "fan.left.l2"}, {"after": "fan"}, {"l1": "after"}],
)
def test_steps_may_wait_across_branches_and_levels_by_short_or_full_id(wiring: dict[str, str]) -> None:
    assert group(**wiring) == []


def test_the_order_of_steps_in_the_file_does_not_matter() -> None:
    assert steps(f"id: b, {DELAY}, depends_on: [a]", f"id: a, {DELAY}") == []


def test_ids_are_unique_in_the_whole_flow() -> None:
    (finding,) = steps(
        f"id: x, {DELAY}",
        f"id: p, type: parallel, branches: [{{id: b, steps: [{{id: x, {DELAY}}}]}}]",
        more=f"on_failure: {{id: f, {DELAY}}}",
    )
    assert finding.message == "the id `x` is already given to the step in line 3"
    assert finding.pointer == "/steps/1/branches/0/steps/0/id"


def test_the_id_of_the_failure_step_is_taken_too() -> None:
    assert codes(steps(f"id: x, {DELAY}", more=f"on_failure: {{id: x, {DELAY}}}")) == ["AF100"]


def test_the_failure_step_waits_for_nothing() -> None:
    message = one(steps(f"id: x, {DELAY}", more=f"on_failure: {{id: f, {DELAY}, depends_on: [x]}}"))
    assert message == "AF020 `depends_on` is not allowed in `on_failure`"


# --- foreach -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreach",
    ["inputs", "'{{ steps.a.outputs }}'", "[1, 2]", "['{{ run.id }}', {deep: '{{ inputs }}'}]", "[]"],
)
def test_a_foreach_is_an_expression_a_template_or_a_list(foreach: str) -> None:
    use = "type: transform, config: {mappings: {n: '{{ item }}-{{ index }}'}}, condition: index > 0"
    first = "id: a, type: transform, config: {mappings: {n: 1}}"
    assert steps(first, f"id: s, depends_on: [a], foreach: {foreach}, max_parallel: 2, {use}") == []


@pytest.mark.parametrize("name", ["item", "index"])
def test_names_of_items_exist_only_in_a_step_with_a_foreach(name: str) -> None:
    assert one(mapping(f"{{{{ {name} }}}}")) == f"AF108 `{name}` is available only in a step with `foreach`"
    own = f"id: s, type: transform, config: {{mappings: {{n: 1}}}}, foreach: '{{{{ [{name}] }}}}'"
    assert one(steps(own)).startswith(f"AF108 `{name}`")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("foreach: 7", "AF022"),
        ("foreach: {a: 1}", "AF022"),
        ("foreach: 'inputs.('", "AF200"),
        ("foreach: inputs, max_parallel: 0", "AF025"),
        ("foreach: inputs, max_parallel: 10001", "AF025"),
        ("foreach: inputs, max_parallel: '2'", "AF022"),
        ("foreach: steps.nowhere.outputs", "AF104"),
        ("foreach: steps.s.outputs", "AF105"),
        ("max_parallel: 2", "AF032"),
    ],
)
def test_a_foreach_that_cannot_be_is_found(keys: str, says: str) -> None:
    assert one(steps(f"id: s, {DELAY}, {keys}")).startswith(says)


def test_a_parallel_takes_no_foreach() -> None:
    message = one(steps(f"id: p, type: parallel, foreach: inputs, branches: [{{id: b, steps: [{{id: s, {DELAY}}}]}}]"))
    assert message == "AF020 `foreach` is not for `parallel` steps: put a `flow` step in its place"


def test_the_outputs_of_a_foreach_are_a_list() -> None:
    loop = "id: a, type: transform, foreach: [1], config: {mappings: {n: 1}}"

    def read(path: str) -> str:
        use = f"id: b, depends_on: [a], type: transform, config: {{mappings: {{n: '{{{{ steps.a.outputs{path} }}}}'}}}}"
        wrong = steps(loop, use)
        return one(wrong) + str(wrong[0]) if wrong else ""

    assert read("") == read("[0]") == read("[0].n") == read(" | length") == ""
    assert read(".n").startswith("AF106 the outputs of `a` are a list, one entry for each item")
    assert "map(attribute='n')" in read(".n")
    assert read("[0].m").startswith("AF106 the step `a` has no output `m`")


# --- config --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        "url: 'HTTPS' ",
        "url: 'ftp://x.example.com'",
        "url: '/orders'",
        "url: https://x.example.com, method: get",
        "url: https://x.example.com, ok_status: []",
        "url: https://x.example.com, ok_status: [99]",
        "url: https://x.example.com, ok_status: 2xx",
        "url: https://x.example.com, ok_status: [200-299, 600-700]",
        "url: https://x.example.com, auth: {}",
        "url: https://x.example.com, auth: {bearer: a, basic: {username: a, password: b}}",
        "url: https://x.example.com, auth: {basic: {username: a}}",
        "url: https://x.example.com, auth: {digest: a}",
        "url: https://x.example.com, auth: '{{ secrets.A }}'",
        "url: https://x.example.com, body: 1, form: {}",
        "url: https://x.example.com, headers: {a b: c}",
        "url: https://x.example.com, headers: [a]",
        "url: https://x.example.com, query: {a: {b: 1}}",
        "url: https://x.example.com, follow_redirects: 'yes'",
        "url: https://x.example.com, max_response_bytes: 0",
        "url: https://x.example.com, timeout: 5",
        "method: GET",
    ],
)
def test_a_wrong_http_config_is_refused(config: str) -> None:
    assert codes(steps(f"id: s, type: http, config: {{{config}}}")) != []


@pytest.mark.parametrize(
    "config",
    [
        "url: 'http://127.0.0.1:8080/a?b=c'",
        "url: '{{ vars.base }}/orders'",
        "url: 'https://{{ vars.host }}/orders'",
        "url: '{{ vars.base }}', method: '{{ vars.method }}'",
        "url: https://x.example.com, method: DELETE",
        "url: https://x.example.com, ok_status: 204",
        "url: https://x.example.com, ok_status: 200-399",
        "url: https://x.example.com, ok_status: [200, '404', 500-599]",
        "url: https://x.example.com, auth: {basic: {username: '{{ secrets.A }}', password: '{{ secrets.B }}'}}",
        "url: https://x.example.com, body: [1, {a: null}], headers: {X-A: 1, x-b: true, x-c: null}",
        "url: https://x.example.com, form: {a: 1}, query: {a: [1, 2], b: null}",
        "url: https://x.example.com, query: '{{ vars.query }}', headers: '{{ vars.headers }}'",
        "url: https://x.example.com, follow_redirects: false, verify_tls: false, max_response_bytes: 1024",
    ],
)
def test_a_right_http_config_is_accepted(config: str) -> None:
    assert steps(f"id: s, type: http, config: {{{config}}}") == []


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ("duration_sec: 0.5", True),
        ("duration_ms: '{{ vars.x }}'", True),
        ("duration_sec: 2592000", True),
        ("until: 2026-01-05T09:00:00Z", True),
        ("until: 2026-01-05", True),
        ("until: '{{ vars.x }}'", True),
        ("duration_sec: -1", False),
        ("duration_sec: '5'", False),
        ("duration_sec: true", False),
        ("until: 5", False),
        ("until: ''", False),
        ("until: soon", False),
        ("duration_sec: 1, duration_ms: 1", False),
        ("seconds: 1", False),
    ],
)
def test_a_delay_has_one_duration_or_time(config: str, good: bool) -> None:
    assert (steps(f"id: s, type: delay, config: {{{config}}}") == []) is good


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("timeout_sec: 0.001", True),
        ("timeout_sec: 86400", True),
        ("timeout_sec: 0", False),
        ("timeout_sec: 86401", False),
        ("retry: {max_attempts: 1}", True),
        ("retry: {max_attempts: 100}", True),
        ("retry: {max_attempts: 101}", False),
        ("retry: {max_attempts: 2.0}", False),
        ("retry: {initial_delay_ms: 0, max_delay_ms: 86400000}", True),
        ("retry: {initial_delay_ms: -1}", False),
        ("retry: {max_delay_ms: 86400001}", False),
        ("retry: {on_status: [100, 599]}", True),
        ("retry: {on_status: [600]}", False),
        ("retry: {jitter: some}", False),
        ("continue_on_error: 'true'", False),
        ("depends_on: [1]", False),
        ("condition: 1", False),
        ("condition: false", True),
    ],
)
def test_the_common_keys_have_their_bounds(line: str, good: bool) -> None:
    assert (steps(f"id: s, {HTTP}, {line}") == []) is good


@pytest.mark.parametrize("kind", ["delay", "transform", "parallel"])
def test_retries_without_attempts_are_a_warning(kind: str) -> None:
    rest = {
        "delay": "config: {duration_sec: 1}",
        "transform": "config: {mappings: {}}",
        "parallel": f"branches: [{{id: b, steps: [{{id: x, {DELAY}}}]}}]",
    }[kind]
    (finding,) = steps(f"id: s, type: {kind}, {rest}, retry: {{max_attempts: 2}}")
    assert (finding.code, finding.severity) == ("AF032", "warning")


# --- step types of other packages ----------------------------------------------------------------------------------


def test_a_plugin_type_is_known_and_its_config_checked() -> None:
    assert steps("id: s, type: chat, config: {room: 5}", chat=_CHAT) == []
    assert one(steps("id: s, type: chat", chat=_CHAT)) == "AF034 `config` of a `chat` step: lacks `room`"
    (finding,) = steps("id: s, type: chat, config: {room: x}", chat=_CHAT)
    assert finding.pointer == "/steps/0/config/room"
    assert finding.message == "`config` of a `chat` step: must be of type integer, not the text `x`"


def test_a_template_may_stand_for_any_value_of_a_plugin() -> None:
    assert steps("id: s, type: chat, config: {room: '{{ vars.room }}'}", chat=_CHAT) == []


def test_a_plugin_with_a_broken_schema_is_a_finding_not_a_crash() -> None:
    assert "cannot be used" in one(steps("id: s, type: chat", chat={"type": "nonsense"}))


def test_a_misspelt_type_gets_the_near_one_and_an_odd_one_the_list() -> None:
    assert one(steps("id: s, type: chatt", chat={})) == "AF028 there is no step type `chatt` (did you mean `chat`?)"
    assert one(steps("id: s, type: sql")).endswith("(the types are http, delay, transform, parallel, flow, approval)")


# --- broken files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["null", "5", "x", "[]", "{}", "[[]]", "[null]", "[{}]", "{a: 1}", "'{{ x'", "true"])
@pytest.mark.parametrize(
    "template",
    [
        "{B}",
        "name: {B}\nsteps: {B}\ninputs: {B}\noutputs: {B}\nschedules: {B}\non_failure: {B}\nlabels: {B}",
        "name: a\ndefaults: {B}\nsteps: {B}",
        "name: a\nsteps: [{id: {B}, type: {B}, depends_on: {B}, config: {B}, outputs: {B}, condition: {B}}]",
        "name: a\nsteps: [{id: a, type: parallel, branches: {B}}, {id: b, type: parallel, branches: [{id: {B}}]}]",
        "name: a\nsteps: [{id: b, type: parallel, branches: [{id: c, steps: {B}}]}]",
        "name: a\nsteps: [{id: a, type: http, config: {url: {B}, auth: {B}, ok_status: {B}}, retry: {B}}]",
        "name: a\nsteps: [{id: a, type: delay, config: {until: {B}}}]",
        "name: a\nsteps: [{id: {B}, type: transform, config: {mappings: {B}}}]",
        "name: a\ninputs: {a: {B}, b: {type: {B}, enum: {B}, pattern: {B}, schema: {B}, required: {B}}}\nsteps: {B}",
        "name: a\nsteps: []\nschedules: [{name: {B}, cron: {B}, timezone: {B}, inputs: {B}}, {B}]",
    ],
)
def test_a_file_of_any_shape_is_findings_never_a_crash(template: str, broken: str) -> None:
    text = template.replace("{B}", broken)
    loaded = load_flow(text)
    assert check_flow(loaded) is not None
    assert validate_text(text).flow is None
