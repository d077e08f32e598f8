"""Masked first, cut afterwards."""

from __future__ import annotations

import json

import pytest

from automata.flow.template import compile_template
from automata.steps.contract import HttpRequest
from automata.steps.masking import (
    MAX_BODY_CHARS,
    MAX_MESSAGE_CHARS,
    cut_message,
    describe_request,
    mask_tree,
    masker_of,
)


def hide(text: str) -> str:
    return text.replace("hunter2", "***")


def test_a_secret_on_the_edge_of_a_cut_leaves_no_half() -> None:
    assert "hunt" not in cut_message("x" * (MAX_MESSAGE_CHARS - 5) + "hunter2" + "x" * 50, hide)
    request = HttpRequest("POST", "https://a.test/", (), b"x" * (MAX_BODY_CHARS - 4) + b"hunter2")
    assert describe_request(request, hide)["body"] == "x" * (MAX_BODY_CHARS - 4) + "***"


def test_a_request_without_a_body_and_one_that_is_no_text_are_described() -> None:
    assert describe_request(HttpRequest("GET", "https://a.test/"), hide)["body"] is None
    assert describe_request(HttpRequest("PUT", "https://a.test/", (), b"\xff"), hide)["body"] == "�"


def test_a_secret_is_masked_in_the_forms_that_filters_give_it() -> None:
    mask = masker_of(["hünter2/"])
    for form in ("hex_encode", "b64encode", "b64url_encode", "urlencode", "segment", "hex_encode | upper", "json"):
        text = compile_template("{{ 'x' ~ (inputs.s | " + form + ") ~ 'y' }}").render({"inputs": {"s": "hünter2/"}})
        assert "***" in mask(text), form


def test_every_text_of_a_tree_is_masked_and_other_values_stay() -> None:
    tree = {"hunter2": [1, None, True, {"a": "x hunter2 y"}], "b": ("hunter2",)}
    assert mask_tree(tree, hide) == {"***": [1, None, True, {"a": "x *** y"}], "b": ["***"]}


def test_nesting_as_deep_as_json_may_be_is_masked() -> None:
    deep: object = "hunter2"
    for _ in range(254):
        deep = [deep]
    assert "hunter2" not in str(mask_tree(deep, hide))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_secret_with_quotes_in_json_inside_json_is_masked(layers: int) -> None:
    text = 'pa"ss\\wo\nrd é'
    mask = masker_of([text])
    for ascii_only in (True, False):
        told = text
        for _ in range(layers):
            told = json.dumps({"told": told}, ensure_ascii=ascii_only)
        assert "***" in mask(told)
        assert "wo" not in mask(told)


@pytest.mark.parametrize(
    ("secret", "number"),
    [
        ("12345678", 12345678),
        ("12345678", 12345678.0),
        ("0012345678", 12345678),
        ("-4711", -4711),
        ("+4711", 4711),
        ("1234.50", 1234.5),
        ("9007199254740993", 9007199254740993),
        ("9007199254740993", 9007199254740992.0),
        ("12345678901234567890", 12345678901234567890),
        ("12345678901234567890", 12345678901234567000.0),
        ("1e21", 1e21),
    ],
)
def test_a_secret_of_digits_that_comes_back_as_a_number_is_masked(secret: str, number: float) -> None:
    mask = masker_of([secret])
    assert mask_tree({"a": [number]}, mask) == {"a": ["***"]}
    assert mask(json.dumps({"a": number})) != json.dumps({"a": number})


@pytest.mark.parametrize("number", [123456789, 1.12345678, 812345678, 12, True, 1234567])
def test_a_number_that_is_another_one_stays(number: float) -> None:
    assert mask_tree([number], masker_of(["12345678"])) == [number]
