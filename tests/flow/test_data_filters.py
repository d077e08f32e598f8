"""Data in other shapes: what the filters for it refuse, keep and give back, whatever they are given."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import nodes
from joserfc import jwt
from joserfc.jwk import import_key

from automata.flow.filters import FILTERS
from automata.flow.origins import origin_of
from automata.flow.template import TemplateError, compile_template
from automata.flow.timefilters import iso
from tests.amounts import times

WRONG_WHEN_WRITTEN = [
    ("1 | decimal(2, 'half')", "`rounding` is one of"),
    ("1 | decimal(-1)", "`places` is a whole number from 0 to 100"),
    ("[1] | map('decimal', 2, 'bankers')", "`rounding` is one of"),
    ("1 | dec_div(3, 101, 'up')", "`places`"),
    ("'x' | hash('md4')", "`algorithm` is one of"),
    ("'x' | hmac('k', encoding='binary')", "`encoding` is one of"),
    ("'x' | hmac('k', key_encoding='utf8')", "`key_encoding` is one of"),
    ("'x' | hmac", "missing a required argument"),
    ("{} | jwt_sign('k', 'none')", "`algorithm` is one of"),
    ("{} | jwt_sign('k', 'PS256')", "`algorithm` is one of"),
    ("'x' | find_all('(')", "regular expression"),
    ("'x' | find_all('(?=x)')", "no look-around"),
    ("[] | join_on([], 'a', how='outer')", "`how` is one of"),
    ("[] | chunk(0)", "`size` is a whole number from 1"),
    ("0 | add_time(days=1, timezone='Mars/Olympus')", "`timezone` is an IANA name"),
    ("0 | add_time(days=1.5)", "`days` is a whole number"),
    ("0 | start_of('decade')", "`unit` is one of"),
    ("0 | time_diff(0, 'weekdays')", "`unit` is one of"),
    ("[] | to_csv(formulas='drop')", "`formulas` is one of"),
    ("1 | jmespath('a[')", "cannot be read"),
    ("1 | jmespath('nope(@)')", "no function `nope`"),
    ("1 | jmespath('abs(@, @)')", "takes 1 arguments, not 2"),
    ("1 | jmespath(inputs.v)", "written out"),
    ("1 | jmespath('a' ~ 'b')", "written out"),
    ("1 | jmespath(1)", "is text, not a number"),
]


@pytest.mark.parametrize(("expression", "message"), WRONG_WHEN_WRITTEN)
def test_a_wrong_argument_is_found_before_there_is_data(expression: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(f"{{{{ {expression} }}}}")
    assert caught.value.code == "AF209"
    assert message in str(caught.value)


REFUSED = [
    ("inputs.v | group_by('k')", [{"k": 1}, {"k": "1"}], "several kinds"),
    ("inputs.v | group_by('k')", [{"k": None}], "not null"),
    ("inputs.v | group_by('k')", [{"k": 1.5}], "A key is text"),
    ("inputs.v | index_by('k')", [{"k": 1}, {"k": 1}], "two items with one key"),
    ("inputs.v | join_on([{'a': 1, 'b': 2}], 'a')", [{"a": 1, "b": 3}], "have a field `b`"),
    ("inputs.v | join_on([{'a': 1}], 'a', under='a')", [{"a": 1}], "have a field `a`"),
    ("inputs.v | join_on([], [])", [], "1 to 10 keys"),
    ("inputs.v | zip([1, 2])", [1], "one length"),
    ("inputs.v | flatten", "abc", "A list is needed"),
    ("inputs.v | pick(1)", {}, "names of fields are text"),
    ("inputs.v | omit", {}, "names of fields are text"),
    ("inputs.v | decimal", 0.1 + 0.2, "more than 15 digits"),
    ("inputs.v | decimal", "1,5", "no comma"),
    ("inputs.v | decimal", " 1", "no blanks"),
    ("inputs.v | decimal", "1_0", "no decimal"),
    ("inputs.v | decimal", "NaN", "no decimal"),
    ("inputs.v | decimal", "٣", "no decimal"),
    ("inputs.v | decimal", True, "not true or false"),
    ("inputs.v | decimal(2)", "1.005", "Name a rounding"),
    ("inputs.v | dec_div(3)", 1, "Name a rounding"),
    ("inputs.v | dec_div(0)", 1, "Division by zero"),
    ("inputs.v | decimal(rounding='up')", 1, "needs `places`"),
    ("inputs.v | hex_decode", "abc", "no hex"),
    ("inputs.v | hex_decode", "ff", "UTF-8"),
    ("inputs.v | b64url_decode", "/w==", "no base64url"),
    ("inputs.v | b64url_decode", "YQ==YQ", "no base64url"),
    ("inputs.v | hash", ["x"], "Text is needed"),
    ("inputs.v | jwt_sign('k')", "claims", "are objects"),
    ("{} | jwt_sign(inputs.v)", "", "1 to 16,384 bytes"),
    ("{} | jwt_sign(inputs.v, 'RS256')", "no key", "private key as PEM"),
    ("inputs.v | from_csv", "a,b\n1", "has 1 fields, and there are 2 columns"),
    ("inputs.v | from_csv", "a,a\n1,2", "Two columns have one name"),
    ("inputs.v | from_csv", 'a\n"1', "line 2"),
    ("inputs.v | from_csv", 'a\n"1"2', "line 2"),
    ("inputs.v | from_csv", "a\n" + "x" * 200_000, "line 2"),
    ("inputs.v | from_csv(';;')", "a", "one character"),
    ("inputs.v | to_csv", [{"a": 1}, {"b": 1}], "not all the same fields"),
    ("inputs.v | to_csv", [{"a": [1]}], "A field holds text"),
    ("inputs.v | to_csv", [[1], {"a": 1}], "lists or objects, all alike"),
    ("inputs.v | from_xml", "<a><b></a>", "mismatched tag at line 1, column 9"),
    ("inputs.v | from_xml", "", "no element found"),
    ("inputs.v | from_xml", "<a/><b/>", "junk after document element"),
    ("inputs.v | from_xml", '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "document type"),
    ("inputs.v | from_xml", '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "document type"),
    ("inputs.v | from_xml", "<a>&undefined;</a>", "undefined entity"),
    ("inputs.v | from_xml(namespaces={})", "<q:a/>", "unbound prefix"),
    ("inputs.v | from_xml", "<a>" * 101 + "</a>" * 101, "100 levels"),
    ("inputs.v | from_xml", "<a>\x00</a>", "not well-formed"),
    ("inputs.v | to_xml", {"a": 1, "b": 2}, "one field, the root element"),
    ("inputs.v | to_xml", {"a": [1]}, "one field, the root element"),
    ("inputs.v | to_xml", {"a b": 1}, "no name of an XML element"),
    ("inputs.v | to_xml", {"a><b": 1}, "no name of an XML element"),
    ("inputs.v | to_xml", {"a": {"@x y": 1}}, "no name of an XML element"),
    ("inputs.v | to_xml", {"q:a": 1}, "`q` is not declared"),
    ("inputs.v | to_xml", {"a": "\x01"}, "a character that XML cannot hold"),
    ("inputs.v | to_xml", {"a": {"b": [[1]]}}, "list in a list"),
    ("inputs.v | to_xml", {"a": {"@b": [1]}}, "Text is needed"),
    ("inputs.v | add_time(months=1)", "9999-12-31T00:00:00Z", "years 1 to 9999"),
    ("inputs.v | add_time(days=1)", "tomorrow", "ISO 8601"),
    ("0 | add_time(days=inputs.v)", 1.5, "whole number"),
    ("inputs.v | start_of('year', 'America/Lima')", "0001-01-01T00:00:00Z", "years 1 to 9999"),
    ("inputs.v | start_of('hour')", "0000-01-01T00:00:00Z", "ISO 8601"),
    ("inputs.v | join_on([{'a': 1}], 'a', ['a', 'b'])", [{"a": 1}], "as many keys"),
    ("inputs.v | jmespath('abs(@)')", "secret-value", "needs number, not string"),
    ("inputs.v | jmespath('a.b > `1` && sum(@)')", {"a": {"b": 2}}, "`sum()`"),
]


@pytest.mark.parametrize(("expression", "value", "message"), REFUSED)
def test_what_cannot_be_kept_is_refused(expression: str, value: Any, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(f"{{{{ {expression} }}}}").render({"inputs": {"v": value}})
    assert caught.value.code == "AF211"
    assert message in str(caught.value)
    assert "secret-value" not in str(caught.value)


def _render(expression: str, **values: Any) -> Any:
    return compile_template(f"{{{{ {expression} }}}}").render({"inputs": values})


# --- decimals -------------------------------------------------------------------------------------------------------

AMOUNTS = st.decimals(-(10**20), 10**20, allow_nan=False, places=6).map(lambda number: format(number, "f"))


@settings(max_examples=times(100), deadline=None)
@given(AMOUNTS, AMOUNTS)
def test_sums_products_and_differences_are_exact(one: str, other: str) -> None:
    results = [_render(f"inputs.a | dec_{name}(inputs.b)", a=one, b=other) for name in ("add", "sub", "mul")]
    left, right = Fraction(one), Fraction(other)
    assert [Fraction(text) for text in results] == [left + right, left - right, left * right]


@settings(max_examples=times(100), deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6), st.integers(0, 6))
def test_a_quotient_is_rounded_once(number: int, divisor: int, places: int) -> None:
    text = _render("inputs.a | dec_div(inputs.b, inputs.p, 'half_even')", a=number, b=divisor, p=places)
    scaled = number * 10**places
    floor, rest = divmod(scaled, divisor)
    up = 2 * rest > divisor or (2 * rest == divisor and floor % 2 == 1)
    assert Decimal(text) == Decimal(floor + up).scaleb(-places)
    assert -(Decimal(text).as_tuple().exponent) == places


ROUNDED = [
    ("half_even", ["0.2", "0.4", "-0.2"]),
    ("half_up", ["0.3", "0.4", "-0.3"]),
    ("half_down", ["0.2", "0.3", "-0.2"]),
    ("up", ["0.3", "0.4", "-0.3"]),
    ("down", ["0.2", "0.3", "-0.2"]),
    ("ceiling", ["0.3", "0.4", "-0.2"]),
    ("floor", ["0.2", "0.3", "-0.3"]),
]


@pytest.mark.parametrize(("rounding", "rounded"), ROUNDED)
def test_each_rounding_is_what_it_is_called(rounding: str, rounded: list[str]) -> None:
    given = ["0.25", "0.35", "-0.25"]
    assert [_render(f"inputs.v | decimal(1, '{rounding}')", v=text) for text in given] == rounded


# --- tables and documents -------------------------------------------------------------------------------------------

FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(max_examples=times(100), deadline=None)
@given(st.lists(st.lists(FIELD, min_size=2, max_size=2), max_size=4), st.sampled_from([",", ";", "\t", "|"]))
def test_a_table_comes_back_as_it_went_out(rows: list[list[str]], delimiter: str) -> None:
    text = _render("inputs.r | to_csv(delimiter=inputs.d)", r=rows, d=delimiter)
    assert _render("inputs.t | from_csv(inputs.d, header=false)", t=text, d=delimiter) == rows


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_a_text_that_would_be_a_formula_can_be_quoted(start: str) -> None:
    text = _render("[[inputs.v]] | to_csv(formulas='quote')", v=f"{start}cmd()")
    assert _render("inputs.t | from_csv(header=false)", t=text) == [[f"'{start}cmd()"]]


XML_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFD, min_codepoint=0x20)
    | st.sampled_from("\t\n\r<>&\"']"),
    max_size=8,
)
XML_NAME = st.sampled_from(["a", "b", "ü", "c-d", "_e.f"])
ELEMENT = st.recursive(
    XML_TEXT,
    lambda inner: st.dictionaries(
        XML_NAME | XML_NAME.map("@{}".format), inner | st.lists(inner, min_size=2, max_size=3), min_size=1, max_size=3
    ).map(lambda fields: {k: "v" if k.startswith("@") else v for k, v in fields.items()}),
    max_leaves=6,
)


@settings(max_examples=times(100), deadline=None)
@given(XML_NAME, ELEMENT)
def test_a_document_comes_back_as_it_went_out(name: str, content: Any) -> None:
    text = _render("inputs.v | to_xml", v={name: content})
    assert _render("inputs.t | from_xml", t=text) == {name: content}


def test_the_declared_encoding_of_a_text_has_been_dealt_with() -> None:
    assert _render("inputs.t | from_xml", t='\ufeff<?xml version="1.0" encoding="utf-16"?><a>ü</a>') == {"a": "ü"}


def test_a_senders_prefixes_do_not_matter_where_namespaces_are_named() -> None:
    envelope = '<{0}:e xmlns:{0}="urn:s" xmlns="urn:b"><{0}:b k="1" {0}:k="2"><x/></{0}:b></{0}:e>'
    read = "inputs.t | from_xml(namespaces={'s': 'urn:s', '': 'urn:b'})"
    expected = {"s:e": {"s:b": {"@k": "1", "@s:k": "2", "x": ""}}}
    assert [_render(read, t=envelope.format(prefix)) for prefix in ("soap", "q1")] == [expected] * 2
    assert "{urn:b}x" in _render("inputs.t | from_xml(namespaces={'s': 'urn:s'})", t=envelope.format("q"))["s:e"]["s:b"]


# --- times ----------------------------------------------------------------------------------------------------------

TIMES = [
    ("'2024-01-31' | add_time(months=1)", "2024-02-29T00:00:00Z"),
    ("'2024-02-29' | add_time(years=1)", "2025-02-28T00:00:00Z"),
    ("'2026-03-31' | add_time(months=-1)", "2026-02-28T00:00:00Z"),
    ("0 | add_time(weeks=1, days=1, hours=1, minutes=1, seconds=1)", "1970-01-09T01:01:01Z"),
    # Spring: 02:30 does not exist on 29 March, so it is the first instant after the gap.
    ("'2026-03-28T02:30:00+01:00' | add_time(days=1, timezone='Europe/Berlin')", "2026-03-29T03:00:00+02:00"),
    # Autumn: 02:30 comes twice; the calendar means the first, an hour is an hour.
    ("'2026-10-24T02:30:00+02:00' | add_time(days=1, timezone='Europe/Berlin')", "2026-10-25T02:30:00+02:00"),
    ("'2026-10-25T00:30:00Z' | add_time(hours=1, timezone='Europe/Berlin')", "2026-10-25T02:30:00+01:00"),
    ("'2026-10-25T01:30:00Z' | add_time(days=0, timezone='Europe/Berlin')", "2026-10-25T02:30:00+01:00"),
    # A day that Samoa skipped; a midnight that Brazil skipped; half an hour that Lord Howe skipped.
    ("'2011-12-29T10:00:00-10:00' | add_time(days=1, timezone='Pacific/Apia')", "2011-12-31T00:00:00+14:00"),
    ("'2018-11-04T12:00:00Z' | start_of('day', 'America/Sao_Paulo')", "2018-11-04T01:00:00-02:00"),
    ("'2026-10-03T15:40:00Z' | start_of('hour', 'Australia/Lord_Howe')", "2026-10-04T02:30:00+11:00"),
    ("'2026-10-25T01:45:30.5Z' | start_of('hour', 'Europe/Berlin')", "2026-10-25T02:00:00+01:00"),
    ("'2026-07-15T12:34:56.7Z' | start_of('minute')", "2026-07-15T12:34:00Z"),
    ("'2026-07-15T12:00:00Z' | start_of('week')", "2026-07-13T00:00:00Z"),
    ("'2026-12-31T23:30:00Z' | start_of('month', 'Asia/Tokyo')", "2027-01-01T00:00:00+09:00"),
    ("'2026-12-31T23:30:00Z' | start_of('year')", "2026-01-01T00:00:00Z"),
    # A day of 23 hours is a day.
    ("'2026-03-30T00:00:00+02:00' | time_diff('2026-03-29T00:00:00+01:00', 'days', 'Europe/Berlin')", 1),
    ("'2026-03-30T00:00:00+02:00' | time_diff('2026-03-29T00:00:00+01:00', 'hours', 'Europe/Berlin')", 23),
    ("'2026-02-28' | time_diff('2026-01-31', 'months')", 1),
    ("'2026-02-27' | time_diff('2026-01-31', 'months')", 0),
    ("'2026-01-31' | time_diff('2024-02-29', 'years')", 1),
    ("'2024-02-29' | time_diff('2026-01-31', 'years')", -1),
    ("'2026-01-15' | time_diff('2026-01-01', 'weeks')", 2),
    ("'2026-01-01T00:00:59Z' | time_diff('2026-01-01T00:02:00Z', 'minutes')", -1),
    ("1.5 | time_diff(0)", 1.5),
]


@pytest.mark.parametrize(("expression", "value"), TIMES)
def test_calendars_are_those_of_the_zone(expression: str, value: Any) -> None:
    assert _render(expression) == value


@settings(max_examples=times(100), deadline=None)
@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)).map(iso),  # noqa: DTZ001 - it adds one
    st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo"]),
    st.sampled_from(["hour", "day", "week", "month", "quarter", "year"]),
)
def test_a_start_is_not_later_and_is_its_own_start(moment: str, zone: str, unit: str) -> None:
    start = _render("inputs.t | start_of(inputs.u, inputs.z)", t=moment, u=unit, z=zone)
    assert _render("inputs.a | time_diff(inputs.b)", a=moment, b=start) >= 0
    assert _render("inputs.t | start_of(inputs.u, inputs.z)", t=start, u=unit, z=zone) == start


# --- signing --------------------------------------------------------------------------------------------------------


def _key(kind: str) -> str:
    """A private key as PEM. What is tested holds for any key of its kind."""
    if kind.startswith("RS"):
        key: Any = rsa.generate_private_key(65537, 2048)
    else:
        key = ed25519.Ed25519PrivateKey.generate() if kind == "EdDSA" else ec.generate_private_key(CURVES[kind])
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"])
def test_a_token_is_good_for_who_reads_it_and_the_same_each_time(algorithm: str) -> None:
    pem = _key(algorithm)
    expression = f"{{'sub': 'ü'}} | jwt_sign(inputs.k, '{algorithm}', headers={{'kid': '7', 'alg': 'none'}})"
    token = _render(expression, k=pem)
    read = jwt.decode(token, import_key(pem, algorithm[:2].replace("ES", "EC").replace("RS", "RSA")), [algorithm])
    assert (read.claims, read.header) == ({"sub": "ü"}, {"alg": algorithm, "typ": "JWT", "kid": "7"})
    assert _render(expression, k=pem) == token


def test_a_token_of_edwards_curves_is_good_too() -> None:
    pem = _key("EdDSA")
    head, claims, signed = _render("{'sub': '1'} | jwt_sign(inputs.k, 'EdDSA')", k=pem).split(".")
    public = load_pem_private_key(pem.encode(), None).public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(urlsafe_b64decode(signed + "=="), f"{head}.{claims}".encode())


@pytest.mark.parametrize(("kind", "algorithm"), [("RS256", "ES256"), ("ES256", "ES384"), ("EdDSA", "RS256")])
def test_a_key_of_another_kind_is_refused_and_not_shown(kind: str, algorithm: str) -> None:
    pem = _key(kind)
    with pytest.raises(TemplateError) as caught:
        _render(f"{{}} | jwt_sign(inputs.k, '{algorithm}')", k=pem)
    assert f"not one for {algorithm}" in str(caught.value)
    assert pem.splitlines()[1] not in str(caught.value)


# --- where values come from -----------------------------------------------------------------------------------------

TRUSTED = {
    "abs",
    "count",
    "float",
    "hmac_sha256",
    "int",
    "length",
    "round",
    "segment",
    "sha256",
    "wordcount",
    "urlencode",
}


@pytest.mark.parametrize("name", sorted(set(FILTERS) - TRUSTED))
def test_what_a_filter_makes_of_outside_data_is_outside_data(name: str) -> None:
    call = nodes.Filter(nodes.Name("inputs", "load"), name, [], [], None, None)
    assert origin_of(call) == "data"
