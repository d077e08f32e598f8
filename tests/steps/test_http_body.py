"""A body is read exactly, in the charset that counts, or it is not read at all."""

from __future__ import annotations

import codecs
from typing import Any

import pytest

from automata.flow.media import is_json_type
from automata.steps.contract import HttpResponse
from automata.steps.http_body import UnreadableBody, parse_body, parse_json, parse_text
from automata.steps.http_response import view

JSON = "application/json"
LATIN = "Müller ß".encode("latin-1")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": [1, 2.5, null]}', JSON, {"a": [1, 2.5, None]}),
        (b"7", "application/problem+json; charset=utf-8", 7),
        (b"[1]", "Application/JSON;charset=UTF-8", [1]),
        (b"\xef\xbb\xbf[1]", JSON, [1]),
        ('["ü"]'.encode("utf-16"), JSON, ["ü"]),
        (b'"\xe9"', "application/json; charset=iso-8859-1", "é"),
        (b'"\xc3\xa9"', "application/json; charset=no-such-charset", "é"),
        (b"", JSON, None),
        (b" \r\n", JSON, None),
        (b'"\\u0000"', JSON, "\x00"),
        (b"18446744073709551616", JSON, 2**64),
        (b'{"a":1}', "text/plain", '{"a":1}'),
        (b"", "text/html", ""),
        (b"\xe9", "text/plain; charset=latin-1", "é"),
        (b"\xe9", 'text/plain; charset="windows-1252"', "é"),
        ("ü".encode(), "text/plain; charset=utf8mb4", "ü"),
        (b"a", "text/plain; charset=no-such-charset", "a"),
        (rb"\ud800", "text/plain; charset=unicode_escape", r"\ud800"),
        (b"+2AA-", "text/plain; charset=utf-7", "+2AA-"),
        (b"789c", "text/plain; charset=hex", "789c"),
        (b"x", "", "x"),
        ("Zürich".encode("utf-16"), "text/csv", "Zürich"),
        (codecs.BOM_UTF16_BE + "ü".encode("utf-16-be"), "text/csv", "ü"),
        (codecs.BOM_UTF16_BE + "ü".encode("utf-16-be"), "text/csv; charset=utf-16", "ü"),
        ("ü".encode("utf-32"), "text/plain", "ü"),
        (b"\xef\xbb\xbfa;b", "text/csv", "a;b"),
        (b"MZ\0\x01 ascii all the same", "application/octet-stream", "MZ\0\x01 ascii all the same"),
    ],
)
def test_a_body_is_read_by_its_content_type(body: bytes, content_type: str, expected: Any) -> None:
    assert parse_body(body, content_type) == expected


@pytest.mark.parametrize(
    ("declaration", "body"),
    [
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><n>', LATIN),
        (b"<?xml version='1.0' encoding='windows-1252' standalone='yes'?>\n<n>", LATIN),
        (b'<?xml version="1.0"  encoding = "Shift_JIS" ?><n>', "日本".encode("shift_jis")),
        (b'<?xml version="1.0" encoding="UTF-8"?><n>', "Müller".encode()),
        (b'<?xml version="1.0"?><n>', "Müller".encode()),
        (b'<?xml version="1.0" encoding="utf-16"?><n>', "Müller".encode()),  # as .NET keeps its texts
        (b'<?xml version="1.0" encoding="klingon"?><n>', "Müller".encode()),
    ],
)
@pytest.mark.parametrize("content_type", ["application/xml", "text/xml", "application/soap+xml", "", "text/plain"])
def test_the_encoding_of_an_xml_declaration_counts(declaration: bytes, body: bytes, content_type: str) -> None:
    text = parse_body(declaration + body + b"</n>", content_type)
    assert text.partition("<n>")[2] in ("Müller ß</n>", "Müller</n>", "日本</n>")


