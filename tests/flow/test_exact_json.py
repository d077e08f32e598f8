"""JSON keeps its numbers: read, written, read again, a whole number has the digits that it had."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automata.flow.exact_json import dumps, is_finite, loads

LIMIT = 1 << 4096

WHOLE = [
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30 + 7, -(10**30) - 7),
    *(10**400 + 1, LIMIT - 1, 0, -1, 1_000_000_000_000_000_001),
]


@pytest.mark.parametrize("number", WHOLE, ids=lambda number: f"{str(number)[:24]}-{len(str(number))}")
def test_a_whole_number_keeps_its_digits(number: int) -> None:
    for text in (f"{number}", f'{{"id": {number}, "of": ["x", {number}]}}', f'["\\ud83d\\ude00", {number}]'):
        value = loads(text)
        assert value == json.loads(text)
        assert loads(dumps(value)) == value
        assert str(number).encode() in dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1E+400",
            "1e0400",
            "[1e999]",
            f"{10**310}.5",
            f"{LIMIT}",
            f"-{LIMIT}",
            "9" * 5000,
        ),
        *('"\\ud800"', '"\\udc00"', '{"\\ud83d": 1}', b'"\xff"', "01", "1.", "+1", "{]", "", "\ufeff1"),
        *("[" * 5000, '"a\x01"', "1 2"),
    ],
)
@pytest.mark.parametrize("beside", ["", "18446744073709551616"], ids=["alone", "beside a long number"])
def test_what_cannot_be_kept_is_refused(text: str | bytes, beside: str) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    with pytest.raises(json.JSONDecodeError):
        loads(b"[%b, %b]" % (beside.encode(), data) if beside else data)


def test_a_text_with_half_of_a_pair_in_it_is_refused() -> None:
    with pytest.raises(json.JSONDecodeError, match="surrogate"):
        loads('"\ud800"')


@pytest.mark.parametrize("text", ["-0", "-0.0", "0.1", "1E3", "1.0", "5e-324", "1.7976931348623157e308"])
def test_decimals_are_doubles_with_and_without_a_long_number_beside_them(text: str) -> None:
    for value in (loads(text), loads(f"[{text}, {2**70}]")[0]):
        assert (type(value), value) == (type(json.loads(text)), json.loads(text))
        assert math.copysign(1, value) == math.copysign(1, json.loads(text))


@pytest.mark.parametrize("value", [LIMIT, {"a": [-LIMIT]}, "\ud800", {"\udfff": 2**70}, {1: 2**70}, {2, 3}, b"x"])
def test_what_is_no_json_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_what_nests_too_deeply_is_not_written() -> None:
    value: Any = 2**70
    for _ in range(2000):
        value = [value]
    with pytest.raises(TypeError):
        dumps(value)


def test_options_hold_beside_long_numbers() -> None:
    assert dumps({"b": 2**70, "a": 1}, orjson.OPT_SORT_KEYS) == b'{"a":1,"b":%d}' % 2**70


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)))
)
KEYS = st.text("ab0123456789", max_size=25)
TREES: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "finite"),
    [(1, True), ([1.5, {"a": None}], True), ({"a": [math.nan]}, False), ((math.inf,), False), ("nan", True)],
)
def test_a_number_that_is_not_finite_is_found_at_any_depth(value: Any, finite: bool) -> None:
    assert is_finite(value) is finite
