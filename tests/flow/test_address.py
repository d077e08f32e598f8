"""A value from outside stays inside its part of an address, or nothing is sent."""

from __future__ import annotations

from typing import Any

import pytest

from automata.flow.address import UNSAFE_VALUE
from automata.flow.budget import TemplateError
from automata.flow.filters import FILTER_NAMES
from automata.flow.lexing import Source
from automata.flow.load import validate_text
from automata.flow.origins import Value, values_of
from automata.flow.statements import tree
from automata.flow.template import compile_config


def address(url: str, /, *, variables: Any = None, secrets: Any = None, **inputs: Any) -> str:
    context = {"inputs": inputs, "vars": variables or {}, "secrets": secrets or {}, "run": {"id": "r-1"}, "index": 0}
    return str(compile_config({"url": url}, "url").render(context)["url"])


def refusal(url: str, /, **values: Any) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        address(url, **values)
    return caught.value


ORDERS = "https://erp.test/orders/{{ inputs.x }}/lines"
BEFORE = "https://erp.test/orders/v-{{ inputs.x }}"


@pytest.mark.parametrize(
    ("url", "value"),
    [
        (ORDERS, "../../admin/users"),
        (ORDERS, "a/b"),
        (ORDERS, "/admin"),
        (ORDERS, "."),
        (ORDERS, ".."),
        (ORDERS, "..;x=1"),
        (ORDERS, "%2e%2E"),
        (ORDERS, "%2e%2e%2fadmin"),
        (ORDERS, "%252e%252e%252fadmin"),
        (ORDERS, "x%5c..%5cadmin"),
        (ORDERS, "..\\admin"),
        (ORDERS, "1?admin=true"),
        (ORDERS, "1#"),
        (ORDERS, "1\r\nX: y"),
        (ORDERS, ""),
        (BEFORE, "1/../admin"),
        (BEFORE, "1?x"),
        ("https://erp.test/orders/.{{ inputs.x }}", "."),
        ("https://erp.test/orders/{{ inputs.x | urlencode }}", "../admin"),
        ("https://erp.test/orders/{{ inputs.x | urlencode }}", ".."),
        ("https://erp.test/orders/{{ inputs.x | lower | trim }}", "../ADMIN"),
        ("https://erp.test/orders/{{ inputs.x if true else 'none' }}", "a/b"),
        ("https://erp.test/orders/{{ inputs.missing | default(inputs.x) }}", "a/b"),
        ("{{ vars.base }}/orders/{{ inputs.x }}", "a/b"),
        ("{{ vars.base ~ '/orders/' ~ inputs.x }}", "a/b"),
        ("{{ vars.base + '/orders/' + inputs.x }}", "a/b"),
        ("{% if inputs.x %}{{ vars.base }}/{{ inputs.x }}{% endif %}", "a/b"),
        ("{{ vars.base }}{% for part in [inputs.x] %}/{{ part }}{% endfor %}", "a/b"),
    ],
)
def test_a_value_in_the_path_stays_in_its_segment(url: str, value: str) -> None:
    error = refusal(url, x=value, variables={"base": "https://erp.test"})
    assert error.code == UNSAFE_VALUE
    assert error.pointer == "/url"


@pytest.mark.parametrize(
    ("value", "sent"),
    [("o-1", "o-1"), (17, "17"), ("a b", "a b"), ("ü", "ü"), ("a%20b", "a%20b"), ("a:b@c+d;e=f", "a:b@c+d;e=f")],
)
def test_a_value_that_fits_its_segment_stays_as_it_is(value: Any, sent: str) -> None:
    assert address(ORDERS, x=value) == f"https://erp.test/orders/{sent}/lines"


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("https://{{ inputs.x }}/orders", "evil.test/"),
        ("https://{{ inputs.x }}/orders", "user@evil.test"),
        ("https://{{ inputs.x }}/orders", "erp.test:8443"),
        ("https://{{ inputs.x }}/orders", "evil.test?"),
        ("https://{{ inputs.x }}/orders", "evil.test#"),
        ("https://{{ inputs.x }}.erp.test/orders", "evil.test/x"),
        ("https://erp.test{{ inputs.x }}/orders", ".evil.test/"),
        ("https://erp.test{{ inputs.x }}", "@evil.test"),
        ("https://erp.test:{{ inputs.x }}/orders", "80@evil.test"),
        ("https://erp.test:{{ inputs.x }}/orders", "443/admin"),
        ("https://erp.test:{{ inputs.x }}/orders", ""),
        ("{{ inputs.x }}://erp.test/orders", "https://evil.test/?"),
        ("{{ inputs.x }}/orders", "https://evil.test/?"),
        ("{{ inputs.x }}/orders", "https://evil.test/#"),
    ],
)
def test_a_value_in_the_place_of_a_host_or_a_port_is_one(url: str, value: str) -> None:
    assert refusal(url, x=value).code == UNSAFE_VALUE


