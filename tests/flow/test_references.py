"""What templates may read: which steps, which of their outputs, and which names in which place."""

from __future__ import annotations

import pytest

from automata.errors import Diagnostic
from tests.flow.written import DELAY, HTTP, codes, found, mapping, one, steps

# --- templates: which steps -----------------------------------------------------------------------------------------

READ = "{{ steps.fetch.outputs.status_code }}"


@pytest.mark.parametrize(
    "before",
    [
        [f"id: fetch, {HTTP}"],
        [f"id: fetch, {HTTP}", f"id: other, {DELAY}"],
        [f"id: fetch, {HTTP}, depends_on: [other]", f"id: other, {DELAY}"],
    ],
)
def test_a_step_that_is_not_upstream_cannot_be_read(before: list[str]) -> None:
    depends_on = "other" if len(before) == 2 else ""
    message = one(mapping(READ, *before, depends_on=depends_on))
    assert message == "AF105 the step `fetch` is not upstream of `reader` (add `fetch` to `depends_on`)"


def test_upstream_is_transitive() -> None:
    assert mapping(READ, f"id: fetch, {HTTP}", f"id: mid, {DELAY}, depends_on: [fetch]", depends_on="mid") == []


def test_a_step_cannot_read_itself_or_what_comes_later() -> None:
    assert one(mapping("{{ steps.reader.status }}")) == "AF105 the step `reader` reads itself"
    late = f"id: late, {DELAY}, depends_on: [reader]"
    assert one(mapping("{{ steps.late.status }}", late)).endswith("(it starts after `reader`)")


def test_a_misspelt_step_gets_the_near_id() -> None:
    message = one(mapping("{{ steps.fetsh.status }}", f"id: fetch, {HTTP}", depends_on="fetch"))
    assert message == "AF104 there is no step `fetsh` (did you mean `fetch`?)"


def test_conditions_are_checked_also_without_braces() -> None:
    for condition in ("{{ steps.b.status == 'x' }}", "steps.b.status == 'x'"):
        (finding,) = steps(f'id: a, {DELAY}, condition: "{condition}"', f"id: b, {DELAY}")
        assert finding.code == "AF105"
        assert finding.column == len(f'  - {{id: a, {DELAY}, condition: "') + condition.index("steps") + 1


NESTED = """
name: a
steps:
  - {{id: before, {delay}}}
  - id: fan
    type: parallel
    depends_on: [before]
    branches:
      - id: left
        steps:
          - {{id: l1, {delay}}}
          - {{id: l2, type: transform, config: {{mappings: {{x: "{l2}"}}}}}}
      - id: right
        steps:
          - id: inner
            type: parallel
            branches:
              - id: deep
                steps:
                  - {{id: r1, type: transform, config: {{mappings: {{y: "{r1}"}}}}}}
  - {{id: after, type: transform, depends_on: [fan], config: {{mappings: {{x: "{after}"}}}}}}
"""


def nested(**templates: str) -> list[Diagnostic]:
    return found(NESTED.format(**{"l2": "", "r1": "", "after": "", "delay": DELAY, **templates}))


@pytest.mark.parametrize(
    "templates",
    [
        {"l2": "{{ steps.l1.outputs.slept_ms }}"},
        {"l2": "{{ steps.before.status }}"},
        {"r1": "{{ steps.before.outputs.slept_ms }}"},
        {"after": "{{ steps.l1.outputs.slept_ms }}"},
        {"after": "{{ steps['fan.left.l1'].outputs.slept_ms }}"},
        {"after": "{{ steps['fan.right.inner.deep.r1'].outputs.y }}"},
        {"after": "{{ steps.before.status }}"},
        {"after": "{{ steps.fan.outputs.left.l1.slept_ms }}"},
        {"after": "{{ steps.fan.outputs.right.inner.deep.r1.y }}"},
        {"after": "{{ steps.fan.outputs }}"},
    ],
)
def test_what_is_over_can_be_read_across_levels(templates: dict[str, str]) -> None:
    assert nested(**templates) == []


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ({"l2": "{{ steps.r1.outputs.y }}"}, "AF105 the step `r1` is not upstream of `l2` (add `r1` to `depends_on`)"),
        ({"r1": "{{ steps.inner.status }}"}, "AF105 `inner` is over only after the steps inside it"),
        ({"r1": "{{ steps.fan.status }}"}, "AF105 `fan` is over only after the steps inside it"),
        ({"l2": "{{ steps.after.status }}"}, "AF105 the step `after` is not upstream of `l2` (it starts after `l2`)"),
        (
            {"after": "{{ steps.fan.outputs.lft.l1 }}"},
            "AF106 the step `fan` has no output `lft` (did you mean `left`?)",
        ),
        (
            {"after": "{{ steps.fan.outputs.left.l3 }}"},
            "AF106 the branch `left` of `fan` has no step `l3`",
        ),
        (
            {"after": "{{ steps.fan.outputs.left.l1.slept }}"},
            "AF106 the step `l1` has no output `slept` (did you mean `slept_ms`?)",
        ),
        ({"after": "{{ steps.fan.outputs.right.inner.deep.r1.z }}"}, "AF106 the step `r1` has no output `z`"),
        (
            {"after": "{{ steps['fan.leftt.l1'].status }}"},
            "AF104 there is no step `fan.leftt.l1` (did you mean `fan.left.l1`?)",
        ),
        (
            {"after": "{{ steps['fan.left.l9'].status }}"},
            "AF104 there is no step `fan.left.l9` (did you mean `fan.left.l2`?)",
        ),
    ],
)
def test_what_is_not_over_or_not_there_cannot_be_read_across_levels(templates: dict[str, str], message: str) -> None:
    assert one(nested(**templates)) == message


