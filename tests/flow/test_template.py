"""What a template means: types, text, names, errors."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from automata.flow.template import (
    AMBIENT_KEY,
    CODES,
    MAX_TEMPLATE,
    Ambient,
    Budget,
    Reference,
    TemplateError,
    compile_condition,
    compile_template,
    compile_value,
)

ORDERS = [{"id": 1, "name": "b", "tags": ["x"]}, {"id": 2, "name": "a", "tags": []}]
CONTEXT: dict[str, Any] = {
    "inputs": {
        "n": 3,
        "f": 1.5,
        "s": "hé",
        "yes": True,
        "nothing": None,
        "list": [3, 1, 2],
        "object": {"items": 5, "k-v": 1, "a": {"b": "deep"}},
        "orders": ORDERS,
        "hostile": "{{ inputs.n }}{% for x in y %}",
    },
    "steps": {
        "fetch": {"outputs": {"orders": ORDERS, "total": 2}, "status": "SUCCEEDED"},
        "fetch-orders": {"outputs": {"n": 1}, "status": "SUCCEEDED"},
        "fan.left.fetch": {"outputs": {"n": 2}, "status": "SUCCEEDED"},
    },
    "run": {"id": "r1"},
    "vars": {"not": 1},
    "item": "root item",
    AMBIENT_KEY: Ambient(lambda: datetime(2026, 7, 1, 12, tzinfo=UTC), lambda: "u-1"),
}


def render(text: str, context: dict[str, Any] | None = None) -> Any:
    return compile_template(text).render(CONTEXT if context is None else context)


def refusal(text: str, context: dict[str, Any] | None = None) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        render(text, context)
    assert caught.value.code in CODES
    return caught.value


# --- types and text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [10**23, -(10**30), 10**400, 2**63 - 1, 2**4000], ids=["23", "30", "400", "63 bits", "4000 bits"]
)
@pytest.mark.parametrize(
    "text",
    [
        "n={{ item }}",
        "{{ item ~ '' }}",
        "{{ [item] | join(',') }}",
        "{{ item | json }}",
        "{{ item | string }}",
        "{{ [item] }} ",
    ],
)
def test_a_whole_number_in_a_text_keeps_all_its_digits(text: str, number: int) -> None:
    assert str(number) in str(compile_value(text).render({"item": number}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ inputs.n }}", 3),
        ("{{ inputs.yes }}", True),
        ("{{ inputs.nothing }}", None),
        ("{{ inputs.f }}", 1.5),
        ("  {{ inputs.list }}\n", [3, 1, 2]),
        ("{{inputs.object.a}}", {"b": "deep"}),
        ("{{- inputs.n -}}", 3),
        ("{# why #}{{ inputs.n }}", 3),
        ("{{ [inputs.n, none, null, true, false, 'x', 1.5, -2] }}", [3, None, None, True, False, "x", 1.5, -2]),
        ("{{ {'a': inputs.n, 'b': [1]} }}", {"a": 3, "b": [1]}),
        ("{{ 1, 2 }}", [1, 2]),
        ("{{ (1, (2, 3)) }}", [1, [2, 3]]),
        ("{{ inputs.n + 1 }}", 4),
        ("{{ 0x10 + 1_000 }}", 1016),
    ],
)
def test_an_expression_alone_keeps_its_type(text: str, value: Any) -> None:
    result = render(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n={{ inputs.n }}", "n=3"),
        ("{{ inputs.n }}{{ inputs.n }}", "33"),
        ("f={{ inputs.f }}", "f=1.5"),
        ("b={{ inputs.yes }}", "b=true"),
        ("z={{ inputs.nothing }}", "z=null"),
        ("s={{ inputs.s }}", "s=hé"),
        ("l={{ inputs.list }}", "l=[3,1,2]"),
        ("o={{ inputs.object.a }}", 'o={"b":"deep"}'),
        ("{% if inputs.yes %}{{ inputs.n }}{% endif %}", "3"),
        ("{{ inputs.n ~ inputs.yes ~ [1] }}", "3true[1]"),
        ("big={{ 2 ** 70 }}", "big=1180591620717411303424"),
        ("big={{ [2 ** 70] }}", "big=[1180591620717411303424]"),
        ("a\n{{ inputs.n }}\n", "a\n3\n"),
        ("a {{- inputs.n -}} b", "a3b"),
        ("a {%- if true %} b {%- endif %} c", "a b c"),
        ("a {# note #}{{ 1 }}", "a 1"),
        ("{% raw %}{{ as it is }}{% endraw %}", "{{ as it is }}"),
        ("x {%- raw -%} {{ a }} {%- endraw -%} y", "x{{ a }}y"),
        ("{{ '}}' }}%}", "}}%}"),
        ("{{ {'a': {'b': 1}}['a'] }}!", '{"b":1}!'),
    ],
)
def test_mixed_with_text_values_read_as_json_and_strings_as_themselves(text: str, value: str) -> None:
    assert render(text) == value


@pytest.mark.parametrize("text", ["", "plain", "{single}", "a { b } c", "{# no template, no comment #}", "x" * 40_000])
def test_text_without_braces_is_a_constant(text: str) -> None:
    template = compile_template(text)
    assert template.constant
    assert template.references == ()
    assert template.render({}) == text


@pytest.mark.parametrize("text", [r"{{ 'a\nb' }}", r"{{ 'a\u000Ab' }}", r"{{ 'a\x0ab' }}", '{{ "a\\nb" }}'])
def test_strings_know_the_usual_escapes(text: str) -> None:
    assert render(text) == "a\nb"


def test_other_backslashes_stay_for_regular_expressions() -> None:
    assert render(r"{{ '\d\b\1\\' }}") == "\\d\\b\\1\\"


@pytest.mark.parametrize("text", [r"{{ '\ud800' }}", r"{{ '\U00110000' }}"])
def test_a_string_that_is_no_text_is_refused(text: str) -> None:
    assert refusal(text).code == "AF200"


# --- leading dots and names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ .inputs.n }}", 3),
        ("{{.inputs.n}}", 3),
        ("{{- .inputs.n }}", 3),
        ("{{ [.inputs.n,.inputs.f] }}", [3, 1.5]),
        ("{{ coalesce(.inputs.x, .inputs.n) }}", 3),
        ("{{ .inputs.x | default(.inputs.n) }}", 3),
        ("{{ not .inputs.n }}", False),
        ("{{ -.inputs.n }}", -3),
        ("{{ 1+.inputs.n }}", 4),
        ("{{ 1.5 }}", 1.5),
        ("{{ .inputs.n if .inputs.yes else .inputs.f }}", 3),
        ("{{ .inputs.n in .inputs.list }}", True),
        ("{{ .inputs.list[.inputs.n - 1] }}", 2),
        ("{{ {'a': .inputs.n} }}", {"a": 3}),
        ("{{ (.inputs.n) }}", 3),
        ("{{ '.inputs.n' }}", ".inputs.n"),
        ("{{ inputs .n }}", 3),
        ("{{ inputs\n  .object\n  .a.b }}", "deep"),
        ("{% for o in .inputs.orders if .o.id > 1 %}{{ .o.name }}{% endfor %}", "a"),
        ("{% if .inputs.yes and .inputs.n %}y{% elif .inputs.n %}n{% endif %}", "y"),
        ("{{ .vars.not }}", 1),
        ("{{ vars.not is number }}", True),
        ("{{ .inputs.list.0 }}", 3),
        ("{{ .inputs.orders[0].tags[0] }}", "x"),
    ],
)
def test_a_leading_dot_may_stand_wherever_an_operand_starts(text: str, value: Any) -> None:
    assert render(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ inputs.object.items }}", 5),
        ("{{ inputs.object['k-v'] }}", 1),
        ("{{ inputs['object']['a'].b }}", "deep"),
        ("{{ steps['fetch'].outputs['total'] }}", 2),
        ("{{ steps.fetch-orders.outputs.n }}", 1),
        ("{{ .steps.fetch-orders.outputs.n + 1 }}", 2),
        ("{{ steps.fetch.outputs.total-1 }}", 1),
        ("{{ steps['fan.left.fetch'].outputs.n }}", 2),
        ("{{ inputs.list[-1] }}", 2),
        ("{{ inputs.list[1:] }}", [1, 2]),
        ("{{ inputs.s[0] }}", "h"),
        ("{{ inputs.s[::-1] }}", "éh"),
        ("{{ [[1, 2]][0][1] }}", 2),
        ("{{ (inputs.orders | first).name }}", "b"),
        ("{{ inputs.object[inputs.x | default('items')] }}", 5),
        ("{{ {'a': 1}.a }}", 1),
        ("{% for item in inputs.list %}{{ item }}{% endfor %}{{ item }}", "312root item"),
    ],
)
def test_paths_look_up_keys_and_positions_and_nothing_else(text: str, value: Any) -> None:
    assert render(text) == value


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("{{ .steps.fetch.outputs.orders }}", [("steps", ("fetch", "outputs", "orders"), 4, False)]),
        ("{{ steps['x y'].outputs.a }}", [("steps", ("x y", "outputs", "a"), 3, False)]),
        ("{{ steps.x.outputs['a'].b[0] }}", [("steps", ("x", "outputs", "a", "b", "0"), 3, False)]),
        (
            "{{ steps.x.outputs[inputs.k].c }}",
            [("steps", ("x", "outputs"), 3, False), ("inputs", ("k",), 19, False)],
        ),
        (
            "{{ inputs.a | default(inputs.b) }}",
            [("inputs", ("a",), 3, True), ("inputs", ("b",), 22, False)],
        ),
        ("{{ inputs.a is defined }}", [("inputs", ("a",), 3, True)]),
        ("{{ coalesce(inputs.a.b, 1) }}", [("inputs", ("a", "b"), 12, True)]),
        ("{% for o in inputs.l %}{{ o.x }}{{ loop.index }}{% endfor %}", [("inputs", ("l",), 12, False)]),
        (
            "{% for run in inputs.l %}{{ run.id }}{% endfor %}{{ run.id }}",
            [("inputs", ("l",), 14, False), ("run", ("id",), 52, False)],
        ),
        ("{{ inputs | length }}", [("inputs", (), 3, False)]),
        ("é {{ vars.x }}", [("vars", ("x",), 5, False)]),
        ("{{ secrets.TOKEN }}", [("secrets", ("TOKEN",), 3, False)]),
    ],
)
def test_references_are_known_without_rendering(text: str, references: list[Any]) -> None:
    assert compile_template(text).references == tuple(Reference(*each) for each in references)


# --- statements ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{% if inputs.n > 5 %}a{% elif inputs.n > 2 %}b{% else %}c{% endif %}", "b"),
        ("{% if inputs.nothing %}a{% endif %}", ""),
        ("{% for i in inputs.list %}{{ i }},{% endfor %}", "3,1,2,"),
        ("{% for i in [] %}a{% else %}none{% endfor %}", "none"),
        ("{% for i in inputs.list if i > 5 %}a{% else %}none{% endfor %}", "none"),
        ("{% for k, v in inputs.object.a | items %}{{ k }}={{ v }}{% endfor %}", "b=deep"),
        ("{% for k in inputs.object %}{{ k }} {% endfor %}", "items k-v a "),
        ("{% for c in 'abc' %}{{ c }}.{% endfor %}", "a.b.c."),
        ("{% for i in inputs.list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }} {% endfor %}", "103 212 321 "),
        ("{% for i in inputs.list %}{{ i }}{{ '' if loop.last else ', ' }}{% endfor %}", "3, 1, 2"),
        (
            "{% for i in inputs.list %}{{ loop.previtem | default('-') }}"
            "{{ loop.nextitem | default('-') }} {% endfor %}",
            "-1 32 1- ",
        ),
        (
            "{% for a in [1, 2] %}{% for b in [3, 4] %}{{ a }}{{ b }}{{ loop.first }} {% endfor %}{{ loop.index }};"
            "{% endfor %}",
            "13true 14false 1;23true 24false 2;",
        ),
        ("{% for a in [[1, 2]] %}{% for a in a %}{{ a }}{% endfor %}{% endfor %}", "12"),
    ],
)
def test_if_and_for_write_text(text: str, value: str) -> None:
    assert render(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ 7 // 2 }}", 3),
        ("{{ 7 / 2 }}", 3.5),
        ("{{ 7 % 4 }}", 3),
        ("{{ 2 ** 10 }}", 1024),
        ("{{ 1 + 2 * 3 }}", 7),
        ("{{ (1 + 2) * 3 }}", 9),
        ("{{ 'a' + 'b' }}", "ab"),
        ("{{ [1] + [2] }}", [1, 2]),
        ("{{ 'ab' * 2 }}", "abab"),
        ("{{ 2 * [1] }}", [1, 1]),
        ("{{ 1 < 2 < 3 }}", True),
        ("{{ 1 < 3 < 2 }}", False),
        ("{{ 'a' < 'b' }}", True),
        ("{{ 'é' in inputs.s }}", True),
        ("{{ 'b' not in inputs.object }}", True),
        ("{{ [1, {'a': [2]}] == [1, {'a': [2]}] }}", True),
        ("{{ [1] != [2] }}", True),
        ("{{ {'a': 1} in [{'a': 1}] }}", True),
        ("{{ 'x' == 1 }}", False),
        ("{{ inputs.n or 1 }}", 3),
        ("{{ inputs.nothing or 'else' }}", "else"),
        ("{{ inputs.n and 0 }}", 0),
        ("{{ inputs.n is odd and inputs.n is not even }}", True),
        ("{{ 6 is divisibleby 3 }}", True),
        ("{{ inputs.list is sequence and inputs.object is mapping }}", True),
        ("{{ inputs.n is integer and inputs.yes is not integer and inputs.nothing is none }}", True),
        ("{{ inputs.n is in [1, 3] }}", True),
        ("{{ 'a' 'b' }}", "ab"),
    ],
)
def test_operators_work_on_data(text: str, value: Any) -> None:
    assert render(text) == value


# --- undefined -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named", "near"),
    [
        ("{{ .steps.fetch.outputs.ordrs }}", "steps.fetch.outputs.ordrs", "orders"),
        ("{{ .steps.fetch.outputs.ordrs | json }}", ".steps.fetch.outputs.ordrs | json", "orders"),
        ("{{ steps.fetc.outputs.orders }}", "steps.fetc", "fetch"),
        ("x{{ inputs.lists }}", "{{ inputs.lists }}", "list"),
        ("{{ inputs['object'].itms }}", "inputs.object.itms", "items"),
        ("{{ inputs.object['k v'] }}", "inputs.object['k v']", "k-v"),
        ("{% for o in inputs.orders %}{{ o.nam }}{% endfor %}", "o.nam", "name"),
        ("{{ (inputs.orders | first).nme }}", "{{ (inputs.orders | first).nme }}", "name"),
    ],
)
def test_undefined_names_the_expression_and_the_nearest_name(text: str, named: str, near: str) -> None:
    error = refusal(text)
    assert error.code == "AF210"
    assert named in error.message
    assert error.hint == f"Did you mean `{near}`?"
    assert error.position is not None


@pytest.mark.parametrize(
    "text",
    [
        "{{ inputs.x }}",
        "{{ inputs.x.y.z }}",
        "{{ inputs.list[3] }}",
        "{{ inputs.list[-4] }}",
        "{{ inputs.list.x }}",
        "{{ inputs.object[0] }}",
        "{{ inputs.object[inputs.n] }}",
        "{{ inputs.nothing.x }}",
        "{{ inputs.n.real }}",
        "{{ inputs.s.upper }}",
        "{{ response.body }}",
        "{{ response }}",
        "{{ [] | first }}",
        "{{ [] | max }}",
        "{{ 'a' if false }}",
        "{{ inputs.orders | map(attribute='x') }}",
        "{{ inputs.x + 1 }}",
        "{{ inputs.x ~ 'a' }}",
        "{{ inputs.x == 1 }}",
        "{{ inputs.x | upper }}",
        "{{ not inputs.x }}",
        "{{ inputs.n and inputs.x }}",
        "{% if inputs.x %}{% endif %}",
        "{% for i in inputs.x %}{% endfor %}",
    ],
)
def test_undefined_is_an_error_wherever_it_is_used(text: str) -> None:
    assert refusal(text).code == "AF210"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ inputs.x | default(1) }}", 1),
        ("{{ inputs.x.y.z | default(1) }}", 1),
        ("{{ inputs.x | d(1) | string }}", "1"),
        ("{{ inputs.x | default(inputs.y) | default(2) }}", 2),
        ("{{ inputs.list[9] | default('none') }}", "none"),
        ("{{ [] | first | default(0) }}", 0),
        ("{{ response.body | default({}) }}", {}),
        ("{{ inputs.n | default(inputs.x) }}", 3),
        ("{{ inputs.nothing | default(1) }}", None),
        ("{{ inputs.nothing | default(1, true) }}", 1),
        ("{{ '' | default(1, boolean=true) }}", 1),
        ("{{ inputs.x | default(default_value=4) }}", 4),
        ("{{ inputs.x.y is defined }}", False),
        ("{{ inputs.x is undefined }}", True),
        ("{{ inputs.nothing is defined }}", True),
        ("{{ coalesce(inputs.x, inputs.nothing, 5) }}", 5),
        ("{{ inputs.x | coalesce(6) }}", 6),
        ("{{ coalesce(inputs.x) }}", None),
        ("{{ inputs.x if inputs.x is defined else 7 }}", 7),
        ("{{ inputs.orders | map(attribute='x', default=0) }}", [0, 0]),
        ("{{ inputs.orders | selectattr('x', 'defined') }}", []),
        ("{{ inputs.orders | rejectattr('name', 'undefined') | length }}", 2),
    ],
)
def test_default_coalesce_and_defined_are_the_ways_out(text: str, value: Any) -> None:
    assert render(text) == value


def test_a_default_hides_absence_but_no_mistake() -> None:
    assert refusal("{{ (inputs.list + 1) | default(1) }}").code == "AF211"


# --- refused while compiling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{{ inputs.a", "AF200", "ends before"),
        ("{{ 'a }}", "AF200", "string is never closed"),
        ("{{ inputs.a }", "AF200", "}"),
        ("{{ }}", "AF200", "Expected"),
        ("{{ 1 + }}", "AF200", ""),
        ("{{ (1 }}", "AF200", ""),
        ("{{ 1) }}", "AF200", "closed"),
        ("{{ [1) }}", "AF200", "closed"),
        ("{{ a ? b : c }}", "AF200", "'?'"),
        ("{% if inputs.a %}", "AF200", "endif"),
        ("{% endif %}", "AF200", "endif"),
        ("{# never closed {{ 1 }}", "AF200", "#}"),
        ("{% raw %}{{", "AF200", "endraw"),
        ("{{ 1e999 }}", "AF200", "too large"),
        ("{{ 07 }}", "AF200", "number"),
        ("{{ " + "9" * 1300 + " }}", "AF200", "too large"),
        ("{{ input.a }}", "AF204", "inputs"),
        ("{{ foo }}", "AF204", "foo"),
        ("{{ inputs.order-id }}", "AF204", "['order-id']"),
        ("{{ now }}", "AF204", "now()"),
        ("{{ loop.index }}", "AF204", "{% for %}"),
        ("{% for i in inputs.l %}{% endfor %}{{ i }}", "AF204", "i"),
        ("{{ inputs.a | uper }}", "AF205", "upper"),
        ("{{ inputs.a | map('uper') }}", "AF205", "upper"),
        ("{{ inputs.a is definedd }}", "AF206", "defined"),
        ("{{ inputs.a | select('evn') }}", "AF206", "even"),
        ("{{ uuidd() }}", "AF207", "uuid"),
        ("{{ upper('a') }}", "AF207", "value | upper"),
        ("{{ inputs.a.items() }}", "AF203", "| items"),
        ("{{ steps[inputs.a] }}", "AF208", "steps"),
        ("{{ steps }}", "AF208", "steps"),
        ("{{ steps[0] }}", "AF208", "steps"),
        ("{% for s in steps %}{% endfor %}", "AF208", "steps"),
        ("{{ secrets | json }}", "AF208", "secrets"),
        ("{{ secrets[inputs.name] }}", "AF208", "secrets"),
        ("{{ inputs.a | replace('x') }}", "AF209", "new"),
        ("{{ inputs.a | upper(1) }}", "AF209", "upper"),
        ("{{ inputs.a | upper(budget=1) }}", "AF209", "upper"),
        ("{{ inputs.a | upper(value=1) }}", "AF209", "upper"),
        ("{{ inputs.a | default }}", "AF209", "default"),
        ("{{ inputs.a | default(1, 2, 3) }}", "AF209", "default"),
        ("{{ inputs.a | default(x=1) }}", "AF209", "default"),
        ("{{ now(1) }}", "AF209", "now"),
        ("{{ coalesce() }}", "AF209", "coalesce"),
        ("{{ inputs.a is defined(1) }}", "AF209", "defined"),
        ("{{ inputs.a | map }}", "AF209", "map"),
        ("{{ inputs.a | map(inputs.b) }}", "AF209", "constant"),
        ("{{ inputs.a | selectattr }}", "AF209", "selectattr"),
        ("{{ inputs.a | select(test='even') }}", "AF209", "select"),
        ("{% for i in inputs.a recursive %}{% endfor %}", "AF203", "recursive"),
        ("{% for a, a in inputs.a %}{% endfor %}", "AF203", "binds"),
        ("{% for a, (b, c) in inputs.a %}{% endfor %}", "AF203", "binds"),
        ("{% for loop in inputs.a %}{% endfor %}", "AF20", ""),
        ("{{ inputs.a | join(*inputs.b) }}", "AF203", "`*`"),
        ("{{ json(**inputs.b) }}", "AF203", "`*`"),
        ("{{ inputs.a" + " " * MAX_TEMPLATE + "}}", "AF201", "16,384"),
    ],
)
def test_mistakes_are_found_before_any_data_exists(text: str, code: str, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(text)
    assert caught.value.code.startswith(code)
    assert said in str(caught.value)
    assert 0 <= (caught.value.position or 0) <= len(text)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("{{ inputs.a | uper }}", 14),
        ("ab\n\n{{ foo }}", 7),
        ("{{ .foo }}", 4),
        ("{{ inputs.a }} {{ 'x }}", 18),
        ("a {% set x = 1 %}", 2),
        ("{{ 1 }}{{ steps[inputs.a] }}", 10),
    ],
)
def test_an_error_has_the_offset_of_what_is_wrong(text: str, position: int) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "[" * 200 + "]" * 200 + " }}",
        "{{ " + "not " * 4000 + "true }}",
        "{{ " + "-" * 5000 + "1 }}",
        "{{ " + "1+" * 5000 + "1 }}",
        "{{ " + "1 ** " * 3000 + "1 }}",
        "{{ 1" + "|abs" * 4000 + " }}",
        "{{ 1" + " if 1 else 1" * 1200 + " }}",
        "{{ 1" + " or 1" * 3000 + " }}",
        "{% if 1 %}" * 700 + "{% endif %}" * 700,
        "{% for a in [] %}" * 500 + "{% endfor %}" * 500,
        "{{ inputs" + "[inputs.a" * 1000 + "]" * 1000 + " }}",
    ],
)
def test_depth_is_refused_with_a_clear_error(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(text)
    assert caught.value.code == "AF202"


def test_a_long_flat_template_compiles() -> None:
    assert render("{{ 1 }}," * 2000) == "1," * 2000
    assert render("{{ inputs" + ".a" * 3000 + " | default(1) }}") == 1
    assert render("{{ 1" + " ~ 1" * 3000 + " }}") == "1" * 3001


def test_what_is_accepted_compiles_and_renders_deep_in_a_call_stack() -> None:
    text = "{% if 1 %}" * 20 + "{{ " + "(" * 20 + "1" + "+1" * 20 + ")" * 20 + " }}" + "{% endif %}" * 20

    def nested(depth: int) -> Any:
        return nested(depth - 1) if depth else render(text)

    assert nested(300) == "21"


# --- refused while rendering ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{{ 1 / 0 }}",
        "{{ 1 % 0 }}",
        "{{ 'a' + 1 }}",
        "{{ 'a' - 1 }}",
        "{{ '%s' % 1 }}",
        "{{ 'a' < 1 }}",
        "{{ [1] < [2] }}",
        "{{ [1] * 1.5 }}",
        "{{ {} + {} }}",
        "{{ -'a' }}",
        "{{ -true }}",
        "{{ 1 in 2 }}",
        "{{ (-8) ** 0.5 }}",
        "{{ {1: 2} }}",
        "{{ inputs.object[1:] }}",
        "{{ inputs.list['a':] }}",
        "{{ inputs.list[::0] }}",
        "{{ inputs.list | sort(attribute=1.5) }}",
        "{{ [1, 'a'] | sort }}",
        "{{ [none] | min }}",
        "{{ ['a'] | sum }}",
        "{{ 1 | join }}",
        "{{ [1] | upper }}",
        "{{ 1 | length }}",
        "{{ {} | sum('a') }}{{ 1 | items }}",
        "{% for a in 5 %}{% endfor %}",
        "{% for a, b in [[1]] %}{% endfor %}",
        "{% for a, b in ['xy'] %}{% endfor %}",
        "{{ range('a') }}",
        "{{ range(1, 2, 0) }}",
        "{{ 'x' | fromjson }}",
        "{{ '!' | b64decode }}",
        "{{ '/w==' | b64decode }}",
        "{{ 'a' | regex_match('(') }}",
        "{{ 'a' | regex_replace('a', '\\\\2') }}",
        "{{ 'x' | parse_time }}",
        "{{ 1 | parse_time }}",
        "{{ 0 | format_time('%999999d') }}",
        "{{ 0 | format_time(timezone='../etc/passwd') }}",
        "{{ 0 | format_time(timezone='Nowhere/City') }}",
        "{{ 1e18 | format_time }}",
        "{{ 1 | round(99) }}",
        "{{ 9007199254740993 | round }}",
        "{{ -18446744073709551617 | round(1, 'floor') }}",
        "{{ 1 | int(base=99) }}",
        "{{ 'a' | split('') }}",
        "{{ [1] | batch(0) }}",
    ],
)
def test_an_operation_that_does_not_fit_its_values_is_an_error_of_the_template(text: str) -> None:
    error = refusal(text)
    assert error.code == "AF211"
    assert "{{" in error.message or "{%" in error.message, "the expression is quoted"
    assert error.position is not None


def test_errors_never_quote_a_value() -> None:
    context = {"secrets": {"TOKEN": "hunter2"}}
    uses = [
        "| fromjson",
        "| parse_time",
        "| b64decode",
        "+ 1",
        "| sum",
        "< 1",
        ".x",
        "[0:'a']",
        "| map('int') | sort",
        "| regex_match(secrets.TOKEN ~ '(')",
        "| format_time",
        "| round",
        "- 1",
        "| items",
    ]
    said = [_message(f"{{{{ secrets.TOKEN {use} }}}}", context) for use in uses]
    assert all("hunter2" not in message for message in said)
    assert sum(bool(message) for message in said) > 10


def _message(text: str, context: dict[str, Any]) -> str:
    try:
        compile_template(text).render(context)
    except TemplateError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), b"x", float("nan"), float("inf"), len, datetime(2026, 1, 1, tzinfo=UTC)]
)
@pytest.mark.parametrize("text", ["{{ inputs.v }}", "a{{ inputs.v }}", "{{ [inputs.v] }}", "{{ inputs.v or 1 }}"])
def test_only_json_data_leaves_a_template(text: str, value: Any) -> None:
    assert refusal(text, {"inputs": {"v": value}}).code == "AF213"


def test_a_tuple_leaves_as_a_list() -> None:
    assert render("{{ inputs.v }}", {"inputs": {"v": (1, 2)}}) == [1, 2]


@pytest.mark.parametrize("text", ["{{ 1e308 * 10 }}", "{{ 10.0 ** 400 }}", "{{ 'inf' | float + 1e308 + 1e308 }}"])
def test_numbers_stay_finite(text: str) -> None:
    assert refusal(text).code in ("AF211", "AF213")


@pytest.mark.parametrize(
    "text",
    [
        *("{{ '1e400' | float }}", "{{ '-1e400' | float(1) }}", "{{ '1e999999999' | int }}", "{{ '1e400' | int(7) }}"),
        *(
            "{{ ('9' * 1400) | int }}",
            "{{ ('9' * 1400) | float }}",
            "{{ ('9' * 1250) | int }}",
            "{{ (10 ** 400) | float }}",
        ),
        "{{ ('9' * 1000000) | int }}",
    ],
)
def test_a_number_that_cannot_be_kept_is_no_default(text: str) -> None:
    assert refusal(text).code == "AF212"


def test_a_long_text_that_is_no_number_gives_the_default() -> None:
    assert render("{{ ('9' * 1000000 ~ 'x') | int(7) }}") == 7
    assert render("{{ ('_' * 1000000) | float(7) }}") == 7


def test_data_is_never_read_as_a_template() -> None:
    hostile = CONTEXT["inputs"]["hostile"]
    assert render("{{ inputs.hostile }}") == hostile
    assert render("a{{ inputs.hostile }}") == "a" + hostile
    assert render("{{ [inputs.hostile] | map('upper') | first }}") == hostile.upper()


def test_the_context_is_never_changed() -> None:
    before = copy.deepcopy({key: value for key, value in CONTEXT.items() if key != AMBIENT_KEY})
    for text in (
        "{{ inputs.list | sort }}",
        "{{ inputs.list | reverse }}",
        "{{ inputs.list + [1] }}",
        "{{ inputs.list * 2 }}",
        "{{ inputs.object | merge({'a': 1}) }}",
        "{{ inputs.orders | batch(3, 0) }}",
        "{{ inputs.orders | groupby('name') }}",
        "{% for o in inputs.orders %}{{ o }}{% endfor %}",
    ):
        render(text)
    assert {key: value for key, value in CONTEXT.items() if key != AMBIENT_KEY} == before


def test_now_and_uuid_come_from_the_surroundings() -> None:
    assert render("{{ now() }}") == "2026-07-01T12:00:00Z"
    assert render("{{ uuid() }}") == "u-1"
    error = refusal("{{ now() }}", {"inputs": {}})
    assert "now()" in error.message


def test_the_surroundings_cannot_be_looked_at() -> None:
    assert refusal("{{ " + AMBIENT_KEY + " }}").code == "AF204"


# --- trees ---------------------------------------------------------------------------------------------------------


def test_a_tree_renders_its_templates_in_place() -> None:
    tree = {"b": "{{ inputs.n }}", "a": ["x", {"c": "n{{ inputs.n }}"}, None, 1.5, True], "z": {}}
    compiled = compile_value(tree)
    assert compiled.render(CONTEXT) == {"b": 3, "a": ["x", {"c": "n3"}, None, 1.5, True], "z": {}}
    assert list(compiled.render(CONTEXT)) == ["b", "a", "z"]
    assert tree["b"] == "{{ inputs.n }}"
    assert [reference.path for reference in compiled.references] == [("n",), ("n",)]
    assert not compiled.constant


@pytest.mark.parametrize("value", [None, 1, "text", {"a": [1, "b"]}, [], True])
def test_a_constant_tree_is_returned_as_it_is(value: Any) -> None:
    compiled = compile_value(value)
    assert compiled.constant
    assert compiled.render({}) is value


def test_an_error_in_a_tree_has_its_pointer() -> None:
    with pytest.raises(TemplateError) as compiling:
        compile_value({"a/b": ["x", {"c~": "{{ foo }}"}]})
    assert compiling.value.pointer == "/a~1b/1/c~0"
    with pytest.raises(TemplateError) as rendering:
        compile_value({"a": ["x", "{{ inputs.x }}"]}).render(CONTEXT)
    assert rendering.value.pointer == "/a/1"


def test_a_tree_shares_one_budget() -> None:
    turns = "{% for i in range(60000) %}{% endfor %}"
    assert compile_value([turns]).render(CONTEXT) == [""]
    with pytest.raises(TemplateError) as caught:
        compile_value([turns, turns]).render(CONTEXT)
    assert caught.value.budget
    assert caught.value.pointer == "/1"


def test_a_tree_cannot_repeat_a_large_value_without_end() -> None:
    context = {"inputs": {"big": "x" * 1_000_000}}
    assert len(compile_value(["{{ inputs.big }}"] * 20).render(context)) == 20
    with pytest.raises(TemplateError) as caught:
        compile_value(["{{ inputs.big }}"] * 40).render(context)
    assert caught.value.budget


def test_the_limits_are_exact() -> None:
    assert render("{% for i in range(100000) %}{% endfor %}") == ""
    assert len(render("{{ 'a' * 1000000 }}{{ 'b' * 48576 }}")) == 1 << 20
    assert refusal("{% for i in range(100000) %}{% endfor %}{% for i in [1] %}{% endfor %}").budget
    assert refusal("{{ 'a' * 1000000 }}{{ 'b' * 48577 }}").budget
    assert compile_template("{{ 1" + " " * (MAX_TEMPLATE - 6) + "}}").render({}) == 1
    assert render("{{ 2 ** 2000 }}") == 2**2000


def test_a_smaller_budget_can_be_given() -> None:
    loop = compile_template("{% for i in range(10) %}{% endfor %}")
    assert loop.render({}, Budget(turns=10)) == ""
    with pytest.raises(TemplateError):
        loop.render({}, Budget(turns=9))
    with pytest.raises(TemplateError):
        compile_template("12345{{ 1 }}").render({}, Budget(text=5))


# --- conditions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (True, True),
        (False, False),
        ("{{ inputs.n > 2 }}", True),
        ("inputs.n > 2", True),
        (".inputs.n > 5", False),
        ("not inputs.yes", False),
        ("inputs.x | default(false)", False),
        ("{{ inputs.nothing }}", False),
        ("{{ inputs.list }}", True),
        ("{{ [] }}", False),
        ("{% if inputs.n > 5 %}true{% else %}false{% endif %}", False),
        ("{% if inputs.n > 2 %} True {% endif %}", True),
        ("{% if inputs.n > 5 %}true{% endif %}", False),
        ("{{ inputs.s }}", True),
        ("false", False),
    ],
)
def test_a_condition_is_true_or_false(condition: str | bool, holds: bool) -> None:
    assert compile_condition(condition).render(CONTEXT) is holds


@pytest.mark.parametrize("condition", ["", "inputs.n >", "a }} b", "x %} y", "just some words", "foo"])
def test_text_that_is_no_condition_is_refused(condition: str) -> None:
    with pytest.raises(TemplateError):
        compile_condition(condition)


def test_the_position_in_a_bare_condition_is_that_of_its_text() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_condition("inputs.n > foo")
    assert caught.value.position == 11