@pytest.mark.parametrize(
    ("url", "value", "sent"),
    [
        ("https://{{ inputs.x }}/orders", "erp.test", "https://erp.test/orders"),
        ("https://{{ inputs.x }}/orders", "[2001:db8::1]", "https://[2001:db8::1]/orders"),
        ("https://{{ inputs.x }}.erp.test/", "shop-1", "https://shop-1.erp.test/"),
        ("https://erp.test:{{ inputs.x }}/", 8443, "https://erp.test:8443/"),
        ("{{ inputs.x }}://erp.test/", "https", "https://erp.test/"),
        ("{{ inputs.x }}/orders", "https://erp.test/v2", "https://erp.test/v2/orders"),
        ("{{ inputs.x }}", "https://erp.test/orders?page=2", "https://erp.test/orders?page=2"),
        ("{{ inputs.x }}&size=5", "https://erp.test/orders?page=2", "https://erp.test/orders?page=2&size=5"),
    ],
)
def test_a_host_a_port_and_a_whole_address_may_be_values(url: str, value: Any, sent: str) -> None:
    assert address(url, x=value) == sent


@pytest.mark.parametrize("value", ["1&admin=true", "1#", "1\n2", "a\\b"])
def test_a_value_in_the_query_stays_in_its_parameter(value: str) -> None:
    assert refusal("https://erp.test/orders?q={{ inputs.x }}&size=5", x=value).code == UNSAFE_VALUE


@pytest.mark.parametrize(
    ("url", "value", "sent"),
    [
        ("?q={{ inputs.x }}", "a/b?c=d;..", "?q=a/b?c=d;.."),
        ("?q={{ inputs.x | urlencode }}", "a&b#", "?q=a%26b%23"),
        ("?{{ inputs.x | urlencode }}", {"q": "a&b", "n": 2}, "?q=a%26b&n=2"),
        ("{{ '?' ~ (inputs.x | urlencode) if inputs.x else '' }}", {"q": "a&b"}, "?q=a%26b"),
        ("{{ '?' ~ (inputs.x | urlencode) if inputs.x else '' }}", {}, ""),
        ("{{ '?page=' ~ inputs.x }}", 3, "?page=3"),
        ("?a=1#{{ inputs.x }}", "b/c?d#e", "?a=1#b/c?d#e"),
    ],
)
def test_what_the_flow_wrote_is_structure_and_an_encoded_value_is_not(url: str, value: Any, sent: str) -> None:
    assert address(f"https://erp.test/orders{url}", x=value) == f"https://erp.test/orders{sent}"


def test_variables_were_written_too_and_secrets_may_be_paths() -> None:
    url = "https://{{ vars.host }}{{ vars.path }}/{{ secrets.HOOK }}?{{ vars.query }}"
    variables = {"host": "erp.test:8443", "path": "/api/v2", "query": "a=1&b=2"}
    sent = address(url, variables=variables, secrets={"HOOK": "T0/B0/x"})
    assert sent == "https://erp.test:8443/api/v2/T0/B0/x?a=1&b=2"


@pytest.mark.parametrize("secret", ["a/b", "a@evil.test", "a?b", "a#b"])
def test_a_secret_before_the_host_does_not_end_it(secret: str) -> None:
    assert refusal("https://user:{{ secrets.P }}@erp.test/", secrets={"P": secret}).code == UNSAFE_VALUE