def test_flow_outputs_may_read_every_step_but_the_failure_step() -> None:
    failure = f"on_failure: {{id: f, {DELAY}}}\n"
    good = steps(f"id: a, {DELAY}", more=failure + 'outputs: {x: "{{ steps.a.outputs.slept_ms }}"}')
    assert good == []
    bad = steps(f"id: a, {DELAY}", more=failure + 'outputs: {x: "{{ steps.f.outputs.slept_ms }}"}')
    assert one(bad) == "AF105 `f` runs in `on_failure`, after every other step"


def test_the_failure_step_may_read_every_step_and_the_error() -> None:
    template = "{{ failed_step }}: {{ error.message }} {{ steps.a.status }}"
    more = f'on_failure: {{id: f, type: transform, config: {{mappings: {{x: "{template}"}}}}}}'
    assert steps(f"id: a, {DELAY}", more=more) == []


def test_a_step_read_by_a_computed_name_is_refused() -> None:
    assert codes(mapping("{{ steps[inputs.x].status }}", more="inputs: {x: {}}")) == ["AF208"]


# --- templates: which outputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (HTTP, ["status_code", "headers", "body", "body.data[0].x"]),
        (DELAY, ["slept_ms"]),
        ("type: transform, config: {mappings: {total: 1, rows: []}}", ["total", "rows"]),
        (f"{HTTP}, outputs: {{orders: '{{{{ response.body }}}}'}}", ["orders"]),
        (f"{DELAY}, outputs: {{waited: '{{{{ result.slept_ms }}}}'}}", ["waited"]),
        (f"type: parallel, branches: [{{id: b, steps: [{{id: x, {DELAY}}}]}}]", ["b", "b.x", "b.x.slept_ms"]),
    ],
)
def test_outputs_have_the_names_that_are_declared_or_the_defaults(step: str, names: list[str]) -> None:
    for name in names:
        assert mapping(f"{{{{ steps.s.outputs.{name} }}}}", f"id: s, {step}", depends_on="s") == []
    for name in ("nothing", "nothing.body"):
        assert codes(mapping(f"{{{{ steps.s.outputs.{name} }}}}", f"id: s, {step}", depends_on="s")) == ["AF106"]


def test_declared_outputs_replace_the_defaults() -> None:
    step = f"id: s, {HTTP}, outputs: {{orders: 1}}"
    message = one(mapping("{{ steps.s.outputs.body }}", step, depends_on="s"))
    assert message == "AF106 the step `s` has no output `body`"


def test_an_unknown_output_stays_an_error_under_a_default() -> None:
    step = f"id: s, {HTTP}, outputs: {{orders: 1}}"
    assert codes(mapping("{{ steps.s.outputs.order | default(1) }}", step, depends_on="s")) == ["AF106"]


def test_outputs_of_plugin_types_are_not_guessed() -> None:
    read = "config: {mappings: {x: '{{ steps.s.outputs.y }}'}}"
    assert steps("id: s, type: chat", f"id: r, type: transform, depends_on: [s], {read}", chat={}) == []