def test_the_content_type_goes_before_the_declaration_and_the_step_before_both() -> None:
    body = b'<?xml version="1.0" encoding="utf-8"?><n>' + LATIN
    assert parse_body(body, "text/xml; charset=iso-8859-1").endswith("Müller ß")
    assert parse_body(body, "text/xml; charset=utf-8", "latin-1").endswith("Müller ß")
    with pytest.raises(UnreadableBody, match="no text in utf-8"):
        parse_body(body, "text/xml")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_xml_in_utf_16_needs_no_mark(codec: str) -> None:
    text = '<?xml version="1.0" encoding="UTF-16"?><n>ü</n>'
    assert parse_body(text.encode(codec), "application/xml") == text


@pytest.mark.parametrize("meta", ['<meta charset="iso-8859-1">', "<META http-equiv=x content='a; charset=latin1'>"])
def test_html_may_name_its_charset_in_a_meta(meta: str) -> None:
    assert parse_body(f"<html><head>{meta}<title>Müller".encode("latin-1"), "text/html").endswith("Müller")
    with pytest.raises(UnreadableBody):
        parse_body(f"{meta}Müller".encode("latin-1"), "text/plain")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\x89PNG\r\n\x1a\n\xff", "image/png"),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3", "application/pdf"),
        (b"\xff\xfe binary that begins like a mark", "application/octet-stream"),
        (LATIN, "text/plain"),
        (LATIN, ""),
        (LATIN, "text/plain; charset=utf-8"),
        (LATIN, "text/plain; charset=us-ascii"),
        (LATIN, "text/plain; charset=no-such-charset"),
        ("ü".encode(), "text/plain; charset=unicode_escape"),
        ("ü".encode(), "text/plain; charset=utf-7"),
        (b"\xd8\x00", "text/plain; charset=utf-16-be"),
        (b"\x81\x8d", "text/plain; charset=windows-1252"),
    ],
)
def test_bytes_that_are_no_text_are_never_half_a_text(body: bytes, content_type: str) -> None:
    with pytest.raises(UnreadableBody, match=r"The response is .*\."):
        parse_text(body, content_type)
    seen = view(HttpResponse(200, (("Content-Type", content_type),), body))
    assert "body" not in seen
    assert seen["body_error"].startswith("The response is")


@pytest.mark.parametrize(
    "body", [b"{", b"<html>", b'"\\ud800"', b"NaN", b'"\xff"', b"[" * 5000, b"{}x", b"1e400", b"OK"]
)
def test_what_calls_itself_json_and_is_not_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableBody, match="calls itself JSON"):
        parse_body(body, JSON)


@pytest.mark.parametrize(
    "content_type",
    [
        *("application/json", "text/json", "application/x-json", "application/problem+json; charset=utf-8"),
        *("application/vnd.api+json", "application/vnd.github.v3+json", "application/geo+json", "image/svg+json"),
        *("application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/vnd.acme.order.json"),
        *("application/vnd.acme-json;v=2", "application/json-rpc", "Application/LD+JSON", "application/jsonrequest"),
    ],
)
def test_vendors_json_is_json(content_type: str) -> None:
    assert is_json_type(content_type)
    assert parse_body(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-ndjson", "application/json-seq", "application/jsonl", "", "json", "+json"],
)
def test_what_is_not_one_json_value_is_text(content_type: str) -> None:
    assert not is_json_type(content_type)
    assert parse_body(b'{"a": 1}', content_type) == '{"a": 1}'


def test_a_body_is_read_as_the_step_says_whatever_it_calls_itself() -> None:
    assert parse_json(b'{"a": 1}', "text/html") == {"a": 1}
    assert parse_json(b"", "text/html") is None
    assert parse_text(b'{"a": 1}', JSON) == '{"a": 1}'
    assert parse_text(LATIN, JSON, "latin-1") == "Müller ß"
    with pytest.raises(UnreadableBody, match="is no JSON"):
        parse_json(b"OK", "text/plain")