@pytest.mark.parametrize(
    ("value", "sent"),
    [("o-1", "o-1"), ("a/b", "a%2Fb"), ("a b?c#d%e", "a%20b%3Fc%23d%25e"), (17, "17"), ("ü", "%C3%BC"), ("...", "...")],
)
def test_a_segment_is_one_segment_whatever_is_in_it(value: Any, sent: str) -> None:
    assert address("https://erp.test/orders/{{ inputs.x | segment }}/lines", x=value) == (
        f"https://erp.test/orders/{sent}/lines"
    )


@pytest.mark.parametrize("value", ["", None, ".", "..", "../x", "x/..", "a/./b", "..\\x", "..;x", " .. "])
def test_nothing_and_dots_are_no_segment(value: Any) -> None:
    assert refusal("https://erp.test/orders/{{ inputs.x | segment }}", x=value).code == UNSAFE_VALUE


def test_several_segments_are_made_one_by_one() -> None:
    url = "https://erp.test/{{ inputs.x | split('/') | map('segment') | join('/') }}"
    assert address(url, x="a b/c&d") == "https://erp.test/a%20b/c%26d"
    assert refusal(url, x="a/../b").code == UNSAFE_VALUE


CHOOSING = ("coalesce", "default", "d")
MIXED = [
    "{{ ['https://erp.test/orders', inputs.x] | join('/') }}",
    "{{ ('https://erp.test/orders/' ~ inputs.x) | trim }}",
    "{{ 'https://erp.test/orders/ID' | replace('ID', inputs.x) }}",
    "{{ vars.base | replace('/orders', '/' ~ inputs.x) }}",
    "{{ [vars.base, 'orders', inputs.x] | join('/') | lower }}",
    "{{ {'u': 'https://erp.test/orders/' ~ inputs.x}.u }}",
    "{{ ['https://erp.test/orders/' ~ inputs.x][0] }}",
    "{{ coalesce('https://erp.test/orders/' ~ inputs.x | trim, '') }}",
    "{{ ('https://erp.test/orders/' ~ inputs.x)[:99] }}",
    "{{ ['https://erp.test/orders/', inputs.x] | join }}/lines",
]


@pytest.mark.parametrize("url", MIXED)
@pytest.mark.parametrize("value", ["../../admin", "7"])
def test_what_is_half_written_and_half_data_is_no_address(url: str, value: str) -> None:
    error = refusal(url, variables={"base": "https://erp.test/orders"}, x=value)
    assert error.code == UNSAFE_VALUE
    assert "admin" not in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "{{ inputs.x }}",
        "{{ inputs.x | trim }}",
        "{{ inputs.x | replace('http:', 'https:') }}",
        "{{ coalesce(inputs.x, 'https://erp.test/') }}",
        "{{ inputs.missing | default(inputs.x) }}",
        "{{ inputs.x | default('https://erp.test', true) }}",
        "{{ [inputs.x] | join }}",
        "{{ [inputs.x, 'y'][0] if false else inputs.x }}",
    ],
)
def test_an_address_may_be_a_value_as_a_whole(url: str) -> None:
    assert address(url, x="https://erp.test/orders/7?page=2") == "https://erp.test/orders/7?page=2"


@pytest.mark.parametrize("name", sorted(FILTER_NAMES))
@pytest.mark.parametrize("subject", ["['https://erp.test/', inputs.x]", "('https://erp.test/' ~ inputs.x)"])
def test_no_filter_makes_data_of_what_is_half_written(name: str, subject: str) -> None:
    for expression in (f"{subject} | {name}", f"'https://erp.test/ID' | {name}(inputs.x, 1)"):
        if name in CHOOSING and "ID" in expression:
            continue  # the result is one or the other
        values = [value for value in values_of(tree(Source(f"{{{{ {expression} }}}}"))) if isinstance(value, Value)]
        assert len(values) == 1
        assert values[0].origin != "data", expression


def test_a_refusal_names_the_expression_and_never_the_value() -> None:
    error = refusal(ORDERS, x="hunter2/x")
    assert "{{ inputs.x }}" in error.message
    assert "segment" in (error.hint or "")
    assert "hunter2" not in str(error)


# --- what validate says --------------------------------------------------------------------------------------------