def test_a_forgotten_outputs_is_suggested() -> None:
    message = one(mapping("{{ steps.s.slept_ms }}", f"id: s, {DELAY}", depends_on="s"))
    assert message == "AF111 a step has `outputs` and `status`, not `slept_ms` (write `steps.s.outputs.slept_ms`)"


@pytest.mark.parametrize(
    ("step", "template", "code"),
    [
        (HTTP, "{{ response.body.data }}", None),
        (HTTP, "{{ response.status }}", None),
        (HTTP, "{{ response.bdy }}", "AF111"),
        (HTTP, "{{ result.body }}", "AF108"),
        (DELAY, "{{ result.slept_ms }}", None),
        (DELAY, "{{ result.slept }}", "AF106"),
        (DELAY, "{{ response.body }}", "AF108"),
        ("type: transform, config: {mappings: {a: 1}}", "{{ result.a }}", None),
        ("type: transform, config: {mappings: {a: 1}}", "{{ result.b }}", "AF106"),
        (f"type: parallel, branches: [{{id: b, steps: [{{id: x, {DELAY}}}]}}]", "{{ result.b.x.slept_ms }}", None),
        (f"type: parallel, branches: [{{id: b, steps: [{{id: x, {DELAY}}}]}}]", "{{ result.b.y }}", "AF106"),
        (HTTP, "{{ secrets.X }}", "AF108"),
        (HTTP, "{{ steps.s.status }}", "AF105"),
    ],
)
def test_outputs_templates_see_what_their_type_gives(step: str, template: str, code: str | None) -> None:
    assert codes(steps(f"id: s, {step}, outputs: {{o: '{template}'}}")) == ([code] if code else [])


# --- templates: which names -----------------------------------------------------------------------------------------


def test_secrets_are_available_in_http_config_and_nowhere_else() -> None:
    config = "config: {url: 'https://x.example.com', auth: {bearer: '{{ secrets.T }}'}}"
    assert steps(f"id: s, type: http, {config}") == []
    message = "AF108 `secrets` is available only in the `config` of an `http` step"
    assert one(mapping("{{ secrets.T }}")) == message
    assert one(steps(f"id: s, {HTTP}, condition: '{{{{ secrets.T }}}}'")) == message
    assert one(steps(f"id: s, {HTTP}", more="outputs: {x: '{{ secrets.T }}'}")) == message
    assert one(steps("id: s, type: chat, config: {x: '{{ secrets.T }}'}", chat={})) == message


@pytest.mark.parametrize("name", ["error.message", "failed_step"])
def test_the_error_is_available_in_the_failure_step_only(name: str) -> None:
    assert one(mapping(f"{{{{ {name} }}}}")).endswith("is available only in `on_failure`")


def test_a_misspelt_input_gets_the_near_name() -> None:
    message = one(mapping("{{ inputs.sourceid }}", more="inputs: {source_id: {}}"))
    assert message == "AF107 the flow declares no input `sourceid` (did you mean `source_id`?)"


def test_variables_are_left_to_the_environment() -> None:
    assert mapping("{{ vars.anything.at_all }}") == []


def test_an_unknown_filter_gets_the_near_name() -> None:
    message = one(mapping("{{ vars.x | uper }}"))
    assert message == "AF205 unknown filter `uper` (did you mean `upper`?)"


def test_every_template_of_a_tree_is_checked() -> None:
    config = "{url: 'https://x.example.com', body: {a: [1, {b: '{{ inputs.x }}'}], c: '{{ inputs.y }}'}}"
    pointers = [finding.pointer for finding in steps(f"id: s, type: http, config: {config}")]
    assert pointers == ["/steps/0/config/body/a/1/b", "/steps/0/config/body/c"]


def test_a_step_that_reads_no_body_has_none_to_give() -> None:
    step = "id: a, type: http, config: {url: https://a.example.com%s}, outputs: {x: '{{ response.%s }}'}"
    for name in ("body", "body.id"):
        message = one(steps(step % (", response: none", name)))
        assert message == "AF111 the step does not read its answer's body (remove `response: none`)"
    fetch = "id: fetch, type: http, config: {url: https://a.example.com, response: none}"
    message = one(mapping("{{ steps.fetch.outputs.body.id }}", fetch, depends_on="fetch"))
    assert message == "AF106 the step `fetch` reads no body (remove `response: none`)"
    assert mapping("{{ steps.fetch.outputs.status_code }}", fetch, depends_on="fetch") == []
    for more, name in ((", response: none", "status"), (", response: text", "body"), ("", "body_error")):
        assert steps(step % (more, name)) == []