def warnings(url: str) -> list[str]:
    text = f"""
name: f
inputs: {{x: {{type: string}}, n: {{type: integer}}, e: {{enum: [a, b]}}}}
steps:
  - {{id: a, type: http, config: {{url: "https://erp.test"}}}}
  - {{id: b, type: http, depends_on: [a], config: {{url: "{url}"}}}}
"""
    loaded = validate_text(text)
    assert loaded.flow is not None
    assert {(found.code, found.severity) for found in loaded.diagnostics} <= {("AF120", "warning")}
    return [f"{found.message} ({found.suggestion})" for found in loaded.diagnostics]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://erp.test/{{ inputs.x }}", "write `inputs.x | segment`"),
        ("{{ vars.base }}/{{ inputs.x }}", "path"),
        ("{{ vars.base ~ '/a/' ~ inputs.x }}", "path"),
        ("https://erp.test/{{ inputs.x | urlencode }}", "write `inputs.x | segment`"),
        ("https://erp.test/{{ steps.a.outputs.body.id }}", "path"),
        ("https://erp.test/{% if inputs.x %}{{ inputs.x }}{% endif %}", "path"),
        ("https://{{ inputs.x }}/orders", "host"),
        ("https://{{ inputs.x }}.erp.test/orders", "host"),
        ("{{ inputs.x }}/orders", "host"),
        ("{{ steps.a.outputs.body.next }}", "host"),
    ],
)
def test_a_raw_value_in_a_path_or_a_host_is_a_warning(url: str, told: str) -> None:
    (only,) = warnings(url)
    assert told in only


@pytest.mark.parametrize(
    "url",
    [
        "https://erp.test/{{ inputs.x | segment }}",
        "https://erp.test/{{ inputs.x | lower | segment }}/lines",
        "https://erp.test/{{ inputs.x | split('/') | map('segment') | join('/') }}",
        "https://erp.test/{{ inputs.n }}/{{ inputs.e }}/{{ run.id }}/{{ inputs.n + 1 }}/{{ inputs.x | sha256 }}",
        "https://erp.test/{{ uuid() }}?q={{ inputs.x }}",
        "https://erp.test:{{ inputs.n }}/",
        "{{ vars.base }}/orders",
        "https://{{ vars.host }}/{{ secrets.HOOK }}",
        "{{ vars.scheme }}://{{ vars.host }}/{{ vars.path }}",
    ],
)
def test_what_cannot_leave_its_part_is_no_warning(url: str) -> None:
    assert warnings(url) == []


# --- many pieces ---------------------------------------------------------------------------------------------------

LOOP = "{% for i in range(30000) %}{{ inputs.x }}{% endfor %}"


@pytest.mark.parametrize(
    ("url", "value", "ends"),
    [
        (f"https://erp.test/{LOOP}/x", "ab", "abab/x"),
        (f"https://erp.test/{LOOP.replace('{{ inputs.x }}', '{{ inputs.x }}/')}x", "ab", "ab/ab/x"),
        (f"https://erp.test/x?{LOOP}", "a=1;", "a=1;a=1;"),
        (f"https://erp.test/x{LOOP}", "", "/x"),
        (f"https://erp.test{LOOP}/x", "", ".test/x"),
        (f"{LOOP}https://erp.test/x", "", "https://erp.test/x"),
    ],
)
def test_an_address_of_many_values_takes_time_by_its_length(url: str, value: str, ends: str) -> None:
    assert address(url, x=value).endswith(ends)


@pytest.mark.parametrize("url", [f"https://{LOOP}/x", f"https://erp.test:{LOOP}/x", f"{LOOP}/x"])
def test_what_stands_before_the_path_has_an_end(url: str) -> None:
    assert refusal(url, x="1").code in (UNSAFE_VALUE, "AF212")


@pytest.mark.parametrize(
    "url", ["{{ " + "(" * 100 + "1" + ")" * 100 + " }}/x", "{{ 1" + " + 1" * 3_000 + " }}/x", "{{ 1 + }}/x"]
)
def test_what_is_no_template_is_told_once_and_not_looked_into(url: str) -> None:
    text = f"name: f\nsteps:\n  - {{id: a, type: http, config: {{url: '{url}'}}}}\n"
    (found,) = validate_text(text).diagnostics
    assert found.code in ("AF200", "AF202")
